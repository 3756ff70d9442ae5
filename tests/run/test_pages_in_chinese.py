"""Model cards and the page of a comparison in Chinese: every sentence of the English ones, nothing of the user's."""

from __future__ import annotations

import re
from pathlib import Path
from string import Formatter
from typing import Any

import pytest

from microtune.recipe import build
from microtune.run.adjust import Decision
from microtune.run.card import LEARNT_FROM, Course, write_base_card, write_card
from microtune.run.classic.base import write_classic_card
from microtune.run.compare.results import Line, Results
from microtune.run.compare.table import markdown
from microtune.run.diagnosis import Diagnosis
from microtune.run.evaluate import Score
from microtune.run.report.pages import page_in_chinese, pages_in_chinese
from microtune.run.report.words.pages_zh import LINES
from microtune.run.summary import Summary

SENTENCE = re.compile(r"[A-Za-z]{2,},? [A-Za-z]{2,},? [A-Za-z]{2,}")


def english(page: str) -> list[str]:
    """Lines with three words in a row, outside of code and the header."""
    body = re.sub(r"```.*?```", "", re.sub(r"\A---\n.*?\n---\n", "", page, flags=re.DOTALL), flags=re.DOTALL)
    return [line for line in body.splitlines() if SENTENCE.search(line)]


def test_the_card_of_a_run(tmp_path: Path) -> None:
    values = {"task": "regression", "model": {"source": "sprout"}, "data": {"train": "test.csv"}, "method": "lora"}
    scores = {"test": Score({"rmse": 0.5}, {"rmse": (0.4, 0.6)}, [])}  # type: ignore[arg-type]
    course = Course(
        Diagnosis("good fit", "Good fit: it went."),
        [Decision(3, "overfitting", True, "Nobody knows this.", ["nor that"])],
    )
    made = [{"name": "reload", "result": "passed"}, {"name": "overlap", "result": "warned"}]
    notes = ["Resumed at step 3 of 8.", "A | b <c>."]
    write_card(tmp_path, build(values), Summary((), 100, 10, "sprout"), scores, None, notes, course, made)
    page = (tmp_path / "README.md").read_text(encoding="utf-8")
    said = page_in_chinese(page)
    assert said.startswith(page[: page.index("\n---\n", 3) + 5])  # what hubs read
    assert "任务 regression，数据 test.csv，基座模型 sprout，方法 lora；由 microtune " in said
    assert "共 100 个参数，训练了其中 10 个（10.00%）。" in said
    assert "| 测试集 | rmse | 0.5000 | 0.4000 至 0.6000 |" in said
    assert "学习率 由方法决定" in said or "学习率由方法决定" in said
    assert "保留的权重：最好的。" in said
    assert "- 从第 3 步继续，共 8 步。\n- A \\| b &lt;c>.\n" in said
    assert "reload 通过；overlap 有提醒（见上文）。" in said
    assert f'run = mt.Run("{tmp_path.as_posix()}")' in said
    assert [line for line in english(said) if "Nobody knows" not in line and "Good fit" not in line] == []
    assert page_in_chinese(said) == said


def test_a_base_card(tmp_path: Path) -> None:
    source = {"name": "from | x.txt", "language": "en", "tokens": 1000, "epochs": 2.0}
    language = {"coverage": 1.0, "tokens_per_word": 1.5, "bytes_per_token": 3.0}
    report = {"vocabulary": 300, "used": 0.5, "common": 90, "languages": {"en": language}}
    facts = {"parameters": 1234, "tokens": 1000, "steps": 10, "seconds": 3600, "sources": [source]}
    for objective in LEARNT_FROM:
        for model in ({"source": "sprout"}, {"spec": {}}, {"spec": {}, "vectors": "v.bin"}):
            task = {"name": "language-modelling", "objective": objective}
            recipe = build({"task": task, "data": {"train": "x"}, "model": {"source": "sprout"}})
            model = {"source": None, "spec": None, "vectors": None} | model
            recipe = recipe.model_copy(update={"model": recipe.model.model_copy(update=model)})
            values = {"bits_per_byte": 1.0, "perplexity": 9.0} if objective == "causal" else {"loss": 1.0}
            score = {"values": values, "intervals": {}}
            write_base_card(tmp_path / "README.md", recipe, {"test": score}, {**facts, "tokenizer": report})
            page = (tmp_path / "README.md").read_text(encoding="utf-8")
            said = page_in_chinese(page)
            assert english(said) == []
            assert "1,234 个参数的基座模型" in said
            assert "| from \\| x.txt | en | 1,000 | 2 |" in said
            assert "| 留出的文本 |" in said
            assert page_in_chinese(said) == said


