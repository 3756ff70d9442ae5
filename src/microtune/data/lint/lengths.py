"""Lengths: a histogram of whole numbers, and texts far longer or shorter than the others (Tukey's fences, 1977)."""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from microtune.data.lint.base import SHOWN, Base, Finding, Place, Seen, place

FENCE = 3.0  # inter-quartile ranges of log lengths: "far out"
TIMES = 4.0  # and so many times longer (or shorter) than the median
BARS = 24
LEAST = 50  # rows below which nothing is called unusual


class Histogram:
    """Counts of whole numbers; large ones are rounded to three digits, so that their number is bounded."""

    def __init__(self) -> None:
        self.counts: Counter[int] = Counter()

    def add(self, value: int) -> None:
        """Count one value."""
        if value >= 1000:
            size = 10 ** (len(str(value)) - 3)
            value = value // size * size
        self.counts[value] += 1

    @property
    def total(self) -> int:
        """How many values there are."""
        return self.counts.total()

    def quantile(self, share: float) -> int:
        """The value below or at which this share of all stands; 0 without any."""
        wanted, passed = share * self.total, 0
        for value in sorted(self.counts):
            passed += self.counts[value]
            if passed >= wanted:
                return value
        return 0

    def above(self, limit: float) -> int:
        """How many are larger."""
        return sum(n for value, n in self.counts.items() if value > limit)

    def below(self, limit: float) -> int:
        """How many are smaller."""
        return sum(n for value, n in self.counts.items() if value < limit)

    def record(self) -> dict[str, Any]:
        """Quantiles, and bars [from, to, count] up to the 99th percentile; the last bar holds what is longer."""
        top = max(1, self.quantile(0.99))
        width = max(1, math.ceil((top + 1) / BARS))
        bars = [0] * (top // width + 1)
        for value, n in self.counts.items():
            bars[min(value // width, len(bars) - 1)] += n
        marks = {"median": 0.5, "p90": 0.9, "p99": 0.99}
        return {
            **{name: self.quantile(share) for name, share in marks.items()},
            "longest": max(self.counts, default=0),
            "mean": round(sum(v * n for v, n in self.counts.items()) / max(1, self.total), 1),
            "bars": [[i * width, (i + 1) * width, n] for i, n in enumerate(bars)],
        }


class Lengths(Base):
    """Characters of what is read and what is learnt; the longest and the shortest rows by name."""

    def __init__(self, *, outliers: bool = True) -> None:
        self.read, self.learnt = Histogram(), Histogram()
        self._outliers = outliers
        self._long: list[tuple[int, int, Place]] = []
        self._short: list[tuple[int, int, Place]] = []

    def add(self, seen: Seen) -> None:
        """Measure one row."""
        size = len(seen.text)
        self.read.add(size)
        if seen.target and not seen.labels:
            self.learnt.add(len(seen.target))
        if not self._outliers or not size:
            return
        for heap, key in ((self._long, size), (self._short, -size)):
            if len(heap) < SHOWN:
                heapq.heappush(heap, (key, -seen.number, place(seen.row, seen.text)))
            elif key > heap[0][0]:
                heapq.heapreplace(heap, (key, -seen.number, place(seen.row, seen.text)))

    def findings(self) -> Sequence[Finding]:
        """Texts beyond the outer fences on a scale of logarithms."""
        if not self._outliers or self.read.total < LEAST:
            return []
        low, middle, high = (math.log(max(1, self.read.quantile(q))) for q in (0.25, 0.5, 0.75))
        reach = FENCE * max(high - low, 0.1)
        most = math.exp(max(high + reach, middle + math.log(TIMES)))
        least = math.exp(min(low - reach, middle - math.log(TIMES)))
        found = []
        for kind, count, heap, limit in (
            ("very-long", self.read.above(most), self._long, most),
            ("very-short", self.read.below(least) - self.read.counts[0], self._short, least),
        ):
            if count > 0:
                inside = [p for key, _, p in sorted(heap, reverse=True) if (abs(key) > limit) == (kind == "very-long")]
                values = {"limit": round(limit), "median": self.read.quantile(0.5)}
                found.append(Finding(kind, "note", count, self.read.total, inside[:SHOWN], values))
        return found

    def figures(self) -> dict[str, Any]:
        """Both histograms."""
        named = {"read": self.read, "learnt": self.learnt}
        return {"characters": {name: h.record() for name, h in named.items() if h.total}}
