"""A source that several sequences of a decoder look at is read once: the same states and gradients as read for each."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from nn_specs import BOTH, LENGTHS, build, rows, run, sources
from torch import Tensor
from torch.testing import assert_close

from microtune.data.batches import Item, collate, sequences
from microtune.nn.spec import ModelSpec
from microtune.nn.transformer import Cache, Cut, Transformer
from microtune.nn.virtual import Prefix, Prompt
from microtune.ragged import Ragged, looked_at

READERS = [2, 1, 2]  # of five rows
OWNERS = [0, 0, 1, 2, 2]
SPARSE = torch.tensor([0, 4, 6, 13, 14, 19, 21])
LAST = torch.tensor([4, 7, 12, 13, 21])  # of each row
EXACT = {"rtol": 0.0, "atol": 1e-12}  # float64: sums in another order
each = pytest.mark.parametrize("spec", BOTH.values(), ids=BOTH.keys())
asked = pytest.mark.parametrize("readout", [None, SPARSE, LAST], ids=["all", "some", "last"])


def given(spec: ModelSpec) -> list[list[int]]:
    found = sources(spec, 3)
    assert found is not None
    return found


def once(spec: ModelSpec) -> Ragged:
    read = Ragged.from_lists(given(spec))
    return Ragged(read.values, read.lengths, readers=torch.tensor(READERS))


def shared(model: Transformer, **other: Any) -> Tensor:
    return model(Ragged.from_lists(rows()), sources=once(model.spec), **other)


def plain(model: Transformer, **other: Any) -> Tensor:
    return run(model, rows(), [given(model.spec)[i] for i in OWNERS], **other)


def opened(model: Transformer, kind: str) -> Transformer:
    """With virtual tokens before what the encoder reads, or before the decoder's keys."""
    if model.encoder is None or model.decoder is None or kind == "none":
        return model
    torch.manual_seed(5)
    stack = model.encoder.spec
    if kind == "prompt":
        model.encoder.virtual = Prompt(torch.randn(2, stack.embedding_width, dtype=torch.float64))
    else:
        shape = (model.decoder.spec.num_layers, 2, 2, model.decoder.spec.kv_heads, model.decoder.spec.head_size)
        model.decoder.virtual = Prefix(torch.randn(*shape, dtype=torch.float64), 0)
    return model


@each
@asked
@pytest.mark.parametrize("kind", ["none", "prompt", "prefix"])
def test_states_and_gradients_are_those_of_a_source_for_each(
    spec: ModelSpec, readout: Tensor | None, kind: str
) -> None:
    model = opened(build(spec), kind)
    found, wanted = shared(model, readout=readout), plain(model, readout=readout)
    assert_close(found, wanted, **EXACT)
    torch.manual_seed(1)
    slope = torch.randn_like(wanted)
    named = {n: p for n, p in model.named_parameters() if p.requires_grad and not n.startswith("head.")}
    mine, theirs = (
        torch.autograd.grad((out * slope).sum(), list(named.values()), allow_unused=True) for out in (found, wanted)
    )
    for name, one, other in zip(named, mine, theirs, strict=True):
        assert (one is None) == (other is None), name
        if one is not None:
            assert_close(one, other, rtol=0, atol=1e-10, msg=name)
    assert any(n.startswith("encoder.") and g is not None and bool(g.any()) for n, g in zip(named, mine, strict=True))


@each
def test_every_reader_sends_a_gradient_into_the_encoder(spec: ModelSpec) -> None:
    """Each row alone reaches the encoder, and their gradients add up to that of all of them."""
    model = build(spec)
    weight = model.encoder.blocks[0].attention.q.weight  # type: ignore[union-attr,operator]

    def slope(row: int) -> Tensor:
        return torch.autograd.grad((shared(model).split(LENGTHS)[row] ** 2).sum(), weight)[0]

    slopes = [slope(row) for row in range(len(LENGTHS))]
    assert all(float(found.abs().max()) > 1e-6 for found in slopes)
    (whole,) = torch.autograd.grad((shared(model) ** 2).sum(), weight)
    assert_close(torch.stack(slopes).sum(0), whole, rtol=0, atol=1e-10)


def test_the_encoder_reads_each_source_once() -> None:
    model, seen = build(BOTH["t5"]), []
    assert model.encoder is not None
    model.encoder.blocks[0].register_forward_hook(lambda module, inputs, out: seen.append(len(inputs[0])))
    model.decoder.blocks[0].cross.k.register_forward_hook(lambda module, inputs, out: seen.append(len(out)))  # type: ignore[union-attr,operator]
    shared(model)
    assert seen == [sum(map(len, given(model.spec)))] * 2
    plain(model)
    assert seen[2] == sum(len(given(model.spec)[i]) for i in OWNERS)


@pytest.mark.parametrize("cut", [Cut(2, 0), Cut(2, 1), Cut(2, 3), Cut(1, 0)], ids=str)
@torch.no_grad()
def test_stored_states_stand_for_the_live_pass(cut: Cut) -> None:
    model = build(BOTH["bart"])
    full = shared(model, readout=LAST)
    model.cut = cut
    trunk = model.compute_trunk(Ragged.from_lists(rows()), readout=LAST, sources=once(model.spec))
    assert trunk.encoder is not None
    assert len(trunk.encoder) == len(once(model.spec).values)
    assert torch.equal(shared(model, readout=LAST, trunk=trunk), full)


def test_a_batch_of_items_lays_a_source_down_once() -> None:
    items = [
        Item([1, 2, 3, 4], [1, 3], [5, 6], [7, 8], pieces=[2, 2]),
        Item([1, 2], [1], [4], [9], pieces=[2]),
        Item([3], [0], [4], [7, 8, 9]),
    ]
    assert [item.size for item in items] == [6, 3, 4]
    assert [list(part.sources) for part in sequences(items[0])] == [[7, 8], [7, 8]]
    batch = collate(items)
    assert batch.sources is not None
    assert batch.sources.values.tolist() == [7, 8, 9, 7, 8, 9]
    assert batch.sources.lengths.tolist() == [2, 1, 3]
    assert batch.sources.readers is not None
    assert batch.sources.readers.tolist() == [2, 1, 1]
    assert batch.sources.to("cpu").map(lambda t: t).readers is not None
    assert looked_at(batch.sources.readers, 4).tolist() == [0, 0, 1, 2]
    assert batch.inputs.lengths.tolist() == [2, 2, 2, 1]
    single = collate(items[1:]).sources
    assert single is not None
    assert single.readers is None


def test_a_cache_keeps_a_memory_for_every_row() -> None:
    model = build(BOTH["t5"])
    with pytest.raises(ValueError, match="with a cache every row has a memory of its own"):
        shared(model, cache=Cache(model.spec, len(LENGTHS), 9))
