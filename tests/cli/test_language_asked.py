"""MICROTUNE_LANG is the default of every `--lang`; what stands on the command line wins."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from command import call
from typer.main import get_command

import microtune.cli.app
from microtune.cli.language import language
from microtune.cli.reporting import pages_again
from tiny_model import make_model, rows

pytestmark = pytest.mark.usefixtures("quick")
CHINESE, ENGLISH = '<html lang="zh-CN">', '<html lang="en">'
FAST = ("train.precision=float32", "--epochs", "1", "--method", "head")


def page(folder: Path) -> str:
    return (folder / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("variable", "given", "expected"),
    [
        (None, None, "en"),
        ("zh", None, "zh"),
        ("zh_CN.UTF-8", None, "zh"),
        ("fr", None, "en"),
        ("zh", "en", "en"),
        ("en", "zh", "zh"),
        (None, "zh-Hans", "zh"),
        ("zh", "fr", "fr"),  # refused by the verb
    ],
)
def test_which_language(
    variable: str | None, given: str | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MICROTUNE_LANG", raising=False)
    if variable is not None:
        monkeypatch.setenv("MICROTUNE_LANG", variable)
    assert language(given) == expected


def test_before_the_verb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("MICROTUNE_LANG", raising=False)
    (tmp_path / "scores.json").write_text(json.dumps({"scores": {}}))
    asked = ["--lang", "zh", "report", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["microtune", *asked])
    assert call(capsys, *asked).code == 0
    assert CHINESE in page(tmp_path)


def test_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("MICROTUNE_LANG", "zh")
    (tmp_path / "scores.json").write_text(json.dumps({"scores": {}}))
    assert call(capsys, "report", tmp_path).code == 0
    assert CHINESE in page(tmp_path)
    assert call(capsys, "report", tmp_path, "--lang", "en").code == 0
    assert ENGLISH in page(tmp_path)


def test_lint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("MICROTUNE_LANG", "zh")
    data = tmp_path / "a.jsonl"
    data.write_text("".join(json.dumps({"text": f"text {i}", "label": "ab"[i % 2]}) + "\n" for i in range(20)))
    answer = call(capsys, "lint", data, "--model", "none", "--out", tmp_path / "report")
    assert "任务：" in answer.out
    assert CHINESE in (tmp_path / "report" / "lint.html").read_text(encoding="utf-8")
    assert "task: " in call(capsys, "lint", data, "--model", "none", "--lang", "en").out


def test_tune(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("MICROTUNE_LANG", "zh")
    monkeypatch.chdir(tmp_path)
    make_model(tmp_path / "m")
    Path("d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows()))
    asked = ("tune", "d.jsonl", "--task", "classification", "--model", "m", *FAST)
    assert call(capsys, *asked, "--out", "a").code == 0
    assert CHINESE in page(Path("a"))
    pages_again(".", "en")  # English pages are what a run writes by itself
    assert CHINESE in page(Path("a"))
    assert call(capsys, *asked, "--out", "b", "--lang", "en").code == 0
    assert ENGLISH in page(Path("b"))
    pages_again(".", None)  # what compare and demo do with the runs they made
    assert CHINESE in page(Path("b"))
    assert "fr" in call(capsys, "pretrain", "none.yaml", "--lang", "fr").err


def test_english_help_loads_no_chinese() -> None:
    script = "import sys, microtune.cli.app as a\ntry: a.main(['--help'])\nfinally: print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True)
    assert "microtune.cli.app" in done.stdout
    assert "chinese" not in done.stdout


def test_behind_every_verb(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MICROTUNE_LANG", raising=False)
    group: Any = get_command(microtune.cli.app.app)
    assert len(group.commands) > 10
    for verb in group.commands.values():
        assert [p.opts for p in verb.params if p.name == "lang"] == [["--lang"]]
    chinese = "错误：没有名为“none”的模型或文件夹。可用的有：minilm, sprout。\n"
    for asked in (("predict", "none", "a"), ("export", "none", "--format", "hf", "--out", "q"), ("chat", "none")):
        assert call(capsys, *asked, "--lang", "zh").err == chinese
        assert call(capsys, asked[0], "--lang=zh", *asked[1:]).err == chinese
        assert call(capsys, *asked, "--lang", "en").err.startswith('error: There is no model or folder "none".')
        refused = call(capsys, *asked, "--lang", "fr")
        assert refused.sentence == '--lang: "fr" is not known; reports are written in en and zh.'
        assert refused.code == 2


def test_cards_of_runs_and_comparisons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MICROTUNE_LANG", "zh")
    monkeypatch.chdir(tmp_path)
    make_model(tmp_path / "m")
    Path("d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows()))
    common = ("d.jsonl", "--task", "classification", "--model", "m", "train.precision=float32", "--epochs", "1")
    assert call(capsys, "compare", *common, "--methods", "head,top:1", "--out", "c").code == 0
    assert "**推荐：** " in Path("c/compare.md").read_text(encoding="utf-8")
    for card in Path("c").glob("runs/*/README.md"):
        text = card.read_text(encoding="utf-8")
        assert text.startswith(("---\nlicense: ", "---\nlanguage:"))
        assert "\n训练情况：" in text
        assert "\n## 使用\n" in text
        assert "How the training went" not in text
    assert call(capsys, "predict", "c/runs/head", "a card").code == 0  # nothing of it has become invalid
