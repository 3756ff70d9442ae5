"""PiSSA and LoRA+: where they begin, what the frozen rest is, in int8 too, and that nothing is lost of the base."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import test_contract as contract
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from microtune.adapt import pissa
from microtune.adapt.base import make_method
from microtune.adapt.lora import DoRALinear, LoRA, LoRALinear, PiSSALinear
from microtune.adapt.pissa import principal, rest
from microtune.errors import InputError
from microtune.nn.frozen import FrozenLinear, freeze_linears, quantize_between, quantize_rows, thaw_linears
from microtune.nn.spec import ModelSpec, StackSpec
from microtune.nn.transformer import Transformer
from microtune.recipe import Choice, Train
from microtune.run.optimizers import Optimizers

STACK = StackSpec(num_layers=2, hidden_size=16, num_heads=4, intermediate_size=24, causal=True, positions="rotary")
SPEC = ModelSpec(vocab_size=9, decoder=STACK)


def network() -> Transformer:
    torch.manual_seed(0)
    return Transformer(SPEC)


@pytest.mark.parametrize("scale", [1.0, 2.5])
@pytest.mark.parametrize("whole", [True, False], ids=["all vectors", "a subspace"])
def test_the_main_part_is_the_best_of_its_rank(scale: float, whole: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is the root of the squares of the singular values left out (Eckart and Young, 1936), and A and B take
    the same share of each value."""
    monkeypatch.setattr(pissa, "WHOLE_SIDE", 1024 if whole else 8)
    torch.manual_seed(1)
    W = torch.randn(40, 30, dtype=torch.float64)
    state = torch.get_rng_state()
    A, B = principal(W, 4, scale)
    assert torch.equal(torch.get_rng_state(), state)
    values = torch.linalg.svdvals(W)
    left = rest(W, A, B, scale)
    assert_close(left.norm(), values[4:].square().sum().sqrt(), rtol=1e-9 if whole else 1e-4, atol=0)
    assert_close(A.norm(dim=1) ** 2 * scale, values[:4], rtol=1e-9 if whole else 1e-3, atol=0)
    assert_close(B.norm(dim=0), A.norm(dim=1), rtol=1e-9, atol=0)
    assert all(torch.equal(a, b) for a, b in zip(principal(W, 4, scale), (A, B), strict=True))


def test_what_is_left_is_rounded_once() -> None:
    torch.manual_seed(2)
    W, A, B = torch.randn(12, 10), torch.randn(3, 10), torch.randn(12, 3)
    exact = W.double() - 1.5 * (B.double() @ A.double())
    assert torch.equal(rest(W, A, B, 1.5), exact.float())
    assert torch.equal(
        rest(W.bfloat16(), A, B, 1.5), (W.bfloat16().double() - 1.5 * (B.double() @ A.double())).bfloat16()
    )


@pytest.mark.parametrize(("alpha", "scale"), [(None, 1.0), (6.0, 1.5)])
def test_the_scale_and_the_start(alpha: float | None, scale: float) -> None:
    model = network()
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    attachment = LoRA(rank=4, alpha=alpha, variant="pissa").attach(model)
    update = model.get_submodule("decoder.blocks.1.attention.q")
    assert isinstance(update, PiSSALinear)
    assert update.scale == scale
    assert torch.equal(update.lora_A, update.start_A)
    assert torch.equal(update.lora_B, update.start_B)
    W = before["decoder.blocks.1.attention.q.weight"]
    assert torch.linalg.matrix_rank(update.base.weight, rtol=1e-5) == 16 - 4
    assert_close(update.merged(), W, rtol=0, atol=2e-7)
    assert set(attachment.start()) == {
        f"decoder.blocks.{i}.{role}.start_{name}"
        for i in range(2)
        for role in ("attention.q", "attention.k", "attention.v", "attention.o", "mlp.up", "mlp.down")
        for name in "AB"
    }
    assert not any("start" in name for name in attachment.trainable)


