"""Classes: how many rows each has, which are rare, which are one class spelled twice."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from microtune.data.lint.base import Base, Finding, Place, Seen, place
from microtune.data.splits import normalised

RARE = 10  # rows below which a class is hardly learnt, and hardly measured
MAJORITY = 0.8
TIMES = 20  # the largest class beside the smallest
MOST = 10_000  # classes that are told apart


class Classes(Base):
    """Rows of each class."""

    def __init__(self) -> None:
        self.rows = 0
        self.counts: Counter[str] = Counter()
        self._first: dict[str, Place] = {}

    def add(self, seen: Seen) -> None:
        """Count the classes of one row."""
        self.rows += 1
        for label in seen.labels:
            if label in self.counts or len(self.counts) < MOST:
                self.counts[label] += 1
                self._first.setdefault(label, place(seen.row, label))

    def findings(self) -> Sequence[Finding]:
        """Rare classes, a class that is nearly everything, spellings that differ by case, width or blanks."""
        if not self.counts:
            return []
        found = []
        rare = sorted((n, label) for label, n in self.counts.items() if n < RARE)
        if rare:
            names = ", ".join(f"{label} ({n})" for n, label in rare[:8])
            places = [self._first[label] for _, label in rare[:5]]
            values = {"names": names, "least": RARE}
            found.append(Finding("rare-classes", "warning", len(rare), len(self.counts), places, values))
        top, most = self.counts.most_common(1)[0]
        last = min(self.counts.values())
        if len(self.counts) == 1:
            found.append(Finding("one-class", "error", 1, 1, [self._first[top]], {"label": top}))
        elif most >= MAJORITY * self.rows or most >= TIMES * last:
            values = {"label": top, "share": round(most / self.rows, 3), "times": round(most / last, 1)}
            found.append(Finding("class-imbalance", "warning", most, self.rows, [], values))
        same: dict[str, list[str]] = defaultdict(list)
        for label in self.counts:
            same[normalised(label)].append(label)
        for spellings in (group for group in same.values() if len(group) > 1):
            places = [self._first[label] for label in spellings]
            values = {"names": " / ".join(f'"{label}"' for label in spellings)}
            fewer = sum(self.counts[label] for label in spellings) - max(self.counts[label] for label in spellings)
            found.append(Finding("label-spelling", "warning", fewer, self.rows, places, values))
        return found

    def figures(self) -> dict[str, Any]:
        """Rows of each class, the largest first."""
        return {"classes": dict(self.counts.most_common(200))} if self.counts else {}
