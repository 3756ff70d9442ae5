"""`tune` from nothing: what a new network learns, that its run saves, resumes and exports, and what is refused."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from test_resuming import at_step, leave
from tiny_runs import picture, run
from tiny_scratch import READER, SPEC, STACK, scratch_recipe, turned

import microtune as mt
from microtune import recipe as recipes
from microtune.data.text import Tokenizer
from microtune.data.tokenizer_training import train_tokenizer
from microtune.errors import InputError
from microtune.families.base import read_spec
from microtune.recipe import Recipe, build
from microtune.run import scratch
from microtune.run.export import export
from microtune.run.load import load

RECIPE = Path(__file__).parents[2] / "recipes" / "translation.yaml"


def write(path: Path, rows: list[dict[str, str]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


@pytest.fixture
def data(tmp_path: Path) -> str:
    return write(tmp_path / "rows.jsonl", turned(64))


def test_a_new_network_learns_to_turn_sentences_round(tmp_path: Path) -> None:
    """Sentences that it has never seen, written word for word; what was saved writes the same."""
    recipe = scratch_recipe(
        write(tmp_path / "rows.jsonl", turned(1200)),
        epochs=14, batch_size=32, lr=0.003, warmup=0.1, checkpoint_steps=0, schedule="inverse-sqrt",
        label_smoothing=0.1, optimizer="muon",
    )  # fmt: skip
    run(recipe, tmp_path / "run")
    scores = json.loads((tmp_path / "run" / "scores.json").read_text(encoding="utf-8"))["scores"]
    assert scores["test"]["values"]["exact_match"] >= 0.9
    asked = [row["source"] for row in turned(40, seed=5)]
    again = mt.load(str(tmp_path / "run"))
    answers = [again.generate(text, max_new_tokens=12) for text in asked]
    right = sum(answer == " ".join(reversed(text.split())) for answer, text in zip(answers, asked, strict=True))
    assert right >= 36


@pytest.mark.usefixtures("quick")
def test_a_resumed_run_is_the_uninterrupted_one(data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bit for bit, and the tokenizer is learnt once: it stays in the folder of the run until it is finished."""
    learnt: list[int] = []

    def counted(*args: Any) -> Tokenizer:
        learnt.append(1)
        return train_tokenizer(*args)

    monkeypatch.setattr(scratch, "train_tokenizer", counted)
    recipe = scratch_recipe(data)
    run(recipe, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(recipe, tmp_path / "parts", event=at_step(5, leave))
    assert len(list((tmp_path / "parts" / "cache").glob("tokenizer-*"))) == 1
    run(recipe, tmp_path / "parts")
    whole, parts = picture(tmp_path / "whole"), picture(tmp_path / "parts")
    assert whole["model"] == parts["model"]
    assert whole["metrics"] == parts["metrics"]
    assert len(learnt) == 2
    assert not (tmp_path / "parts" / "cache").exists()


def test_what_is_saved_reads_alike_here_and_as_a_folder_of_its_family(data: str, tmp_path: Path) -> None:
    run(scratch_recipe(data, max_steps=3), tmp_path / "run")
    model = load(str(tmp_path / "run"))
    assert len(model.text) == model.spec.vocab_size < 330
    assert model.family == "mbart"
    assert model.config["decoder_start_token_id"] == model.text.id("pad")
    export(str(tmp_path / "run"), format="hf", out=tmp_path / "hf")
    family, config, spec = read_spec(tmp_path / "hf")
    assert (family.model_type, spec.encoder) == ("mbart", model.spec.encoder)
    assert config["forced_eos_token_id"] is None
    other = load(str(tmp_path / "hf"))
    assert other.generate("ab cd", max_new_tokens=8) == model.generate("ab cd", max_new_tokens=8)
    card = (tmp_path / "run" / "README.md").read_text(encoding="utf-8")
    assert "from nothing (mbart)" in card
    assert "the text supports a vocabulary of" in card


def test_an_encoder_from_nothing_reads_texts_between_marks(tmp_path: Path) -> None:
    rows = [{"text": f"{'ab' if i % 2 else 'cd'} ef {i}", "label": "x" if i % 2 else "y"} for i in range(40)]
    model = {"source": None, "family": "bert", "tokenizer": {"vocab_size": 320}, "spec": READER}
    recipe = build(
        {
            "task": "classification",
            "model": model,
            "data": {"train": write(tmp_path / "rows.jsonl", rows), "split": {"validation": 0.2}},
            "method": "full",
            "train": {"epochs": 1, "batch_size": 8, "precision": "float32"},
        }
    )
    run(recipe, tmp_path / "run")
    tokenizer = load(str(tmp_path / "run")).text
    ids = tokenizer.encode("ab")
    assert (ids[0], ids[-1]) == (tokenizer.id("bos"), tokenizer.id("eos"))


def test_the_recipe_of_translation_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two steps of it, on pairs of our own in its files."""
    pairs = turned(32)
    parts = {"train": pairs[:24], "val": pairs[24:28], "test_2016_flickr": pairs[28:]}
    for name, rows in parts.items():
        for side, ending in (("source", "en"), ("target", "de")):
            with gzip.open(tmp_path / f"{name}.{ending}.gz", "wt", encoding="utf-8") as out:
                out.write("".join(row[side] + "\n" for row in rows))
    monkeypatch.chdir(tmp_path)
    asked = ["train.max_steps=2", "train.batch_size=8", "task.max_new_tokens=3"]
    recipe = recipes.build(recipes.override(recipes.load(RECIPE), asked))
    run(recipe, tmp_path / "run")
    model = load(str(tmp_path / "run"))
    large = dict(recipe.model.spec or {}) | {"vocab_size": 8000}
    assert model.spec.to_dict() | {"vocab_size": 8000} == type(model.spec).from_dict(large).to_dict()
    lines = (tmp_path / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert sum('"kind": "step"' in line for line in lines) == 2


def without(section: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in section.items() if key != name}


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no spec": ({"spec": None, "tokenizer": None}, r"model\.source is missing; name a base, .* as model\.spec"),
    "two beginnings": ({"source": "sprout"}, r"model\.source names one to load \(sprout\); write source: null"),
    "tokenizer beside a base": ({"source": "sprout", "spec": None}, r"model\.tokenizer is for a new model; sprout"),
    "no stack": ({"spec": {"tied": True}}, "A model needs an encoder, a decoder or both"),
    "no layers": ({"spec": SPEC | {"encoder": without(STACK, "num_layers")}}, r"model\.encoder\.num_layers is missing"),
    "sees ahead": ({"spec": SPEC | {"decoder": STACK | {"cross_attention": True}}}, "needs causal: true"),
    "blind": ({"spec": SPEC | {"decoder": STACK | {"causal": True}}}, "needs cross_attention: true"),
    "an encoder alone": ({"spec": READER, "family": "bert"}, "only reads: it has no decoder"),
    "another family": ({"family": "llama"}, r"model\.family: A llama file cannot express"),
    "unknown family": ({"family": "mbert"}, 'Unknown family "mbert"'),
    "small vocabulary": ({"tokenizer": {"vocab_size": 20}}, r"model\.tokenizer: vocab_size"),
    "no such tokenizer": ({"tokenizer": "nowhere"}, "nowhere"),
    "rows for fewer": ({"spec": SPEC | {"vocab_size": 100}}, r"vocab_size 100 is less than the \d+ tokens"),
    "added tokens": ({"added_tokens": ["<x>"]}, r"model\.added_tokens belongs to tuning a base"),
}


@pytest.mark.parametrize("name", BAD)
def test_refused_before_training(name: str, data: str, tmp_path: Path) -> None:
    changes, sentence = BAD[name]
    with pytest.raises(InputError, match=sentence):
        run(scratch_recipe(data, model=changes), tmp_path / "run")
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_a_part_of_nothing_is_not_trained(data: str, tmp_path: Path) -> None:
    recipe = scratch_recipe(data)
    light = Recipe.model_validate(recipe.model_dump() | {"method": {"name": "lora"}})
    with pytest.raises(InputError, match="take method: full, not lora"):
        run(light, tmp_path / "run")
