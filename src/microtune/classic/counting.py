"""Counting all n-grams of a text of token ids, in bounded memory: sort and unique on packed ids, a part at a time.

An n-gram of order n is a pair of whole numbers: the place of its first n - 1 tokens in the table of order n - 1, and
its last token. So every n-gram of any order packs into 64 bits, and the sorted table of an order is one level of a
trie, as in the tables of SRILM and KenLM (Stolcke, 2002; Heafield, 2011). The positions of a text are handled in parts
by their context, so that what is sorted at once stays below PART positions, however long the text is; the tables are
appended to files.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
PART = 1 << 22  # positions sorted at once: about 200 MB
STEP = 1 << 20  # positions or entries looked at in one numpy call
NONE = np.uint32(0xFFFFFFFF)  # no n-gram of this order ends here
MOST_TOKENS = 1 << 31


@dataclass(frozen=True)
class Level:
    """The distinct n-grams of one order n >= 2, sorted.

    keys: uint64 [M], context * width + last token, where `context` is an index of the level below (of order 2: a
    token); counts: uint32 [M], how often each occurs; suffixes: uint32 [M], the index of the n-gram without its first
    token in the level below.
    """

    keys: Array
    counts: Array
    suffixes: Array


@dataclass(frozen=True)
class Counted:
    """Everything that was counted. unigrams: uint32 [width], by token, `start` included; levels: orders 2, 3 ..."""

    width: int
    start: int
    unigrams: Array
    levels: list[Level]


def count_order(tokens: Array, ends: Array, level: int, width: int, start: int, work: Path) -> tuple[Level, Array]:
    """Count the n-grams of order `level`.

    tokens: [T], texts end to end, each beginning with `start`; ends: uint32 [T], of the order below: which n-gram
    ends at each position, or NONE; width: ids are below it; work: a folder for the tables.
    Returns the table and the `ends` of this order.
    """
    files = {name: work / f"{name}.{level}.bin" for name in ("keys", "counts", "suffixes")}
    new = np.full(len(tokens), NONE, dtype=np.uint32)
    done = 0
    with open(files["keys"], "wb") as keys, open(files["counts"], "wb") as counts, open(files["suffixes"], "wb") as out:
        for places in _parts(tokens, ends, start):
            packed = ends[places - 1].astype(np.uint64) * np.uint64(width) + tokens[places].astype(np.uint64)
            order = np.argsort(packed, kind="stable")
            packed, places = packed[order], places[order]
            first = np.flatnonzero(np.concatenate(([True], packed[1:] != packed[:-1])))
            numbers = np.diff(np.append(first, len(packed)))
            new[places] = np.repeat(np.arange(done, done + len(first), dtype=np.uint32), numbers)
            keys.write(packed[first].tobytes())
            counts.write(numbers.astype(np.uint32).tobytes())
            out.write(ends[places[first]].astype(np.uint32).tobytes())
            done += len(first)
    return Level(*(_mapped(files[n], d) for n, d in (("keys", "u8"), ("counts", "u4"), ("suffixes", "u4")))), new


def _mapped(path: Path, dtype: str) -> Array:
    return np.memmap(path, dtype, "r") if path.stat().st_size else np.zeros(0, dtype)


def _parts(tokens: Array, ends: Array, start: int) -> Iterator[Array]:
    """Positions at which an n-gram ends, in parts of ascending contexts of about PART positions each."""
    largest = _largest(ends)
    if largest < 0:
        return
    seen = np.zeros(largest + 1, dtype=np.uint32)  # how often each context is followed by a token
    for low in range(1, len(tokens), STEP):
        before, here = ends[low - 1 : low + STEP - 1], tokens[low : low + STEP]
        before = before[: len(here)]
        np.add.at(seen, before[(before != NONE) & (here != start)], 1)
    total = np.cumsum(seen, dtype=np.int64)
    first = 0
    while first <= largest:
        base = int(total[first - 1]) if first else 0
        last = max(int(np.searchsorted(total, base + PART, side="right")), first + 1)  # contexts first..last-1
        places = _where(tokens, ends, start, first, last)
        if len(places):
            yield places
        first = last


def _where(tokens: Array, ends: Array, start: int, first: int, last: int) -> Array:
    found = []
    for low in range(1, len(tokens), STEP):
        here = tokens[low : low + STEP]
        before = ends[low - 1 : low + len(here) - 1]
        found.append(low + np.flatnonzero((before >= first) & (before < last) & (before != NONE) & (here != start)))
    return np.concatenate(found) if found else np.zeros(0, dtype=np.int64)


def _largest(ends: Array) -> int:
    largest = -1
    for low in range(0, len(ends), STEP):
        part = ends[low : low + STEP]
        part = part[part != NONE]
        largest = max(largest, int(part.max(initial=0)) if len(part) else -1)
    return largest


def count_tokens(tokens: Array, width: int) -> Array:
    """Order 1: uint32 [width]; which unigram ends at a position is the token itself."""
    result = np.zeros(width, dtype=np.int64)
    for low in range(0, len(tokens), STEP):
        result += np.bincount(tokens[low : low + STEP], minlength=width)
    return result.astype(np.uint32)