def test_from_saved_factors_nothing_is_decomposed(monkeypatch: pytest.MonkeyPatch) -> None:
    method = LoRA(rank=2, variant="pissa")
    first, second = network(), network()
    start = {name: t.clone() for name, t in method.attach(first).start().items()}
    monkeypatch.setattr("microtune.adapt.lora.principal", lambda *_: pytest.fail("singular vectors were computed"))
    method.starting_from(start).attach(second)
    assert_close(dict(second.state_dict()), dict(first.state_dict()), rtol=0, atol=0)
    assert method.starting_from(start).model_dump() == method.model_dump()


@torch.no_grad()
def test_twice_the_rank_on_the_base_itself() -> None:
    torch.manual_seed(3)
    base = nn.Linear(10, 12, dtype=torch.float64)
    whole = copy.deepcopy(base)
    update = PiSSALinear(base, 3, 4.5, 0.0)
    update.lora_A.add_(torch.randn_like(update.lora_A))
    update.lora_B.add_(torch.randn_like(update.lora_B))
    x = torch.randn(7, 10, dtype=torch.float64)
    A, B = update.factors()
    assert (A.shape, B.shape) == ((6, 10), (12, 6))
    assert_close(whole(x) + 1.5 * x @ A.t() @ B.t(), update(x), rtol=0, atol=1e-12)
    assert_close(update.merged(), whole.weight + 1.5 * B @ A, rtol=0, atol=1e-12)


@pytest.mark.parametrize("form", ["float32", "bfloat16", "int8"])
def test_a_held_base_is_the_rest_and_comes_back(form: str) -> None:
    """Bit for bit: from the weights of the files and the factors that training began with."""
    model, plain = network(), network()
    attachment = LoRA(rank=4, variant="pissa").attach(model)
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    replaced = freeze_linears(model, form)  # type: ignore[arg-type]
    held = model.get_submodule("decoder.blocks.0.mlp.up.base")
    assert isinstance(held, FrozenLinear)
    left = before["decoder.blocks.0.mlp.up.base.weight"]
    worst = {"float32": 0.0, "bfloat16": 2**-8, "int8": 0.51 / 127}[form] * float(left.abs().max())
    assert float((held.dense() - left).abs().max()) <= worst
    thaw_linears(model, replaced, network)
    after = dict(model.named_parameters())
    assert all(torch.equal(after[name], value) for name, value in before.items())
    attachment.detach()
    assert_close(dict(model.state_dict()), dict(plain.state_dict()), rtol=0, atol=0)


def test_in_int8_the_rest_loses_less_than_the_whole() -> None:
    """The reason for PiSSA on quantised weights: without the largest values the steps are smaller."""
    torch.manual_seed(4)
    W = torch.randn(64, 8) @ torch.randn(8, 64) + 0.1 * torch.randn(64, 64)
    A, B = principal(W, 8, 1.0)
    left = rest(W, A, B, 1.0)

    def loss(weight: Tensor) -> float:
        rounded, scale = quantize_rows(weight)
        return float((rounded.float() * scale - weight).norm())

    assert loss(left) < 0.2 * loss(W)


@pytest.mark.parametrize("variant", ["plain", "rslora", "dora", "pissa"])
def test_int8_values_and_gradients_are_those_of_the_dense_computation(variant: str) -> None:
    """The literal sums over rounded rows in float64, with the update beside them; 1e-5 is float32 rounding."""
    torch.manual_seed(5)
    model = network()
    LoRA.model_validate({"rank": 3, "variant": variant}).attach(model)
    freeze_linears(model, "int8")
    one = model.get_submodule("decoder.blocks.0.mlp.up")
    assert isinstance(one, LoRALinear)
    assert isinstance(one.base, FrozenLinear)
    with torch.no_grad():
        one.lora_B.add_(0.3 * torch.randn_like(one.lora_B))
    x, weights = torch.randn(7, 16, requires_grad=True), torch.randn(7, 24)
    trained = [one.lora_A, one.lora_B, *([one.magnitude] if isinstance(one, DoRALinear) else [])]
    y = one(x)
    found = torch.autograd.grad((y * weights).sum(), [x, *trained])
    wide, own = x.detach().double().requires_grad_(), [t.detach().double().requires_grad_() for t in trained]
    dense = one.base.dense().double()
    rows, steps, middle = quantize_between(x.detach())
    rounded = (rows[:-1].double() * steps + middle) @ dense.t()
    frozen = wide @ dense.t() + (rounded - wide.detach() @ dense.t())  # its values, with the gradient of the product
    bias = one.base.bias.detach().double()
    total = frozen + one.scale * wide @ own[0].t() @ own[1].t()
    factor = 1.0
    if isinstance(one, DoRALinear):
        norm = (dense + one.scale * own[1] @ own[0]).norm(dim=1).detach()
        factor = own[2] / norm
    assert_close(y.double(), factor * total + bias, rtol=1e-5, atol=1e-5)
    wanted = list(torch.autograd.grad(((factor * total + bias) * weights.double()).sum(), [wide, *own]))
    slope = weights.double() * (factor.detach() if isinstance(factor, Tensor) else 1.0)
    back, step = quantize_rows((slope * one.base.scale.double()).float())  # the gradient is rounded in its turn
    wanted[0] += back.double() * step @ one.base.weight.double() - slope @ dense
    for mine, theirs in zip(found, wanted, strict=True):
        assert_close(mine.double(), theirs, rtol=1e-4, atol=1e-4)


