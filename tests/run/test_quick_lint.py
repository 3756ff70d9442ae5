"""What every run says about its training rows before the first step."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lint_files import clean_rows
from microtune.data.sources import read_rows
from microtune.run.checks import Ledger
from microtune.run.quick_lint import quick_lint
from microtune.run.verbs import tune
from microtune.tasks.classification import Classification
from tiny_model import make_model

pytestmark = pytest.mark.usefixtures("quick")


def test_one_sentence_about_faults(tmp_path: Path) -> None:
    """In a whole run: the note, and the check in scores.json."""
    rows = clean_rows(60)
    for row in rows:
        row["text"] = row["text"][-60:]
    rows[10] = {"text": rows[13]["text"], "label": "money" if rows[13]["label"] == "travel" else "travel"}
    rows[20]["text"] += " cafÃ©"
    rows[31]["text"] += " ann@example.org"
    path = tmp_path / "data.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    model = str(make_model(tmp_path / "model"))
    train = {"max_steps": 2, "batch_size": 4, "precision": "float32"}
    run = tune(
        path, task="classification", model={"source": model, "max_length": 64}, train=train, split="none",
        validation=rows[40:], out=tmp_path / "run",
    )  # fmt: skip
    note = next(note for note in run.notes if "data-faults" in note)
    assert note == (
        f"[data-faults] Of 60 training rows: contradictory-labels in 1 (first: {path}, line 14); mojibake in 1 (first: "
        f"{path}, line 21); email in 1 (first: {path}, line 32). `microtune lint` shows them and says what to do."
    )
    assert run.checks["data-faults"] == "warned"


def test_nothing_about_clean_rows() -> None:
    ledger = Ledger()
    task = Classification(text_field="text", label_field="label")
    assert quick_lint(task, read_rows(clean_rows(200)), ledger) == []
    assert ledger.record() == [{"name": "data-faults", "result": "passed"}]
