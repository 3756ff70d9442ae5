"""Model cards and the page of a comparison in Chinese: every sentence of the English ones, nothing of the user's."""

from __future__ import annotations

import json
import re
from pathlib import Path
from string import Formatter
from typing import Any

import pytest

from microtune.errors import RunError
from microtune.recipe import build, to_yaml
from microtune.run.card import LEARNT_FROM, write_base_card
from microtune.run.classic.base import classic_card
from microtune.run.compare.results import Line, Results
from microtune.run.compare.table import markdown
from microtune.run.pages import write_pages
from microtune.run.report.card import write_card
from microtune.run.report.pages import language_of, page_in_chinese
from microtune.run.report.words.pages_zh import LINES
from microtune.version import __version__

SENTENCE = re.compile(r"[A-Za-z]{2,},? [A-Za-z]{2,},? [A-Za-z]{2,}")


def english(page: str) -> list[str]:
    """Lines with three words in a row, outside of code and the header."""
    body = re.sub(r"```.*?```", "", re.sub(r"\A---\n.*?\n---\n", "", page, flags=re.DOTALL), flags=re.DOTALL)
    return [line for line in body.splitlines() if SENTENCE.search(line)]


RECIPE = {"task": "regression", "model": {"source": "sprout"}, "data": {"train": "test.csv"}, "method": "lora"}
RECORD = {
    "scores": {"test": {"values": {"rmse": 0.5}, "intervals": {"rmse": [0.4, 0.6]}}},
    "notes": ["Resumed at step 3 of 8.", "A | b <c>."],
    "checks": [{"name": "reload", "result": "passed"}, {"name": "overlap", "result": "warned"}],
    "diagnosis": {
        "verdict": "good fit",
        "sentence": "Good fit: it went.",
        "evidence": {"first_train_loss": 2.5, "train_loss": 2.25, "validation_loss": 2.0, "gap": -0.25},
    },
    "decisions": [{"step": 3, "rule": "overfitting", "acted": True, "reason": "Nobody knows this.", "changes": ["a"]}],
}
SPLIT = {"rows": 48, "tokens": 1000, "supervised": 48, "longest": 30, "truncated": 2, "dropped": 1}
FACTS = {
    "task": {"name": "regression"},
    "model": {"base": "sprout", "parameters": 100, "trainable": 10, "license": "mit"},
    "splits": {"test": SPLIT},
    "languages": ["zh", "en"],
}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The files that the card of a run is made of."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "recipe.yaml").write_text(to_yaml(build(RECIPE)), encoding="utf-8")
    for name, value in (("scores.json", RECORD), ("report.json", FACTS), ("environment.json", {"microtune": "0.9"})):
        (folder / name).write_text(json.dumps(value), encoding="utf-8")
    write_card(folder)
    return folder


def test_the_card_of_a_run(run: Path) -> None:
    page = (run / "README.md").read_text(encoding="utf-8")
    assert "made by microtune 0.9." in page  # the version that trained it, whichever writes the page again
    assert "| test | 48 | 1,000 | 48 | 30 | 2 | 1 |" in page
    said = page_in_chinese(page)
    assert said.startswith(page[: page.index("\n---\n", 3) + 5])  # what hubs read
    assert "任务 regression，数据 test.csv，基座模型 sprout，方法 lora；由 microtune " in said
    assert "共 100 个参数，训练了其中 10 个（10.00%）。" in said
    assert "| 测试集 | rmse | 0.5000 | 0.4000 至 0.6000 |" in said
    assert "| 部分 | 行数 | 词元数 | 其中参与学习或评分 | 最长 | 被截断 | 被舍弃 |" in said
    assert "语言，按出现多少排列：zh, en。" in said
    assert "最多训练 3 轮，每步" in said
    assert "学习率由方法决定" in said
    assert "保留的权重：最好的。" in said
    assert "- 从第 3 步继续，共 8 步。\n- A \\| b &lt;c>.\n" in said
    assert "reload 通过；overlap 有提醒（见上文）。" in said
    assert f'run = mt.Run("{run.as_posix()}")' in said
    assert [line for line in english(said) if "Nobody knows" not in line and "Good fit" not in line] == []
    assert page_in_chinese(said) == said


def test_pages_go_from_one_language_to_the_other_and_back(run: Path) -> None:
    card = run / "README.md"
    first = card.read_text(encoding="utf-8")
    assert write_pages(run, "zh") == [run / "report.html", card]
    said = card.read_text(encoding="utf-8")
    assert "训练情况：拟合良好" in said  # from its numbers, as in the report
    assert language_of(said) == "zh"
    write_pages(run, "en")
    assert card.read_text(encoding="utf-8") == first
    assert language_of(first) == "en"
    assert '<html lang="en">' in (run / "report.html").read_text(encoding="utf-8")
    card.unlink()
    write_pages(run, "zh")
    assert card.read_text(encoding="utf-8") == said


