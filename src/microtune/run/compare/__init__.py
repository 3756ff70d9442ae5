"""Comparing methods: which way of adapting this model pays on these data, within a budget of time and memory.

Candidates train on the same split by successive halving on validation (Jamieson and Talwalkar, 2016); those that reach
the end are scored once on the test split. `compare_recipe` does what `mt.compare` and `microtune compare` ask for.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

from microtune.adapt.base import make_method
from microtune.errors import InputError, MicrotuneError, RunError
from microtune.recipe import Recipe
from microtune.run.compare.budget import Budget, Clock, parse_time
from microtune.run.compare.candidates import MethodSaid, make_entries, recipe_of, said_as
from microtune.run.compare.contest import Asked, Contest
from microtune.run.compare.lookback import general_texts, look_back, tokens_of
from microtune.run.compare.picture import draw
from microtune.run.compare.place import Place
from microtune.run.compare.results import Line, Results, collect
from microtune.run.compare.table import markdown
from microtune.run.digest import base_hash
from microtune.run.disk import write_json, write_text
from microtune.run.given import hashes
from microtune.run.guesses import step_hashes
from microtune.run.hashes import data_hash
from microtune.run.mixture import data_title
from microtune.run.prepare import make_task
from microtune.run.session import stoppable
from microtune.run.sharing import Sharing
from microtune.run.tune import without_memory
from microtune.run.unused import check_tuning

MOST_SEEDS = 100


@dataclass(frozen=True)
class Comparison:
    """A finished comparison: its folder, its lines (the best first), what is recommended and why."""

    path: Path
    results: Results

    @property
    def lines(self) -> list[Line]:
        """One for every method, or for every method and number of examples."""
        return self.results.lines

    @property
    def recommended(self) -> str | None:
        """The method to take, as it was written; None where nothing could be trained to the end."""
        found = self.results.recommendation
        return None if found is None else str(found["method"])

    @property
    def reason(self) -> str:
        """Why, in a sentence."""
        found = self.results.recommendation
        return "" if found is None else str(found["reason"])


@dataclass(frozen=True)
class Question:
    """What `compare_recipe` is asked beside the recipe. began: on the clock, when the user asked."""

    methods: tuple[MethodSaid, ...]
    budget: str = "10m"
    seeds: int = 1
    curve: tuple[int, ...] = ()
    general: str | None = None
    began: float | None = None


def compare_recipe(
    recipe: Recipe,
    question: Question,
    *,
    overwrite: bool = False,
    on_event: Callable[[Any], None] | None = None,
    clock: Clock = time.monotonic,
) -> Comparison:
    """Compare methods on everything else that the recipe says; its own method does not matter."""
    began = clock() if question.began is None else question.began
    seconds = parse_time(question.budget)
    check_tuning(recipe)
    recipe, data = without_memory(recipe)
    asked = _checked(recipe, question)
    texts = general_texts(question.general)
    data_hashes = (
        hashes(data) | base_hash(recipe.model.source, weights=recipe.model.weights != "random") | step_hashes(recipe)
    )
    identity = _identity(recipe, question, data_hashes)
    place = Place(recipe.out or Path("runs") / _default_name(recipe, identity))
    created = not place.path.exists()
    progress = place.open(identity, overwrite=overwrite)
    budget = Budget(seconds, began=began, clock=clock)
    budget.add(progress.spent)
    sharing = Sharing(place.states)
    contest = Contest(replace(asked, general=tokens_of(texts)), place, progress, budget, data, data_hashes, sharing)
    try:
        with stoppable():
            for event in chain(contest.run(), look_back(contest, texts)):
                if on_event is not None:
                    on_event(event)
            return _written(contest)
    except MicrotuneError:
        if created:
            place.discard_if_empty()
        raise
    finally:
        place.close()


def _written(contest: Contest) -> Comparison:
    """The result on disk; compare.json last, which makes the comparison a finished one."""
    results = collect(contest)
    tried = [line for line in results.lines if line.state != "skipped"]
    if tried and all(line.state == "failed" for line in tried):
        raise RunError(f"No method could be trained. {tried[0].method}: {tried[0].reason}")
    path = contest.place.path
    picture = None
    if contest.asked.curve:
        try:
            picture = draw(results, path / "curve.png").name
        except ModuleNotFoundError:
            note = 'The plot of the curve needs matplotlib: pip install "microtune[plot]"; the table says the same.'
            results = replace(results, notes=[*results.notes, note])
    contest.remember()
    results = replace(results, spent=contest.budget.spent)
    write_text(path / "compare.md", markdown(results, picture))
    write_json(path / "compare.json", results.plain())
    contest.tidy()
    return Comparison(path, results)


def _checked(recipe: Recipe, question: Question) -> Asked:
    """Everything that can be refused before anything is read."""
    if question.seeds < 1:
        raise InputError(f"seeds is {question.seeds}; a comparison needs one seed at least.")
    if question.seeds > MOST_SEEDS:
        raise InputError(f"seeds is {question.seeds}; a comparison takes {MOST_SEEDS} seeds at most.")
    if any(size < 1 for size in question.curve):
        raise InputError(f"curve: {min(question.curve)} is not a number of examples; write for instance 8,32,128.")
    seeds = tuple(range(recipe.seed, recipe.seed + question.seeds))
    make_entries(question.methods, [None], seeds)
    for method in question.methods:
        check_method(recipe_of(recipe, method, seed=recipe.seed, examples=None, epochs=recipe.train.epochs))
    make_task(recipe)
    return Asked(recipe, question.methods, seeds, question.curve)


def check_method(recipe: Recipe) -> None:
    """Refuse an unknown method, and unknown or impossible fields of a known one."""
    make_method(recipe.method)


def _identity(recipe: Recipe, question: Question, data_hashes: Mapping[str, str]) -> dict[str, Any]:
    """All that decides the result but the budget, which may be raised for what is left to do."""
    return {
        "methods": [said_as(method) for method in question.methods],
        "seeds": question.seeds,
        "curve": list(question.curve),
        "general": None if question.general is None else data_hash(question.general),
        "data": dict(data_hashes),
        "recipe": recipe.model_dump(mode="json", exclude={"out", "method"}),
    }


def _default_name(recipe: Recipe, identity: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True, default=str).encode()).hexdigest()[:8]
    stem = Path(data_title(recipe)).name.partition(".")[0]
    clean = "".join(c if c.isalnum() or c in "-_" else "-" for c in stem)[:40] or "data"
    return f"compare-{clean}-{recipe.task.name}-{digest}"


__all__ = ["Comparison", "Question", "check_method", "compare_recipe"]
