"""Layer-wise learning-rate decay: the factor of every tensor, and what AdamW makes of it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from deep_cases import attach, build, loss_of, values

from microtune.adapt.base import make_method
from microtune.errors import InputError
from microtune.recipe import Choice, Train
from microtune.run.optimizers import Optimizers

DECAY = 0.5
WANTED: dict[str, dict[str, float]] = {  # of one tensor of each kind, for three blocks (two in the encoder of `both`)
    "decoder": {
        "head.out.weight": 1.0,
        "decoder.norm.weight": 1.0,
        "decoder.blocks.2.mlp.up.weight": 1.0,
        "decoder.blocks.1.attention.q.weight": 0.5,
        "decoder.blocks.0.mlp_residual.norm.weight": 0.25,
        "tokens.weight": 0.125,
    },
    "encoder": {
        "head.pooler.weight": 1.0,
        "encoder.blocks.2.attention.q.bias": 1.0,
        "encoder.blocks.0.mlp.down.weight": 0.25,
        "encoder.positions.weight": 0.125,
        "encoder.embedding_norm.bias": 0.125,
        "types.weight": 0.125,
        "tokens.weight": 0.125,
    },
    "both": {
        "decoder.norm.weight": 1.0,
        "encoder.norm.weight": 1.0,
        "decoder.blocks.2.cross.k.weight": 1.0,
        "encoder.blocks.1.mlp.up.weight": 1.0,  # each stack from its own top
        "encoder.blocks.0.mlp.up.weight": 0.5,
        "decoder.blocks.0.mlp.up.weight": 0.25,
        "encoder.relative_bias.table.weight": 0.25,
        "decoder.relative_bias.table.weight": 0.125,
        "tokens.weight": 0.125,  # below the deeper stack
    },
}
kinds = pytest.mark.parametrize("kind", list(WANTED))


@kinds
def test_factors_follow_the_depth(kind: str) -> None:
    attachment = attach(build(kind), name="full", layer_decay=DECAY)
    rates = {name: attachment.rates.get(name, 1.0) for name in attachment.trainable}
    assert {name: rates[name] for name in WANTED[kind]} == WANTED[kind]
    side = "decoder" if kind == "both" else kind
    for name, rate in rates.items():
        for block in range(3):
            if name.startswith(f"{side}.blocks.{block}."):
                assert rate == DECAY ** (2 - block), name


@kinds
@pytest.mark.parametrize("method", [{"name": "top", "blocks": 3}, {"name": "reinit", "then": "full"}])
def test_top_and_reinit_have_the_same_factors(kind: str, method: dict[str, Any]) -> None:
    whole = attach(build(kind), name="full", layer_decay=DECAY).rates
    part = attach(build(kind), **method, layer_decay=DECAY)
    assert part.rates == {name: rate for name, rate in whole.items() if name in part.trainable}
    assert part.rates


@kinds
def test_one_is_off(kind: str) -> None:
    assert attach(build(kind), name="full").rates == {}
    assert attach(build(kind), name="top", blocks=3, layer_decay=1.0).rates == {}


@kinds
def test_three_steps_are_those_of_the_formula(kind: str) -> None:
    """AdamW written out (Loshchilov and Hutter, 2019, algorithm 2), each tensor with its own rate: 1e-10 in float64."""
    model = build(kind)
    attachment = attach(model, name="full", layer_decay=DECAY)
    settings = Train(lr=1e-2, warmup=0.0, schedule="linear", weight_decay=0.1, clip=0.0)
    optimizers = Optimizers(attachment, settings, make_method(Choice(name="full")), 3)
    wanted = values(model)
    first = {n: torch.zeros_like(t) for n, t in wanted.items()}
    second = {n: torch.zeros_like(t) for n, t in wanted.items()}
    for step in range(3):
        optimizers.zero_grad()
        loss_of(model).backward()
        for name, parameter in model.named_parameters():
            gradient = parameter.grad
            assert gradient is not None
            rate = 1e-2 * (1 - step / 3) * attachment.rates.get(name, 1.0)
            decay = 0.1 if parameter.ndim >= 2 else 0.0
            first[name] = 0.9 * first[name] + 0.1 * gradient
            second[name] = 0.999 * second[name] + 0.001 * gradient**2
            mean, spread = first[name] / (1 - 0.9 ** (step + 1)), second[name] / (1 - 0.999 ** (step + 1))
            wanted[name] = wanted[name] * (1 - rate * decay) - rate * mean / (spread.sqrt() + 1e-8)
        assert optimizers.step(step) == pytest.approx(1e-2 * (1 - step / 3))
        torch.testing.assert_close(values(model), wanted, rtol=0, atol=1e-10)


def test_the_head_has_its_own_rate_undecayed() -> None:
    """Without train.lr: 1e-3 for the head and 1e-4 times the factor for the rest."""
    attachment = attach(build("decoder"), name="full", layer_decay=DECAY)
    optimizers = Optimizers(attachment, Train(), make_method(Choice(name="full")), 10)
    peaks = sorted({group["peak"] for member in optimizers.members for group in member.param_groups})
    assert peaks == pytest.approx([1.25e-5, 2.5e-5, 5e-5, 1e-4, 1e-3], rel=1e-12)


def test_muon_follows_the_factor_too() -> None:
    attachment = attach(build("decoder", dtype=torch.float32), name="full", layer_decay=DECAY)
    optimizers = Optimizers(attachment, Train(lr=1e-3, optimizer="muon"), make_method(Choice(name="full")), 10)
    muon = {group["peak"] for group in optimizers.members[1].param_groups}
    assert sorted(muon) == pytest.approx([5e-3, 1e-2, 2e-2], rel=1e-12)


@pytest.mark.parametrize("method", ["full", "top", "reinit"])
@pytest.mark.parametrize("value", [0.0, -0.5, 1.01, float("nan"), "half"])
def test_a_factor_outside_0_to_1_is_refused(method: str, value: Any) -> None:
    with pytest.raises(InputError, match=r"^method: layer_decay: .+\.$"):
        make_method(Choice(name=method, layer_decay=value))
