"""What measurements take and give: a row as it is seen, a finding with its places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from microtune.data.sources import Row
from microtune.errors import at, counted

Severity = Literal["error", "warning", "note"]
RANK: dict[Severity, int] = {"error": 0, "warning": 1, "note": 2}
SHOWN = 5  # places that a finding names
EXCERPT = 80  # characters of a text beside a place


@dataclass(frozen=True, slots=True)
class Seen:
    """A row as the task reads it. text: what is read (a pair in two lines); target: what is learnt, as text; labels:
    the classes of the row; test: the row stands in the test file."""

    row: Row
    number: int
    text: str
    target: str = ""
    labels: tuple[str, ...] = ()
    test: bool = False


@dataclass(frozen=True)
class Place:
    """Where something was seen."""

    path: str
    line: int
    text: str = ""


@dataclass
class Finding:
    """Something a person should know. count of `of` rows (or other things); values: for the sentences about it."""

    kind: str
    severity: Severity
    count: int
    of: int
    places: list[Place] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)


class Tally:
    """A count, and the first places that were counted."""

    def __init__(self) -> None:
        self.count = 0
        self.places: list[Place] = []

    def add(self, row: Row, text: str = "") -> None:
        """Count one place."""
        self.count += 1
        if len(self.places) < SHOWN:
            self.places.append(place(row, text))


def place(row: Row, text: str = "") -> Place:
    """The place of a row, with the beginning of a text."""
    return Place(row.path, row.line, text[:EXCERPT].replace("\n", " "))


def other_row(row: Row, path: str, line: int, *, test: bool = False) -> str:
    """Where the row stands that `row` is like: its line, and its file where a file is one row."""
    one_row = line == row.line == 1 and path != row.path and not test
    return at(Path(path).name, line) if one_row else counted(line)


class Measured(Protocol):
    """What a measurement says when it has seen its rows."""

    def findings(self) -> Sequence[Finding]:
        """What was found, after the last row."""
        ...

    def figures(self) -> dict[str, Any]:
        """Plain values for lint.json and its plots."""
        ...


class Measurement(Measured, Protocol):
    """One idea of what to measure in one pass."""

    def add(self, seen: Seen) -> None:
        """Look at one row."""
        ...


class Base:
    """A measurement that has nothing to draw."""

    def findings(self) -> Sequence[Finding]:
        """Nothing was found."""
        return []

    def figures(self) -> dict[str, Any]:
        """Nothing to draw."""
        return {}
