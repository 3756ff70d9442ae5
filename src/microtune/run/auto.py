"""`method: auto`: a short comparison chooses the method, then the run trains it in full.

The same machinery as `microtune compare`, with a small budget and without the test split: candidates that fit the kind
of model train by successive halving, and the best on validation wins. What was chosen, and by which numbers, is
remembered in the run's folder, so a resumed run goes on with it, and stands among the run's notes.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from typing import Any, Literal

from pydantic import Field, field_validator

from microtune.adapt.base import make_method, methods
from microtune.errors import InputError, MicrotuneError
from microtune.recipe import Recipe, Section, validated
from microtune.run import tune as tuning
from microtune.run.compare.budget import Budget, in_time, parse_time
from microtune.run.compare.candidates import make_entries, recipe_of, said_as
from microtune.run.compare.contest import Asked, Begun, Contest, Ranked
from microtune.run.compare.place import Place
from microtune.run.folder import RunFolder
from microtune.run.session import Stage
from microtune.run.sharing import Sharing

NAME = "auto"
Said = str | dict[str, Any]


class Auto(Section):
    """Try a few methods for a short time, then train the best one in full."""

    name: Literal["auto"] = "auto"
    budget: str = Field(default="2m", description="time for choosing, such as 90s or 5m")
    candidates: list[Said] = Field(default=[], description="what to choose from; default: what fits this kind of model")

    @field_validator("budget")
    @classmethod
    def _is_a_time(cls, text: str) -> str:
        try:
            parse_time(text)
        except InputError as error:
            raise ValueError("a time is a number and a unit, such as 90s or 5m") from error
        return text


def options_of(recipe: Recipe) -> Auto:
    """The options of `method: auto`; refuses unknown ones, and candidates that there are not."""
    found = validated(Auto, {"name": NAME, **recipe.method.options}, "method")
    if found.candidates:
        make_entries(found.candidates, [None], [recipe.seed])
        for method in found.candidates:
            make_method(recipe_of(recipe, method, seed=recipe.seed, examples=None, epochs=1).method)
    return found


def tune(
    recipe: Recipe, folder: RunFolder, data: Mapping[str, Any], hashes: Mapping[str, str]
) -> Iterator[tuning.Event]:
    """Choose, unless that was done before; then train as `run.tune` does."""
    options = options_of(recipe)
    sharing = Sharing(folder.choosing / "states")
    decided = folder.recalled("method")
    if decided is None:
        decided = yield from _choose(recipe, options, folder, data, hashes, sharing)
        folder.remembered("method", lambda: decided)
    folder.notes.append(decided["reason"])
    chosen = recipe_of(recipe, decided["method"], seed=recipe.seed, examples=None, epochs=recipe.train.epochs)
    sharing.cuts.clear()  # of candidates that train no more
    yield from tuning.tune(chosen, folder, data, sharing=sharing)


def _choose(
    recipe: Recipe,
    options: Auto,
    folder: RunFolder,
    data: Mapping[str, Any],
    hashes: Mapping[str, str],
    sharing: Sharing,
) -> Generator[tuning.Event, None, dict[str, Any]]:
    budget = Budget(parse_time(options.budget), flag="method.budget=")
    said = options.candidates or (yield from _fitting(recipe, data, sharing))
    if len(said) == 1:
        return {"method": said[0], "reason": f"method auto: {said[0]}, the only candidate that fits this model."}
    place = Place(folder.choosing)
    progress = place.open({"methods": [str(method) for method in said]}, overwrite=True)
    budget.add(progress.spent)
    contest = Contest(
        Asked(recipe, tuple(said), (recipe.seed,), test=False), place, progress, budget, data, hashes, sharing
    )
    try:
        ranking: Ranked | None = None
        for event in contest.run():
            if isinstance(event, Ranked):
                ranking = event
            if isinstance(event, Stage):  # steps and scores of candidates are not those of the run
                yield event
            elif isinstance(event, (Begun, Ranked)):
                yield Stage(_in_words(event))
    except MicrotuneError:
        place.discard_if_empty()
        raise
    finally:
        place.close()
    assert ranking is not None
    return _decided(contest, ranking, said)


def _decided(contest: Contest, ranking: Ranked, said: list[Said]) -> dict[str, Any]:
    """The winner, and one sentence with everyone's figures."""
    entries = {entry.name: entry for heat in contest.heats for entry in heat.entries}
    winner = next((name for name, value in ranking.scores if value is not None), None)
    if winner is None:
        raise InputError(
            f"method auto: no candidate learnt anything in {in_time(contest.budget.seconds)}; give method.budget=10m, "
            "or name a method."
        )
    parts = []
    for name, entry in entries.items():
        seat = contest.progress.seat(entry.runs[0])
        value = "nothing" if seat.value is None else f"{seat.value:.4g}"
        parts.append((name != winner, f"{entry.method} {value} after {seat.steps} steps"))
    figures = "; ".join(text for _, text in sorted(parts))
    left_out = "".join(f" {name} was left out: {why}" for name, why in contest.progress.skipped.items())
    won = f"method auto chose {entries[winner].method} in {in_time(contest.budget.spent)}"
    reason = f"{won}, by {contest.common.primary} on validation: {figures}.{left_out}"
    method = next(m for m in said if said_as(m) == entries[winner].method)
    return {"method": method, "reason": reason}


def _fitting(recipe: Recipe, data: Mapping[str, Any], sharing: Sharing) -> Generator[Stage, None, list[Said]]:
    """Candidates for this kind of model: of a task with a head of its own the head alone, top blocks, LoRA, biases."""
    model, (task, _, _) = yield from tuning.get_rows(recipe, data, sharing)
    depth = model.spec.output_stack.num_layers
    found: list[Said] = [] if task.make_head(model.spec) is None else ["head"]
    if depth > 1:
        found.append(f"top:{min(2, depth - 1)}")
    found.append("lora:8")
    names = [name for name, _ in model.network.named_parameters()]
    if "bitfit" in methods and any(".blocks." in name and name.endswith(".bias") for name in names):
        found.append("bitfit")
    return found


def _in_words(event: Begun | Ranked) -> str:
    if isinstance(event, Begun):
        return f"choosing a method: {event.entry.method}, rung {event.rung} of {event.rungs}"
    return "choosing a method"


__all__ = ["Auto", "NAME", "options_of", "tune"]
