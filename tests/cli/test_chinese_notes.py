"""Notes of a run and findings of a lint as they are read in Chinese: forms follow the source, values stay."""

from __future__ import annotations

import json
import re
from pathlib import Path
from string import Formatter

import pytest
from command import call
from test_chinese import MOST_PIECES, pieces

from microtune.run.report.words.notes import FAULTS, NOTES, WORDS, in_chinese

SAID = [
    (
        "[data-faults] Of 32 training rows: exact-copies in 9 (first: a.jsonl, line 11); email in 2 (first: b.jsonl, "
        "line 3). `microtune lint` shows them and says what to do.",
        "[data-faults] 32 个训练行中：完全重复 9 行（首先是 a.jsonl，第 11 行）；电子邮件地址 2 行"
        "（首先是 b.jsonl，第 3 行）。`microtune lint` 会列出它们，并说明怎么办。",
    ),
    (
        "Of the test split 1 of 4 rows have a chosen answer that equals the rejected one; they teach nothing and were "
        "left out. First: p.jsonl, line 10.",
        "测试集：4 行中有 1 行被选中的回答与被拒绝的相同；没有可以学习的，已略去。首先是：p.jsonl，第 10 行。",
    ),
    (
        "Of the train split 2 of 9 answers do not stand in their passage and were left out. First: q.jsonl, line 3, "
        'the question "who?": "wolf"; q.jsonl, line 5, the question "when?": "never".',
        "训练集：9 个答案中有 2 个不在段落里，已略去。首先是：q.jsonl，第 3 行，问题“who?”："
        '"wolf"；q.jsonl，第 5 行，问题“when?”："never"。',
    ),
    (
        "[text-cut] 8 of 8 texts of the test split are longer than 24 tokens and were cut. First: a.csv, line 7; "
        "a.csv, line 20 and 6 more.",
        "[text-cut] 测试集的 8 段文本中有 8 段超过 24 个词元，已截断。首先是："
        "a.csv，第 7 行；a.csv，第 20 行，另有 6 处。",
    ),
    (
        'Rows are parted in the order of "day": train 2020-01-01 to 2021-01-01 (30 rows), test 2022-01-01 to '
        "2023-01-01 (8 rows).",
        "按“day”的次序划分：训练集从 2020-01-01 到 2021-01-01（30 行）；测试集从 2022-01-01 到 2023-01-01（8 行）。",
    ),
    (
        'Step html: 3 of 40 rows changed, 12 characters removed. First (a.csv, line 3): "<b>hi" became "hi".',
        "步骤 html：40 行中改动 3 行，减少 12 个字符。首先（a.csv，第 3 行）：“<b>hi”变成“hi”。",
    ),
    ("Step duplicates: 2 dropped.", "步骤 duplicates：删去 2 行。"),
    (
        'The model never answers "a" (3 of 40 test rows), "b" (2 of 40 test rows) and 4 more labels: its scores say '
        "nothing about them. More such rows, more epochs, task.balance=weights or task.choose=macro_f1 may help.",
        '模型从不回答 "a"（40 行中有 3 行）、"b"（40 行中有 2 行），另有 4 个标签：得分不能说明它们。'
        "可以增加这样的数据行、增加轮数，或用 task.balance=weights、task.choose=macro_f1。",
    ),
    (
        "step 12, overfitting: the validation loss is 0.9 after 0.5 while the training loss fell. Changed: back to the "
        "best weights so far; learning rate x 0.5 (peak 0.001 -> 0.0005); weight decay 0 -> 0.1.",
        "第 12 步，过拟合：训练损失下降，而验证损失从 0.5 升到 0.9。已改为：回到目前最好的权重；学习率乘以 0.5"
        "（峰值 0.001 -> 0.0005）；权重衰减 0 -> 0.1。",
    ),
    ("Tasks of one epoch: one 30 rows (60%), two 20 rows (40%, of 90).", None),
    ("Checkpoint step-6 is damaged (state.json has changed); using the one before it.", None),
    ("equal for 6 texts", "6 段文本都相同"),
    (
        "top:1: within the noise of lora:8, the best on validation (accuracy 0.91, 0.01 higher on these rows), and 3 "
        "times cheaper to train; take lora:8 only if the last point matters.",
        "top:1：与验证集上最好的 lora:8（accuracy 0.91，在这些行上高 0.01）的差距在误差之内，训练耗时只有它的 1/3；"
        "只有最后一点得分也要紧时，才选 lora:8。",
    ),
    (
        "lora:8: best on validation (loss 0.9); full and head are within the noise of these rows, but not much cheaper "
        "to train.",
        "lora:8：验证集上最好（loss 0.9）；full、head 与它的差距都在这些行的误差之内，但训练并不明显更省。",
    ),
    (
        "The budget shortened every training to 4 steps (the fewest that say anything of the 90 that were asked for); "
        "a larger --budget may change the order.",
        "因时间限制，每次训练缩短为 4 步（能看出结果的最少步数；要求 90 步）；放宽 --budget 可能改变次序。",
    ),
    ("Nobody knows this note.", "Nobody knows this note."),
]


