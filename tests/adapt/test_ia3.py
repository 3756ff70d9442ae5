"""IA3: the formula of the paper, counts, merging, and what it refuses."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from test_contract import HEAD, LABELLED, SPECS, D, W, build, outputs
from torch import nn
from torch.testing import assert_close

from microtune.adapt.base import Attachment, make_method
from microtune.adapt.ia3 import IA3Linear
from microtune.errors import InputError
from microtune.nn.transformer import Cut, Transformer
from microtune.recipe import Choice

kinds = pytest.mark.parametrize("kind", list(SPECS))


def attach(kind: str, dtype: torch.dtype = torch.float64, **options: Any) -> tuple[Transformer, Attachment]:
    model = build(kind, dtype)
    return model, make_method(Choice(name="ia3", **options)).attach(model)


def learn(attachment: Attachment) -> None:
    generator = torch.Generator().manual_seed(6)
    with torch.no_grad():
        for name, parameter in attachment.parameters():
            if name.endswith(".factor"):
                parameter.copy_(0.5 + torch.rand(parameter.shape, generator=generator, dtype=torch.float64))


@pytest.mark.parametrize("on_input", [False, True])
def test_the_formula(on_input: bool) -> None:
    torch.manual_seed(0)
    base = nn.Linear(5, 7).double()
    scaled, x = IA3Linear(base, on_input=on_input), torch.randn(3, 5, dtype=torch.float64)
    assert torch.equal(scaled(x), base(x))
    factor = torch.rand(5 if on_input else 7, dtype=torch.float64)
    scaled.factor.data.copy_(factor)
    W_, b = base.weight.detach().clone(), base.bias.detach().clone()
    literal = (x * factor) @ W_.t() + b if on_input else (x @ W_.t() + b) * factor
    assert_close(scaled(x), literal, rtol=1e-12, atol=1e-12)
    assert scaled.fold() is base
    assert_close(base(x), literal, rtol=1e-12, atol=1e-12)


COUNTS = {  # keys, values, inner activation
    "decoder": 3 * (2 * (D // 2) + W),
    "decoder with vocabulary": 3 * (2 * D + W),
    "encoder": 3 * (2 * D + W),
    "both": 3 * (4 * D + W) + 2 * (2 * D + W),
}


@kinds
def test_counts_and_cuts(kind: str) -> None:
    own = HEAD[kind] if kind in LABELLED else 0
    assert sum(attach(kind)[1].trainable.values()) == COUNTS[kind] + own
    model, upper = attach(kind, roles=["down"], first_block=2)
    assert sum(upper.trainable.values()) == W + own
    side = "encoder" if kind == "encoder" else "decoder"
    assert upper.cut == model.cut == (Cut(2, 2) if kind == "both" else Cut(**{side: 2}))
    assert sum(attach(kind, roles=["o"], last_block=0)[1].trainable.values()) == own + D * (3 if kind == "both" else 1)


@kinds
@pytest.mark.parametrize("roles", [["k", "v", "down"], ["q", "o", "up", "down"]])
def test_merged_equals_unmerged_and_detaching_restores(kind: str, roles: list[str]) -> None:
    model, attachment = attach(kind, torch.float32, roles=roles)
    base = build(kind, torch.float32)
    with torch.no_grad():
        before = outputs(model)
        learn(attachment)
        learnt = outputs(model)
        attachment.merge()
        merged = outputs(model)
    assert float((learnt - before).abs().max()) > 1e-3
    assert_close(merged, learnt, rtol=1e-5, atol=1e-5 * float(learnt.abs().max()))
    assert [n for n, _ in model.named_parameters()] == [n for n, _ in base.named_parameters()]
    again, attachment = attach(kind, torch.float32, roles=roles)
    learn(attachment)
    attachment.detach()
    assert all(
        torch.equal(p, q) for (n, p), (_, q) in zip(again.named_parameters(), base.named_parameters(), strict=True)
    )


def test_factors_are_not_pulled_to_zero() -> None:
    """Weight decay is for matrices: a factor is at rest at one."""
    _, attachment = attach("decoder")
    assert {p.ndim for n, p in attachment.parameters() if n.endswith(".factor")} == {1}
    assert all(bool((p == 1).all()) for n, p in attachment.parameters() if n.endswith(".factor"))


def test_factors_stay_float32_beside_bfloat16_weights() -> None:
    scaled, x = IA3Linear(nn.Linear(6, 4).bfloat16(), on_input=False), torch.randn(3, 6).bfloat16()
    assert scaled.factor.dtype == torch.float32
    assert scaled(x).dtype == torch.bfloat16
    with torch.no_grad():
        scaled.factor.fill_(1.03)
        assert_close(scaled(x), (scaled.base(x).float() * 1.03).bfloat16(), rtol=0, atol=0)


def test_an_unknown_role_names_the_nearest() -> None:
    with pytest.raises(InputError, match=re.escape('there is no role "dwon" in these blocks. Did you mean "down"?')):
        attach("decoder", roles=["k", "dwon"])
    with pytest.raises(InputError, match="roles: "):
        attach("decoder", roles=[])
