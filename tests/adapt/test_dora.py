"""DoRA: what it computes, when its norm is measured anew, and that merging keeps it."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.testing import assert_close

from microtune.adapt.lora import DoRALinear, LoRA, LoRALinear, magnitude_of
from microtune.nn.frozen import freeze_linears
from microtune.nn.spec import ModelSpec, StackSpec
from microtune.nn.transformer import Transformer
from microtune.ragged import Ragged

STACK = StackSpec(num_layers=2, hidden_size=16, num_heads=4, intermediate_size=24, causal=True, positions="rotary")
ROWS = Ragged.from_lists([[1, 2, 3], [4, 5]])


def layer(*, bias: bool = True, dtype: torch.dtype = torch.float64, dropout: float = 0.0) -> DoRALinear:
    """Five inputs, four outputs, rank 2, scale 1.5; nothing zero and no factor 1."""
    torch.manual_seed(0)
    found = DoRALinear(nn.Linear(5, 4, bias=bias, dtype=dtype).requires_grad_(False), 2, 3.0, dropout)
    with torch.no_grad():
        found.lora_B.normal_()
        found.magnitude.mul_(torch.tensor([0.7, 1.1, 1.3, 0.9], dtype=found.magnitude.dtype))
    return found


def weight_of(one: DoRALinear, *, constant: bool) -> Tensor:
    """The adapted weight by the formula of the paper, its norm with or without a gradient."""
    adapted = one.base.weight + 1.5 * one.lora_B @ one.lora_A
    norm = adapted.pow(2).sum(1).sqrt()
    return (one.magnitude / (norm.detach() if constant else norm))[:, None] * adapted


@pytest.mark.parametrize("bias", [True, False])
def test_values_and_gradients_are_those_of_the_formula(bias: bool) -> None:
    one, x = layer(bias=bias), torch.randn(7, 5, dtype=torch.float64, requires_grad=True)
    learnt: list[Tensor] = [one.lora_A, one.lora_B, one.magnitude, x]
    found, wanted = one(x), F.linear(x, weight_of(one, constant=True), one.base.bias)
    assert_close(found, wanted, rtol=0, atol=1e-12)
    weights = torch.randn_like(found)
    slopes = [torch.autograd.grad((y * weights).sum(), learnt, retain_graph=True) for y in (found, wanted)]
    assert_close(slopes[0], slopes[1], rtol=0, atol=1e-12)
    other = torch.autograd.grad((F.linear(x, weight_of(one, constant=False)) * weights).sum(), learnt[:2])
    assert float((other[0] - slopes[0][0]).abs().max()) > 0.01  # the norm is no constant there


def test_the_magnitude_starts_as_the_length_of_each_row_and_leaves_the_output() -> None:
    for dtype, wide in (
        (torch.float64, torch.float64),
        (torch.float32, torch.float32),
        (torch.bfloat16, torch.float32),
    ):
        base = nn.Linear(16, 6, dtype=dtype)
        x = torch.randn(3, 16, dtype=dtype)
        one = DoRALinear(base, 2, 4.0, 0.0)
        assert one.magnitude.dtype == wide
        assert_close(one.magnitude.detach(), base.weight.to(wide).norm(dim=1), rtol=1e-6, atol=0)
        assert torch.equal(one(x), base(x))


def test_the_norm_is_measured_anew_when_anything_changed() -> None:
    one = layer().eval()
    x = torch.randn(3, 5, dtype=torch.float64)

    @torch.no_grad()
    def off() -> float:
        return float((one(x) - F.linear(x, weight_of(one, constant=True), one.base.bias)).abs().max())

    with torch.no_grad():
        assert one.norm() is one.norm()
    assert off() < 1e-12
    for tensor in (one.lora_A, one.lora_B, one.base.weight):
        before = one.norm()
        with torch.no_grad():
            tensor.mul_(1.5)
        assert off() < 1e-12
        assert not torch.equal(one.norm(), before)
    optimizer = torch.optim.AdamW([one.lora_A, one.lora_B, one.magnitude], lr=0.3, fused=True)
    for training in (True, False):
        assert off() < 1e-12
        one.train(training)(x).sum().backward()
        optimizer.step()
        assert off() < 1e-12
        assert off() < 1e-12
    with torch.inference_mode():
        assert off() < 1e-12
    assert off() < 1e-12
    copy.deepcopy(one)(x.requires_grad_()).sum().backward()
    with torch.no_grad():
        one.base = nn.Linear(5, 4, dtype=torch.float64)
    assert off() < 1e-12


def test_the_norm_is_that_of_the_weight_in_the_form_it_is_held_in() -> None:
    """bfloat16 and int8 round W; the factor is of what is multiplied, in float32, under autocast too."""
    for form in ("float32", "bfloat16", "int8"):
        torch.manual_seed(1)
        network = Transformer(ModelSpec(vocab_size=9, decoder=STACK))
        LoRA(rank=2, variant="dora").attach(network)
        freeze_linears(network, form)  # type: ignore[arg-type]
        for module in (m for m in network.modules() if isinstance(m, DoRALinear)):
            with torch.no_grad():
                module.lora_B.normal_()
                dense = module.base.dense()  # type: ignore[operator]
                wanted = (dense.double() + module.scale * module.lora_B.double() @ module.lora_A.double()).norm(dim=1)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                assert_close(module.norm().double(), wanted, rtol=1e-6, atol=0)


def test_a_row_of_zeros_stays_zero_and_finite() -> None:
    base = nn.Linear(5, 4)
    with torch.no_grad():
        base.weight[2] = 0
    one, x = DoRALinear(base, 2, 4.0, 0.0), torch.randn(3, 5)
    y = one(x)
    y.sum().backward()
    assert torch.equal(y, base(x))
    for parameter in (one.lora_A, one.lora_B, one.magnitude):
        assert parameter.grad is not None
        assert bool(parameter.grad.isfinite().all())
    with torch.no_grad():
        one.lora_B.normal_()
    assert torch.equal(one(x)[:, 2], base.bias[2].expand(3))
    assert bool(one.merged().isfinite().all())


def test_dropout_is_on_the_update_alone() -> None:
    one = layer(dropout=0.5).train()
    with torch.no_grad():
        one.lora_B.zero_()
    x = torch.randn(7, 5, dtype=torch.float64)
    assert_close(one(x), F.linear(x, weight_of(one, constant=True), one.base.bias), rtol=0, atol=1e-12)


@torch.no_grad()
def test_merged_equals_unmerged() -> None:
    torch.manual_seed(0)
    network = Transformer(ModelSpec(vocab_size=9, decoder=STACK)).double().eval()
    plain = copy.deepcopy(network)
    attachment = LoRA(rank=4, variant="dora").attach(network)
    assert sum(isinstance(m, DoRALinear) for m in network.modules()) == 12
    assert torch.equal(network(ROWS), plain(ROWS))
    for name, parameter in attachment.parameters():
        if name.endswith(("lora_B", "magnitude")):
            parameter.add_(torch.randn_like(parameter) * 0.2)
    wanted = network(ROWS)
    assert float((wanted - plain(ROWS)).abs().max()) > 0.1
    attachment.merge()
    assert_close(network(ROWS), wanted, rtol=0, atol=1e-10)


def test_every_linear_role_has_a_magnitude_that_computes_what_it_computes() -> None:
    one = layer()
    assert torch.equal(magnitude_of(one), one.magnitude)
    assert_close(magnitude_of(one.base), one.base.weight.norm(dim=1))
    plain = LoRALinear(one.base, 2, 3.0, 0.0)
    with torch.no_grad():
        plain.lora_A.copy_(one.lora_A)
        plain.lora_B.copy_(one.lora_B)
        one.magnitude.copy_(magnitude_of(plain))
    x = torch.randn(3, 5, dtype=torch.float64)
    assert_close(one(x), plain(x), rtol=0, atol=1e-12)
