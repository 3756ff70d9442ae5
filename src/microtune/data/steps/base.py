"""The contract of a step that prepares rows before training: `data.steps: [unicode, {name: html}, ...]` in a recipe.

Two kinds. A `TextStep` changes one text and knows nothing else; it runs on every split and again at prediction time, so
a model always reads texts as it has learnt them. A `RowStep` decides about rows (drops, repeats, adds); it runs on the
training split alone, because a test that is tidied up measures something else.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from pydantic import Field

from microtune.data.sources import Row
from microtune.errors import InputError, at
from microtune.recipe import Section, validated
from microtune.registry import Registry

SHOWN = 3  # changes that a report shows
CLIPPED = 160  # characters of each


class Step(Section):
    """Base of all steps; subclasses are frozen sections registered by name."""

    name: str
    fields: list[str] = Field(default_factory=list, description="fields that it reads; default: those the task reads")

    hurts: ClassVar[str] = ""  # what it is likely to cost a Transformer, in one sentence

    def check(self) -> None:
        """Refuse before any row is read, such as where a package is missing."""


class TextStep(Step):
    """A step that changes texts."""

    def change(self, text: str) -> str:
        """The text as it should be."""
        raise NotImplementedError


@dataclass(frozen=True)
class View:
    """How a row step sees rows: the fields with their texts, the label (None: the task has none), and chance."""

    fields: tuple[str, ...]
    label: Callable[[Row], Any] | None
    random: random.Random
    task: str = ""  # its name; "": any
    report: StepReport | None = None  # takes examples of what is changed
    guesser: Callable[[str], Any] | None = None  # name -> a masked model that can be asked (substitution.py)

    def text(self, row: Row) -> str:
        """The texts of a row, one below the other."""
        return "\n".join(text for name in self.fields for text in texts_in(row.data.get(name)))


class RowStep(Step):
    """A step that decides about rows of the training split."""

    writes: ClassVar[bool] = False  # rows that stand in no file, so that a copy of a test row is not seen any more
    replaces: ClassVar[bool] = False  # a row by others, so that it counts as changed

    def choose(self, rows: Sequence[Row], view: View) -> list[Row]:
        """The rows that are left, with those that are added; new rows keep the place of the row they come from."""
        raise NotImplementedError


@dataclass
class StepReport:
    """What one step did: over all splits for texts, on the training split for rows."""

    name: str
    touched: int = 0
    dropped: int = 0
    added: int = 0
    characters: int = 0
    rows: int = 0
    examples: list[list[str]] = field(default_factory=list)
    place: str = ""
    remark: str = ""  # what a step says of itself, such as what it has cost

    def changed(self, row: Row, before: str, after: str) -> None:
        """Count one text that is another now."""
        self.characters += len(before) - len(after)
        self.show(row, before, after)

    def show(self, row: Row, before: str, after: str) -> None:
        """Keep an example, where there are few yet."""
        if len(self.examples) < SHOWN:
            self.examples.append([_around(before, after), _around(after, before)])
            self.place = self.place or at(row.path, row.line)

    def sentence(self) -> str:
        """For a reader, before training."""
        said = (
            [f"{self.touched:,} of {self.rows:,} rows changed"] if self.touched or not self.dropped + self.added else []
        )
        said += [f"{self.dropped:,} dropped"] if self.dropped else []
        said += [f"{self.added:,} added"] if self.added else []
        said += [f"{self.characters:,} characters removed"] if self.characters > 0 else []
        said += [f"{-self.characters:,} characters more"] if self.characters < 0 else []
        example = ""
        if self.examples:
            before, after = self.examples[0]
            example = f' First ({self.place}): "{before}" became "{after}".'
        remark = f" {self.remark}" if self.remark else ""
        return f"Step {self.name}: {', '.join(said)}.{example}{remark}"


steps: Registry[type[Step]] = Registry("step")


def make_step(values: dict[str, Any]) -> Step:
    """A step out of a recipe, its options checked."""
    return validated(steps[str(values.get("name"))], values, f"data.steps, {values.get('name')}")


def texts_in(value: Any) -> list[str]:
    """The texts in a field: one, several, or those of the messages of a conversation."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):
        return [text for part in value for text in texts_in(part)]
    if isinstance(value, dict):
        return [value[key] for key in MESSAGE if isinstance(value.get(key), str)]
    return []


MESSAGE = ("content", "value")  # of a message, as OpenAI and ShareGPT name its text


def changed(value: Any, change: Callable[[str], str]) -> Any:
    """A field with its texts changed."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [changed(part, change) for part in value]
    if isinstance(value, dict):
        return {k: change(v) if k in MESSAGE and isinstance(v, str) else v for k, v in value.items()}
    return value


def changed_row(step: TextStep, row: Row, fields: Sequence[str], report: StepReport | None = None) -> Row:
    """A row with the texts of its fields changed; refused where nothing is left of a text that was one."""
    new: dict[str, Any] = {}
    for name in fields:
        if name not in row.data:
            continue
        after = changed(row.data[name], step.change)
        if after != row.data[name]:
            new[name] = after
            _refuse_nothing(step, row, name, after)
            if report is not None:
                for one, two in zip(texts_in(row.data[name]), texts_in(after), strict=True):
                    if one != two:
                        report.changed(row, one, two)
    if not new:
        return row
    if report is not None:
        report.touched += 1
    return Row({**row.data, **new}, row.path, row.line)


def _refuse_nothing(step: TextStep, row: Row, name: str, after: Any) -> None:
    if isinstance(after, str) and not after.strip():
        raise InputError(
            f'{at(row.path, row.line)}: the step {step.name} leaves nothing of the field "{name}"; remove the row.'
        )


def _around(text: str, other: str) -> str:
    """The part of a text where it differs first from another."""
    first = next((i for i, (a, b) in enumerate(zip(text, other, strict=False)) if a != b), min(len(text), len(other)))
    start = max(0, first - CLIPPED // 4)
    piece = text[start : start + CLIPPED]
    return ("…" if start else "") + piece + ("…" if start + CLIPPED < len(text) else "")
