"""`microtune report`: written again from the folder, in either language; mistakes are one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command import call

pytestmark = pytest.mark.usefixtures("quick")


def test_it_is_written_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "scores.json").write_text(json.dumps({"scores": {"test": {"values": {"accuracy": 0.25}}}}))
    answer = call(capsys, "report", tmp_path, "--lang", "zh")
    assert answer.code == 0
    assert answer.out.replace("\n", "") == f"written: {tmp_path / 'report.html'}"
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert '<html lang="zh-CN">' in page
    assert "准确率" in page
    assert call(capsys, "report", tmp_path).code == 0
    assert '<html lang="en">' in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_the_card_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "scores.json").write_text(json.dumps({"scores": {"test": {"values": {"accuracy": 0.25}}}}))
    card = tmp_path / "README.md"
    card.write_text("## Training\n\nours\n", encoding="utf-8")
    answer = call(capsys, "report", tmp_path, "--lang", "zh")
    assert answer.out.splitlines() == [f"written: {tmp_path / name}" for name in ("report.html", "README.md")]
    assert card.read_text(encoding="utf-8") == "## 训练\n\nours\n"
    card.write_bytes(b"\xff")
    (tmp_path / "report.html").unlink()
    answer = call(capsys, "report", tmp_path)
    assert (answer.code, (tmp_path / "report.html").exists()) == (2, False)
    assert answer.sentence.endswith("README.md: is not UTF-8 text; move it away, and give the command again.")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["report", "nowhere"], "nowhere: no such folder."),
        (["report", ".", "--lang", "fr"], 'There is no report in the language "fr". Known: en, zh.'),
        (["tune", "tickets", "--task", "classification", "--lang", "fr"], 'There is no report in the language "fr".'),
        (
            ["tune", "tickets", "--task", "classification", "data.steps=[htlm]"],
            'Unknown step "htlm". Did you mean "html"?',
        ),
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
    (tmp_path / "scores.json").write_text(json.dumps({"scores": {}}))
    answer = call(capsys, *arguments)
    assert answer.code == 2
    assert message in answer.sentence
    assert [path.name for path in tmp_path.iterdir() if path.name != "runs"] == ["scores.json"]
    assert not list(tmp_path.glob("runs/*"))
