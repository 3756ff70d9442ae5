"""Near-duplicates: texts whose character 5-grams overlap by 80 %, found by MinHash (Broder, 1997).

Signatures are compared in bands (Indyk and Motwani, 1998; Leskovec et al., 2014): two texts that share one band are
looked at exactly. Written with numpy rather than with datasketch: the n-grams of a text are hashed in one go, which is
several times faster than its update for each n-gram, in fewer lines than its use would take.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from microtune.data.lint.base import Base, Finding, Seen, Tally
from microtune.data.splits import normalised

Grams = NDArray[np.uint64]
SIZE = 5  # characters of an n-gram
COMPARED = 1000  # characters of a text that are compared
BANDS, BAND = 16, 4  # a pair of 80 % overlap shares a band with probability 0.9998
ALIKE = 0.8
LEADERS = 8  # texts of one bucket that others are compared with
SAID = 500  # texts between two words about how far it is
SHORT = 30  # characters below which two texts are often alike by chance

_random = np.random.default_rng(20_240_613)
_FACTORS = _random.integers(1, 2**63, BANDS * BAND, dtype=np.uint64) | np.uint64(1)
_OFFSETS = _random.integers(0, 2**63, BANDS * BAND, dtype=np.uint64)
_POWERS = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x27D4EB2F165667C5, 1], dtype=np.uint64)


def grams(text: str) -> Grams:
    """The sorted hashes of the different n-grams of a normalised text."""
    codes = np.frombuffer(text[:COMPARED].encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.uint64)
    if len(codes) < SIZE:
        codes = np.pad(codes, (0, SIZE - len(codes)))
    windows = np.lib.stride_tricks.sliding_window_view(codes, SIZE)
    mixed = (windows * _POWERS).sum(axis=1, dtype=np.uint64)
    mixed ^= mixed >> np.uint64(29)
    return np.unique(mixed * np.uint64(0xBF58476D1CE4E5B9))


def signature(found: Grams) -> Grams:
    """BANDS numbers, each from BAND of the smallest hashes under 64 random functions."""
    least = ((found[:, None] * _FACTORS + _OFFSETS) >> np.uint64(11)).min(axis=0).reshape(BANDS, BAND)
    return (least * _POWERS[:BAND]).sum(axis=1, dtype=np.uint64)


def jaccard(one: Grams, other: Grams) -> float:
    """Overlap of two sets of n-grams."""
    shared = len(np.intersect1d(one, other, assume_unique=True))
    return shared / max(1, len(one) + len(other) - shared)


def near_pairs(texts: Sequence[str]) -> Iterator[tuple[int, int, float]]:
    """(earlier, later, similarity) for each text that is nearly, but not exactly, an earlier one."""
    return (found for found in compared(texts) if found[2] >= ALIKE)


def compared(texts: Sequence[str]) -> Iterator[tuple[int, int, float]]:
    """(most alike earlier text or -1, text, similarity) of every text; copies of earlier texts have similarity 0."""
    clean = [normalised(text[:COMPARED]) for text in texts]
    found = [grams(text) for text in clean]
    buckets: list[dict[int, list[int]]] = [defaultdict(list) for _ in range(BANDS)]
    seen: set[str] = set()
    for later, text in enumerate(clean):
        if text in seen or len(text) < SHORT:
            yield -1, later, 0.0
            continue
        seen.add(text)
        best = (0.0, -1)
        tried: set[int] = set()
        for bucket, key in zip(buckets, signature(found[later]).tolist(), strict=True):
            leaders = bucket[key]
            for earlier in leaders:
                if earlier not in tried:
                    tried.add(earlier)
                    best = max(best, (jaccard(found[earlier], found[later]), earlier))
            if len(leaders) < LEADERS:
                leaders.append(later)
        yield best[1], later, best[0]


def _text_of(seen: Seen) -> str:
    """What is compared: a written answer too, for questions that differ in one word are not copies."""
    return seen.text if seen.labels else f"{seen.text}\n{seen.target}"


class NearDuplicates(Base):
    """Near-duplicates in a sample, and between it and the test rows."""

    def __init__(self, rows: Sequence[Seen]) -> None:
        self._near, self._leaks = Tally(), Tally()
        self.rows = sum(not seen.test for seen in rows)
        self._order = sorted(rows, key=lambda seen: (not seen.test, seen.number))  # test rows first

    def measure(self) -> Iterator[int]:
        """Compare the rows; yields how many are done."""
        for one, other, share in compared([_text_of(seen) for seen in self._order]):
            if other % SAID == 0:
                yield other
            earlier, later = self._order[one], self._order[other]
            if later.test or share < ALIKE:
                continue
            what = f"{share:.0%} as {'test ' if earlier.test else ''}line {earlier.row.line}: {later.text[:60]}"
            (self._leaks if earlier.test else self._near).add(later.row, what)

    def findings(self) -> Sequence[Finding]:
        """Near-copies are a note up to 2 %, then a warning; those of test rows are a warning."""
        found = []
        if self._leaks.count:
            found.append(Finding("near-test", "warning", self._leaks.count, self.rows, self._leaks.places))
        if self._near.count:
            much = self._near.count > 0.02 * self.rows
            severity = "warning" if much else "note"
            found.append(Finding("near-copies", severity, self._near.count, self.rows, self._near.places))  # type: ignore[arg-type]
        return found
