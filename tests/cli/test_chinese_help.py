"""`--help` and `list` in Chinese: every verb and option has its Chinese, and the columns stay straight."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from command import call
from typer.main import get_command

import microtune.cli.app
import microtune.cli.console
import microtune.cli.listing
from microtune.cli.chinese.help import columns, speak, wrapped
from microtune.cli.chinese.listed import DOES, LISTED, WHEN
from microtune.cli.chinese.options import OPTIONS
from microtune.cli.chinese.verbs import VERBS
from microtune.cli.listing import KINDS, _entries
from microtune.run.checks import checks
from microtune.run.report.words.checks_zh import CHECKS

HAN = "[\u4e00-\u9fff]"
WIDTH = 80
# two Latin words beside each other are a sentence that was forgotten, but for these names; or one of the parser's words
ENGLISH = re.compile(r"[A-Za-z]{2,} [a-z]{2,}|default|required|Options|Arguments|Commands|Usage|Show|<str|<int|<float")


def commands() -> dict[str, Any]:
    group: Any = get_command(microtune.cli.app.app)
    return {"": group, **group.commands}


def pages(capsys: pytest.CaptureFixture[str]) -> Iterator[tuple[str, str]]:
    for verb in commands():
        answer = call(capsys, *([verb] if verb else []), "--help")
        assert (answer.code, answer.err) == (0, "")
        yield verb, answer.out


def test_every_verb_and_every_option_has_its_chinese() -> None:
    helps = {p.help for c in commands().values() for p in c.params if getattr(p, "help", None)}
    assert helps - set(OPTIONS) == set()
    assert set(OPTIONS) - helps == set()
    assert {c.help for c in commands().values()} == set(VERBS)
    for c in commands().values():
        assert all(p.help for p in c.params if p.name != "help")


def test_nothing_is_english_but_names(
    chinese: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    for verb, page in pages(capsys):
        for line in page.splitlines()[1:]:  # the first one names the command as it was started
            assert not ENGLISH.search(line), (verb, line)


def test_columns_stay_straight_in_a_terminal(
    chinese: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    for verb, page in pages(capsys):
        starts: dict[str, set[int]] = {}
        section = ""
        for line in page.splitlines():
            assert columns(line) <= WIDTH - 2, line
            assert not re.match(r" *[，。；：、！）》\]]", line), line
            if line.endswith("：") and not line.startswith(" "):
                section = line
            elif section and line.strip():
                two = re.match(r" {2}\S.*?\S(?: {2,})(?=\S)| {4,}", line)
                assert two is not None, line
                starts.setdefault(section, set()).add(columns(two[0]))
        assert all(len(found) == 1 for found in starts.values()), (verb, starts)
        assert len(starts) == 2 or verb in ("demo",), (verb, starts)


def test_the_words_of_the_parser(
    chinese: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    page = call(capsys, "vectors", "-h").out
    assert re.search(r"^用法：\S+.* vectors \[选项\] ", page)
    assert "\n\n参数：\n  source" in page
    assert "[必填]" in page
    assert "给出几个答案 [默认：10]\n" in page
    assert page.endswith("显示本帮助\n")
    whole = call(capsys, "--help").out
    assert "\n\n命令：\n  demo       演示：" in whole
    alone = call(capsys)
    assert (alone.code, alone.out) == (2, "")
    assert alone.err.rstrip() == whole.rstrip()


def test_who_gets_chinese_pages(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MICROTUNE_LANG", raising=False)
    assert "Show this message and exit." in call(capsys, "tune", "--help").out
    for asked in (("tune", "--help", "--lang", "zh"), ("--lang=zh", "tune", "--help"), ("--lang", "zh", "--help")):
        assert "显示本帮助" in call(capsys, *asked).out
    assert "Show this message and exit." in call(capsys, "--help").out  # no trace of the calls before
    monkeypatch.setenv("MICROTUNE_LANG", "zh")
    assert "显示本帮助" in call(capsys, "--help").out
    assert "Show this message and exit." in call(capsys, "tune", "--help", "--lang", "en").out
    assert "--lang：没有“fr”" in call(capsys, "--lang", "fr", "list", "models").err


def test_lines_break_between_characters_and_never_before_a_mark() -> None:
    assert wrapped("看数据、比较", 8) == ["看数据、", "比较"]
    assert wrapped("看数据、比较", 6) == ["看数", "据、比", "较"]
    assert wrapped("用 train.lr=3e-4 训练", 10) == ["用", "train.lr=3e-4", "训练"]
    assert wrapped("基座名 [默认：sprout]", 18) == ["基座名", "[默认：sprout]"]
    assert columns("a，微") == 5


def test_an_option_of_tomorrow_stays_english(capsys: pytest.CaptureFixture[str]) -> None:
    group: Any = get_command(microtune.cli.app.app)
    group.commands["vectors"].params[-1].help = "a new one"
    speak(group)
    assert "a new one" in group.commands["vectors"].params[-1].help


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("families", "checks")])
def test_every_list_has_its_chinese(kind: str) -> None:
    abouts = {about.removesuffix(" (not installed)") for _, about in _entries(kind)}
    assert abouts - set(LISTED) == set()
    assert all(re.search(HAN, LISTED[about]) for about in abouts)


def test_every_check_has_its_chinese() -> None:
    assert set(checks) == set(CHECKS)
    assert {when for _, check in checks.items() for when in check.when} <= set(WHEN)
    assert {check.does for _, check in checks.items()} <= set(DOES)


def test_lists_in_the_terminal(chinese: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(capsys, "list", "models").out.splitlines()[:2] == [
        "模型（models）",
        "名称    说明".ljust(len(call(capsys, "list", "models").out.splitlines()[1])),
    ]
    said = call(capsys, "list", "checks").out
    whole = re.sub(r"\s", "", said)  # however wide the terminal of whoever runs this is
    assert re.sub(r"\s", "", "答案会因最大长度被截断的行：舍弃、计数并列出；超过 5 % 则中止（提醒或中止）") in whole
    assert "训练之前：" in whole
    assert "before" not in said


def test_a_list_loses_nothing_in_a_narrow_terminal(
    chinese: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Chinese sentence is one word to rich, which cuts what does not fit."""
    monkeypatch.setattr(microtune.cli.console, "out", narrow := microtune.cli.console.Output())
    monkeypatch.setattr(microtune.cli.listing, "out", narrow)
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    said = call(capsys, "list", "checks").out
    assert "…" not in said
    assert all(columns(line) <= WIDTH for line in said.splitlines())
    assert not re.search(r"^ *[，。；：、！）》]", said, re.MULTILINE)
    assert re.sub(r"\s", "", CHECKS["answer-cut"]) in re.sub(r"\s", "", said)
