"""Language mix: rows in another language than most, and texts of symbols more than letters, in a sample."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from microtune.data.languages import LATIN, differ, language
from microtune.data.lint.base import Base, Finding, Seen, Tally

SHARE = 0.005  # of the rows from which on a second language is told
LETTERS = 0.3  # share of letters below which a text is mostly something else
LONG = 20


class Languages(Base):
    """The languages of what is read."""

    def __init__(self, rows: Sequence[Seen]) -> None:
        self.rows = rows
        self.found = [language(seen.text) for seen in rows]
        self.counts = Counter(name for name in self.found if name)

    def findings(self) -> Sequence[Finding]:
        """Another language than the main one in a few rows; texts without letters."""
        return [*self._mix(), *self._symbols()]

    def _mix(self) -> list[Finding]:
        known = Counter({name: n for name, n in self.counts.items() if name != "latin"})
        main = [name for name, _ in (known or self.counts).most_common(1)]
        if not main:
            return []
        if main[0] not in LATIN and self.counts["latin"] > known[main[0]]:
            main = ["latin"]  # of which language is not sure, and yet the most
        tally = Tally()
        for seen, name in zip(self.rows, self.found, strict=True):
            if differ(name, main[0]):
                tally.add(seen.row, f"[{name}] {seen.text}")
        if tally.count < max(3, SHARE * len(self.rows)):
            return []
        names = ", ".join(f"{name} {n / len(self.rows):.1%}" for name, n in self.counts.most_common(5))
        return [Finding("language-mix", "note", tally.count, len(self.rows), tally.places, {"names": names})]

    def _symbols(self) -> list[Finding]:
        tally = Tally()
        for seen in self.rows:
            text = "".join(seen.text.split())
            if len(text) >= LONG and sum(map(str.isalpha, text)) < LETTERS * len(text):
                tally.add(seen.row, seen.text)
        if not tally.count or tally.count > 0.05 * len(self.rows):  # where it is usual it is no outlier
            return []
        return [Finding("few-letters", "note", tally.count, len(self.rows), tally.places)]

    def figures(self) -> dict[str, Any]:
        """Rows of each language in the sample."""
        return {"languages": dict(self.counts.most_common(12))}
