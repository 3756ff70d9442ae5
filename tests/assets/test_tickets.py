"""The embedded data set: what its card says is true."""

from __future__ import annotations

from collections import Counter

import pytest

from microtune.data.sources import Row
from microtune.data.splits import near_duplicates, overlap
from microtune.run.tour import LANGUAGES, majority, tfidf, tickets


@pytest.fixture(scope="module")
def parts() -> dict[str, list[Row]]:
    return tickets()


def test_counts_per_language_intent_and_split(parts: dict[str, list[Row]]) -> None:
    counts = Counter((r.data["language"], r.data["intent"], split) for split, rows in parts.items() for r in rows)
    assert len(counts) == 2 * 12 * 3
    for (_, _, split), count in counts.items():
        assert count == {"train": 36, "validation": 8, "test": 16}[split]


def test_no_copies_within_or_across_splits(parts: dict[str, list[Row]]) -> None:
    texts = [row.data["text"] for rows in parts.values() for row in rows]
    assert len(set(texts)) == len(texts) == 1440

    def key(row: Row) -> str:
        return str(row.data["text"])

    rest = parts["train"] + parts["validation"]
    assert not overlap(rest, parts["test"], key)
    assert not near_duplicates(rest, parts["test"], key, threshold=0.6)
    assert not near_duplicates(parts["train"], parts["validation"], key, threshold=0.6)


def test_the_baseline_is_neither_hopeless_nor_perfect(parts: dict[str, list[Row]]) -> None:
    baseline = tfidf(parts)
    for language in LANGUAGES:
        accuracy, low, high = baseline.accuracy(parts["test"], language)
        assert 0.60 <= accuracy <= 0.92
        assert low < accuracy < high


def test_majority_is_one_class_in_twelve(parts: dict[str, list[Row]]) -> None:
    for language in LANGUAGES:
        assert majority(parts).accuracy(parts["test"], language)[0] == pytest.approx(1 / 12)


def test_no_contact_data_of_anyone(parts: dict[str, list[Row]]) -> None:
    text = "\n".join(row.data["text"] for rows in parts.values() for row in rows)
    assert "@" not in text
    assert "http" not in text.lower()