def test_loraplus_gives_every_b_a_rate_of_its_own() -> None:
    model = network()
    method = LoRA(rank=2, loraplus=16.0)
    attachment = method.attach(model)
    assert attachment.rates == {n: 16.0 for n in attachment.trainable if n.endswith("lora_B")}
    assert len(attachment.rates) == 12
    groups = Optimizers(attachment, Train(lr=1e-3), method, 10).members[0].param_groups
    rates = {id(p): group["peak"] for group in groups for p in group["params"]}
    for name, parameter in attachment.parameters():
        assert rates[id(parameter)] == pytest.approx(16e-3 if name.endswith("lora_B") else 1e-3)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "rank above": (
        {"rank": 17},
        r"method.rank: 17 is above the smaller side of decoder.blocks.0.attention.q \(16 x 16\)",
    ),
    "rank above a key": (
        {"rank": 9},
        r"decoder.blocks.0.attention.k \(8 x 16\); choose at most 8, or name other roles",
    ),
    "two names": (
        {"roles": ["attention.w"]},
        'no role "attention.w" .*Did you mean "attention.v".*Known: attention.k,',
    ),
    "another layer": ({"roles": ["mlp.q"]}, 'no role "mlp.q" in these blocks.'),
    "block": ({"last_block": 3}, "last_block is 3, but the model has 3 blocks, 0 to 2"),
    "empty range": ({"first_block": 2, "last_block": 1}, "last_block 1 lies below first_block 2; no block is left"),
    "no role": ({"roles": []}, "roles: .* at least 1 item"),
    "all dropped": ({"dropout": 1.0}, "dropout: .* less than 1"),
    "dropout of the main part": ({"variant": "pissa", "dropout": 0.1}, "method.dropout: 0.1 would drop parts"),
    "slower": ({"loraplus": 0.5}, "loraplus: .* greater than or equal to 1"),
    "negative block": ({"last_block": -1}, "last_block: .* greater than or equal to 0"),
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_refusals(name: str) -> None:
    options, message = REFUSED[name]
    model = contract.build("decoder" if name != "rank above" else "encoder")
    if name == "rank above":
        message = message.replace("decoder", "encoder")
    with pytest.raises(InputError, match=message) as error:
        make_method(Choice(name="lora", **options)).attach(model)
    assert "\n" not in str(error.value)
    assert all(p.requires_grad for p in model.parameters())


def test_roles_by_one_name_and_by_two() -> None:
    def adapted(*roles: str, **options: Any) -> set[str]:
        model = contract.build("both")
        make_method(Choice(name="lora", rank=2, roles=list(roles), **options)).attach(model)
        return {name for name, m in model.named_modules() if isinstance(m, LoRALinear)}

    assert adapted("attention.q", "mlp.up", first_block=1, last_block=1) == {
        f"{side}.blocks.1.{role}" for side in ("encoder", "decoder") for role in ("attention.q", "mlp.up")
    }
    assert adapted("cross.q", "down", last_block=0) == {
        "decoder.blocks.0.cross.q",
        "decoder.blocks.0.mlp.down",
        "encoder.blocks.0.mlp.down",
    }
    assert adapted("q", first_block=2) == {"decoder.blocks.2.attention.q", "decoder.blocks.2.cross.q"}
