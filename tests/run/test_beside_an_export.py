"""What an exported model does not hold is said with it: the scale of a number, a threshold, steps, templates."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tiny_runs import make_base

import microtune as mt
from microtune.run.export.beside import beside
from microtune.run.load import Model
from microtune.run.report.words.notes import in_chinese
from microtune.tasks.classification import Classification

pytestmark = pytest.mark.usefixtures("quick")


def test_a_number_is_told_its_scale(tmp_path: Path) -> None:
    rows = [{"text": f"my card was declined {'so ' * (i % 5)}{i}", "score": 100 + 10 * (i % 5)} for i in range(40)]
    train = {"precision": "float32"}
    base = make_base(tmp_path / "base")
    run = mt.tune(rows, task="regression", model=base, method="head", epochs=1, train=train, out=tmp_path / "run")
    made = mt.export(run.path, format="hf", out=tmp_path / "hf")
    task = run.model.task
    notes = json.loads((made.path / "parity.json").read_text())["notes"]
    assert notes == [
        f"The exported model gives a standardised number: an answer is its output x {task.deviation:.10g} + "  # type: ignore[union-attr]
        f"{task.mean:.10g}."  # type: ignore[union-attr]
    ]
    assert in_chinese(notes[0]).startswith("导出的模型给出标准化的数")


def said(**fields: Any) -> list[str]:
    """The notes about a classifier with these fields."""
    return beside(cast(Model, SimpleNamespace(task=Classification(labels=("a", "b"), **fields))))


def test_labels_are_told_their_threshold_steps_and_templates() -> None:
    assert said() == []
    assert said(form="multi", threshold=0.34, text="{a} {b}") == [
        "A label is given where the sigmoid of its score reaches 0.34.",
        "Texts are put together by the templates task.text first (see recipe.yaml).",
    ]
    assert said(temperature=1.5, steps=({"name": "lowercase"},)) == [
        "Confidences are calibrated by scores divided by 1.5 before the softmax.",
        "Texts are prepared by the steps lowercase first; whoever reads the exported model has to do so.",
    ]
    found = [*said(form="multi", text="{a}"), *said(temperature=2, steps=({"name": "lowercase"},))]
    assert all(in_chinese(note) != note for note in found)
