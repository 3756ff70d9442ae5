"""Classifiers over every encoder-only family: `tune` with all its checks, saved, loaded, and asked again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from encoder_cases import MAKERS
from safetensors.torch import load_file

import microtune as mt
from microtune.data.text import train_bpe
from microtune.families import families, load_folder, save_folder
from microtune.nn.heads import LabelHead
from microtune.nn.parameters import initialize
from microtune.nn.transformer import Transformer

pytestmark = pytest.mark.usefixtures("quick")

VOCABULARY = 340
TEXTS = ("my card was declined at the shop", "the transfer has not arrived in my account")
LABELS = ("card", "transfer")
METHODS: dict[str, Any] = {"full": "full", "lora": {"name": "lora", "rank": 2}}


def rows(count: int = 40) -> list[dict[str, str]]:
    """Texts of two classes that no two rows share; every fifth pair is mislabelled, so that no score is perfect."""
    return [{"text": f"{TEXTS[i % 2]} {i}", "label": LABELS[(i + (i % 10 < 2)) % 2]} for i in range(count)]


def make_base(folder: Path, family: str, **fields: Any) -> Path:
    """A random base with its vocabulary head and a tokenizer."""
    config = MAKERS[family](vocab_size=VOCABULARY, max_position_embeddings=96, **fields).config.to_dict()
    spec = families[family].to_spec(config)
    torch.manual_seed(3)
    network = Transformer(spec)
    initialize(network, 0.2, num_layers=2)
    save_folder(folder, spec, network.state_dict(), family=family, config=config)
    train_bpe(TEXTS, VOCABULARY).save(folder)
    return folder


def tuned(base: Path, out: Path, method: Any) -> mt.Run:
    train = {"batch_size": 8, "lr": 1e-3, "precision": "float32"}
    return mt.tune(rows(), task="classification", model=str(base), method=method, epochs=1, train=train, out=out)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("family", MAKERS)
def test_a_tuned_encoder_is_saved_and_answers_the_same_again(family: str, method: str, tmp_path: Path) -> None:
    """Every check of a run passes: what trains moves, what is frozen does not, the reloaded run gives equal outputs."""
    run = tuned(make_base(tmp_path / "base", family), tmp_path / "run", METHODS[method])
    texts = [row["text"] for row in rows()[:5]]
    first = run.predict(texts)
    again = mt.load(tmp_path / "run")
    head = again.network.head
    assert isinstance(head, LabelHead)
    assert head.kind == again.spec.label_head
    assert [p.answer for p in first] == [p.answer for p in mt.Run(tmp_path / "run").predict(texts)]
    trained = load_file(tmp_path / "run" / "model" / "trained.safetensors")
    below = {"roberta": "dense", "xlm-roberta": "dense", "distilbert": "dense", "electra": "dense"}
    assert f"head.{below.get(family, 'transform.dense')}.weight" in trained


def test_a_classifier_over_modernbert_begins_with_the_transform_of_its_words(tmp_path: Path) -> None:
    """A few steps of 1e-5 move a weight by less than 1e-4: the head's layer is still the one in the files."""
    base = make_base(tmp_path / "base", "modernbert")
    train = {"batch_size": 8, "lr": 1e-5, "precision": "float32"}
    run = mt.tune(
        rows(), task="classification", model=str(base), method="head", epochs=1, train=train, out=tmp_path / "run"
    )
    trained = load_file(Path(run.path) / "model" / "trained.safetensors")
    wanted = load_folder(base).state["head.transform.dense.weight"]
    torch.testing.assert_close(trained["head.transform.dense.weight"], wanted, rtol=0, atol=1e-4)
    assert trained["head.out.weight"].shape == (2, 16)


@pytest.mark.parametrize("family", MAKERS)
def test_a_tuned_classifier_goes_out_as_transformers_has_it(family: str, tmp_path: Path) -> None:
    """The label head leaves through the family's names and comes back bit for bit."""
    base = make_base(tmp_path / "base", family)
    tuned(base, tmp_path / "run", "full")
    model = mt.load(tmp_path / "run")
    save_folder(
        tmp_path / "out",
        model.spec,
        model.network.state_dict(),
        family=family,
        config=json.loads((base / "config.json").read_text()),
        head="label",
        labels=LABELS,
    )
    loaded = load_folder(tmp_path / "out")
    assert (loaded.head, loaded.num_labels) == ("label", 2)
    for name, tensor in model.network.state_dict().items():
        found = loaded.spare[name] if name.startswith("head.") else loaded.state[name]
        assert torch.equal(found, tensor), name
