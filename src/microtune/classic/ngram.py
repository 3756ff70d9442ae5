"""N-gram language models: interpolated modified Kneser-Ney of any order, over tokens or characters.

The oldest model here (Shannon, 1951; Kneser and Ney, 1995; Chen and Goodman, 1999), and still what every later one
should be compared with: it learns by counting, once through the text. `Table` answers for many contexts at once; its
arrays are sorted and may be mapped from disk.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from microtune.classic.base import Classic, classics
from microtune.classic.counting import MOST_TOKENS, Array, Counted, count_order, count_tokens
from microtune.classic.kneser_ney import Order, Smoothed, smooth
from microtune.errors import InputError, RunError
from microtune.recipe import Section


class NGram(Classic):
    """Counts of up to `order` tokens, smoothed by interpolated modified Kneser-Ney."""

    name: Literal["ngram"] = "ngram"
    short: ClassVar[str | None] = "order"
    order: int = Field(default=5, ge=1, le=8, description="tokens of the longest n-gram")
    unit: Literal["tokens", "characters"] = Field(
        default="tokens", description="tokens of model.tokenizer, or characters; what is rare is spelled in bytes"
    )


class OrderFacts(Section):
    """What is written of an order beside its arrays."""

    discounts: tuple[float, float, float]
    fallback: bool


class TableFacts(Section):
    """What is written of a table beside its arrays."""

    width: int = Field(ge=2)
    start: int = Field(ge=0)
    choices: int = Field(ge=1)
    total: float = Field(gt=0)
    backoff: float = Field(ge=0, le=1)
    tokens: int = Field(ge=1)
    orders: list[OrderFacts] = Field(min_length=1)


class Table:
    """A smoothed n-gram model over ids 0 .. width - 1, of which `start` begins every text and never follows."""

    def __init__(self, smoothed: Smoothed, width: int, start: int, tokens: int) -> None:
        self.orders, self.width, self.start, self.tokens = smoothed.orders, width, start, tokens
        self.total, self.backoff, self.choices = smoothed.total, smoothed.backoff, smoothed.choices
        counts = np.asarray(self.orders[0].counts)
        self.unigrams: Array = self._discounted(0, counts, np.full(len(counts), self.total))
        self.unigrams += self.backoff / self.choices
        self.unigrams[start] = 0.0

    @property
    def order(self) -> int:
        """Tokens of the longest n-gram."""
        return len(self.orders)

    @property
    def sizes(self) -> list[int]:
        """Distinct n-grams of each order."""
        return [len(order.counts) for order in self.orders]

    def probabilities(self, ids: Array) -> Array:
        """The probability of every token of one or several texts, given those before it: float64 [T].

        ids: [T], texts end to end, each beginning with `start`, whose own probability is set to 1.
        """
        ids = np.asarray(ids, dtype=np.int64)
        result = self.unigrams[ids]
        opening = ids == self.start
        ends = np.where(opening | (self.orders[0].counts[ids] > 0), ids, -1)
        ends[opening] = self.start
        for n in range(1, self.order):
            context = np.concatenate(([-1], ends[:-1]))
            context[opening] = -1
            found = self._find(n, context, ids)
            result = self._interpolated(n, context, found, result)
            ends = found
        result[opening] = 1.0
        return result

    def distribution(self, context: Sequence[int]) -> Array:
        """The probability of every id after `context` (its last order - 1 ids count): float64 [width]."""
        result = self.unigrams.copy()
        for n, node in self.nodes(context):
            lower = self.orders[n - 1]
            assert lower.totals is not None
            assert lower.backoffs is not None
            total = float(lower.totals[node])
            if not total:
                continue
            low, high = self._children(n, node)
            result *= float(lower.backoffs[node])
            followers = (self.orders[n].keys[low:high] - np.uint64(node * self.width)).astype(np.int64)
            counts = np.asarray(self.orders[n].counts[low:high])
            result[followers] += self._discounted(n, counts, np.full(len(counts), total))
        return result

    def nodes(self, context: Sequence[int]) -> Iterable[tuple[int, int]]:
        """(n, index in order n of the last n tokens of `context`), for the n from 1 on that were counted."""
        context = list(context)[max(len(context) - self.order + 1, 0) :]
        for n in range(1, len(context) + 1):
            tail = context[len(context) - n :]
            node = tail[0]
            for level, token in enumerate(tail[1:], 1):
                node = int(self._find(level, np.array([node]), np.array([token]))[0])
                if node < 0:
                    return  # a longer context that ends like this was not seen either
            yield n, node

    def _find(self, n: int, context: Array, ids: Array) -> Array:
        """Index in the table of order n + 1 of each n-gram `context, id`, or -1."""
        keys = self.orders[n].keys
        asked = np.where(context >= 0, context, 0).astype(np.uint64) * np.uint64(self.width) + ids.astype(np.uint64)
        if not len(keys):
            return np.full(len(ids), -1)
        places = np.minimum(np.searchsorted(keys, asked), len(keys) - 1)
        return np.where((context >= 0) & (keys[places] == asked), places, -1)

    def _children(self, n: int, node: int) -> tuple[int, int]:
        bounds = np.array([node * self.width, (node + 1) * self.width], dtype=np.uint64)
        low, high = np.searchsorted(self.orders[n].keys, bounds)
        return int(low), int(high)

    def _interpolated(self, n: int, context: Array, found: Array, lower: Array) -> Array:
        """p of order n + 1 from that of order n."""
        below = self.orders[n - 1]
        assert below.totals is not None
        assert below.backoffs is not None
        known = context >= 0
        places = np.where(known, context, 0)
        totals = np.where(known, below.totals[places], 0).astype(np.float64)
        weights = np.where(known, below.backoffs[places], 1.0)
        counts = np.where(found >= 0, self.orders[n].counts[np.maximum(found, 0)], 0) if self.sizes[n] else 0 * context
        return self._discounted(n, counts, totals) + weights * lower

    def _discounted(self, n: int, counts: Array, totals: Array) -> Array:
        """(a - D(a)) / sum; 0 where nothing was counted."""
        table = np.array([0.0, *self.orders[n].discounts])
        return (counts - table[np.minimum(counts, 3)]) / np.maximum(totals, 1.0)

    def arrays(self) -> dict[str, Array]:
        """What `Table.of` needs beside `facts`."""
        result: dict[str, Array] = {}
        for n, order in enumerate(self.orders, 1):
            parts = {"counts": order.counts, "totals": order.totals, "backoffs": order.backoffs}
            result |= {f"{name}.{n}": part for name, part in parts.items() if part is not None}
            if n > 1:
                result[f"keys.{n}"] = order.keys
        return result

    def facts(self) -> TableFacts:
        """What is no array."""
        return TableFacts(
            width=self.width,
            start=self.start,
            choices=self.choices,
            total=self.total,
            backoff=self.backoff,
            tokens=self.tokens,
            orders=[OrderFacts(discounts=o.discounts, fallback=o.fallback) for o in self.orders],
        )

    @classmethod
    def of(cls, arrays: Mapping[str, Array], facts: TableFacts, where: str) -> Table:
        """The table that `arrays` and `facts` describe; RunError where they do not fit together."""
        orders, last = [], len(facts.orders)
        for n, fact in enumerate(facts.orders, 1):
            names = ["counts", *(["keys"] if n > 1 else []), *(["totals", "backoffs"] if n < last else [])]
            parts: dict[str, Any] = {name: arrays[f"{name}.{n}"] for name in names if f"{name}.{n}" in arrays}
            lengths = {len(part) for part in parts.values()}
            if len(parts) < len(names) or len(lengths) != 1 or (n == 1 and lengths != {facts.width}):
                raise RunError(f"{where}: the arrays of order {n} are missing or of different lengths.")
            empty: dict[str, Any] = {"keys": np.zeros(0, dtype=np.uint64), "totals": None, "backoffs": None}
            orders.append(Order(**{**empty, **parts}, **fact.model_dump()))
        return cls(Smoothed(orders, facts.total, facts.backoff, facts.choices), facts.width, facts.start, facts.tokens)


def count_table(tokens: Array, order: int, width: int, start: int, choices: int, work: Path) -> Iterable[int | Table]:
    """Count and smooth; yields each order that is done, and the table last.

    tokens: [T], texts end to end, each beginning with `start`; choices: how many of the ids can follow.
    """
    longest = longest_text(tokens, start)
    if longest < 2:
        raise InputError("The corpus is empty: there is no text to count in.")
    if longest < order:
        raise InputError(
            f"model.classic.order is {order}, but the longest text has {longest} tokens, its beginning and end "
            f"included; take an order of at most {longest}, or more text."
        )
    if len(tokens) >= MOST_TOKENS:
        raise InputError(f"The corpus has {len(tokens):,} tokens; at most {MOST_TOKENS:,} can be counted.")
    counted = Counted(width, start, count_tokens(tokens, width), [])
    yield 1
    ends = np.asarray(tokens, dtype=np.uint32)
    for n in range(2, order + 1):
        level, ends = count_order(tokens, ends, n, width, start, work)
        counted.levels.append(level)
        yield n
    yield Table(smooth(counted, choices, work), width, start, len(tokens))


def longest_text(tokens: Array, start: int) -> int:
    """Tokens of the longest text, `start` included."""
    begins = np.flatnonzero(np.asarray(tokens) == start)
    return int(np.diff(np.append(begins, len(tokens))).max(initial=0))


classics.add("ngram", NGram)
