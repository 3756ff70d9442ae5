"""Parting rows: sizes, classes, groups and determinism; copies between the parts, against a brute-force count."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from microtune.data.sources import Row
from microtune.data.splits import (
    near_duplicates,
    normalised,
    overlap,
    remove_overlap,
    split_by_field,
    split_rows,
)
from microtune.errors import InputError
from patience import within

SPLIT = {"validation": 0.1, "test": 0.1}


def make(labels: list[Any]) -> list[Row]:
    return [Row({"text": f"text {i}", "label": label}, "d.csv", i + 2) for i, label in enumerate(labels)]


def label(row: Row) -> Any:
    return row.data["label"]


def text(row: Row) -> str:
    return str(row.data["text"])


def test_sizes_order_and_nothing_lost() -> None:
    rows = make([i % 3 for i in range(1000)])
    parts = split_rows(rows, split=SPLIT, label=label, seed=1)
    assert {name: len(part) for name, part in parts.items()} == {"train": 800, "validation": 100, "test": 100}
    assert sorted(row.line for part in parts.values() for row in part) == [row.line for row in rows]
    for part in parts.values():
        assert [row.line for row in part] == sorted(row.line for row in part)
    for name in ("validation", "test"):
        assert sorted(Counter(map(label, parts[name])).values()) == [33, 33, 34]


def test_deterministic_and_seeded() -> None:
    rows = make([i % 3 for i in range(200)])
    first = split_rows(rows, split=SPLIT, label=label, seed=1)
    assert first == split_rows(rows, split=SPLIT, label=label, seed=1)
    assert first["test"] != split_rows(rows, split=SPLIT, label=label, seed=2)["test"]
    assert split_rows(rows, split=SPLIT, label=None, seed=1)["test"] != first["test"]


def test_small_classes_are_in_every_part() -> None:
    rows = make(["big"] * 400 + ["small"] * 3 + ["tiny"] * 2 + ["one"])
    parts = split_rows(rows, split=SPLIT, label=label, seed=0)
    counts = {name: Counter(map(label, part)) for name, part in parts.items()}
    assert [counts[name]["small"] for name in parts] == [1, 1, 1]
    assert [counts[name]["tiny"] for name in parts] == [2, 0, 0]
    assert [counts[name]["one"] for name in parts] == [1, 0, 0]
    assert [len(part) for part in parts.values()] == [324, 41, 41]


def test_many_classes_do_not_blow_up_a_part() -> None:
    """77 classes of three rows: a tenth has no place for each class, so it stays a tenth."""
    parts = split_rows(make([i % 77 for i in range(231)]), split=SPLIT, label=label, seed=0)
    assert [len(part) for part in parts.values()] == [185, 23, 23]


def test_groups_stay_together() -> None:
    rng = random.Random(0)
    rows = [Row({"text": str(rng.randrange(60)), "label": i % 2}, "d", i) for i in range(300)]
    parts = split_rows(rows, split=SPLIT, label=label, group=text, seed=3)
    seen = [{text(row) for row in part} for part in parts.values()]
    assert not (seen[0] & seen[1] | seen[0] & seen[2] | seen[1] & seen[2])
    assert all(abs(len(part) - size) <= 8 for part, size in zip(parts.values(), (240, 30, 30), strict=True))


def test_unhashable_labels_and_one_part() -> None:
    parts = split_rows(make([["a"], ["b"]] * 10), split={"test": 0.2}, label=label, seed=0)
    assert [len(parts["train"]), len(parts["test"])] == [16, 4]


@pytest.mark.parametrize(
    ("count", "split", "expected"),
    [
        (2, SPLIT, "2 rows are too few to part into train, validation, test: train would be empty."),
        (9, {"test": 1.0}, "split.test is 1.0; it must be a fraction between 0 and 1, such as 0.1."),
        (9, {"test": 0.5, "validation": 0.5}, "split leaves nothing for train: the fractions add up to 1."),
        (9, {"tset": 0.1}, 'split names the part "tset"; parts are validation and test, the rest is train.'),
    ],
)
def test_impossible_splits(count: int, split: dict[str, float], expected: str) -> None:
    with pytest.raises(InputError) as caught:
        split_rows(make([0] * count), split=split, label=label, seed=0)
    assert str(caught.value) == expected


def test_split_by_field() -> None:
    values = ["train", "DEV", "valid", "val", "validation", " Test ", "训练集"]
    rows = [Row({"split": value}, "d.csv", i + 2) for i, value in enumerate(values)]
    parts = split_by_field(rows, "split")
    assert {name: [row.line for row in part] for name, part in parts.items()} == {
        "train": [2, 8],
        "validation": [3, 4, 5, 6],
        "test": [7],
    }
    with pytest.raises(InputError) as caught:
        split_by_field([Row({"split": "tarin"}, "d.csv", 9)], "split")
    assert str(caught.value) == (
        'd.csv, line 9: the field "split" says "tarin"; it must be train, validation (valid, val, dev) or test.'
    )
    with pytest.raises(InputError, match='line 9: no field "split"; it must be'):
        split_by_field([Row({}, "d.csv", 9)], "split")


def of(*texts: str) -> list[Row]:
    return [Row({"text": t}, "d", i) for i, t in enumerate(texts, 1)]


def test_exact_overlap_after_normalisation() -> None:
    assert normalised(" Ｆｕｌｌ　Width \n STRASSE ﬁ") == "full width strasse fi"
    train, test = of("Hello  World", "other", "ｈｅｌｌｏ world", "last"), of("x", "hello world ", "hello world")
    assert [(a.line, b.line) for a, b in overlap(train, test, text)] == [(1, 2), (3, 2)]
    kept, removed = remove_overlap(train, test, text)
    assert ([row.line for row in kept], len(removed)) == ([2, 4], 2)


def brute(train: list[Row], test: list[Row]) -> set[int]:
    """Lines of the test rows that nearly equal a training row, by comparing all pairs."""

    def grams(value: str) -> set[str]:
        value = normalised(value)
        return {value[i : i + 5] for i in range(max(1, len(value) - 4))}

    sets = [grams(text(row)) for row in train]
    found = set()
    for row in test:
        mine = grams(text(row))
        if any(len(mine & s) >= 0.8 * len(mine | s) for s in sets):
            found.add(row.line)
    return found


def test_near_duplicates_equal_brute_force() -> None:
    rng = random.Random(0)
    words = [f"w{i}rd" for i in range(40)]
    base = [" ".join(rng.choices(words, k=rng.randrange(1, 25))) for _ in range(300)]
    edited = []
    for t in base:
        cut = t.split()
        for _ in range(rng.randrange(1, 4)):
            cut[rng.randrange(len(cut))] = rng.choice(words)
        edited.append(" ".join(cut))
    train, test = of(*base), of(*edited)
    exact = {normalised(text(row)) for row in train}
    expected = {line for line in brute(train, test) if normalised(edited[line - 1]) not in exact}
    found = near_duplicates(train, test, text)
    assert len(expected) > 30
    assert {row.line for _, row, _ in found} == expected
    assert all(similarity >= 0.8 for *_, similarity in found)


@pytest.mark.parametrize("count", [2000, pytest.param(10_000, marks=pytest.mark.slow)])
def test_near_duplicates_are_fast(count: int) -> None:
    """10,000 x 10,000 short texts take about three seconds on one core of the machine this was written on."""
    rng = random.Random(0)
    words = [f"{rng.choice('bcdfgh')}{rng.choice('aeiou')}{rng.choice('lmnprst')}{i}" for i in range(3000)]
    texts = [" ".join(rng.choices(words, k=10)) for _ in range(2 * count)]
    texts[count + 500] = texts[3] + " x"
    with within(20):
        found = near_duplicates(of(*texts[:count]), of(*texts[count:]), text)
    assert [(a.line, b.line) for a, b, _ in found] == [(4, 501)]


def test_near_duplicates_of_one_template_stay_fast() -> None:
    texts = [f"please cancel my order number {i:05d} as soon as you possibly can" for i in range(4000)]
    with within(20):
        near_duplicates(of(*texts[:2000]), of(*texts[2000:]), text)


def test_labels_that_are_no_classes_are_named_as_the_reason() -> None:
    with pytest.raises(InputError) as caught:
        split_rows(make([f"day {i}" for i in range(40)]), split=SPLIT, label=label, group=text)
    assert str(caught.value) == (
        "40 rows have 40 different labels, too many to part into train, validation, test with some of each; is the "
        "right field the label (--label-field)?"
    )
