"""Fields: which are missing or empty in rows that need them, which are empty or the same in every row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from microtune.data.lint.base import Base, Finding, Seen, Tally
from microtune.data.shapes import flat

MOST = 1000  # different values of a field that are told apart
OPTIONAL = ("input", "messages")


class Fields(Base):
    """How often each field says something, and the roles that are empty."""

    def __init__(self, roles: dict[str, list[str]], optional: Sequence[str] = OPTIONAL) -> None:
        self.needed = {name: role for role, names in roles.items() if role not in optional for name in names}
        self.rows = 0
        self._filled: dict[str, int] = {}
        self._values: dict[str, set[str]] = {}
        self._characters: dict[str, int] = {}
        self._empty: dict[str, Tally] = {}

    def add(self, seen: Seen) -> None:
        """Count the fields of one row."""
        self.rows += 1
        for name, value in seen.row.data.items():
            text = flat(value)
            values = self._values.setdefault(name, set())
            if text.strip():
                self._filled[name] = self._filled.get(name, 0) + 1
                self._characters[name] = self._characters.get(name, 0) + len(text)
                if len(values) < MOST:
                    values.add(text[:200])
        for name in self.needed:
            value = seen.row.data.get(name)
            if value is None or (isinstance(value, str) and not value.strip()):
                self._empty.setdefault(name, Tally()).add(seen.row)

    def findings(self) -> Sequence[Finding]:
        """Empty roles are errors, for training refuses them; the rest are notes."""
        found = [
            Finding(
                "empty-field", "error", tally.count, self.rows, tally.places, {"field": name, "role": self.needed[name]}
            )
            for name, tally in self._empty.items()
        ]
        for name, values in self._values.items():
            if name in self.needed and not values:
                continue
            if not values:
                found.append(Finding("never-filled", "note", self.rows, self.rows, [], {"field": name}))
            elif len(values) == 1 and self._filled[name] == self.rows and self.rows > 1:
                value = next(iter(values))[:60]
                found.append(
                    Finding("constant-field", "note", self.rows, self.rows, [], {"field": name, "value": value})
                )
        return found

    def figures(self) -> dict[str, Any]:
        """Per field: rows that fill it, different values (at most MOST), mean characters."""
        return {
            "fields": {
                name: {
                    "filled": self._filled.get(name, 0),
                    "different": len(values),
                    "characters": round(self._characters.get(name, 0) / max(1, self._filled.get(name, 0)), 1),
                }
                for name, values in self._values.items()
            }
        }
