"""AdamW without torch's class gives torch's numbers, bit for bit, and its state in the same form."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from microtune.run.adamw import AdamW

SHAPES = ((5, 7), (7,), (1, 3, 2), ())


def parameters() -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(1)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]


def groups(members: list[nn.Parameter]) -> list[dict[str, Any]]:
    return [
        {"params": members[:2], "lr": 1e-2, "weight_decay": 0.1},
        {"params": members[2:], "lr": 3e-3, "weight_decay": 0.0},
    ]


def give_gradients(members: list[nn.Parameter], step: int) -> None:
    """Random ones; the second parameter has none in the first step."""
    generator = torch.Generator().manual_seed(step)
    for number, parameter in enumerate(members):
        gradient = torch.randn(parameter.shape, generator=generator)
        parameter.grad = None if step == 0 and number == 1 else gradient


def make(kind: str) -> tuple[list[nn.Parameter], Any]:
    members = parameters()
    if kind == "ours":
        return members, AdamW(groups(members), (0.9, 0.98))
    return members, torch.optim.AdamW(groups(members), betas=(0.9, 0.98), eps=1e-8, fused=True)


def steps(members: list[nn.Parameter], optimizer: Any, first: int, last: int) -> list[Tensor]:
    for step in range(first, last):
        give_gradients(members, step)
        for group in optimizer.param_groups:
            group["lr"] *= 0.9  # a schedule
        optimizer.step()
    return [p.detach().clone() for p in members]


def test_weights_and_state_equal_torch_bit_for_bit() -> None:
    (ours, mine), (theirs, reference) = make("ours"), make("torch")
    found, wanted = steps(ours, mine, 0, 6), steps(theirs, reference, 0, 6)
    assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))
    state, other = mine.state_dict()["state"], reference.state_dict()["state"]
    assert state.keys() == other.keys() == {0, 1, 2, 3}
    for number, entries in state.items():
        assert entries.keys() == other[number].keys()
        assert all(torch.equal(entries[key], other[number][key]) for key in entries)


@pytest.mark.parametrize("source", ["ours", "torch"])
def test_a_state_continues_wherever_it_was_made(source: str) -> None:
    members, optimizer = make(source)
    middle = steps(members, optimizer, 0, 3)
    saved = deepcopy(optimizer.state_dict()["state"])
    rates = [group["lr"] for group in optimizer.param_groups]
    wanted = steps(members, optimizer, 3, 6)
    others, again = make("ours")
    for parameter, value in zip(others, middle, strict=True):
        parameter.data.copy_(value)
    again.load_state_dict({"state": saved})
    for group, rate in zip(again.param_groups, rates, strict=True):
        group["lr"] = rate
    found = steps(others, again, 3, 6)
    assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))


def test_zero_grad_forgets() -> None:
    members, optimizer = make("ours")
    give_gradients(members, 1)
    optimizer.zero_grad()
    assert all(p.grad is None for p in members)
    optimizer.step()
    assert not optimizer.state


def test_a_divisor_is_that_of_the_gradients() -> None:
    """To one rounding of float32: the kernel divides where clipping multiplies."""
    (ours, divided), (theirs, scaled) = make("ours"), make("ours")
    for number in range(1, 4):
        give_gradients(ours, number)
        give_gradients(theirs, number)
        for p in theirs:
            assert p.grad is not None
            p.grad /= 3.7
        divided.divisor = torch.tensor(3.7)
        divided.step()
        scaled.step()
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)
