"""What PiSSA, LoRA+ and bottleneck adapters promise: the contract of all methods, and the same in the usual types.

The whole grid of types is slow; a diagonal of it always runs.
"""

from __future__ import annotations

from typing import Any

import pytest
import test_contract as contract
import torch
from torch.testing import assert_close

from microtune.adapt.lora import LoRALinear

METHODS: dict[str, dict[str, Any]] = {
    "pissa": {"name": "lora", "rank": 2, "variant": "pissa"},
    "pissa lora on some": {
        "name": "lora",
        "rank": 3,
        "variant": "pissa",
        "alpha": 4.5,
        "roles": ["q", "mlp.down"],
        "first_block": 1,
        "last_block": 1,
        "loraplus": 4,
    },
    "houlsby": {"name": "bottleneck", "reduction": 4},
    "pfeiffer": {"name": "bottleneck", "placement": "pfeiffer", "activation": "silu", "first_block": 1},
}
kinds = pytest.mark.parametrize("kind", list(contract.SPECS))
every = pytest.mark.parametrize("name", list(METHODS))
GRID = [
    pytest.param(kind, name, dtype, id=f"{kind}-{name}-{dtype}", marks=() if few else pytest.mark.slow)
    for dtype in (torch.float32, torch.bfloat16)
    for few, kind, name in (
        (number % 4 == (dtype == torch.bfloat16), kind, name)
        for number, (kind, name) in enumerate(
            (kind, name) for i, kind in enumerate(contract.SPECS) for name in [*METHODS][i:] + [*METHODS][:i]
        )
    )
]
grid = pytest.mark.parametrize(("kind", "name", "dtype"), GRID)


@pytest.fixture(autouse=True)
def mine(monkeypatch: pytest.MonkeyPatch) -> None:
    """The contract is asked about these methods."""
    monkeypatch.setattr(contract, "METHODS", METHODS)


@kinds
@every
def test_output_at_the_start(kind: str, name: str) -> None:
    """Of adapters the same bits; of PiSSA, which adds up two parts of each weight, to rounding in float64."""
    prepared = contract.prepare(kind, name)
    with torch.no_grad():
        found = contract.outputs(prepared.model)
    if "pissa" not in name:
        assert torch.equal(found, prepared.before)
    assert_close(found, prepared.before, rtol=0, atol=1e-10)


@kinds
@every
def test_exactly_the_reported_parameters_get_gradients_and_move(kind: str, name: str) -> None:
    contract.test_exactly_the_reported_parameters_get_gradients_and_move(kind, name)


@kinds
@every
def test_detach_restores_the_base_bit_for_bit(kind: str, name: str) -> None:
    contract.test_detach_restores_the_base_bit_for_bit(kind, name)


@kinds
@every
def test_the_cut_changes_no_gradient(kind: str, name: str) -> None:
    contract.test_the_cut_changes_no_gradient(kind, name)


@kinds
@every
def test_state_alone_restores_the_outputs(kind: str, name: str) -> None:
    contract.test_state_alone_restores_the_outputs(kind, name)


@kinds
@pytest.mark.parametrize("name", [name for name in METHODS if "pissa" in name])
def test_merged_equals_unmerged(kind: str, name: str) -> None:
    contract.test_merged_equals_unmerged(kind, name)


@kinds
def test_pissa_counts_as_lora_does(kind: str) -> None:
    own = contract.HEAD[kind] if kind in contract.LABELLED else 0
    assert sum(contract.prepare(kind, "pissa").attachment.trainable.values()) == contract.LORA[kind] + own


@grid
def test_in_the_types_of_training(kind: str, name: str, dtype: torch.dtype) -> None:
    """Unchanged at the start, moved and nothing else, restored by its state, detached bit for bit.

    2 % of the largest output: bfloat16 rounds the rest of a weight to 2^-9 of it, in three blocks.
    """
    prepared = contract.prepare(kind, name, dtype)
    with torch.no_grad():
        found = contract.outputs(prepared.model)
    largest = float(prepared.before.abs().max())
    if "pissa" not in name:
        assert torch.equal(found, prepared.before)
    assert_close(found, prepared.before, rtol=0, atol=(1e-5 if dtype == torch.float32 else 0.02) * largest)
    own = {p.dtype for n, p in prepared.attachment.parameters() if not n.startswith("head.")}
    assert own == {torch.float32}
    start = {n: p.detach().clone() for n, p in prepared.model.named_parameters()}
    contract.train(prepared)
    trainable = set(prepared.attachment.trainable)
    assert {n for n, p in prepared.model.named_parameters() if not torch.equal(p, start[n])} == trainable
    other = contract.prepare(kind, name, dtype)
    other.attachment.load_state(prepared.attachment.state())
    assert torch.equal(contract.outputs(other.model), contract.outputs(prepared.model))
    prepared.attachment.detach()
    after = dict(prepared.model.named_parameters())
    assert list(after) == list(prepared.base)
    assert all(torch.equal(after[n], t) for n, t in prepared.base.items() if not n.startswith("head."))
    assert not any(isinstance(m, LoRALinear) or hasattr(m, "bottleneck") for m in prepared.model.modules())
