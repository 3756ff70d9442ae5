"""Near-duplicates: texts whose character 5-grams overlap by 80 %, found by MinHash (Broder, 1997).

Signatures are compared in bands (Indyk and Motwani, 1998; Leskovec, Rajaraman and Ullman, 2014): two texts that share
one band are looked at exactly. Written with numpy rather than with datasketch: the n-grams of a text are hashed in one
go, which is several times faster than its update for each n-gram, in fewer lines than its use would take.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

Grams = NDArray[np.uint64]
SIZE = 5  # characters of an n-gram
COMPARED = 2000  # characters of a text that are compared
BANDS, BAND = 16, 4  # a pair of 80 % overlap shares a band with probability 0.9998
ALIKE = 0.8
LEADERS = 8  # texts of one bucket that others are compared with: a cap against data that is all alike

_POWERS = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x27D4EB2F165667C5, 1], dtype=np.uint64)


@cache
def _functions() -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Factors and offsets of the random functions; drawn when first asked for: `numpy.random` takes 2 MB."""
    random = np.random.default_rng(20_240_613)
    factors = random.integers(1, 2**63, BANDS * BAND, dtype=np.uint64) | np.uint64(1)
    return factors, random.integers(0, 2**63, BANDS * BAND, dtype=np.uint64)


def grams(text: str) -> Grams:
    """The sorted hashes of the different n-grams of a normalised text."""
    codes = np.frombuffer(text[:COMPARED].encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.uint64)
    if len(codes) < SIZE:
        codes = np.pad(codes, (0, SIZE - len(codes)))
    windows = np.lib.stride_tricks.sliding_window_view(codes, SIZE)
    mixed = (windows * _POWERS).sum(axis=1, dtype=np.uint64)
    mixed ^= mixed >> np.uint64(29)
    return np.unique(mixed * np.uint64(0xBF58476D1CE4E5B9))


def signature(found: Grams) -> list[int]:
    """BANDS numbers, each from BAND of the smallest hashes under 64 random functions."""
    factors, offsets = _functions()
    mixed = factors[:, None] * found
    mixed += offsets[:, None]
    least = (mixed.min(axis=1) >> np.uint64(11)).reshape(BANDS, BAND)
    numbers: list[int] = (least * _POWERS[:BAND]).sum(axis=1, dtype=np.uint64).tolist()
    return numbers


def jaccard(one: Grams, other: Grams) -> float:
    """Overlap of two sets of n-grams."""
    shared = len(np.intersect1d(one, other, assume_unique=True))
    return shared / max(1, len(one) + len(other) - shared)


class Neighbours:
    """Sets of n-grams seen so far, and which of them is most like another one."""

    def __init__(self, leaders: int = LEADERS) -> None:
        self.leaders = leaders
        self._sets: dict[int, Grams] = {}
        self._buckets: list[dict[int, list[int]]] = [defaultdict(list) for _ in range(BANDS)]

    def closest(self, found: Grams, keys: Sequence[int]) -> tuple[float, int]:
        """(similarity, number) of the most alike set that shares a band of the signature `keys`; else (0, -1)."""
        near = {number for bucket, key in zip(self._buckets, keys, strict=True) for number in bucket.get(key, ())}
        return max(((jaccard(self._sets[number], found), number) for number in near), default=(0.0, -1))

    def add(self, number: int, found: Grams, keys: Sequence[int]) -> None:
        """Remember a set in those of its buckets that are not full."""
        for bucket, key in zip(self._buckets, keys, strict=True):
            if len(bucket[key]) < self.leaders:
                bucket[key].append(number)
                self._sets[number] = found
