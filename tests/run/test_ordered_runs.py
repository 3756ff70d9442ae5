"""Runs whose rows are parted in an order: what is tested, and what an answer without a model reaches on it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import make_base, run

from microtune import recipe as recipes
from microtune.data.sources import Row
from microtune.errors import InputError
from microtune.run.persistence import before_each
from microtune.run.prepare import Splits, make_splits, make_task

pytestmark = pytest.mark.usefixtures("quick")


def recipe(base: str, **data: Any) -> recipes.Recipe:
    train = {"max_steps": 2, "precision": "float32", "batch_size": 8}
    values = {"task": "classification", "model": {"source": base}, "method": "head", "train": train}
    return recipes.build({**values, "data": {"split_by": {"field": "day"}, **data}})


def write(path: Path, labels: str, first: int = 1) -> str:
    """A row a day: `u` is up, `d` down."""
    rows = [
        {"day": f"2024-01-{day:02d}", "text": f"news of day {day * 7919}", "label": {"u": "up", "d": "down"}[label]}
        for day, label in enumerate(labels, first)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in reversed(rows)), encoding="utf-8")
    return str(path)


def test_the_note_counts_what_always_one_answer_and_yesterdays_are_right_in(tmp_path: Path) -> None:
    data = write(tmp_path / "days.jsonl", "uuduuduuduuduuuuddud")
    split = {"validation": 0.1, "test": 0.25}
    run(recipe(make_base(tmp_path / "base"), train=data, split=split), tmp_path / "run")
    record = json.loads((tmp_path / "run" / "scores.json").read_text(encoding="utf-8"))
    days = 'Rows are parted in the order of "day": train 2024-01-01 to 2024-01-13 (13 rows), validation 2024-01-14 to '
    assert f"{days}2024-01-15 (2 rows), test 2024-01-16 to 2024-01-20 (5 rows)." in record["notes"]
    note = next(note for note in record["notes"] if note.startswith("On test"))
    # The test days are u d d u d, the day before them is u.
    assert 'On test (5 rows), always answering "up" is right in 0.400, and the answer of the moment before' in note
    assert '(by "day") in 0.400; the model in 0.' in note
    assert "not clearly better than the better of the two." in note


def test_the_answer_before_is_that_of_the_last_moment_and_the_most_frequent_one_there() -> None:
    def row(day: int, label: str) -> Row:
        return Row({"day": day, "label": label}, "d", day)

    rows = {"train": [row(1, "a"), row(2, "b")], "test": [row(9, "c"), row(5, "a"), row(5, "b"), row(5, "b")]}
    found = before_each(Splits(rows, order="day"), "test", lambda r: r.data["label"], lambda x: max(x, key=x.count))
    assert found == ["b", "b", "b", "b"]


def splits(tmp_path: Path, **data: Any) -> dict[str, list[int]]:
    asked = recipe("sprout", train="x", **{k: v for k, v in data.items() if k.startswith("split")})
    given = {k: v for k, v in data.items() if not k.startswith("split")}
    rows = make_splits(asked, make_task(asked), given)[1].rows
    return {name: [int(row.data["day"][-2:]) for row in part] for name, part in rows.items()}


def test_a_test_file_of_its_own_is_kept_and_has_to_be_later(tmp_path: Path) -> None:
    train, later = write(tmp_path / "a.jsonl", "uduudduudu"), write(tmp_path / "b.jsonl", "udud", first=11)
    assert splits(tmp_path, train=train, test=later) == {
        "train": [9, 8, 7, 6, 5, 4, 3, 2, 1],
        "validation": [10],
        "test": [14, 13, 12, 11],
    }
    assert splits(tmp_path, train=train, test=later, split="none") == {
        "train": list(range(10, 0, -1)),
        "test": [14, 13, 12, 11],
    }
    with pytest.raises(InputError, match=r"not later than"):
        splits(tmp_path, train=later, test=train)


def test_two_ways_to_part_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        splits(tmp_path, train=write(tmp_path / "a.jsonl", "udud"), split="part")
    assert str(caught.value) == "data.split (part) and data.split_by (day) are two ways to part rows; take one."


def test_the_short_form_and_an_unknown_key() -> None:
    short = recipes.build({"task": "classification", "data": {"split_by": "day"}})
    assert short.data.split_by is not None
    assert short.data.split_by.field == "day"
    with pytest.raises(InputError, match=r"data\.split_by\.field"):
        recipes.build({"task": "classification", "data": {"split_by": {"fields": "day"}}})
