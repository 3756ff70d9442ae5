"""`microtune export` and `microtune merge`: what they print, and the exit code of a failed check."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from command import call

from microtune.run.export import hf_folder
from microtune.run.load import load

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.parity


def test_export_and_its_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = call(capsys, "export", "sprout", "--format", "hf", "--out", tmp_path / "out")
    assert answer.code == 0
    assert f"logits of 6 rows, read by transformers {transformers.__version__}: largest difference" in answer.out
    assert f"saved: {tmp_path / 'out'}" in answer.out.replace("\n", "")
    assert load(tmp_path / "out").parameters == load("sprout").parameters
    assert "## Use\n" in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    monkeypatch.setenv("MICROTUNE_LANG", "zh")
    again = call(capsys, "export", "sprout", "--format", "hf", "--out", tmp_path / "out", "--overwrite", "--json")
    assert "## 使用\n" in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    found = json.loads(again.out)
    assert (found["passed"], found["format"], found["path"]) == (True, "hf", str(tmp_path / "out"))


def test_a_failed_check_exits_with_2_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = hf_folder.save_folder

    def broken(path: Path, spec: Any, state: dict[str, Any], **options: Any) -> None:
        real(path, spec, {n: t + 0.01 * (n == "decoder.norm.weight") for n, t in state.items()}, **options)

    monkeypatch.setattr(hf_folder, "save_folder", broken)
    answer = call(capsys, "export", "sprout", "--format", "hf", "--out", tmp_path / "out")
    assert answer.code == 2
    assert answer.sentence.startswith("[export] The exported hf files do not compute what the model does: transformers")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["export", "sprout", "--format", "hf", "--out", "x", "--dtype", "int3"], 'not written in "int3"'),
        (["export", "sprouts", "--format", "hf", "--out", "x"], 'no model or folder "sprouts"'),
        (["merge", "sprout", "--out", "x"], "there is nothing to merge"),
    ],
)
def test_mistakes(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = call(capsys, *arguments)
    assert answer.code == 2
    assert message in answer.sentence
    assert not list(tmp_path.iterdir())
