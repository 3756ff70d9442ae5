"""The tour: every row of its table is measured on the same test rows, and it prints what the README shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from microtune.cli.app import main
from tiny_model import make_model


def test_the_demo_runs_and_prints_its_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = make_model(tmp_path / "model")
    with pytest.raises(SystemExit) as stop:
        main(["demo", "--model", str(model), "--out", str(tmp_path / "demo"), "--epochs", "0.1"])
    shown = capsys.readouterr()
    assert stop.value.code == 0, shown.err
    for name in ("majority class", "TF-IDF", "head only", "random weights", "LoRA"):
        assert name in shown.out
    for name in ("head", "lora", "random-0", "random-1"):
        assert (tmp_path / "demo" / name / "scores.json").is_file()
    assert "Three things to try next:" in shown.out
    assert "0.781" in shown.out  # TF-IDF in English, whatever the model
