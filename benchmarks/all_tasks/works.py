"""What a row of the table is made of: a data set read as one task, and what is run on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Rows = list[dict[str, Any]]
Parts = dict[str, Rows]
Made = Callable[[Rows], Rows]


def same(rows: Rows) -> Rows:
    """Rows as the file has them."""
    return rows


def parts_in(pattern: str) -> tuple[str, str, str]:
    """The files of train, validation and test below FOLDER, such as `snips/{}.jsonl.gz`."""
    return (pattern.format("train"), pattern.format("validation"), pattern.format("test"))


@dataclass(frozen=True)
class Run:
    """A base and how it is adapted; `untuned` scores it as it is. settings: further recipe values, such as
    `task.pooling=mean`."""

    model: str
    method: str
    epochs: float = 3
    train: Mapping[str, Any] = field(default_factory=dict)
    settings: tuple[str, ...] = ()
    seed: int = 0


@dataclass(frozen=True)
class Work:
    """A data set as one task.

    files: of train, validation and test; one file alone is parted here, three fifths, one fifth, one fifth; of two,
    train and test, a tenth of train is validation. Two names joined by " + " are parallel, source and target. train,
    validation, test: most rows (None: all), after one fixed shuffle. make: what the rows are turned into. key: fields
    that make a row a copy of another. runs: () stands for every model and method asked for.
    """

    name: str
    kind: str
    language: str
    files: tuple[str, ...]
    text: str
    label: str | None = None
    train: int | None = None
    validation: int | None = None
    test: int | None = None
    make: Made = same
    key: tuple[str, ...] = ()
    header: bool | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    max_length: int | None = None
    baselines: tuple[str, ...] = ()
    runs: tuple[Run, ...] = ()
    scores: tuple[str, ...] = ("accuracy",)

    @property
    def chinese(self) -> bool:
        """Whether the text that is read is Chinese."""
        return self.language.startswith("zh")
