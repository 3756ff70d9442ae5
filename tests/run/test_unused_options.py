"""Options that a verb would not read are refused, where they say anything but their defaults."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny_runs import make_base, make_rows, pretrain_recipe, tune_recipe

import microtune as mt
from microtune.cli.chinese import translated
from microtune.errors import InputError
from microtune.recipe import Recipe, build
from microtune.run.foresee import plan
from microtune.run.held_out import learnt_before
from microtune.run.report.words.notes import in_chinese
from microtune.run.unused import check_pretraining, check_tuning


def changed(recipe: Recipe, section: str, **values: Any) -> Recipe:
    return build({**recipe.model_dump(), section: getattr(recipe, section).model_dump() | values})


TUNED = tune_recipe("base", "rows.csv")


@pytest.mark.parametrize(
    ("section", "values", "said"),
    [
        ("data", {"documents": "separate"}, "data.documents is for `microtune pretrain`; leave it out."),
        ("data", {"sources": [{"path": "a.txt"}]}, "data.sources is for `microtune pretrain`; leave it out."),
        ("data", {"folder": "x"}, "data.folder is for `microtune pretrain`; leave it out."),
        ("data", {"cache": "x"}, "data.cache is for `microtune pretrain`; leave it out."),
        (
            "data",
            {"block_size": 64},
            "data.block_size is for language-modelling, not for classification; leave it out.",
        ),
        ("train", {"average": 3}, "train.average is for `microtune pretrain`; leave it out."),
        ("train", {"compile": True}, "train.compile is for `microtune pretrain`; leave it out."),
        ("train", {"evaluate_tokens": 9}, "train.evaluate_tokens is for `microtune pretrain`; leave it out."),
        ("model", {"family": "bert"}, "model.family is for a new network, which model.spec describes; leave it out."),
    ],
)
def test_what_tuning_does_not_read(section: str, values: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as error:
        check_tuning(changed(TUNED, section, **values))
    assert str(error.value) == f"recipe: {said}"
    assert "leave" not in translated(str(error.value))


def test_defaults_say_nothing(tmp_path: Path) -> None:
    check_tuning(build(TUNED.model_dump()))
    check_tuning(build({**TUNED.model_dump(), "task": "language-modelling", "data": {"block_size": 64}}))
    check_pretraining(build(pretrain_recipe(tmp_path).model_dump()))


@pytest.mark.parametrize(
    "values",
    [{"train": "rows.csv"}, {"steps": ["html"]}, {"text_field": "body"}, {"split": "none"}, {"examples": 3}],
)
def test_what_pretraining_does_not_read(values: dict[str, Any], tmp_path: Path) -> None:
    recipe = changed(pretrain_recipe(tmp_path), "data", **values)
    name = next(iter(values))
    said = f"recipe: data.{name} is for tuning (a corpus stands in data.sources); leave it out."
    for verb in (plan, lambda recipe: mt.pretrain(recipe.model_dump(), out=tmp_path / "run")):
        with pytest.raises(InputError) as error:
            verb(recipe)  # type: ignore[operator]
        assert str(error.value) == said
    assert not (tmp_path / "run").exists()
    assert "leave" not in translated(said)


def test_the_verb_refuses_before_rows_are_read(tmp_path: Path) -> None:
    base, data = make_base(tmp_path / "base"), make_rows(tmp_path / "rows.csv")
    recipe = changed(tune_recipe(base, data), "train", compile=True)
    with pytest.raises(InputError, match=r"train.compile is for `microtune pretrain`"):
        mt.tune(data, task="classification", model=base, train=recipe.train.model_dump(), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_new_network_is_not_pretrained_in_part(tmp_path: Path) -> None:
    recipe = pretrain_recipe(tmp_path)
    with pytest.raises(InputError, match=r"has nothing yet that could stay as it is; take method: full, not lora\."):
        check_pretraining(recipe.model_copy(update={"method": build({"task": "x", "method": "lora"}).method}))
    with pytest.raises(InputError, match=r"model.max_length belongs to tuning; leave it out\."):
        check_pretraining(changed(recipe, "model", max_length=8))


def test_held_out_text_that_is_learnt_is_said(tmp_path: Path) -> None:
    recipe = pretrain_recipe(tmp_path)
    assert learnt_before(recipe) == []
    source = recipe.data.sources[0].model_copy(update={"held_out": "./corpus.txt"})
    note = learnt_before(changed(recipe, "data", sources=[source.model_dump()]))[0]
    assert note == (
        "The held-out text of tiny is a file that the model learns from (./corpus.txt), so its scores say nothing "
        "about new text."
    )
    assert in_chinese(note).startswith("tiny 的留出文本就是模型学习的文件")
