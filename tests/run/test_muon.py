"""Muon stacked by shape against torch's own, matrix by matrix."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from microtune.run.muon import Muon, orthogonal

SHAPES = [(8, 8), (8, 8), (24, 8), (8, 24), (24, 8)]


def _twin(seed: int) -> list[nn.Parameter]:
    torch.manual_seed(seed)
    return [nn.Parameter(torch.randn(shape)) for shape in SHAPES]


def test_it_moves_as_torchs_own() -> None:
    """Six steps with decay; bfloat16 products of another order: 1e-2 of an update, whose entries are below the rate."""
    ours, theirs = _twin(0), _twin(0)
    start = [p.detach().clone() for p in ours]
    one, other = Muon(ours, 0.02, weight_decay=0.1), torch.optim.Muon(theirs, 0.02, weight_decay=0.1, momentum=0.95)
    for _ in range(6):
        for mine, its in zip(ours, theirs, strict=True):
            its.grad = torch.randn(its.shape)
            mine.grad = its.grad.clone()
        one.step()
        other.step()
    for mine, its, first in zip(ours, theirs, start, strict=True):
        assert torch.equal(one.state[mine]["momentum_buffer"], other.state[its]["momentum_buffer"])
        moved, apart = its.detach() - first, mine.detach() - its.detach()
        assert float(apart.norm() / moved.norm()) < 1e-2


@pytest.mark.parametrize("shape", [(16, 16), (40, 16), (16, 40)])
def test_singular_values_become_alike(shape: tuple[int, int]) -> None:
    """Of matrices whose singular values differ by a factor of up to a hundred."""
    torch.manual_seed(1)
    values = torch.linalg.svdvals(orthogonal(torch.randn(3, *shape)).float())
    assert values.shape == (3, 16)
    assert float(values.max()) < 1.3
    assert float(values[:, :-1].min()) > 0.5  # the smallest may be near zero to begin with


def test_a_parameter_without_gradient_rests() -> None:
    """Also between others of its shape."""
    members = _twin(2)
    optimizer = Muon(members, 0.02)
    for parameter in members[1:]:
        parameter.grad = torch.randn(parameter.shape)
    before = [p.detach().clone() for p in members]
    optimizer.step()
    assert torch.equal(members[0], before[0])
    assert members[0] not in optimizer.state
    assert all(not torch.equal(p, b) for p, b in zip(members[1:], before[1:], strict=True))
