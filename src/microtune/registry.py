"""Registry: a table from short names to records.

Recipes and flags never hold import paths; they hold names, and a name is looked up here. A duplicate is a programming
error and fails at import; an unknown name is a user's slip and gets a suggestion.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar

from microtune.errors import InputError, suggest

Record = TypeVar("Record")


class Registry(Generic[Record]):
    """Short name -> record, for one kind of thing (`kind` is the word used in messages).

    other_names: what people call a record elsewhere, in lower case -> its name here; only for the suggestion.
    """

    def __init__(self, kind: str, other_names: Mapping[str, str] | None = None) -> None:
        self.kind = kind
        self.other_names = other_names or {}
        self._records: dict[str, Record] = {}

    def add(self, name: str, record: Record) -> Record:
        """Enter `record` under `name`; a name can be taken once."""
        if name in self._records:
            raise ValueError(f"{self.kind} {name!r} is registered twice")
        self._records[name] = record
        return record

    def __getitem__(self, name: str) -> Record:
        if name not in self._records:
            meant = self.other_names.get(name.strip().casefold(), name)
            raise InputError(f'Unknown {self.kind} "{name}". {suggest(meant, self._records)}')
        return self._records[name]

    def __contains__(self, name: object) -> bool:
        return name in self._records

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._records))

    def items(self) -> list[tuple[str, Record]]:
        """All entries, by name."""
        return sorted(self._records.items())
