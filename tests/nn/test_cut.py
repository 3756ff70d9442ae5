"""Below the cut nothing trains: states computed once stand for the live trunk, exactly, and without dropout."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from nn_specs import BOTH, DECODERS, ENCODERS, build, rows, run, sources
from torch import Tensor
from torch.testing import assert_close

from microtune.nn.spec import ModelSpec
from microtune.nn.transformer import Cut, Transformer, Trunk
from microtune.ragged import Ragged

READOUT = torch.tensor([0, 4, 6, 13, 19, 21])
CASES = [
    ("rotary, grouped heads", Cut(decoder=1)),
    ("windowed", Cut(decoder=2)),
    ("learned", Cut(decoder=3)),
    ("bert", Cut(encoder=2)),
    ("windowed encoder", Cut(encoder=3)),
    ("t5", Cut(encoder=1)),
    ("t5", Cut(encoder=2, decoder=1)),
    ("bart", Cut(encoder=2, decoder=3)),
    ("rotary pair", Cut(encoder=2, decoder=2)),
]
each = pytest.mark.parametrize(("name", "cut"), CASES, ids=[f"{n} {c.encoder}.{c.decoder}" for n, c in CASES])
asked = pytest.mark.parametrize("readout", [None, READOUT], ids=["all", "readout"])


def spec_of(name: str, dropout: float = 0.0) -> ModelSpec:
    spec = (DECODERS | ENCODERS | BOTH)[name]
    with_dropout = {side: stack and replace(stack, dropout=dropout) for side, stack in sides(spec).items()}
    return replace(spec, **with_dropout)


def sides(spec: ModelSpec) -> dict[str, object]:
    return {"encoder": spec.encoder, "decoder": spec.decoder}


def trunk_of(model: Transformer, spec: ModelSpec, readout: Tensor | None) -> Trunk:
    src = sources(spec)
    types = None if model.types is None else torch.tensor([i % 2 for row in rows() for i in row])
    ragged = None if src is None else Ragged.from_lists(src)
    return model.compute_trunk(Ragged.from_lists(rows()), readout=readout, sources=ragged, types=types)


@each
@asked
def test_trunk_states_equal_the_live_forward(name: str, cut: Cut, readout: Tensor | None) -> None:
    spec = spec_of(name)
    model = build(spec)
    above = above_cut(model, cut)
    for parameter_name, parameter in model.named_parameters():  # as a method leaves it: nothing below trains
        parameter.requires_grad_(parameter_name in above)
    plain = run(model, rows(), sources(spec), readout=readout)
    model.cut = cut
    assert torch.equal(run(model, rows(), sources(spec), readout=readout), plain)
    trunk = trunk_of(model, spec, readout)
    assert (trunk.encoder is not None) == (spec.decoder is not None and cut.encoder > 0)
    assert torch.equal(run(model, rows(), sources(spec), readout=readout, trunk=trunk), plain)


@each
@asked
def test_gradients_above_the_cut_equal_those_without(name: str, cut: Cut, readout: Tensor | None) -> None:
    spec = spec_of(name)
    model = build(spec)
    model.head(run(model, rows(), sources(spec), readout=readout)).sin().sum().backward()
    full = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    above = above_cut(model, cut)
    assert above, "the case tests something"
    for trunk_given in (False, True):
        model.zero_grad()
        model.cut = cut
        trunk = trunk_of(model, spec, readout) if trunk_given else None
        model.head(run(model, rows(), sources(spec), readout=readout, trunk=trunk)).sin().sum().backward()
        for parameter in above:
            assert_close(model.get_parameter(parameter).grad, full[parameter], rtol=1e-12, atol=1e-12)
        below = [n for n, p in model.named_parameters() if p.grad is not None and ".blocks." in n and n not in above]
        assert below == []


def above_cut(model: Transformer, cut: Cut) -> list[str]:
    """Parameters of blocks, final norms and the head that no trunk contains or sees (the tied embedding is in it).

    An encoder that trains is seen by every block of the decoder: with a cut there, all of it must be frozen, its final
    norm too.
    """
    names = []
    for name, parameter in model.named_parameters():
        side, _, rest = name.partition(".")
        level = getattr(cut, side, 0)
        if not parameter.requires_grad or (side == "encoder" and model.decoder is not None and cut.decoder):
            continue
        if rest.startswith("blocks.") and int(rest.split(".")[1]) >= level:
            names.append(name)
        if rest.startswith("norm.") or name.startswith(("head.transform", "head.out.bias")):
            names.append(name)
    return names


@each
@pytest.mark.parametrize("cut_first", [True, False])
def test_a_frozen_trunk_runs_without_dropout_in_training(name: str, cut: Cut, cut_first: bool) -> None:
    spec = spec_of(name, dropout=0.5)
    model = build(spec)
    if cut_first:
        model.cut = cut
        model.train()
    else:
        model.train()
        model.cut = cut
    torch.manual_seed(0)
    first, second = trunk_of(model, spec, None), trunk_of(model, spec, None)
    model.eval()
    quiet = trunk_of(model, spec, None)
    assert_same(first, quiet)
    assert_same(second, quiet)
    model.train()
    model.cut = Cut()  # everything trains again: dropout everywhere
    noisy = [run(model, rows(), sources(spec)) for _ in range(2)]
    assert not torch.equal(*noisy)
    assert all(block.training for stack in (model.encoder, model.decoder) if stack for block in stack.blocks)


def assert_same(first: Trunk, second: Trunk) -> None:
    for a, b in ((first.encoder, second.encoder), (first.output, second.output)):
        assert (a is None) == (b is None)
        if a is not None and b is not None:
            assert torch.equal(a, b)
