"""Rows whose columns are called otherwise than those of the training data; classifiers in the form of other tools."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command import call
from planted import tune, write

from tiny_model import make_model, rows

Capture = pytest.CaptureFixture[str]
pytestmark = pytest.mark.usefixtures("quick")


def test_fields_by_other_names(tmp_path: Path, capsys: Capture) -> None:
    model = make_model(tmp_path / "model")
    data = write(tmp_path / "data.jsonl", rows(40))
    assert tune(capsys, model, data, method="head").code == 0
    run, own = tmp_path / "run", tmp_path / "own.jsonl"
    write(own, rows(12))
    write(tmp_path / "new.jsonl", [{"id": i, "said": r["text"], "kind": r["label"]} for i, r in enumerate(rows(12))])
    new = tmp_path / "new.jsonl"
    answer = call(capsys, "predict", run, "--input", new)
    assert answer.sentence == (
        f'{new}: no row has the field "text", whose text this model reads; the fields are "id", "said", "kind"; name '
        "the one that stands for it with --text-field."
    )
    answer = call(capsys, "evaluate", run, "--data", new, "--text-field", "said")
    assert answer.sentence == (
        f'{new}: no row has the field "label", whose answer this model learnt; the fields are "id", "said", "kind", '
        '"text"; name the one that stands for it with --label-field.'
    )
    told = [
        json.loads(line)
        for line in call(capsys, "predict", run, "--input", new, "--text-field", "said").out.splitlines()
    ]
    assert [list(row) for row in told] == [["id", "said", "kind", "prediction", "confidence"]] * 12
    usual = [json.loads(line) for line in call(capsys, "predict", run, "--input", own).out.splitlines()]
    assert [row["prediction"] for row in told] == [row["prediction"] for row in usual]
    theirs = call(capsys, "evaluate", run, "--data", new, "--text-field", "said", "--label-field", "kind", "--json")
    assert theirs.out == call(capsys, "evaluate", run, "--data", own, "--json").out
    shown = call(capsys, "evaluate", run, "--data", own).out
    assert shown.startswith("own.jsonl, 12 rows\n")
    wrong = call(capsys, "predict", run, "--input", new, "--text-field", "siad")
    assert 'there is no field "siad" for the text; did you mean "said"?' in wrong.sentence
    merged = tmp_path / "merged"
    assert call(capsys, "export", run, "--format", "hf", "--out", merged).code == 0
    answer = call(capsys, "predict", merged, "hello")
    assert answer.sentence == (
        "This folder holds a classifier in the form of other tools, without the task that says how it is asked; give "
        "the run folder that it was made of."
    )
