"""A sample of rows for what cannot be measured in one pass: each row with the same chance (Vitter's algorithm R, 1985).

Texts are kept up to `CUT` characters, so that the memory of a sample is bounded whatever the rows hold.
"""

from __future__ import annotations

import random
from dataclasses import replace

from microtune.data.lint.base import Base, Seen
from microtune.data.sources import Row

SAMPLED = 20_000
CUT = 2_000


class Sample(Base):
    """At most `size` rows (None: all); the same rows for the same file."""

    def __init__(self, size: int | None = SAMPLED) -> None:
        self.size = size
        self.seen = 0
        self._held: list[Seen] = []
        self._random = random.Random(0)

    def add(self, seen: Seen) -> None:
        """Keep the row, in the place of another one once the sample is full."""
        self.seen += 1
        at = len(self._held)
        if self.size is not None and self.seen > self.size:
            at = self._random.randrange(self.seen)
            if at >= self.size:
                return
        row = Row({}, seen.row.path, seen.row.line)
        kept = replace(seen, row=row, text=seen.text[:CUT], target=seen.target[:CUT])
        self._held[at : at + 1] = [kept]

    @property
    def rows(self) -> list[Seen]:
        """The rows of the sample, in the order of the file."""
        return sorted(self._held, key=lambda seen: seen.number)

    @property
    def whole(self) -> bool:
        """Whether every row is in it."""
        return self.seen == len(self._held)
