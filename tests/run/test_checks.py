"""The table of checks: every error of a check names one, every check is explained, and every test named exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import microtune
from microtune.data.sources import Row
from microtune.errors import CheckError, InputError, MicrotuneError, RunError, named
from microtune.run.checks import Ledger, checks, places

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = (ROOT / "docs" / "checks.md").read_text(encoding="utf-8")
PACKAGE = Path(microtune.__file__).parent


def names_given() -> dict[str, set[str]]:
    """Check names in the source, by what is called with them: `CheckError(..., check="x")`, `named("x")` ..."""
    found: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            values = [k.value for k in node.keywords if k.arg == "check"]
            values += node.args[:1] if called in ("named", "Warned", "warned") else []
            if called == "CheckError":
                assert values, f"{path.name}, line {node.lineno}: a CheckError without the name of its check"
            constants = [v.value for v in values if isinstance(v, ast.Constant) and isinstance(v.value, str)]
            found.setdefault(called, set()).update(constants)
    return found


def test_every_error_of_a_check_names_one_that_is_listed() -> None:
    given = names_given()
    assert given["CheckError"]
    used = set().union(*given.values()) | {"finite"}  # the default of DivergedError
    assert used == set(checks)


def rows_of_tables() -> list[list[str]]:
    lines = [line for line in PAGE.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


@pytest.mark.parametrize("name", list(checks))
def test_every_check_stands_in_the_table_with_its_tests(name: str) -> None:
    found = [row for row in rows_of_tables() if row[0] == f"`{name}`"]
    assert len(found) == 1
    check = checks[name]
    assert found[0][1] == ", ".join(check.when)
    assert found[0][2] == check.does
    assert found[0][3].startswith(check.about)
    assert re.search(r"`tests/\S+::test_\w+`", found[0][4])


def test_the_page_has_all_complaints() -> None:
    numbers = [row[0] for row in rows_of_tables() if row[0].isdecimal()]
    assert numbers == [str(n) for n in range(1, 26)]


def test_every_test_that_the_page_names_exists() -> None:
    found = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", PAGE)
    assert len(found) > 25
    for file, test in found:
        tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
        there = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        assert test in there, f"{file}::{test}"


def test_the_name_stands_before_the_sentence_once() -> None:
    assert str(CheckError("It is wrong.", check="finite")) == "[finite] It is wrong."
    assert CheckError("x", check="finite").exit_code == 2
    for kind in (InputError, RunError, CheckError):
        with pytest.raises(kind) as caught, named("fits"):
            raise kind("a file: wrong.")
        assert (str(caught.value), caught.value.check) == ("[fits] a file: wrong.", "fits")
    with pytest.raises(MicrotuneError) as caught, named("fits"):
        raise CheckError("wrong.", check="moved")
    assert str(caught.value) == "[moved] wrong."


def test_the_ledger() -> None:
    ledger = Ledger()
    ledger.passed("tied", "finite")
    assert ledger.warned("chance", "No better.") == "[chance] No better."
    ledger.passed("chance")
    assert ledger.record() == [
        {"name": "chance", "result": "warned"},
        {"name": "finite", "result": "passed"},
        {"name": "tied", "result": "passed"},
    ]
    with pytest.raises(InputError, match=r'Unknown check "tide"\. Did you mean "tied"'):
        ledger.passed("tide")


def test_places() -> None:
    rows = [Row({}, "a.csv", line) for line in range(1, 9)]
    assert places(rows, [0]) == "a.csv, line 1"
    assert places(rows, [1, 4, 5, 6, 7]) == "a.csv, line 2; a.csv, line 5; a.csv, line 6 and 2 more"
    assert places(rows, [1], total=3) == "a.csv, line 2 and 2 more"
    assert places([], [~5, 2]) == "item 5; item 2"
