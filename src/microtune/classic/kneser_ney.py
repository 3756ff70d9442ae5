"""Interpolated modified Kneser-Ney smoothing: from counts to the tables from which probabilities are read.

Chen and Goodman (1999), as KenLM computes it (Heafield et al., 2013). With a(g) the adjusted count of an n-gram g
(its count in the highest order, and where it begins a text; else the number of different tokens before it):

    p(w | c) = (a(c w) - D(a(c w))) / sum_x a(c x)  +  b(c) p(w | c without its first token)
    b(c)     = sum_x D(a(c x)) / sum_x a(c x)
    D(k)     = k - (k + 1) t_1 t_(k+1) / ((t_1 + 2 t_2) t_k)   for k = 1, 2 and 3 or more; t_k n-grams of the order have
                                                                adjusted count k

and below the unigrams the uniform distribution over everything that can follow. Where the counts of an order give no
discounts (small or artificial texts), D is 0.5, 1 and 1.5, as in KenLM's --discount_fallback.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from microtune.classic.counting import STEP, Array, Counted, Level

FALLBACK = (0.5, 1.0, 1.5)


@dataclass(frozen=True)
class Order:
    """One order n of a smoothed model.

    keys: uint64 [M] (of order 1: empty, a token is its own index); counts: uint32 [M], adjusted; totals: uint32 [M] and
    backoffs: float64 [M]: sum and b of each n-gram as a context (0 and 1 where nothing was seen after it; absent in
    the highest order); discounts: D(1), D(2), D(3 or more).
    """

    keys: Array
    counts: Array
    totals: Array | None
    backoffs: Array | None
    discounts: tuple[float, float, float]
    fallback: bool


@dataclass(frozen=True)
class Smoothed:
    """All orders; total and backoff: of the empty context; choices: how many tokens can follow at all."""

    orders: list[Order]
    total: float
    backoff: float
    choices: int


def smooth(counted: Counted, choices: int, work: Path) -> Smoothed:
    """Counts -> tables. choices: the number of tokens that the uniform distribution is over; work: as for counting."""
    levels = counted.levels
    unigrams = _adjusted(counted.unigrams, levels[0] if levels else None)
    unigrams[counted.start] = 0  # a text begins once: it never follows
    tables = [unigrams]
    for number, level in enumerate(levels):
        above = levels[number + 1] if number + 1 < len(levels) else None
        tables.append(_stored(_adjusted(level.counts, above), work / f"adjusted.{number + 2}.bin"))
    found = [discounts(table) for table in tables]
    orders = []
    for number, table in enumerate(tables):
        totals = backoffs = None
        if number + 1 < len(tables):
            level = levels[number]
            totals, backoffs = _contexts(len(table), level, tables[number + 1], found[number + 1][0], counted.width)
            totals = _stored(totals, work / f"totals.{number + 1}.bin")
            backoffs = _stored(backoffs, work / f"backoffs.{number + 1}.bin")
        keys = levels[number - 1].keys if number else np.zeros(0, dtype=np.uint64)
        orders.append(Order(keys, table, totals, backoffs, *found[number]))
    total = int(unigrams.sum(dtype=np.int64))
    left = float(np.array([0.0, *found[0][0]])[np.minimum(unigrams, 3)].sum())
    return Smoothed(orders, float(total), left / total, choices)


def _adjusted(counts: Array, above: Level | None) -> Array:
    """Different tokens before each n-gram; of what only begins texts, and in the highest order, its count."""
    if above is None:
        return np.array(counts, dtype=np.uint32)
    before = np.zeros(len(counts), dtype=np.uint32)
    for low in range(0, len(above.suffixes), STEP):
        np.add.at(before, above.suffixes[low : low + STEP], 1)
    return np.where(before == 0, counts, before)


def discounts(counts: Array) -> tuple[tuple[float, float, float], bool]:
    """D(1), D(2), D(3 or more) of an order by its adjusted counts; and whether they are the fallback."""
    t = np.zeros(5)
    for low in range(0, len(counts), STEP):
        part = counts[low : low + STEP]
        t += np.bincount(part[part < 5].astype(np.int64), minlength=5)
    if not t[1:].all():
        return FALLBACK, True
    y = t[1] / (t[1] + 2 * t[2])
    found = tuple(k - (k + 1) * y * t[k + 1] / t[k] for k in (1, 2, 3))
    if any(not 0 <= d <= k for k, d in enumerate(found, 1)):
        return FALLBACK, True
    return (float(found[0]), float(found[1]), float(found[2])), False


def _contexts(
    size: int, level: Level, counts: Array, found: tuple[float, float, float], width: int
) -> tuple[Array, Array]:
    """Sum of the adjusted counts and b of every context of the order below `level`."""
    totals, left = np.zeros(size, dtype=np.uint32), np.zeros(size)
    table = np.array([0.0, *found])
    for low in range(0, len(level.keys), STEP):
        context = (level.keys[low : low + STEP] // np.uint64(width)).astype(np.int64)
        part = counts[low : low + STEP]
        np.add.at(totals, context, part)
        np.add.at(left, context, table[np.minimum(part, 3)])
    seen = totals > 0
    left[seen] /= totals[seen]
    left[~seen] = 1.0
    return totals, left


def _stored(array: Array, path: Path) -> Array:
    """The array as a file that is mapped: only one order at a time stands in memory."""
    if not len(array):
        return array
    with open(path, "wb") as out:
        array.tofile(out)
    return np.memmap(path, array.dtype, "r")
