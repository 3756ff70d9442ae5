"""Names of stages in Chinese: forms follow the source, names of methods and runs stay."""

from __future__ import annotations

import re

import pytest
from test_chinese import MOST_PIECES, pieces

import microtune.cli.console
from microtune.cli.chinese.stages import STAGES, stage


@pytest.mark.parametrize(
    ("english", "expected"),
    [
        ("frozen trunk, train", "冻结的主干，训练集"),
        ("writing answers, test", "写出回答，测试集"),
        ("forgetting, test", "遗忘，test"),
        ("choosing a method: lora:8, rung 1 of 3", "选择方法：lora:8，第 1 级，共 3 级"),
        ("train 1.5 M parameters on 90 blocks", "在 90 个文本块上训练 1.5 M 个参数"),
        ("evaluating", "评估"),
        ("of tomorrow", "of tomorrow"),
    ],
)
def test_a_stage(english: str, expected: str) -> None:
    assert stage(english) == expected


def test_forms_stand_in_the_source() -> None:
    assert [e for e in STAGES if pieces(re.sub(r"\{[a-z]+\}", "\0", e)) > MOST_PIECES] == []


def test_on_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    from microtune.run.session import Stage

    for asked, expected in (("zh", "冻结的主干，训练集"), ("en", "frozen trunk, train")):
        monkeypatch.setenv("MICROTUNE_LANG", asked)
        printer = microtune.cli.console.EventPrinter()
        printer(Stage("frozen trunk, train", 1, 8))
        assert [task.description for task in printer._bar.tasks] == [expected]
