"""An option that does nothing in a run is refused before anything is written, and says where it belongs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny_runs import pretrain_recipe, tune_recipe

import microtune as mt
from microtune.cli.chinese import translated
from microtune.errors import InputError
from microtune.recipe import Choice, build
from microtune.run.held_out import learnt_before
from microtune.run.report.words.notes import in_chinese
from microtune.run.unused import check_pretraining, check_tuning

ROWS = [{"text": f"row {i}", "label": "ab"[i % 2]} for i in range(20)]


def refusal(work: Any, out: Path) -> str:
    with pytest.raises(InputError) as caught:
        work()
    assert not out.exists()
    return str(caught.value)


@pytest.mark.parametrize(
    ("option", "value", "instead"),
    [
        ("data.train", "a.txt", "a corpus stands in data.sources"),
        ("data.test", "a.txt", "held-out text stands in data.sources.held_out"),
        ("data.text_field", "body", "fields stand in data.sources.fields"),
        ("data.examples", 5, "train.max_steps ends a run early"),
        ("train.patience", 2, "held-out text is scored and chooses nothing"),
        ("train.cache", False, "nothing is frozen there"),
    ],
)
def test_pretraining(option: str, value: Any, instead: str, tmp_path: Path) -> None:
    section, _, name = option.partition(".")
    recipe: dict[str, Any] = {"task": "language-modelling", "model": "sprout", "method": "full"}
    recipe |= {"data": {"sources": [{"path": "a.txt"}]}, "train": {}}
    recipe[section][name] = value
    said = refusal(lambda: mt.pretrain(recipe, out=tmp_path / "run"), tmp_path / "run")
    assert said == f"recipe: {option} does nothing in pretraining: {instead}. Leave it out."
    assert option in translated(said)
    assert "预训练中不起作用" in translated(said)


@pytest.mark.parametrize(
    ("option", "value", "instead"),
    [
        ("train.average", 3, "it is for pretraining"),
        ("train.compile", True, "it is for pretraining"),
        ("train.evaluate_tokens", 9, "it is for pretraining, and validation rows are scored after every epoch"),
        ("data.sources", [{"path": "a.txt"}], "rows stand in data.train"),
        ("data.folder", "x", "it is for data.sources"),
        ("data.block_size", 64, "it is for language modelling; model.max_length cuts rows"),
        ("model.family", "bert", "it is for a new network, which model.spec describes"),
    ],
)
def test_tuning(option: str, value: Any, instead: str) -> None:
    section, _, name = option.partition(".")
    recipe: dict[str, Any] = {"task": "classification", "model": {}, "data": {"train": "a.csv"}, "train": {}}
    recipe[section][name] = value
    with pytest.raises(InputError) as caught:
        check_tuning(build(recipe))
    assert str(caught.value) == f"recipe: {option} does nothing in tuning: {instead}. Leave it out."
    assert "Leave" not in translated(str(caught.value))


def test_the_verb_refuses_before_rows_are_read(tmp_path: Path) -> None:
    out = tmp_path / "run"
    said = refusal(lambda: mt.tune("no.csv", task="classification", train={"compile": True}, out=out), out)
    assert said == "recipe: train.compile does nothing in tuning: it is for pretraining. Leave it out."


def test_defaults_say_nothing(tmp_path: Path) -> None:
    """As a recipe that a run has written, which holds every option."""
    tuned = tune_recipe("base", "rows.csv")
    check_tuning(build(tuned.model_dump()))
    check_tuning(build({**tuned.model_dump(), "task": "language-modelling", "data": {"block_size": 64}}))
    check_pretraining(build(pretrain_recipe(tmp_path).model_dump()))


def test_comparing(tmp_path: Path) -> None:
    out = tmp_path / "run"
    said = refusal(
        lambda: mt.compare(ROWS, task="classification", methods=["head"], train={"compile": True}, out=out), out
    )
    assert said == "recipe: train.compile does nothing in tuning: it is for pretraining. Leave it out."


def test_a_new_network_is_not_pretrained_in_part(tmp_path: Path) -> None:
    recipe = pretrain_recipe(tmp_path)
    with pytest.raises(InputError, match=r"has nothing yet that could stay as it is; take method: full, not lora\."):
        check_pretraining(recipe.model_copy(update={"method": build({"task": "x", "method": "lora"}).method}))
    short = recipe.model_copy(update={"model": recipe.model.model_copy(update={"max_length": 8})})
    with pytest.raises(InputError, match=r"model.max_length does nothing in pretraining: data.block_size"):
        check_pretraining(short)


def test_held_out_text_that_is_learnt_is_said(tmp_path: Path) -> None:
    recipe = pretrain_recipe(tmp_path)
    assert learnt_before(recipe) == []
    source = recipe.data.sources[0].model_copy(update={"held_out": "./corpus.txt"})
    data = recipe.data.model_copy(update={"sources": [source]})
    note = learnt_before(recipe.model_copy(update={"data": data}))[0]
    assert note == (
        "The held-out text of tiny is a file that the model learns from (./corpus.txt), so its scores say nothing "
        "about new text."
    )
    assert in_chinese(note).startswith("tiny 的留出文本就是模型学习的文件")


def test_steps_that_choose_rows_are_not_for_a_corpus(tmp_path: Path) -> None:
    recipe = pretrain_recipe(tmp_path)
    data = recipe.data.model_copy(update={"steps": [Choice(name="unicode"), Choice(name="duplicates")]})
    with pytest.raises(
        InputError, match=r"data.steps: duplicates chooses among rows.*texts are .*html.*mask"
    ) as caught:
        check_pretraining(recipe.model_copy(update={"data": data}))
    assert "逐篇读取语料" in translated(str(caught.value))
