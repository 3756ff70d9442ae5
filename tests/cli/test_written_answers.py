"""The file that `microtune predict` writes: labels as they are, whatever they look like in a spreadsheet."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from command import call

from microtune.cli.ask import _asked, _write
from tiny_model import make_model, rows

pytestmark = pytest.mark.usefixtures("quick")


def test_numbers_are_no_formulas(tmp_path: Path) -> None:
    answers = ["-1", "+1", "-0.5", "-1e-3", "=1+1", "-please", "+86 138", "-", ["-1"], ["a", "b"], ["a|b", "c"], -0.5]
    _write(tmp_path / "a.csv", [{"prediction": answer} for answer in answers])
    with open(tmp_path / "a.csv", encoding="utf-8-sig", newline="") as file:
        found = [row["prediction"] for row in csv.DictReader(file)]
    assert found == [
        *("-1", "+1", "-0.5", "-1e-3", "'=1+1", "'-please", "'+86 138", "'-"),
        *("'-1", "a|b", '["a|b", "c"]', "-0.5"),
    ]
    labels, texts = ["-1", "0", "+1"], ["-1", "a", "-b"]
    records = [{"label": one, "text": two, "prediction": "-1"} for one, two in zip(labels, texts, strict=True)]
    _write(tmp_path / "b.csv", records)
    with open(tmp_path / "b.csv", encoding="utf-8-sig", newline="") as file:
        again = list(csv.DictReader(file))
    assert [row["label"] for row in again] == labels  # a column of numbers
    assert [row["text"] for row in again] == ["'-1", "a", "'-b"]


def test_the_confidence_of_another_answer_is_left_out() -> None:
    assert _asked({"text": "a", "prediction": "x", "confidence": 0.9}) == {"text": "a", "prediction": "x"}
    assert _asked({"text": "a", "confidence": 0.9}) == {"text": "a", "confidence": 0.9}


def test_a_label_below_zero_stands_in_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base, data = make_model(tmp_path / "base"), tmp_path / "data.csv"
    names = {"card": "-1", "transfer": "1"}
    lines = [f"{row['text']},{names[row['label']]}" for row in rows(40)]
    data.write_text("\n".join(["text,label", *lines]), encoding="utf-8")
    run = tmp_path / "run"
    assert call(capsys, "tune", data, "--task", "classification", "--model", base, "--out", run, "-q").code == 0
    assert call(capsys, "predict", run, "--input", data, "--output", tmp_path / "out.csv").code == 0
    with open(tmp_path / "out.csv", encoding="utf-8-sig", newline="") as file:
        assert {row["prediction"] for row in csv.DictReader(file)} <= {"-1", "1"}
