"""The fast path of whole blocks equals the plain one: outputs, gradients, prepared weights, what goes back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from nn_specs import SPECS, build, rows, run, sources
from torch import Tensor, nn
from torch.testing import assert_close

from microtune.adapt.lora import LoRA
from microtune.nn import fused, transformer
from microtune.nn.frozen import (
    FrozenLinear,
    Parts,
    freeze_linears,
    int8_backward,
    int8_forward,
    quantize_between,
    quantize_rows,
    stacked,
    thaw_linears,
)
from microtune.nn.spec import ModelSpec
from microtune.nn.transformer import Transformer

READOUT = torch.tensor([1, 4, 7, 8, 9, 13, 21])
PLAIN_ONLY = {"relative", "windowed relative", "softcap", "qk-norm", "relative encoder", "t5"}  # no fast form (yet)
PLAIN_ONLY |= {"wide qk-norm", "partial rotary", "pairs", "parallel", "norms behind"}
FUSED = [name for name in SPECS if name not in PLAIN_ONLY]
asked = pytest.mark.parametrize("readout", [None, READOUT], ids=["all", "readout"])


@pytest.fixture
def count(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], list[bool]]:
    """Choose the path; the list says for every block that ran whether it took the fast one."""

    def choose(fast: bool) -> list[bool]:
        taken: list[bool] = []

        def ask(*arguments: Any) -> dict[str, Parts] | None:
            roles = fused.fusible(*arguments) if fast else None
            taken.append(roles is not None)
            return roles

        monkeypatch.setattr(transformer, "fusible", ask)
        return taken

    return choose


def gradients(model: Transformer, readout: Tensor | None) -> tuple[Tensor, dict[str, Tensor]]:
    """Output and gradients of a weighted sum of it."""
    model.zero_grad()
    out = run(model, rows(), sources(model.spec), readout=readout)
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    (out.double() * weights).sum().backward()
    return out.detach(), {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def assert_same_gradients(found: dict[str, Tensor], wanted: dict[str, Tensor], tolerance: float) -> None:
    """Each within `tolerance` of the other's norm; key biases without rotary positions have none but rounding."""
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        off = float((found[name] - value).norm())
        assert off <= tolerance * max(float(value.norm()), 1.0), (name, off)


def with_lora(spec: ModelSpec, scale: float = 1.0) -> Transformer:
    """Rank 2 on every role, with updates that are not zero; `scale` times the weights that `build` draws."""
    model = build(spec)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.data *= scale
    LoRA(rank=2).attach(model)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("lora_B"):
                parameter.normal_(0, 0.3, generator=torch.Generator().manual_seed(len(name)))
    return model


def with_dora(spec: ModelSpec, scale: float = 1.0) -> Transformer:
    """`with_lora`, with magnitudes that are not those of the base; on some roles only, so that some have no factor."""
    model = build(spec)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.data *= scale
    LoRA(rank=2, variant="dora", roles=["q", "v", "o", "up", "down"]).attach(model)
    generator = torch.Generator().manual_seed(8)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("lora_B"):
                parameter.normal_(0, 0.3, generator=generator)
            if name.endswith("magnitude"):
                parameter.mul_(1 + 0.2 * torch.rand(parameter.shape, generator=generator, dtype=parameter.dtype))
    return model


@asked
@pytest.mark.parametrize("name", FUSED)
@pytest.mark.parametrize("make", [build, with_lora, with_dora], ids=["full", "lora", "dora"])
def test_outputs_and_gradients_equal_the_plain_path(
    count: Callable[[bool], list[bool]], make: Callable[[ModelSpec], Transformer], name: str, readout: Tensor | None
) -> None:
    """Float64, 1e-10: the same sums in another order."""
    model = make(SPECS[name])
    count(False)
    wanted, plain = gradients(model, readout)
    taken = count(True)
    found, fast = gradients(model, readout)
    assert any(taken)
    assert all(taken) or (
        SPECS[name].encoder is not None and SPECS[name].decoder is not None
    )  # cross-attention is plain
    assert_close(found, wanted, rtol=1e-10, atol=1e-10)
    assert_same_gradients(fast, plain, 1e-10)


