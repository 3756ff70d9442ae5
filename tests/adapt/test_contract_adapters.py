"""What PiSSA and bottleneck adapters promise when the base itself is in float32 or bfloat16.

The contract in float64 is test_contract.py. The whole grid of types is slow; a diagonal of it always runs.
"""

from __future__ import annotations

import pytest
import test_contract as contract
import torch
from torch.testing import assert_close

from microtune.adapt.bottleneck import BottleneckAdapter
from microtune.adapt.lora import LoRALinear

METHODS = ("pissa", "pissa on some", "houlsby", "pfeiffer")
GRID = [
    pytest.param(kind, name, dtype, id=f"{kind}-{name}-{dtype}", marks=() if few else pytest.mark.slow)
    for dtype in (torch.float32, torch.bfloat16)
    for few, kind, name in (
        (number % 4 == (dtype == torch.bfloat16), kind, name)
        for number, (kind, name) in enumerate(
            (kind, name) for i, kind in enumerate(contract.SPECS) for name in METHODS[i:] + METHODS[:i]
        )
    )
]
grid = pytest.mark.parametrize(("kind", "name", "dtype"), GRID)


@contract.kinds
@pytest.mark.parametrize("name", [name for name in contract.METHODS if name.startswith("pissa")])
def test_two_parts_of_a_weight_add_up_to_it(kind: str, name: str) -> None:
    """PiSSA at its start, to rounding in float64."""
    prepared = contract.prepare(kind, name)
    with torch.no_grad():
        assert_close(contract.outputs(prepared.model), prepared.before, rtol=0, atol=1e-10)


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
    assert not any(isinstance(m, (LoRALinear, BottleneckAdapter)) for m in prepared.model.modules())
