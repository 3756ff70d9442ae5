"""LoRA's variants: what the update is scaled with, and that merging keeps it."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch.testing import assert_close

from microtune.adapt.lora import LoRA, LoRALinear
from microtune.errors import InputError
from microtune.nn.spec import ModelSpec, StackSpec
from microtune.nn.transformer import Transformer
from microtune.ragged import Ragged
from microtune.recipe import validated

STACK = StackSpec(num_layers=2, hidden_size=16, num_heads=4, intermediate_size=24, causal=True, positions="rotary")
ROWS = Ragged.from_lists([[1, 2, 3], [4, 5]])


@pytest.mark.parametrize(("rank", "alpha"), [(1, None), (4, None), (8, 3.0)])
def test_rank_stabilised_updates_are_scaled_by_alpha_over_the_root_of_the_rank(rank: int, alpha: float | None) -> None:
    for variant, divisor in (("plain", rank), ("rslora", math.sqrt(rank))):
        network = Transformer(ModelSpec(vocab_size=9, decoder=STACK))
        method = LoRA.model_validate({"rank": rank, "alpha": alpha, "variant": variant})
        method.attach(network)
        scales = [m.scale for m in network.modules() if isinstance(m, LoRALinear)]
        assert scales == pytest.approx([(alpha or 2 * rank) / divisor] * 12, rel=1e-15)


@torch.no_grad()
def test_merging_keeps_the_scale() -> None:
    torch.manual_seed(0)
    network = Transformer(ModelSpec(vocab_size=9, decoder=STACK)).double()
    plain = copy.deepcopy(network)(ROWS)
    attachment = LoRA(rank=4, variant="rslora").attach(network)
    for name, parameter in attachment.parameters():
        if name.endswith("lora_B"):
            torch.nn.init.normal_(parameter, std=0.2)
    wanted = network(ROWS)
    assert float((wanted - plain).abs().max()) > 0.1
    attachment.merge()
    assert_close(network(ROWS), wanted, rtol=0, atol=1e-12)


def test_an_unknown_variant_is_refused() -> None:
    with pytest.raises(InputError, match="variant"):
        validated(LoRA, {"name": "lora", "variant": "rs"}, "method")