@pytest.mark.parametrize("name", sorted(PLAIN_ONLY))
def test_what_has_no_fast_form_runs_the_plain_way(count: Callable[[bool], list[bool]], name: str) -> None:
    taken = count(True)
    run(build(SPECS[name]), rows(), sources(SPECS[name]))
    assert taken
    assert not any(taken)


def test_a_foreign_module_a_filled_slot_and_dropout_of_an_update_run_the_plain_way(
    count: Callable[[bool], list[bool]],
) -> None:
    taken = count(True)
    spec = SPECS["rotary, grouped heads"]
    model = build(spec)
    assert model.decoder is not None
    model.decoder.blocks[0].mlp_residual.slot = nn.Linear(16, 16, dtype=torch.float64)  # type: ignore[union-attr]
    model.decoder.blocks[1].attention.q = nn.Sequential(model.decoder.blocks[1].attention.q)  # type: ignore[union-attr,assignment]
    run(model, rows())
    assert taken == [False, False, True]
    dropping = build(spec)
    LoRA(rank=2, dropout=0.5).attach(dropping)
    taken = count(True)
    run(dropping.train(), rows())
    run(dropping.eval(), rows())
    assert taken == [False] * 3 + [True] * 3


def test_dropout_of_branches_drops_the_same_in_both_directions(count: Callable[[bool], list[bool]]) -> None:
    """With p > 0 the gradient is that of the very masks that were drawn: a finite difference with the same seed."""
    stack = replace(SPECS["post"].decoder, dropout=0.4)  # type: ignore[type-var]
    model = build(replace(SPECS["post"], decoder=stack)).train()
    count(True)

    def loss() -> Tensor:
        torch.manual_seed(7)
        return run(model, rows()).sin().sum()

    weight = model.get_parameter("decoder.blocks.1.mlp.up.weight")
    loss().backward()
    assert weight.grad is not None
    slope = weight.grad[2, 3].item()
    with torch.no_grad():
        weight[2, 3] += 1e-6
        up = loss().item()
        weight[2, 3] -= 2e-6
        down = loss().item()
    assert slope == pytest.approx((up - down) / 2e-6, rel=1e-5)


