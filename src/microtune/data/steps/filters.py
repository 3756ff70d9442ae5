"""Steps that leave rows of the training split out: by length, by language, copies and near copies.

Near copies are found by MinHash (data/minhash.py). The first of several copies stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from microtune.data import languages
from microtune.data.minhash import ALIKE, COMPARED, Neighbours, grams, signature
from microtune.data.sources import Row
from microtune.data.splits import normalised
from microtune.data.steps.base import RowStep, View, steps

BUCKET = 50  # earlier texts of one band that are compared: more than lint, for here only what stays is remembered


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
    keep: list[languages.Language] = Field(default_factory=lambda: ["en", "zh"], description="languages")  # type: ignore[arg-type]
    unknown: Literal["keep", "drop"] = Field(default="keep", description="texts of which the language is not clear")

    def choose(self, rows: Sequence[Row], view: View) -> list[Row]:
        found = ((row, languages.language(view.text(row))) for row in rows)
        unclear = self.unknown == "keep"
        return [row for row, name in found if name in self.keep or (unclear and name not in languages.KNOWN)]


class Duplicates(RowStep):
    """Copies of a row, label included, after Unicode, case and blanks are made the same."""

    name: Literal["duplicates"] = "duplicates"
    by: Literal["row", "text"] = Field(default="row", description="text: also copies with another label")

    def choose(self, rows: Sequence[Row], view: View) -> list[Row]:
        seen: set[tuple[str, str]] = set()
        kept = []
        for row in rows:
            key = normalised(view.text(row)), label_key(row, view) if self.by == "row" else ""
            if key not in seen:
                seen.add(key)
                kept.append(row)
        return kept


class NearDuplicates(RowStep):
    """Rows whose text nearly repeats that of an earlier one with the same label."""

    name: Literal["near-duplicates"] = "near-duplicates"
    alike: float = Field(default=ALIKE, gt=0, le=1, description="share of common character 5-grams (Jaccard)")

    def choose(self, rows: Sequence[Row], view: View) -> list[Row]:
        seen: dict[str, Neighbours] = {}
        kept = []
        for number, row in enumerate(rows):
            found = grams(normalised(view.text(row)[:COMPARED]))
            keys = signature(found)
            neighbours = seen.setdefault(label_key(row, view), Neighbours(BUCKET))
            if neighbours.closest(found, keys)[0] < self.alike:
                kept.append(row)
                neighbours.add(number, found, keys)
        return kept


def label_key(row: Row, view: View) -> str:
    """The label as text; "" where the task has none."""
    return "" if view.label is None else repr(view.label(row))


steps.add("length", Length)
steps.add("language", Language)
steps.add("duplicates", Duplicates)
steps.add("near-duplicates", NearDuplicates)
