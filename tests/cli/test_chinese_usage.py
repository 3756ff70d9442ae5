"""Mistakes on the command line as they are read in Chinese, and sentences that hold others inside."""

from __future__ import annotations

import re
from string import Formatter
from typing import Any

import pytest
from command import call
from read_in_chinese import sentence

import microtune.cli.app
from microtune.cli.chinese import translated
from microtune.cli.chinese.system import SYSTEM
from microtune.cli.chinese.usage import USAGE

VERBS = ("tune", "evaluate", "combine", "export", "report", "lint")


def hint(first: str) -> str:
    return f"（microtune {first} --help 列出全部用法）" if first in VERBS else "（microtune --help 列出全部用法）"


USAGES = [
    (("tune", "a.csv", "--epoch", "1"), "没有选项 --epoch，相近的有 --epochs"),
    (("tune", "a.csv", "-z"), "没有选项 -z"),
    (("--zzz",), "没有选项 --zzz"),
    (("tune", "a.csv", "--epochs"), "选项 --epochs 后面缺少值"),
    (("tune", "a.csv", "--quiet=yes"), "选项 --quiet 后面不能带值"),
    (("tune", "a.csv", "--epochs", "many"), "选项 --epochs 的值应为数字"),
    (("tune", "a.csv", "--seed", "1.5"), "选项 --seed 的值应为整数"),
    (("zzz",), "没有命令“zzz”"),
    (("tunee", "a.csv"), "没有命令“tunee”，是不是“tune”？"),
    (("evaluate",), "缺少参数 run"),
    (("combine",), "缺少参数 RUN RUN..."),
    (("export", "a"), "缺少选项 --out"),
    (("report", "a", "b"), "多出参数 b"),
]


pytestmark = pytest.mark.usefixtures("quick", "chinese")


@pytest.mark.parametrize(("arguments", "expected"), USAGES)
def test_mistakes_on_the_command_line(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], expected: str
) -> None:
    assert sentence(call(capsys, *arguments)) == expected + hint(arguments[0])


def test_lang_is_enough(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MICROTUNE_LANG")
    assert sentence(call(capsys, "lint", "a.csv", "--lang", "zh", "--zzz")) == f"没有选项 --zzz{hint('lint')}"
    assert call(capsys, "lint", "a.csv", "--zzz").err.startswith("error: No such option")
    monkeypatch.setenv("MICROTUNE_LANG", "zh")
    assert sentence(call(capsys, "lint", "a.csv", "--lang", "fr")) == "--lang：没有“fr”；报告的语言有 en 和 zh。"


def test_how_a_command_ends(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for error, code, expected in (
        (KeyboardInterrupt(), 130, "已停止"),
        (MemoryError(), 1, "内存不足；请减小 train.micro_tokens，或换用较小的模型"),
        (RuntimeError("boom"), 1, "内部错误（RuntimeError: boom）；请加 --debug 再执行一次，并把输出一起报告"),
    ):

        def fails(error: BaseException = error, **_: Any) -> None:
            raise error

        monkeypatch.setattr(microtune.cli.app, "app", fails)
        assert (call(capsys, "list").code, call(capsys, "list").err) == (code, f"错误：{expected}\n")


@pytest.mark.parametrize("english", [*USAGE, *SYSTEM])
def test_nothing_that_was_named_gets_lost(english: str) -> None:
    chinese = {**USAGE, **SYSTEM}[english]
    named = {name for _, name, _, _ in Formatter().parse(chinese) if name}
    assert named <= set(re.findall(r"\{([a-z_]+)\}", english))
    assert re.search("[\u4e00-\u9fff]", chinese)
    assert not re.search(r"[\u4e00-\u9fff][,.;:?]", chinese)


@pytest.mark.parametrize(
    ("english", "expected"),
    [
        (
            'a.jsonl, line 3: data.split_by: there is no field "day"; the row has "date".',
            'a.jsonl，第 3 行：data.split_by：没有字段“day”；这一行有 "date"。',
        ),
        (
            "recipe: train.lr: the value should be greater than 0, not '-1'.",
            "配方：train.lr：应当大于 0，而不是 '-1'。",
        ),
        (
            "[answer-cut] 9 of 40 rows are longer than the model can read and would lose their answer; shorten them or "
            "raise model.max_length. First: a.jsonl, line 6; a.jsonl, line 7 and 7 more.",
            "[answer-cut] 40 行中有 9 行超过模型能读的长度，会丢失答案；请缩短，或提高 model.max_length。"
            "首先是：a.jsonl，第 6 行；a.jsonl，第 7 行，另有 7 处。",
        ),
        (
            "<memory>, line 1: a row is a str, not a dict such as {example}.",
            "<memory>，第 1 行：有一行是字符串，应为字典，例如 {example}。",
        ),
        (
            "m/vocab.json: not readable as JSON (Expecting value: line 1 column 1 (char 0)); copy or download the "
            "folder again.",
            "m/vocab.json：无法作为 JSON 读取（第 1 行第 1 列：此处应有一个值）；请重新复制或下载文件夹。",
        ),
        ('a.jsonl, line 2: the label in "" is missing.', "a.jsonl，第 2 行：“”中缺少标签。"),
    ],
)
def test_sentences_with_others_inside(english: str, expected: str) -> None:
    assert translated(english) == expected