def test_a_classic_card(tmp_path: Path) -> None:
    path = tmp_path / "run" / "README.md"
    path.parent.mkdir()
    about = (
        "An n-gram model of order 3 over 40 words, interpolated modified Kneser-Ney: 99 n-grams of 500 tokens, counted "
        "in 2 seconds"
    )
    sources = [{"name": "x.txt", "language": "en", "tokens": 500, "share": 0.5}]
    write_classic_card(path, about, sources, {}, ["Resumed at step 3 of 8."])
    said = page_in_chinese(path.read_text(encoding="utf-8"))
    assert english(said) == []
    assert "- 从第 3 步继续，共 8 步。" in said
    assert 'model = mt.load("' in said


def results(**changes: Any) -> Results:
    lines = [
        Line("head", 8, "finished", "", "test", 0.9, 0.85, 0.95, 0.01, 0.9, 10, 0.1, 4, 4, 3.0, 3.0, 2**20, 99,
             {"kind": "drift", "before": 0.0, "after": 0.1, "texts": 3}, ["runs/head"]),
        Line("test", 8, "stopped", "the worse half at step 2 of 4", "validation", 0.5),
        Line("top:9", None, "skipped", "method: 9 blocks were asked for, the model has 2."),
        Line("lora:2", 8, "failed", "The run does not fit into memory."),
    ]  # fmt: skip
    reason = "head: the only one that trained to the end."
    given: dict[str, Any] = {"task": "classification", "model": "base", "data": "a|b.csv", "metric": "accuracy"}
    given |= {"greater_is_better": True, "budget": 60.0, "spent": 100.0, "seeds": [0, 1], "lines": lines}
    given |= {"recommendation": {"method": "head", "reason": reason}}
    given["notes"] = ["Shared states of frozen trunks saved 3 seconds."]
    return Results(**(given | changes))


def test_the_page_of_a_comparison(tmp_path: Path) -> None:
    page = markdown(results(), "curve.png")
    (tmp_path / "compare.md").write_text(page, encoding="utf-8")
    pages_in_chinese(tmp_path)
    said = (tmp_path / "compare.md").read_text(encoding="utf-8")
    assert [line for line in english(said) if "9 blocks" not in line and "fit into memory" not in line] == []
    assert said.startswith("# a\\|b.csv 上的 classification：方法比较\n")
    assert "**推荐：** head：只有它训练到了最后。" in said
    assert "- 共用冻结主干的状态，节省了 3 秒。" in said
    assert "| test, 8 | 0.500 | - | 验证集 |" in said  # a method that is called as a split is
    assert "停止：到第 2 步（共 4 步）时在较差的一半" in said
    assert "| 0.850 至 0.950, ± 0.010 |" in said
    assert "漂移 0.100" in said
    assert 'microtune predict <this folder>/runs/head "text"' in said
    assert "越低越好" in page_in_chinese(markdown(results(greater_is_better=False), None))
    assert page_in_chinese(said) == said


@pytest.mark.parametrize("form", LINES)
def test_forms_name_the_same(form: str) -> None:
    names = [{name for _, name, _, _ in Formatter().parse(text) if name} for text in (form, LINES[form])]
    assert names[0] == names[1]
    assert not re.search(r"[一-鿿][,.;:?]", LINES[form])