def gap(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> float:
    """Distance of all gradients together, as a share of their norm."""
    assert found.keys() == wanted.keys()
    return float(torch.cat([(found[n] - wanted[n]).flatten() for n in wanted]).norm()) / float(
        torch.cat([value.flatten() for value in wanted.values()]).norm()
    )


@pytest.mark.parametrize("name", ["rotary, grouped heads", "bert", "sandwich"])
@pytest.mark.parametrize("make", [with_lora, with_dora], ids=["lora", "dora"])
def test_bfloat16_rounds_no_more_than_autocast_does(
    count: Callable[[bool], list[bool]], make: Callable[[ModelSpec, float], Transformer], name: str
) -> None:
    """Against float32; the other path is torch's own mixed precision over float32 weights."""
    model = make(SPECS[name], 0.3).float()
    count(False)
    exact = gradients(model, None)[1]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        autocast = gap(gradients(model, None)[1], exact)
    freeze_linears(model, "bfloat16")
    taken = count(True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out, rounded = gradients(model, None)
    assert all(taken)
    assert out.dtype == torch.float32
    assert {value.dtype for value in rounded.values()} == {torch.float32}
    assert gap(rounded, exact) < 1.3 * autocast < 0.13


def test_int8_products_are_those_of_the_rounded_factors() -> None:
    """Against the literal sum over rounded rows, exactly but for float32 rounding; and near the unrounded product."""
    generator = torch.Generator().manual_seed(0)
    x, dy = torch.randn(7, 32, generator=generator), torch.randn(7, 24, generator=generator)
    dense = torch.randn(24, 32, generator=generator)
    weight, scale = quantize_rows(dense)
    assert weight.dtype == torch.int8
    assert int(weight.abs().max()) == 127
    rows_, own, middle = quantize_between(x)
    assert (rows_[:-1].amax(1) == 127).all()
    assert (rows_[:-1].amin(1) == -127).all()
    literal = (rows_[:-1].double() * own + middle) @ (weight.double() * scale).t()
    assert_close(int8_forward(x, weight, scale[:, 0]).double(), literal, rtol=1e-5, atol=1e-5)
    back, own = quantize_rows(dy * scale[:, 0])
    assert_close(
        int8_backward(dy, weight, scale[:, 0]).double(), back.double() * own @ weight.double(), rtol=1e-5, atol=1e-5
    )
    assert float((literal - x.double() @ dense.double().t()).norm() / literal.norm()) < 0.01
    assert (int8_forward(torch.zeros(2, 32), weight, scale[:, 0]) == 0).all()


def test_int8_rows_use_all_their_steps_where_values_lie_on_one_side() -> None:
    """What a GELU leaves is almost all positive: half the error of steps that lie around zero."""
    generator = torch.Generator().manual_seed(0)
    x = torch.nn.functional.gelu(torch.randn(64, 512, generator=generator))
    weight, scale = quantize_rows(torch.randn(48, 512, generator=generator))
    exact = x @ (weight.float() * scale).t()
    rows_, own = quantize_rows(x)
    around_zero = (rows_.float() * own) @ (weight.float() * scale).t()
    errors = [
        float((found - exact).norm() / exact.norm()) for found in (int8_forward(x, weight, scale[:, 0]), around_zero)
    ]
    assert errors[0] < 0.6 * errors[1] < 0.01


@pytest.mark.parametrize("fast", [True, False], ids=["fast", "plain"])
@pytest.mark.parametrize("make", [with_lora, with_dora], ids=["lora", "dora"])
def test_int8_blocks_stay_near_float32(
    count: Callable[[bool], list[bool]], make: Callable[[ModelSpec, float], Transformer], fast: bool
) -> None:
    model = make(SPECS["rotary, grouped heads"], 0.3).float()
    count(False)
    exact = gradients(model, READOUT)[1]
    freeze_linears(model, "int8")
    count(fast)
    assert gap(gradients(model, READOUT)[1], exact) < 0.15


@pytest.mark.parametrize("form", ["float32", "bfloat16", "int8"])
def test_prepared_weights_go_back_bit_for_bit(form: str) -> None:
    model = with_lora(SPECS["bert"]).float()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    parameters = sum(p.numel() for p in model.parameters())
    replaced = freeze_linears(model, form)  # type: ignore[arg-type]
    assert len(replaced) == 18
    assert sum(p.numel() for p in model.parameters()) == parameters
    inside = [m for m in model.modules() if isinstance(m, FrozenLinear)]
    assert {m.weight.dtype for m in inside} == {getattr(torch, form)}
    assert not any(m.weight.requires_grad for m in inside)

    def fresh() -> Transformer:
        assert form != "float32", "nothing was rounded: the files need not be read again"
        return build(SPECS["bert"]).float()

    thaw_linears(model, replaced, fresh)
    after = model.state_dict()
    assert before.keys() == after.keys()
    for name, value in before.items():
        assert torch.equal(after[name], value), name


def test_siblings_share_memory_so_that_they_stack_without_a_copy() -> None:
    model = with_lora(SPECS["rotary, grouped heads"])
    freeze_linears(model, "float32")
    attention = model.get_submodule("decoder.blocks.0.attention")
    weights = [getattr(attention, name).base.weight for name in ("q", "k", "v")]
    whole = stacked(weights)
    assert whole.data_ptr() == weights[0].data_ptr()
    assert torch.equal(whole, torch.cat(list(weights)))
    apart = [torch.ones(2, 3), torch.zeros(1, 3)]
    assert torch.equal(stacked(apart), torch.cat(apart))
    assert stacked(apart).data_ptr() != apart[0].data_ptr()
