"""Steps that leave rows of the training split out: by length, by language, copies and near copies.

Near copies by MinHash (Broder, 1997) with banding (Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, 2014):
texts whose sets of character 5-grams are alike share, with high probability, one band of minima; candidates are then
compared exactly. The first of several copies stays.
"""

from __future__ import annotations

import unicodedata
import zlib
from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import Field

from microtune.data.sources import Row
from microtune.data.steps.base import RowStep, View, steps
from microtune.data.steps.languages import language_of

GRAM = 5
BANDS, BAND = 16, 5  # sets that share 80 % of their grams meet in a band with a chance of 99.9 %; 50 %: 40 %
PRIME = (1 << 31) - 1
COMPARED = 2000  # characters of a text
BUCKET = 50  # earlier texts of one band that are compared: a cap against data that is all alike


class Length(RowStep):
    """Rows whose texts are too short or too long."""

    name: Literal["length"] = "length"
    least: int = Field(default=1, ge=0, description="characters, all texts of a row together")
    most: int = Field(default=1_000_000, ge=1, description="characters, all texts of a row together")

    def choose(self, rows: Sequence[Row], view: View) -> list[Row]:
        return [row for row in rows if self.least <= len(view.text(row).strip()) <= self.most]


class Language(RowStep):
    """Rows in other languages, as far as script and small words show."""

    name: Literal["language"] = "language"
    keep: list[Literal["en", "zh", "ja", "ko"]] = Field(default_factory=lambda: ["en", "zh"], description="languages")  # type: ignore[arg-type]
    unknown: Literal["keep", "drop"] = Field(default="keep", description="texts of which the language is not clear")

    def choose(self, rows: Sequence[Row], view: View) -> list[Row]:
        found = ((row, language_of(view.text(row)[:2000])) for row in rows)
        return [row for row, name in found if name in self.keep or (name is None and self.unknown == "keep")]


class Duplicates(RowStep):
    """Copies of a row, label included, after Unicode, case and blanks are made the same."""

    name: Literal["duplicates"] = "duplicates"
    by: Literal["row", "text"] = Field(default="row", description="text: also copies with another label")

    def choose(self, rows: Sequence[Row], view: View) -> list[Row]:
        seen: set[tuple[str, str]] = set()
        kept = []
        for row in rows:
            key = plain(view.text(row)), label_key(row, view) if self.by == "row" else ""
            if key not in seen:
                seen.add(key)
                kept.append(row)
        return kept


class NearDuplicates(RowStep):
    """Rows whose text nearly repeats that of an earlier one with the same label."""

    name: Literal["near-duplicates"] = "near-duplicates"
    alike: float = Field(default=0.8, gt=0, le=1, description="share of common character 5-grams (Jaccard)")

    def choose(self, rows: Sequence[Row], view: View) -> list[Row]:
        generator = np.random.default_rng(0)
        factors = generator.integers(1, PRIME, size=(BANDS * BAND, 2), dtype=np.int64)
        buckets: dict[tuple[int, bytes, str], list[np.ndarray]] = {}
        kept = []
        for row in rows:
            grams = grams_of(plain(view.text(row))[:COMPARED])
            keys = [(band, mark, label_key(row, view)) for band, mark in enumerate(bands_of(grams, factors))]
            close = (other for key in keys for other in buckets.get(key, ()))
            if any(jaccard(grams, other) >= self.alike for other in close):
                continue
            kept.append(row)
            for key in keys:
                place = buckets.setdefault(key, [])
                if len(place) < BUCKET:
                    place.append(grams)
        return kept


def plain(text: str) -> str:
    """A text by which copies are known: NFKC, lower case, single blanks."""
    return " ".join(unicodedata.normalize("NFKC", text).lower().split())


def label_key(row: Row, view: View) -> str:
    """The label as text; "" where the task has none."""
    return "" if view.label is None else repr(view.label(row))


def grams_of(text: str) -> np.ndarray:
    """Hashes of the character 5-grams of a text, each once, ascending; of a shorter text its own hash."""
    whole = [text[i : i + GRAM] for i in range(max(1, len(text) - GRAM + 1))]
    return np.unique(np.array([zlib.crc32(g.encode("utf-8", "replace")) % PRIME for g in whole], dtype=np.int64))


def bands_of(grams: np.ndarray, factors: np.ndarray) -> list[bytes]:
    """The minima of each band under random permutations."""
    least = np.min((grams[:, None] * factors[:, 0] + factors[:, 1]) % PRIME, axis=0)
    return [least[i * BAND : (i + 1) * BAND].tobytes() for i in range(BANDS)]


def jaccard(a: np.ndarray, b: np.ndarray) -> float:
    """Size of the intersection over that of the union of two ascending sets."""
    both = len(np.intersect1d(a, b, assume_unique=True))
    return both / (len(a) + len(b) - both)


steps.add("length", Length)
steps.add("language", Language)
steps.add("duplicates", Duplicates)
steps.add("near-duplicates", NearDuplicates)
