"""`data.tasks`: several tasks for one model, each with rows, templates and a rate; scores of each by itself.

How often a task is seen follows from its rows, its rate and a temperature (T5: Raffel et al., 2020, there over the
probabilities of tasks): the task with the most rows is seen once per epoch, one with n rows (most / n) ** (1 - 1 / T)
times. So T = 1 mixes by size, a large T makes all tasks equal, and no row is left out unless a rate below 1 says so.
Rows are drawn once, before training.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import Field, field_validator

from microtune.data.sources import Row
from microtune.data.steps.sampling import MOST_TIMES, drawn
from microtune.errors import InputError, at
from microtune.recipe import Recipe, Section, validated
from microtune.run.evaluate import Score, confidence_intervals
from microtune.tasks import tasks
from microtune.tasks.base import Task
from microtune.tasks.mixture import GIVEN, TASK, Mixture, named_task
from microtune.tasks.outcomes import Outcomes

PARTS = ("train", "validation", "test")
WHERE = "data.tasks"
HEADS = (
    "answers with a head of its own, which several tasks cannot share. Word them as text (task: instruction or "
    "sequence-to-sequence), or tune one adapter for each on the same base (docs/adapters.md)"
)


class TaskSource(Section):
    """One task among several."""

    name: str = Field(max_length=60, description="by which scores are reported, and rows name it")
    train: str | None = Field(default=None, description="its rows; default: those of data.train that name this task")
    validation: str | None = Field(default=None, description="rows for choosing; default: cut from its rows")
    test: str | None = Field(default=None, description="rows read once, at the end; default: cut from its rows")
    prompt: str | None = Field(default=None, description="template of the prompt (instruction)")
    answer: str | None = Field(default=None, description="template of what is learnt (instruction)")
    source: str | None = Field(default=None, description="template of the text to read (sequence-to-sequence)")
    target: str | None = Field(default=None, description="template of the text to write (sequence-to-sequence)")
    rate: float = Field(default=1.0, gt=0, le=MOST_TIMES, description="how often its training rows are seen")

    @field_validator("name")
    @classmethod
    def _is_a_name(cls, name: str) -> str:
        if not name.strip() or not name.isprintable() or set(name) & set("|:()"):
            raise ValueError("a name is a short text without line breaks and without the signs | : ( )")
        return name


def sources_of(recipe: Recipe) -> list[TaskSource]:
    """The tasks of a recipe, checked; [] where it has one task as usual."""
    found = [validated(TaskSource, choice.model_dump(), f"{WHERE}, {choice.name}") for choice in recipe.data.tasks]
    twice = [name for name, count in Counter(source.name for source in found).items() if count > 1]
    if twice:
        raise InputError(f'{WHERE}: two tasks are called "{twice[0]}"; their scores could not be told apart.')
    if not found:
        if recipe.data.temperature != 1.0:
            raise InputError("data.temperature mixes several tasks (data.tasks), and there are none.")
        return []
    _check_files(recipe, found)
    return found


def _check_files(recipe: Recipe, found: Sequence[TaskSource]) -> None:
    """Every task has files of its own, or none has and the rows of data.train name their tasks."""
    own = [source for source in found if source.train is not None]
    given = [part for part in PARTS if getattr(recipe.data, part) is not None]
    without = next((source for source in found if source.train is None), None)
    if own and without is not None:
        raise InputError(f"{WHERE}, {without.name}: train is missing: the file with its rows.")
    if own and given:
        raise InputError(f"data.{given[0]} and {WHERE} both name files; write the files of each task into {WHERE}.")
    extra = next((s for s in found if s.train is None and (s.validation is not None or s.test is not None)), None)
    if extra is not None:
        raise InputError(f"{WHERE}, {extra.name}: it has a file to score and none to learn from; name train too.")
    if not own and recipe.data.train is None:
        raise InputError(f"{WHERE}, {found[0].name}: train is missing: the file with its rows.")
    for flag in ("text_field", "label_field"):
        if getattr(recipe.data, flag) is not None:
            raise InputError(f"data.{flag}: the templates of {WHERE} say where the texts stand; leave it out.")


def task_values(recipe: Recipe) -> dict[str, Any]:
    """What `data.tasks` says to the task: the templates of each by name."""
    found = sources_of(recipe)
    if not found:
        return {}
    kind = tasks[recipe.task.name]
    if not issubclass(kind, Mixture):
        raise InputError(f"{WHERE}: the task {recipe.task.name} {HEADS}.")
    mixture: dict[str, dict[str, str]] = {}
    for source in found:
        said = {option: getattr(source, option) for option in ("prompt", "answer", "source", "target")}
        other = next((o for o, text in said.items() if text is not None and o not in kind.templates), None)
        missing = next((o for o in kind.templates if said[o] is None), None)
        names = " and ".join(kind.templates)
        if other is not None:
            raise InputError(
                f"{WHERE}, {source.name}: {other} is no template of the task {recipe.task.name}; it has {names}."
            )
        if missing is not None:
            example = '"Translate to Chinese: {en}"' if missing in ("prompt", "source") else '"{zh}"'
            raise InputError(f"{WHERE}, {source.name}: {missing} is missing: a template such as {example}.")
        mixture[source.name] = {option: str(said[option]) for option in kind.templates}
    return {"mixture": mixture}


def data_of(recipe: Recipe) -> dict[str, Any]:
    """Every source of rows by name: train, validation, test; with several tasks also those of each."""
    data = {part: getattr(recipe.data, part) for part in PARTS}
    for source in sources_of(recipe):
        data |= {f"{part}: {source.name}": file for part in PARTS if (file := getattr(source, part)) is not None}
    return data


def data_title(recipe: Recipe) -> str:
    """What the data is called: the file, or the tasks."""
    return "+".join(choice.name for choice in recipe.data.tasks) or str(recipe.data.train)


def named(rows: Sequence[Row], name: str) -> list[Row]:
    """Rows of a file that holds one task; one that names another is refused."""
    for row in rows:
        said = row.data.get(TASK, name)
        if said != name:
            raise InputError(f'{at(row.path, row.line)}: its field "{TASK}" says {str(said)[:60]!r}, not {name!r}.')
    return [Row({**row.data, TASK: name}, row.path, row.line) for row in rows]


def check_parts(parts: Mapping[str, Sequence[Row]], names: Sequence[str]) -> None:
    """Every task has rows in every part; InputError that names the one that has not."""
    counts = {part: Counter(map(named_task, rows)) for part, rows in parts.items()}
    for part, found in counts.items():
        without = next((name for name in names if not found[name]), None)
        if without is None:
            continue
        if part == "train":
            raise InputError(
                f'{WHERE}, {without}: there is no training row of it; its rows name it in the field "{GIVEN}", or in a '
                "file of their own."
            )
        other = next(name for name in names if found[name])
        raise InputError(
            f"{WHERE}, {without}: it has no row in the {part} split, and {other} has; name a file ({part}: ...), give "
            "it more rows, or write data.split: none where no task shall have one."
        )


def mixed(rows: Sequence[Row], found: Sequence[TaskSource], temperature: float, seed: int) -> tuple[list[Row], str]:
    """Training rows as often as rates and temperature say, in their order; and a sentence about it."""
    groups: dict[str, list[int]] = defaultdict(list)
    for place, row in enumerate(rows):
        groups[named_task(row)].append(place)
    empty = next((source.name for source in found if not groups[source.name]), None)
    if empty is not None:
        raise InputError(f"{WHERE}, {empty}: no training row of it is left after the steps.")
    most, rng = max(map(len, groups.values())), random.Random(f"{seed} tasks")
    chosen: list[int] = []
    said = []
    for source in found:
        places = groups[source.name]
        times = min(source.rate * (most / len(places)) ** (1 - 1 / temperature), MOST_TIMES)
        wanted = max(1, round(times * len(places)))
        chosen += drawn(places, wanted, rng)
        said.append((source.name, len(places), wanted))
    total = sum(wanted for _, _, wanted in said)
    told = ", ".join(
        f"{name} {wanted:,} rows ({wanted / total:.0%}" + (f", of {size:,})" if wanted != size else ")")
        for name, size, wanted in said
    )
    return [rows[place] for place in sorted(chosen)], f"Tasks of one epoch: {told}."


def by_task(task: Task, scores: Mapping[str, Score], rows: Mapping[str, Sequence[Row]]) -> dict[str, Score]:
    """The scores of each task of a split by itself, as "test: translate"; {} where there is one task as usual."""
    return {
        f"{split}: {name}": part
        for split, score in scores.items()
        for name, part in parts_of(task, score, rows[split]).items()
    }


def parts_of(task: Task, score: Score, rows: Sequence[Row]) -> dict[str, Score]:
    """What the rows of each task score by themselves, by the name of the task; {} where there is one task as usual."""
    if not isinstance(task, Mixture) or not task.mixture:
        return {}
    outcomes, found = score.predictions, {}
    owners = np.array([named_task(rows[int(row)]) for row in outcomes.columns["row"]], dtype=object)
    for name in task.mixture:
        places = np.flatnonzero(owners == name)
        if len(places):
            part = Outcomes({key: column[places] for key, column in outcomes.columns.items()}, task.read)
            values = task.metrics(part)
            found[name] = Score(values, confidence_intervals(task, part, values), part)
    return found
