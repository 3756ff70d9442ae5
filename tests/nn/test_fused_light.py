"""The fast path where single vectors train beside frozen weights (BitFit, norms, IA3): it equals the plain one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from nn_specs import SPECS, build, rows, run, sources
from test_fused import FUSED, READOUT, asked, assert_same_gradients, count, gap, gradients
from torch import Tensor, nn
from torch.testing import assert_close

from microtune.adapt.base import make_method
from microtune.adapt.ia3 import IA3Linear
from microtune.errors import InputError
from microtune.nn.frozen import FrozenLinear, freeze_linears, thaw_linears
from microtune.nn.spec import ModelSpec
from microtune.nn.transformer import Transformer
from microtune.recipe import Choice

__all__ = ["count"]  # a fixture
METHODS: dict[str, dict[str, Any]] = {
    "bitfit": {"name": "bitfit"},
    "norms": {"name": "norms"},
    "ia3": {"name": "ia3"},
    "ia3 everywhere": {"name": "ia3", "roles": ["q", "k", "v", "o", "up", "down"]},
    "all together": {
        "name": "several",
        "parts": [
            {"name": "lora", "rank": 2, "variant": "dora", "roles": ["q", "up"]},
            {"name": "lora", "rank": 2, "roles": ["o"]},
            {"name": "ia3"},
            {"name": "bitfit"},
            {"name": "norms"},
        ],
    },
}


def adapted(spec: ModelSpec, name: str, scale: float = 1.0) -> Transformer:
    """A model with a method whose vectors are not at their start."""
    model = build(spec)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.data *= scale
    make_method(Choice(**METHODS[name])).attach(model)
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for n, parameter in model.named_parameters():
            if parameter.requires_grad and (parameter.dim() == 1 or n.endswith("lora_B")):
                parameter.add_(0.3 * torch.rand(parameter.shape, generator=generator, dtype=parameter.dtype))
    return model


@asked
@pytest.mark.parametrize("kind", FUSED)
@pytest.mark.parametrize("name", METHODS)
def test_outputs_and_gradients_equal_the_plain_path(
    count: Callable[[bool], list[bool]], name: str, kind: str, readout: Tensor | None
) -> None:
    """Float64, 1e-10: the same sums in another order."""
    try:
        model = adapted(SPECS[kind], name)
    except InputError as error:
        assert "there is no bias to train" in str(error)  # noqa: PT017
        return
    count(False)
    wanted, plain = gradients(model, readout)
    taken = count(True)
    found, fast = gradients(model, readout)
    assert any(taken)
    assert_close(found, wanted, rtol=1e-10, atol=1e-10)
    assert_same_gradients(fast, plain, 1e-10)
    assert plain.keys() == {n for n, p in model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("name", ["bitfit", "ia3 everywhere"])
@pytest.mark.parametrize("form", ["bfloat16", "int8"])
def test_prepared_weights_leave_the_gradients_near_float32(
    count: Callable[[bool], list[bool]], name: str, form: str
) -> None:
    """Rounding of the kind that autocast brings, on either path."""
    model = adapted(SPECS["bert"], name, 0.3).float()
    count(False)
    exact = gradients(model, READOUT)[1]
    freeze_linears(model, form)  # type: ignore[arg-type]
    for fast in (True, False):
        taken = count(fast)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=form == "bfloat16"):
            rounded = gradients(model, READOUT)[1]
        assert all(taken) is fast
        assert {value.dtype for value in rounded.values()} == {torch.float32}
        assert gap(rounded, exact) < 0.15


@pytest.mark.parametrize("form", ["float32", "bfloat16", "int8"])
@pytest.mark.parametrize("name", ["bitfit", "ia3 everywhere"])
def test_a_bias_trains_on_beside_a_prepared_weight_and_stays_when_that_goes_back(name: str, form: str) -> None:
    model = adapted(SPECS["bert"], name).float()
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    trains = {n: p for n, p in model.named_parameters() if p.requires_grad}
    names = list(before)
    replaced = freeze_linears(model, form)  # type: ignore[arg-type]
    assert len(replaced) == 18
    assert [n for n, _ in model.named_parameters()] == names
    assert {n: id(p) for n, p in model.named_parameters() if p.requires_grad} == {n: id(p) for n, p in trains.items()}
    inside = [m for m in model.modules() if isinstance(m, FrozenLinear)]
    assert not any(m.weight.requires_grad for m in inside)
    optimizer = torch.optim.SGD(trains.values(), lr=0.1)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=form == "bfloat16"):
        run(model, rows(), sources(model.spec)).float().sin().sum().backward()
    optimizer.step()
    learnt = {n: p.detach().clone() for n, p in trains.items()}
    thaw_linears(model, replaced, lambda: adapted_base(model))
    after = dict(model.named_parameters())
    assert list(after) == names
    assert all(type(m) in (nn.Linear, IA3Linear) for m in model.modules() if hasattr(m, "in_features"))
    for n, value in before.items():
        assert torch.equal(after[n], learnt.get(n, value)), n
    moved = [n for n in learnt if not torch.equal(learnt[n], before[n])]
    assert len(moved) >= 0.8 * len(learnt)  # a key bias has no gradient but rounding


def adapted_base(model: Transformer) -> Transformer:
    """The base as its files would give it."""
    fresh = build(model.spec).float()
    assert fresh.spec == model.spec
    return fresh


def test_a_factor_on_the_input_of_roles_that_read_it_together_runs_the_plain_way(
    count: Callable[[bool], list[bool]],
) -> None:
    model = build(SPECS["rotary, grouped heads"])
    assert model.decoder is not None
    mlp = model.decoder.blocks[0].mlp
    mlp.up = IA3Linear(mlp.up, on_input=True)  # type: ignore[union-attr,assignment,arg-type]
    taken = count(True)
    run(model, rows())
    assert taken == [False, True, True]
