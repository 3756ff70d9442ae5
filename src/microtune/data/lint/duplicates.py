"""Copies: the same text twice, the same text with another label, a training row that stands in the test file.

Texts are compared as `splits.normalised` has them (width, case and blanks aside) and remembered by 8 bytes of a hash;
beyond `MOST` different texts no new one is remembered, which the finding says.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

from microtune.data.lint.base import Base, Finding, Seen, Tally, other_row
from microtune.data.splits import normalised

MOST = 2_000_000
LINE = 40  # characters from which on a repeated line of plain text is remarkable


def digest(text: str) -> bytes:
    """8 bytes that stand for a normalised text."""
    return blake2b(normalised(text).encode("utf-8", "surrogatepass"), digest_size=8).digest()


class Duplicates(Base):
    """Copies among the rows, and between them and the test rows (which come first)."""

    def __init__(self, task: str) -> None:
        self.task = task
        self.rows = 0
        self._first: dict[bytes, tuple[bytes, str, int]] = {}
        self._test: dict[bytes, tuple[str, int]] = {}
        self._copies, self._others, self._leaks = Tally(), Tally(), Tally()
        self._leaked: set[bytes] = set()

    def add(self, seen: Seen) -> None:
        """Compare one row with those before it."""
        key = digest(seen.text)
        if seen.test:
            self._test.setdefault(key, (seen.row.path, seen.row.line))
            return
        if not seen.text.strip():
            return
        self.rows += 1
        if self.task == "language-modelling" and len(seen.text) < LINE:
            return
        if key in self._test:
            self._leaks.add(seen.row, f"test {other_row(seen.row, *self._test[key], test=True)}: {seen.text[:60]}")
            self._leaked.add(key)
        answer = digest(" ".join(sorted(seen.labels)) if seen.labels else seen.target)
        known = self._first.get(key)
        if known is None:
            if len(self._first) < MOST:
                self._first[key] = (answer, seen.row.path, seen.row.line)
            return
        where = f"as in {other_row(seen.row, *known[1:])}: {seen.text[:60]}"
        (self._copies if known[0] == answer else self._others).add(seen.row, where)

    def findings(self) -> Sequence[Finding]:
        """Copies are a note up to 1 %, then a warning; contradictions and leaks are warnings."""
        found = []
        if self._leaks.count:
            values = {"test": len(self._test), "leaked": len(self._leaked)}
            found.append(Finding("test-overlap", "warning", self._leaks.count, self.rows, self._leaks.places, values))
        if self._others.count:
            classes = self.task in ("classification", "regression", "multiple-choice")
            kind = "contradictory-labels" if classes else "several-answers"
            severity = "warning" if classes else "note"
            found.append(Finding(kind, severity, self._others.count, self.rows, self._others.places))  # type: ignore[arg-type]
        if self._copies.count:
            much = self._copies.count > 0.01 * self.rows and self.task != "language-modelling"
            severity = "warning" if much else "note"
            found.append(Finding("exact-copies", severity, self._copies.count, self.rows, self._copies.places))  # type: ignore[arg-type]
        if len(self._first) >= MOST:
            found.append(Finding("copies-not-all", "note", MOST, self.rows))
        return found
