"""What the verbs show in the terminal in Chinese: each form is said somewhere, and loses none of its values."""

from __future__ import annotations

import json
import re
from pathlib import Path
from string import Formatter

import pytest
from command import call

import microtune.cli
from microtune.cli.chinese.terminal import TERMINAL
from microtune.cli.language import said, word
from tiny_model import make_model, rows

pytestmark = pytest.mark.usefixtures("quick")
FAST = ("train.precision=float32", "--epochs", "1", "--method", "head")
ROOT = Path(microtune.cli.__file__).parents[1]


def test_forms_stand_in_the_source() -> None:
    source = "\n".join(p.read_text(encoding="utf-8") for p in ROOT.rglob("*.py") if "chinese" not in p.parts)
    assert [english for english in TERMINAL if json.dumps(english) not in source] == []


@pytest.mark.parametrize("english", TERMINAL)
def test_nothing_gets_lost(english: str) -> None:
    def places(text: str) -> set[str]:
        return {name for _, name, _, _ in Formatter().parse(text) if name}

    assert places(TERMINAL[english]) == places(english)
    assert re.search("[\u4e00-\u9fff]", TERMINAL[english]) or english in (", ", "  {name}: {value}")


def test_a_word_without_chinese_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MICROTUNE_LANG", "zh")
    assert (word("rows"), word("a {label}")) == ("行数", "a {label}")
    assert said("written: {path}", path="{rows}") == "已写入：{rows}"
    monkeypatch.setenv("MICROTUNE_LANG", "en")
    assert (word("rows"), said("written: {path}", path="a")) == ("rows", "written: a")


def test_tune_plan_and_evaluate(chinese: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_model(tmp_path / "m")
    Path("d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows()))
    asked = ("d.jsonl", "--task", "classification", "--model", "m", *FAST)
    plan = call(capsys, "plan", *asked[:-2]).out
    assert "内存峰值" in plan
    assert "合计，1 轮" in plan
    assert "程序库与数据" in plan
    tune = call(capsys, "tune", *asked, "--out", "r")
    assert "数据：训练集 20 行，验证集 2 行，测试集 2 行；2 个标签\n字段：text = text; label = label\n" in tune.err
    notes = [line for line in tune.err.splitlines() if line.startswith("说明：")]
    assert len(notes) == len(set(notes))
    assert re.search(r"\n合计 .*\(\d\.\d\d%\)", tune.err)
    assert "\n测试集，2 行" in tune.out
    assert re.search("\n诊断：.*训练损失从", tune.out)
    assert "已保存：r（报告：r/report.html）\n  接下来：microtune predict r" in tune.out
    shown = [line for line in (plan + tune.out + tune.err).splitlines() if not line.startswith("  接下来")]
    assert not [line for line in shown if re.search(r"[a-z]{3,} (?:of|the|to|is|at|rows|split)\b", line)]
    assert re.search(r"测试集 +accuracy +\d\.\d{4}  \(\d\.\d{4} 至 \d\.\d{4}\)", call(capsys, "evaluate", "r").out)
    english = call(capsys, "tune", *asked, "--out", "e", "--lang", "en")
    assert english.code == 0


def test_compare(chinese: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_model(tmp_path / "m")
    Path("d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows(40)))
    asked = ("d.jsonl", "--task", "classification", "--model", "m", *FAST[:-2], "--methods", "head,top:1,top:9")
    answer = call(capsys, "compare", *asked, "--curve", "4,500", "--out", "c")
    assert answer.code == 0
    assert "top:9：不参加。method：要求 9 层，而模型只有 2 层。\n" in answer.err
    assert "top:9：不参加：method：要求 9 层，而模型只有 2 层。\n" in answer.out
    assert re.search(r"说明：每个标签 500 个样本：略去，训练集中一个标签通常只有 \d+ 个。\n", answer.err)
    assert re.search(r"\n推荐：(head|top:1)：.*。\n", answer.out)
    shown = [line for line in (answer.out + answer.err).splitlines() if not line.startswith("  接下来")]
    assert not [line for line in shown if re.search("[A-Za-z]{3,} [a-z]{2,}", line)]


def test_export_merge_and_combine(chinese: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_model(tmp_path / "m")
    Path("d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows()))
    asked = ("d.jsonl", "--task", "classification", "--model", "m", *FAST[:-1], "lora")
    assert call(capsys, "tune", *asked, "--out", "r").code == 0
    merged = call(capsys, "merge", "r", "--out", "w").out
    form = r"\n由 .+读取，比较 8 行的标签得分：最大差异 \S+（允许：5e-05，最大值的 5e-05，float32 舍入）\n"
    assert re.search(form, merged)
    assert not re.search("[A-Za-z]{3,} [a-z]{3,}", merged)
    mixed = call(capsys, "combine", "r", "r", "--weights", "0.5,0.5", "--out", "x").out
    assert mixed.startswith("已合成 2 个适配器，秩 16（linear，没有损失）\n")
