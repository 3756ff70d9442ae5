"""The frozen trunk, computed once: the same weights as without, nothing computed twice, both stacks of a pair."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import SPEC
from tiny_trainings import DROPPING, LABELS, LORA, label_items, make, run, weights
from torch.testing import assert_close

from microtune.nn.spec import ModelSpec, StackSpec
from microtune.nn.transformer import Transformer
from microtune.run.train import Training
from microtune.run.trunk import TrunkCache
from microtune.tasks.classification import Classification
from microtune.tasks.language_modelling import LanguageModelling

assert SPEC.decoder is not None
AVERAGED = replace(DROPPING, pooling="mean")
CUT: dict[str, tuple[Any, ModelSpec, Classification]] = {
    "top": ({"name": "top", "blocks": 1}, DROPPING, LABELS),
    "lora": ({**LORA, "first_block": 2}, DROPPING, LABELS),
    "head": ({"name": "head"}, DROPPING, LABELS),
    "head over means": ({"name": "head"}, AVERAGED, LABELS.fitted(AVERAGED)),
    "top under means": ({"name": "top", "blocks": 1}, AVERAGED, LABELS.fitted(AVERAGED)),
}


@pytest.mark.parametrize("name", list(CUT))
def test_a_cached_trunk_gives_the_same_weights(name: str, tmp_path: Path) -> None:
    """Two epochs with dropout above the cut; only the order of sums may differ: 1e-6 in float32 of the losses.

    1e-5 of the weights after eight steps of 1e-2: Adam enlarges what rounding does to a gradient near zero.
    """
    choice, spec, task = CUT[name]
    plain, cached = (make(choice, spec=spec, task=task) for _ in range(2))
    trunk = TrunkCache(cached.model, cached.items, tmp_path / "trunk.bin", "float32", 10**9)
    assert trunk.usable
    assert trunk.pooled == (name == "head over means")
    assert (trunk.bytes == 4 * SPEC.hidden_size * len(cached.items)) == name.startswith("head")
    assert list(trunk.fill())[-1] == len(cached.items)
    cached.trunk = trunk
    losses = [step.loss for step in run(plain)]
    assert_close([step.loss for step in run(cached)], losses, rtol=0, atol=1e-6)
    assert_close(weights(cached), weights(plain), rtol=0, atol=1e-5)
    trunk.close()
    assert not (tmp_path / "trunk.bin").exists()


def two_stacks(placement: str) -> ModelSpec:
    """An encoder-decoder with dropout in both stacks; encoder and decoder of other depths and head counts."""
    shape: dict[str, Any] = {"hidden_size": 16, "intermediate_size": 24, "dropout": 0.2, "placement": placement}
    encoder = StackSpec(num_layers=2, num_heads=2, positions="relative", **shape)
    decoder = StackSpec(num_layers=3, num_heads=4, causal=True, cross_attention=True, positions="relative", **shape)
    return ModelSpec(vocab_size=320, encoder=encoder, decoder=decoder, tied=True)


@pytest.mark.parametrize("placement", ["pre", "post"])
@pytest.mark.parametrize("first_block", [1, 2])
def test_a_cached_encoder_and_decoder_give_the_same_weights(
    placement: str, first_block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both stacks below the cut are computed once; tolerances as above."""
    spec, choice = two_stacks(placement), {"name": "top", "blocks": 3 - first_block}

    def training() -> Training:
        found = make(choice, spec=spec, task=LanguageModelling())
        found.items = [replace(item, sources=label_items()[i].ids[::-1]) for i, item in enumerate(found.items)]
        found.sizes = [item.size for item in found.items]
        return found

    plain, cached = training(), training()
    trunk = TrunkCache(cached.model, cached.items, tmp_path / "trunk.bin", "float32", 10**9)
    assert trunk.usable
    assert trunk.bytes == 4 * 16 * sum(cached.sizes)  # of the encoder as many vectors as sources, of the decoder as ids
    for _ in trunk.fill():
        pass
    cached.trunk = trunk
    losses = [step.loss for step in run(plain)]
    monkeypatch.setattr(Transformer, "_lower", lambda *_, **__: pytest.fail("a block below the cut ran again"))
    assert_close([step.loss for step in run(cached)], losses, rtol=0, atol=1e-6)
    assert_close(weights(cached), weights(plain), rtol=0, atol=1e-5)
    trunk.close()
    assert not list(tmp_path.iterdir())


def test_the_trunk_is_really_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    training = make({"name": "top", "blocks": 1})
    training.trunk = TrunkCache(training.model, training.items, tmp_path / "trunk.bin", "float32", 10**9)
    calls = []
    lower = Transformer._lower
    monkeypatch.setattr(Transformer, "_lower", lambda *a, **k: calls.append(1) or lower(*a, **k))
    done = list(training.trunk.fill())
    assert len(calls) == len(done)
    run(training)
    assert len(calls) == len(done)  # the blocks below the cut never ran again
    assert training.trunk.filled
    expected = 4 * sum(len(item.ids) for item in label_items()) * SPEC.hidden_size
    assert (tmp_path / "trunk.bin").stat().st_size == training.trunk.bytes == expected
    training.trunk.close()


def test_what_cannot_be_cached(tmp_path: Path) -> None:
    def usable(method: Any, limit: int = 10**9) -> bool:
        training = make(method)
        return TrunkCache(training.model, training.items, tmp_path / "trunk.bin", "float32", limit).usable

    assert not usable("full")
    assert not usable("lora")
    assert usable({"name": "top", "blocks": 1})
    assert not usable({"name": "top", "blocks": 1}, limit=1000)
    assert not usable({"name": "top", "blocks": 3})


def test_no_dropout_in_a_frozen_trunk() -> None:
    training = make({"name": "top", "blocks": 1})
    run(training, 1)
    assert [block.training for block in training.model.output_stack.blocks] == [False, False, True]
