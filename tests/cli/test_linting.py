"""`microtune lint` as a user types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command import call
from rich.cells import cell_len

from lint_files import FORMS, Maker, Rows, clean_rows

pytestmark = pytest.mark.usefixtures("quick")


def write(path: Path, rows: Rows) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rows = clean_rows(200)
    rows[3] = dict(rows[4])
    rows[7]["text"] += " ann@example.org"
    return write(tmp_path / "data.jsonl", rows)


def test_the_summary_fits_a_terminal(capsys: pytest.CaptureFixture[str], data: Path) -> None:
    answer = call(capsys, "lint", data, "--model", "none")
    assert answer.code == 0
    assert "task: classification" in answer.out
    assert "warning [email] 1 of 200 rows hold an e-mail address." in answer.out
    assert "note [exact-copies]" in answer.out
    assert "[[" in answer.out
    assert "text_field: text" in answer.out
    wide = [line for line in answer.out.splitlines() if cell_len(line) > 80]
    assert all("train:" in line for line in wide)  # a path in the recipe is not folded


def test_json_alone_on_stdout(capsys: pytest.CaptureFixture[str], data: Path) -> None:
    answer = call(capsys, "lint", data, "--json", "--model", "none")
    record = json.loads(answer.out)
    assert answer.err == ""
    assert answer.code == 0
    assert record["task"] == "classification"
    assert record["fields"] == {"text": "text", "label": "label"}
    assert record["rows"] == 200
    assert {f["kind"] for f in record["findings"]} == {"email", "exact-copies"}
    assert record["recipe"]["data"] == {"train": str(data)}


def test_strict_exits_with_one(capsys: pytest.CaptureFixture[str], data: Path, tmp_path: Path) -> None:
    assert call(capsys, "lint", data, "--json", "--model", "none", "--strict").code == 1
    clean = write(tmp_path / "clean.jsonl", clean_rows(200))
    assert call(capsys, "lint", clean, "--json", "--model", "none", "--strict").code == 0


def test_in_chinese_and_into_a_folder(capsys: pytest.CaptureFixture[str], data: Path, tmp_path: Path) -> None:
    answer = call(capsys, "lint", data, "--lang", "zh", "--model", "none", "--out", tmp_path / "report")
    assert "任务：classification\n理由：" in answer.out
    assert "200 行中有 1 行含有电子邮件地址。" in answer.out.replace("\n", "")
    names = sorted(path.name for path in (tmp_path / "report").iterdir())
    assert names == ["lint.html", "lint.json", "recipe.yaml"]


def test_two_files(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    rows = FORMS["translation"][0](Maker(1), 40)
    for side in ("en", "zh"):
        (tmp_path / f"train.{side}").write_text("\n".join(row[side] for row in rows), encoding="utf-8")
    asked = ("--source", tmp_path / "train.en", "--target", tmp_path / "train.zh")
    record = json.loads(call(capsys, "lint", *asked, "--json", "--model", "none").out)
    assert (record["task"], record["rows"]) == ("sequence-to-sequence", 40)
    assert record["recipe"]["data"]["train"] == {
        k: str(tmp_path / f"train.{v}") for k, v in (("source", "en"), ("target", "zh"))
    }


def test_a_folder_of_parallel_files(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    rows = FORMS["translation"][0](Maker(1), 40)
    for side in ("en", "zh"):
        for part, few in (("train", rows[4:]), ("test", rows[:5])):
            (tmp_path / f"{part}.{side}").write_text("\n".join(row[side] for row in few), encoding="utf-8")
    asked = (tmp_path, "--source", "en", "--target", "zh", "--json", "--model", "none")
    record = json.loads(call(capsys, "lint", *asked).out)
    assert (record["rows"], record["test_rows"]) == (36, 5)
    assert [found["kind"] for found in record["findings"]] == ["test-overlap"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "Name the data"),
        (("no.csv",), "no such file"),
        (("DATA", "--lang", "fr"), "en and zh"),
        (("DATA", "--task", "clasification"), "Did you mean"),
        (("DATA", "--text-field", "txt"), 'no field "txt"'),
        (("DATA", "--model", "sprot"), "Did you mean"),
        (("DATA", "--source", "a.en"), "--target too"),
    ],
)
def test_refusals(capsys: pytest.CaptureFixture[str], data: Path, arguments: tuple[str, ...], sentence: str) -> None:
    answer = call(capsys, "lint", *(data if a == "DATA" else a for a in arguments))
    assert answer.code == 2
    assert sentence in answer.sentence