def test_a_model_that_began_from_nothing(run: Path) -> None:
    facts = {**FACTS, "model": {**FACTS["model"], "base": "a new llama", "family": "llama"}}  # type: ignore[dict-item]
    (run / "report.json").write_text(json.dumps(facts), encoding="utf-8")
    (run / "README.md").unlink()
    write_pages(run, "en")
    card, page = ((run / name).read_text(encoding="utf-8") for name in ("README.md", "report.html"))
    assert "regression on test.csv, from nothing (llama), method lora; made by" in card
    assert "Licence: not chosen; the model has no base, and the data may have conditions of their own." in card
    assert "from nothing (llama)" in page
    assert "Licence of the base" not in page
    write_pages(run, "zh")
    card, page = ((run / name).read_text(encoding="utf-8") for name in ("README.md", "report.html"))
    assert "从零开始（llama）" in card
    assert "从零开始（llama）" in page
    assert [line for line in english(card) if "Nobody knows" not in line] == []
    assert "a new llama" not in page


def test_what_somebody_added_to_a_card_stays(run: Path) -> None:
    card = run / "README.md"
    first = card.read_text(encoding="utf-8").replace("license: mit", "license: cc0-1.0") + "Ask **Li** before use.\n"
    card.write_text(first, encoding="utf-8")
    write_pages(run, "zh")
    said = card.read_text(encoding="utf-8")
    assert "license: cc0-1.0" in said
    assert said.endswith("Ask **Li** before use.\n")
    assert "## 训练" in said
    write_pages(run, "en")
    assert card.read_text(encoding="utf-8") == first


def test_a_run_without_its_facts_keeps_its_card(run: Path) -> None:
    (run / "report.json").unlink()
    first = (run / "README.md").read_text(encoding="utf-8")
    write_pages(run, "en")
    assert (run / "README.md").read_text(encoding="utf-8") == first
    write_pages(run, "zh")
    assert "## 训练" in (run / "README.md").read_text(encoding="utf-8")
    (run / "README.md").unlink()
    assert write_pages(run, "zh") == [run / "report.html"]


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


def test_a_base_of_which_nothing_was_held_out(tmp_path: Path) -> None:
    recipe = build({"task": "language-modelling", "data": {"train": "x"}, "model": {"source": "sprout"}})
    source = {"name": "x.txt", "language": "en", "tokens": 1000, "epochs": 1.0}
    facts = {"parameters": 1234, "tokens": 1000, "steps": 10, "seconds": 3600, "sources": [source]}
    write_base_card(tmp_path / "README.md", recipe, {}, facts)
    page = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "held-out" not in page
    assert page.endswith("drawn from all sources alike.\n\n")


def test_a_classic_card(tmp_path: Path) -> None:
    about = (
        "An n-gram model of order 3 over 40 words, interpolated modified Kneser-Ney: 99 n-grams of 500 tokens, counted "
        "in 2 seconds"
    )
    sources = [{"name": "x.txt", "language": "en", "tokens": 500, "share": 0.5}]
    record = {"scores": {}, "facts": {"about": about, "sources": sources}, "notes": ["Resumed at step 3 of 8."]}
    (tmp_path / "scores.json").write_text(json.dumps(record), encoding="utf-8")
    assert write_pages(tmp_path, "zh") == [tmp_path / "report.html", tmp_path / "README.md"]
    said = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert english(said) == []
    assert "- 从第 3 步继续，共 8 步。" in said
    assert "| x.txt | en | 500 | 0.5 |" in said
    assert 'model = mt.load("' in said
    write_pages(tmp_path)
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == classic_card(
        tmp_path.name, tmp_path.as_posix(), f"{about}; made by microtune {__version__}.", sources, {}, record["notes"]
    )


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
    page = markdown(results(), None)
    (tmp_path / "compare.json").write_text(json.dumps(results().plain()), encoding="utf-8")
    assert write_pages(tmp_path, "zh") == [tmp_path / "compare.md"]
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
    write_pages(tmp_path, "en")
    assert (tmp_path / "compare.md").read_text(encoding="utf-8") == page


@pytest.mark.parametrize(("broken", "where"), [({"lines": 3}, "lines"), ({"task": None}, "task")])
def test_a_damaged_comparison(broken: dict[str, Any], where: str, tmp_path: Path) -> None:
    (tmp_path / "compare.json").write_text(json.dumps(results().plain() | broken), encoding="utf-8")
    with pytest.raises(RunError, match=rf"compare.json: cannot be read \({where}\); was it written by another program"):
        write_pages(tmp_path, "zh")
    assert [path.name for path in tmp_path.iterdir()] == ["compare.json"]


@pytest.mark.parametrize("form", LINES)
def test_forms_name_the_same(form: str) -> None:
    names = [{name for _, name, _, _ in Formatter().parse(text) if name} for text in (form, LINES[form])]
    assert names[0] == names[1]
    assert not re.search(r"[一-鿿][,.;:?]", LINES[form])
