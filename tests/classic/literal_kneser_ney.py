"""Interpolated modified Kneser-Ney written as the formula stands in the papers, with dictionaries: slow and plain."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

Gram = tuple[int, ...]


class Literal:
    """Chen and Goodman (1999), equations as in Heafield et al. (2013), section 3."""

    def __init__(self, texts: Sequence[Sequence[int]], order: int, start: int, choices: int) -> None:
        self.order, self.start, self.choices = order, start, choices
        counts: Counter[Gram] = Counter()
        for text in texts:
            for n in range(1, order + 1):
                counts.update(tuple(text[i : i + n]) for i in range(len(text) - n + 1))
        before: dict[Gram, set[int]] = defaultdict(set)
        for gram in counts:
            if len(gram) > 1:
                before[gram[1:]].add(gram[0])
        self.adjusted = {
            gram: count if len(gram) == order or gram[0] == start else len(before[gram])
            for gram, count in counts.items()
            if gram != (start,)
        }
        self.discounts = {n: self._discounts(n) for n in range(1, order + 1)}
        self.followers: dict[Gram, dict[int, int]] = defaultdict(dict)
        for gram, count in self.adjusted.items():
            self.followers[gram[:-1]][gram[-1]] = count

    def _discounts(self, n: int) -> list[float]:
        found = Counter(count for gram, count in self.adjusted.items() if len(gram) == n)
        if not all(found[k] for k in (1, 2, 3, 4)):
            return [0.0, 0.5, 1.0, 1.5]
        y = found[1] / (found[1] + 2 * found[2])
        values = [0.0, *(k - (k + 1) * y * found[k + 1] / found[k] for k in (1, 2, 3))]
        return values if all(0 <= value <= k for k, value in enumerate(values)) else [0.0, 0.5, 1.0, 1.5]

    def probability(self, context: Sequence[int], token: int) -> float:
        """p(token | context)."""
        context = tuple(context)[max(len(context) - self.order + 1, 0) :]
        lower = self.probability(context[1:], token) if context else 1 / self.choices
        there = self.followers.get(context)
        if not there:
            return lower
        d = self.discounts[len(context) + 1]
        total = sum(there.values())
        count = there.get(token, 0)
        backoff = sum(d[min(value, 3)] for value in there.values()) / total
        return (count - d[min(count, 3)]) / total + backoff * lower