@pytest.mark.parametrize(("english", "expected"), SAID)
def test_a_note_is_said_again(english: str, expected: str | None) -> None:
    said = in_chinese(english)
    if expected is None:
        assert not re.search("[A-Za-z]{2,} [A-Za-z]{2,}", said), said
    else:
        assert said == expected


@pytest.mark.parametrize("english", NOTES)
def test_forms_stand_in_the_source(english: str) -> None:
    """Reworded in English, reworded here."""
    form = re.sub(r"\{[a-z_]+\}", "\0", english).removesuffix(".").replace('"\0"', "\0")
    assert pieces(form) <= MOST_PIECES + 3, f"no note of the package reads so: {english}"
    named = {name for _, name, _, _ in Formatter().parse(english) if name}
    assert named == {name for _, name, _, _ in Formatter().parse(NOTES[english]) if name}
    assert not re.search(r"[\u4e00-\u9fff][,.;:?]", NOTES[english])


def test_words_stand_in_the_source() -> None:
    for english in WORDS:
        assert pieces(english) == 1, english
    from microtune.data.lint.words_en import FINDINGS

    assert FAULTS.keys() <= FINDINGS.keys()


def test_a_lint_holds_no_english_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [{"text": f"number {i} of what came", "label": "ab"[i % 2]} for i in range(40)]
    lines = [json.dumps(row) for row in [*rows, rows[3], {"text": "今天天气很好", "label": "a"}]]
    Path("a.jsonl").write_text("\n".join([*lines, '{"text": "a" "label"}']) + "\n", encoding="utf-8")
    asked = ("lint", "a.jsonl", "--lang", "zh", "--model", "none")
    found = {f["kind"]: f for f in json.loads(call(capsys, *asked, "--json").out)["findings"]}
    assert found["unreadable"]["message"] == "读取中断：a.jsonl，第 43 行：第 14 列：JSON 格式有误（此处应有逗号）。"
    assert found["exact-copies"]["places"][0]["text"] == "与第 4 行相同：number 3 of what came"
    assert "language-mix" not in found  # one Chinese row among Latin ones
    said = call(capsys, *asked, "--out", "report").out
    assert "42 行，" in said
    assert "a.jsonl，第 41 行" in said
    assert "已保存：report/lint.html" in said


def test_the_terminal_says_notes_in_chinese(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from microtune.cli.console import show_note

    note = "Resumed at step 3 of 8."
    monkeypatch.setenv("MICROTUNE_LANG", "zh")
    show_note(note)
    assert capsys.readouterr().err == "说明：从第 3 步继续，共 8 步。\n"
    monkeypatch.setenv("MICROTUNE_LANG", "en")
    show_note(note)
    assert capsys.readouterr().err == f"note: {note}\n"
