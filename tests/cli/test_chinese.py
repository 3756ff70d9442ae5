"""Refusals in Chinese: what the user named stays, forms follow the source, what is not known stays English."""

from __future__ import annotations

import ast
import re
from bisect import bisect_left
from functools import cache
from pathlib import Path
from string import Formatter

import pytest
from command import call

import microtune
from microtune.cli.chinese import FORMS, asked_for, translated
from microtune.cli.chinese.composed import COMPOSED
from offenders import offenders

PUT_TOGETHER = (  # of parts that stand in the source each for itself, or in pydantic
    'the ending "',
    'the label in "',
    "Did you mean ",
    "model.max_length: ",
    "{field}: the value should be ",
)
MOST_PIECES = 5
SAID = [
    ("r.yaml: no such recipe file.", "r.yaml：没有这个配方文件。"),
    ('d/数据.csv: no such file; did you mean "data.csv"?', "d/数据.csv：没有这个文件；是不是“data.csv”？"),
    (
        'a.jsonl, line 31: the field "text" is empty; fill it in, or remove the row.',
        'a.jsonl，第 31 行：字段 "text" 是空的；请补上内容，或删去这一行。',
    ),
    (
        'Unknown method "lorra". Did you mean "lora"? Known: bitfit, full, lora.',
        "method 中没有“lorra”。是不是“lora”？可用的有：bitfit, full, lora。",
    ),
    (
        'r.yaml: unknown key "trian". Did you mean "train"? Known: data, train.',
        "r.yaml：没有“trian”这一项。是不是“train”？可用的有：data, train。",
    ),
    ("train.lr: the value should be greater than 0, not '-1'.", "train.lr：应当大于 0，而不是 '-1'。"),
    ("method: 9 blocks were asked for, the model has 2.", "method：要求 9 层，而模型只有 2 层。"),
    (
        "No method fits this model. top:8: method: 8 blocks were asked for, the model has 2.",
        "没有一种方法适合这个模型。top:8：method：要求 8 层，而模型只有 2 层。",
    ),
    ("[chance] C:\\a: b.csv, line 1,234: the file is empty.", "[chance] C:\\a: b.csv，第 1,234 行：文件是空的。"),
    ("{braces} and %s: nobody knows this.", "{braces} and %s: nobody knows this."),
    ("{x}: no such file.", "{x}：没有这个文件。"),
    (
        "model.max_length: 60 is more than the 48 positions that 16 virtual tokens leave of the 64 of this model.",
        "model.max_length：60 太大；该模型有 64 个位置，16 个虚拟词元之外只剩 48 个。",
    ),
    (
        "Row 0 has 9 tokens, but the model has 64 positions, of which virtual tokens take 56.",
        "第 0 行有 9 个词元，而模型只有 64 个位置，其中虚拟词元占 56 个。",
    ),
    (
        "c.csv.gz: the file is gzip-compressed inside its compression, not text; give it the ending of what it is.",
        "c.csv.gz：压缩文件里面还是 gzip 压缩文件，不是文本；请改成与内容相符的扩展名。",
    ),
]


@pytest.mark.parametrize(("english", "chinese"), SAID)
def test_a_sentence_is_said_again(english: str, chinese: str) -> None:
    assert translated(english) == chinese


@cache
def sources() -> str:
    """Every text of the package, a NUL where a value stands in it."""
    found = []
    package = Path(microtune.__file__).parent
    for path in package.rglob("*.py"):
        if "chinese" in path.relative_to(package).parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                found.append("".join(str(v.value) if isinstance(v, ast.Constant) else "\0" for v in node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return "\n".join(found)


@cache
def unquoted() -> str:
    return sources().replace('"\0"', "\0")


def pieces(form: str) -> int:
    """Of how few texts of the package a form is made, one after another; a word of no text counts letter by letter."""
    count = 0
    while form:
        # what begins a text that is found is found too, hence halving
        length = bisect_left(range(2, len(form) + 1), True, key=lambda n: form[:n] not in unquoted()) + 1
        form, count = form[length:], count + 1
    return count


def stands_in_the_source(english: str) -> None:
    form = re.sub(r"\{[a-z_]+\}", "\0", english).removesuffix(".")
    bare = form.replace('"\0"', "\0")  # names are quoted by `shown`
    found = english.startswith(PUT_TOGETHER) or form in sources() or bare in unquoted()
    if english in COMPOSED:
        found = pieces(bare) <= MOST_PIECES
    assert found, "no message of the package reads so"


def test_forms_stand_in_the_source() -> None:
    """Reworded in English, reworded here."""
    assert offenders(stands_in_the_source, FORMS) == {}


def names_the_same(english: str) -> None:
    def names(text: str) -> set[str]:
        return {name for _, name, _, _ in Formatter().parse(text) if name}

    chinese = FORMS[english]
    assert names(english) - {"more"} == names(chinese)
    assert re.search("[\u4e00-\u9fff]", chinese)
    assert not re.search(r"[\u4e00-\u9fff][,.;:?]", chinese)  # half-width marks behind Chinese


def test_nothing_that_was_named_gets_lost() -> None:
    assert offenders(names_the_same, FORMS) == {}


def test_who_is_asked_in_chinese(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MICROTUNE_LANG", raising=False)
    assert not asked_for(["tune", "a.csv"])
    assert asked_for(["tune", "a.csv", "--lang", "zh"])
    assert asked_for(["report", "--lang=zh"])
    monkeypatch.setenv("MICROTUNE_LANG", "zh_CN")
    assert asked_for([])
    assert not asked_for(["lint", "--lang", "en"])


def test_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MICROTUNE_LANG", "zh")
    answer = call(capsys, "tune", tmp_path / "none.yaml")
    assert answer.code == 2
    assert answer.err == f"错误：{tmp_path}/none.yaml：没有这个配方文件。\n"
