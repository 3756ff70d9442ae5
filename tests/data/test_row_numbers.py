"""Rows of a JSON document that share a line are named by their number, everywhere; others by their line."""

from __future__ import annotations

import copy
import json
import pickle
from dataclasses import asdict
from pathlib import Path

import pytest
from door_helpers import message, write

from microtune.cli.chinese import translated
from microtune.data.lint.base import place
from microtune.data.sources import iter_rows, read_rows
from microtune.errors import RowNumber, at, counted
from microtune.forms import places
from microtune.run.lint import lint
from microtune.run.lint.report import where


def test_a_row_number_is_a_number_with_another_word() -> None:
    number = RowNumber(17, 1)
    assert (number, number.line, counted(number), counted(17)) == (17, 1, "row 17", "line 17")
    assert at("a.json", number) == "a.json, row 17"
    for other in (copy.deepcopy(number), pickle.loads(pickle.dumps(number))):
        assert (type(other), other, other.line) == (RowNumber, 17, 1)
    assert json.dumps({"line": number}) == '{"line": 17}'


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ('[{"a": 1}, {"a": 2},{"a": 3}]\n', ["row 1", "row 2", "row 3"]),
        ('[\n{"a": 1},\n{"a": 2}\n]', ["line 2", "line 3"]),
        ('[\n{"a": 1}, {"a": 2},\n{"a": 3}]', ["line 2", "row 2", "line 3"]),
        ('[{\n"a": 1\n}, {\n"a": 2\n}]', ["line 1", "line 3"]),
        ('{"data": [{"a": 1}, {"a": 2}], "version": 1}', ["row 1", "row 2"]),
        ('{"x": {"a": 1}, "y": {"a": 2}}', ["row 1", "row 2"]),
        ('[{"a": 1}]', ["row 1"]),
    ],
)
def test_which_rows_have_numbers(tmp_path: Path, document: str, expected: list[str]) -> None:
    rows = read_rows(write(tmp_path / "x.json", document))
    assert [counted(row.line) for row in rows] == expected


def test_far_down_on_one_line(tmp_path: Path) -> None:
    """Beyond the piece of the file that is read at once."""
    texts = [{"text": f"text {i} " + "x" * 400} for i in range(2000)]
    lines = [row.line for row in iter_rows(write(tmp_path / "x.json", json.dumps(texts)))]
    assert lines == list(range(1, 2001))
    assert all(isinstance(line, RowNumber) for line in lines)


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (
            '[{"a": 1}, {"a": 2}, "text"]',
            'x.json, row 3: a row is a string, not an object such as {"text": "...", "label": "..."}.',
        ),
        (
            '[{"a": 1}, {"a": 1, "a": 2}]',
            'x.json, row 2: the key "a" stands twice in one object; keep one of them.',
        ),
        ('[{"a": 1}, {"a": "\\u0000"}]', 'x.json, row 2: there is a NUL character in the field "a"; remove it.'),
        ('[{"a": 1}, {"a": }]', "x.json, line 1: column 18: broken JSON (expecting value)."),
        ('[{"a": 1}, {"a": \n2,\n}]', "x.json, line 3: column 1: broken JSON (expecting property name enclosed in "),
        ('[{"a": 1} {"a": 2}]', "x.json, line 1: column 11: broken JSON (expecting , or ])."),
    ],
)
def test_what_is_said_of_them(tmp_path: Path, document: str, expected: str) -> None:
    """A fault of the JSON itself is found by its column, which counts from the beginning of the line."""
    assert message(write(tmp_path / "x.json", document)).startswith(expected)


def test_in_chinese() -> None:
    said = translated('x.json, row 17: the field "text" is empty; fill it in, or remove the row.')
    assert said == 'x.json，第 17 行：字段 "text" 是空的；请补上内容，或删去这一行。'
    assert places("x.json, row 17; y.json, line 3 and 2 more") == "x.json，第 17 行；y.json，第 3 行，另有 2 处"


def test_a_lint_says_which_row(tmp_path: Path) -> None:
    rows = [{"text": f"a text about the river {i % 39}", "label": "ab"[i % 39 % 2]} for i in range(40)]
    data = write(tmp_path / "x.json", json.dumps(rows))
    for lang, expected in (
        ("en", ("x.json, row 40", "as in row 1: ")),
        ("zh", ("x.json，第 40 行", "与第 1 行相同：")),
    ):
        report = lint(str(data), model=None, lang=lang)  # type: ignore[arg-type]
        found = next(one for one in report.findings if one.kind == "exact-copies").places[0]
        assert where(report, found) == expected[0]
        assert found.text.startswith(expected[1])
        assert asdict(found)["line"] == 40
    assert place(read_rows(data)[1]).line == 2
