"""A recurrent encoder reads a source once, too, for all sequences of the decoder that look at it."""

from __future__ import annotations

import pytest
import torch
from test_recurrent import KINDS, TARGETS, build
from torch.testing import assert_close

from microtune.nn.transformer import Cut
from microtune.ragged import Ragged


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_states_and_gradients_are_those_of_a_source_for_each(kind: tuple[str, str, bool]) -> None:
    """float64; sums in another order."""
    network, read = build(*kind), [[1, 2, 3], [4, 5]]
    inputs, readout = Ragged.from_lists(TARGETS), torch.tensor([1, 4, 5, 6])
    plain = Ragged.from_lists([read[0], read[1], read[1]])
    found = Ragged.from_lists(read)
    once = Ragged(found.values, found.lengths, readers=torch.tensor([1, 2]))
    mine, theirs = (network(inputs, sources=given, readout=readout) for given in (once, plain))
    assert_close(mine, theirs, rtol=0, atol=1e-12)
    named = {n: p for n, p in network.named_parameters() if not n.startswith("head.")}
    for one, other in zip(
        *(torch.autograd.grad((out**2).sum(), list(named.values()), allow_unused=True) for out in (mine, theirs)),
        strict=True,
    ):
        assert_close(one, other, rtol=0, atol=1e-12)
    network.cut = Cut(2, 0)
    trunk = network.compute_trunk(inputs, readout=readout, sources=once)
    assert_close(network(inputs, sources=once, readout=readout, trunk=trunk), mine, rtol=0, atol=1e-12)
