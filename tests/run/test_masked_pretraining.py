"""An encoder is pretrained by hidden words, resumes bit for bit, and classifies afterwards."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest
from tiny_objectives import ENCODER, PAIRS, objective_recipe, sentences
from tiny_runs import picture, run

import microtune as mt
from microtune.errors import InputError
from microtune.recipe import Choice
from microtune.run import objective
from microtune.run import pretrain as pretraining
from microtune.run.train import Step

pytestmark = pytest.mark.usefixtures("quick")

MODEL = {"family": "modernbert", "spec": ENCODER}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("masked")
    run(objective_recipe(folder, "masked", MODEL, epochs=14), folder / "run")
    return folder / "run"


def test_it_learns_the_planted_pairs_and_says_no_bits_per_byte(made: Path) -> None:
    scores = json.loads((made / "scores.json").read_text(encoding="utf-8"))["scores"]["tiny (en)"]["values"]
    assert set(scores) == {"loss", "pseudo_perplexity", "masked_accuracy"}
    # One word of four in a sentence is hidden mostly; `the` and `eats` always, an animal where its food is seen.
    assert scores["masked_accuracy"] > 0.8
    assert "bits per byte are not defined" in (made / "model" / "README.md").read_text(encoding="utf-8")


def test_the_folder_is_a_modernbert_that_tune_loads(made: Path, tmp_path: Path) -> None:
    model = mt.load(made / "model")
    config = json.loads((made / "model" / "config.json").read_text(encoding="utf-8"))
    assert config["architectures"] == ["ModernBertForMaskedLM"]
    assert model.text is not None
    ids = model.text.encode("the cat")
    assert (ids[0], ids[-1]) == (model.text.id("bos"), model.text.id("eos"))
    rows = [{"text": text, "label": text.split()[1]} for text in sentences(80, seed=2)]
    rows = [row | {"text": f"eats {PAIRS[row['label']]} {i}"} for i, row in enumerate(rows)]
    tuned = mt.tune(
        rows,
        task="classification",
        model=str(made / "model"),
        method="head",
        train={"lr": 0.05, "epochs": 12, "precision": "float32"},
        out=tmp_path / "tuned",
    )
    assert tuned.scores["test"]["accuracy"] > 0.8


class Stopped(Exception):  # noqa: N818 - an event
    """Raised in the middle of a run."""


def test_a_resumed_run_sees_the_same_masks(tmp_path: Path) -> None:
    recipe = objective_recipe(tmp_path, "masked", MODEL, epochs=2, checkpoint_steps=3)
    whole = picture(run(recipe, tmp_path / "a").path)

    counted = itertools.count(1)

    def stop(event: object) -> None:
        if isinstance(event, Step) and next(counted) == 16:
            raise Stopped

    with pytest.raises(Stopped):
        run(recipe, tmp_path / "b", event=stop)
    assert picture(run(recipe, tmp_path / "b").path) == whole


def test_objective_and_network_must_fit(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"task\.objective is causal, which needs a decoder alone, with causal: true"):
        run(objective_recipe(tmp_path, "causal", MODEL), tmp_path / "run")
    recipe = objective_recipe(tmp_path, "masked", MODEL)
    other = recipe.model_copy(update={"task": Choice(name="regression")})
    with pytest.raises(InputError, match="task is regression, but a model is pretrained by language-modelling"):
        run(other, tmp_path / "x")


def test_chinese_words_of_a_segmenter_are_hidden_as_wholes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = objective_recipe(tmp_path, "masked", MODEL | {"tokenizer": {"vocab_size": 312}}, max_steps=2)
    (tmp_path / "corpus.txt").write_text("我们喜欢猫\n他们喜欢狗\n" * 40, encoding="utf-8")
    recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update={"documents": "separate"})})

    def cut(text: str) -> list[str]:
        return [part for part in re.split("(喜欢|我们|他们)", text) if part]

    monkeypatch.setattr(objective, "segmenter", lambda: ("fake 1", cut))
    found: list[tuple[int, ...]] = []
    made = objective.make_items

    def spying(*arguments: Any) -> Any:
        items = made(*arguments)
        assert set(items.sizes) == {17}  # without merges a character is three tokens, between two marks
        found.extend(tuple(int(place) for place in items[i].readout) for i in range(len(items)))
        return items

    monkeypatch.setattr(pretraining, "make_items", spying)
    run(recipe, tmp_path / "run")
    assert set(found) == {tuple(range(1, 7)), tuple(range(7, 13)), (13, 14, 15)}  # 我们, 喜欢, 猫: one each

    monkeypatch.setattr(objective, "segmenter", lambda: ("characters", None))
    plain = run(recipe, tmp_path / "other")
    assert objective.BY_CHARACTER in plain.notes
