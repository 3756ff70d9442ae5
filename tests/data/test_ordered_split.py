"""Rows parted in the order of a field: no test row is earlier than what was learnt."""

from __future__ import annotations

from typing import Any

import pytest

from microtune.data.ordered_split import check_order, moment_of, order_note, split_in_order
from microtune.data.sources import Row
from microtune.errors import InputError

SPLIT = {"validation": 0.2, "test": 0.2}


def days(*values: Any, field: str = "date") -> list[Row]:
    return [Row({field: value, "text": f"t{i}"}, "d.csv", i + 2) for i, value in enumerate(values)]


def lines(parts: dict[str, list[Row]]) -> dict[str, list[int]]:
    return {name: [row.line for row in part] for name, part in parts.items()}


def test_the_latest_rows_are_the_test_whatever_the_order_of_the_file() -> None:
    rows = days(*(f"2024-01-{day:02d}" for day in (9, 2, 10, 4, 5, 1, 7, 8, 3, 6)))
    parts = split_in_order(rows, split=SPLIT, field="date")
    assert lines(parts) == {"train": [3, 5, 6, 7, 10, 11], "validation": [8, 9], "test": [2, 4]}
    check_order(parts, "date")
    assert order_note(parts, "date") == (
        'Rows are parted in the order of "date": train 2024-01-01 to 2024-01-06 (6 rows), validation 2024-01-07 to '
        "2024-01-08 (2 rows), test 2024-01-09 to 2024-01-10 (2 rows)."
    )


def test_equal_days_stay_together_and_the_nearest_border_is_taken() -> None:
    parts = split_in_order(days(1, 1, 1, 2, 2, 3, 3, 3, 4, 4), split={"test": 0.3}, field="date")
    assert lines(parts) == {"train": [2, 3, 4, 5, 6, 7, 8, 9], "test": [10, 11]}  # 8 is nearer to 7 than 5
    parts = split_in_order(days(1, 1, 1, 1, 1, 1, 1, 1, 2, 3), split={"validation": 0.4, "test": 0.4}, field="date")
    assert lines(parts) == {"train": list(range(2, 10)), "validation": [10], "test": [11]}  # none is empty


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("1970-01-02", 86400.0),
        ("1970/1/2", 86400.0),
        ("1970.01.02 00:00:01", 86401.0),
        ("1970-01-02T01:00", 90000.0),
        ("1970年1月2日", 86400.0),
        ("1970-02", 31 * 86400.0),
        ("1970-01-02T01:00+01:00", 86400.0),
        ("20240131", 20240131.0),
        (3.5, 3.5),
    ],
)
def test_what_is_read(value: Any, seconds: float) -> None:
    assert moment_of(days(value)[0], "date").value == seconds


@pytest.mark.parametrize(
    ("values", "field", "expected"),
    [
        (
            ("2024-01-31", "soon"),
            "date",
            'd.csv, line 3: data.split_by: the field "date" says "soon", which is neither',
        ),
        (("31/01/2024",), "date", 'line 2: data.split_by: the field "date" says "31/01/2024", which is neither'),
        (("2024-02-30",), "date", 'says "2024-02-30", which is neither a number nor a date'),
        ((True,), "date", 'says "True", which is neither'),
        (("2024-01-31", ""), "date", 'd.csv, line 3: data.split_by: the field "date" is empty; give every row a num'),
        (("2024-01-31",), "day", 'd.csv, line 2: data.split_by: there is no field "day"; the row has "date", "text".'),
        (("2024-01-31", 5), "date", 'says "5", a number, where the rows before have a date; write all in one form.'),
        (("2024-01-31", "2024-01-31 10:00Z"), "date", "a time with its zone, where the rows before have a date"),
        ((7, 7, 7), "date", 'd.csv: the field "date" has one value, too few to part the rows in its order into train'),
        ((7, 8, 7), "date", 'the field "date" has 2 different values, too few to part'),
    ],
)
def test_what_is_refused(values: tuple[Any, ...], field: str, expected: str) -> None:
    with pytest.raises(InputError) as caught:
        split_in_order(days(*values), split=SPLIT, field=field)
    assert expected in str(caught.value)


def test_given_parts_have_to_be_later() -> None:
    parts = {"train": days(3, 1), "test": [Row({"date": 4}, "t.csv", 2), Row({"date": 3}, "t.csv", 3)]}
    with pytest.raises(InputError) as caught:
        check_order(parts, "date")
    assert str(caught.value) == (
        't.csv, line 3: data.split_by: this row is of the test split, but the field "date" says "3", which is not '
        'later than "3" of the train split (d.csv, line 2).'
    )
    with pytest.raises(InputError, match="a date, where the rows before have a number"):
        check_order({"train": days(1), "test": days("2024-01-01")}, "date")
