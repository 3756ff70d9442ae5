"""The trunk of encoder-decoders: states of both stacks, stored once, stand for the live pass, in any batch."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from nn_specs import BOTH, build, rows, run, sources
from torch import Tensor
from torch.testing import assert_close

from microtune.nn.spec import ModelSpec
from microtune.nn.transformer import Cut, Transformer, Trunk
from microtune.ragged import Ragged

READOUT = torch.tensor([0, 4, 6, 13, 19, 21])
CUTS = [Cut(2, 0), Cut(2, 1), Cut(2, 2), Cut(2, 3), Cut(1, 0)]  # of 2 blocks and 3
each = pytest.mark.parametrize("cut", CUTS, ids=[f"encoder {c.encoder}, decoder {c.decoder}" for c in CUTS])
named = pytest.mark.parametrize("name", ["t5", "bart", "own tokens"])
asked = pytest.mark.parametrize("readout", [None, READOUT], ids=["all", "readout"])


def model_of(name: str) -> Transformer:
    """A model in evaluation mode with dropout in its specification."""
    spec = BOTH[name]
    assert spec.encoder is not None
    assert spec.decoder is not None
    return build(replace(spec, encoder=replace(spec.encoder, dropout=0.3), decoder=replace(spec.decoder, dropout=0.3)))


def trunk_of(model: Transformer, readout: Tensor | None) -> Trunk:
    targets, given = Ragged.from_lists(rows()), Ragged.from_lists(given_to(model.spec))
    return model.compute_trunk(targets, readout=readout, sources=given)


def given_to(spec: ModelSpec) -> list[list[int]]:
    found = sources(spec)
    assert found is not None
    return found


@named
@each
@asked
@torch.no_grad()  # as evaluation runs: with gradients a block may take its fast path, which rounds otherwise
def test_states_of_both_stacks_give_the_full_forward(name: str, cut: Cut, readout: Tensor | None) -> None:
    model = model_of(name)
    full = run(model, rows(), given_to(model.spec), readout=readout)
    model.cut = cut
    trunk = trunk_of(model, readout)
    assert (trunk.encoder is not None, trunk.output is not None) == (True, cut.decoder > 0)
    assert torch.equal(run(model, rows(), given_to(model.spec), readout=readout, trunk=trunk), full)


@named
@each
@torch.no_grad()
def test_training_draws_the_same_dropout_with_stored_states(name: str, cut: Cut) -> None:
    """Nothing below the cut draws; what stands above draws the same, whether the states are live or stored."""
    model = model_of(name)
    quiet = run(model, rows(), given_to(model.spec))
    model.cut = cut
    trunk = trunk_of(model, None)
    model.train()
    found = []
    for stored in (None, trunk, trunk_of(model, None)):
        torch.manual_seed(0)
        found.append(run(model, rows(), given_to(model.spec), trunk=stored))
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])
    assert torch.equal(found[0], quiet) == (cut.decoder == 3), "above the cut there is dropout"


@named
@each
@torch.no_grad()
def test_states_do_not_depend_on_the_batch(name: str, cut: Cut) -> None:
    model = model_of(name)
    model.cut = cut
    together = trunk_of(model, None)
    alone = [
        model.compute_trunk(Ragged.from_lists([target]), readout=None, sources=Ragged.from_lists([source]))
        for target, source in zip(rows(), given_to(model.spec), strict=True)
    ]
    assert_close(together.encoder, torch.cat([t.encoder for t in alone if t.encoder is not None]), rtol=0, atol=1e-12)
    if together.output is not None:
        assert_close(together.output, torch.cat([t.output for t in alone if t.output is not None]), rtol=0, atol=1e-12)
