"""Recurrent networks against torch's own layers run by hand, against the formulas of attention, and by themselves."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from microtune.adapt.base import make_method
from microtune.classic.recurrent import Recurrent
from microtune.classic.recurrent_spec import RecurrentSpec
from microtune.errors import InputError
from microtune.nn.parameters import initialize
from microtune.nn.transformer import Cache, Cut
from microtune.ragged import Ragged
from microtune.recipe import Choice

D, V, L = 8, 20, 2
EXACT = 1e-12  # float64: sums in another order
SOURCES = [[1, 2, 3], [4], [5, 6, 7, 8, 9]]
TARGETS = [[1, 2], [3, 4, 5, 6], [7]]
KINDS = [(c, a, b) for c in ("lstm", "gru") for a in ("none", "additive", "dot") for b in (False, True)]


def spec(cell: str = "lstm", attention: str = "none", bidirectional: bool = False, **more: Any) -> RecurrentSpec:
    stack = {"num_layers": L, "hidden_size": D, "cell": cell}
    sides = {"encoder": {**stack, "bidirectional": bidirectional}, "decoder": {**stack, "attention": attention}}
    return RecurrentSpec.from_dict({"vocab_size": V, **sides, **more})


def build(*kind: Any) -> Recurrent:
    torch.manual_seed(5)
    network = Recurrent(spec(*kind))
    initialize(network, 0.4, num_layers=L)
    return network.double().eval()


def both(network: Recurrent, **more: Any) -> Tensor:
    return network(Ragged.from_lists(TARGETS), sources=Ragged.from_lists(SOURCES), **more)


def gap(one: Tensor, other: Tensor) -> float:
    assert one.shape == other.shape
    return float((one - other).detach().abs().max())


def by_torch(blocks: Any, x: Tensor, starts: list[Any]) -> tuple[Tensor, list[Any]]:
    """A row [T, D] through the layers, as torch runs them on a plain sequence."""
    ends = []
    for block, start in zip(blocks, starts, strict=True):
        kind, own = type(block.rnn), block.rnn
        layer = kind(own.input_size, own.hidden_size, bidirectional=own.bidirectional).double()
        layer.load_state_dict(own.state_dict())
        x, end = layer(x, start)
        ends.append(end)
    return x, ends


def beside(end: Any) -> Any:
    """Last states of both directions as one state of the decoder."""
    if isinstance(end, tuple):
        return tuple(part.flatten()[None] for part in end)
    return end.flatten()[None]


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_layers_are_those_of_torch(cell: str, bidirectional: bool) -> None:
    network = build(cell, "none", bidirectional)
    expected, states = [], []
    for source, target in zip(SOURCES, TARGETS, strict=True):
        read, ends = by_torch(network.encoder.blocks, network.tokens(torch.tensor(source)), [None] * L)  # type: ignore[union-attr]
        written, _ = by_torch(network.decoder.blocks, network.tokens(torch.tensor(target)), [beside(e) for e in ends])  # type: ignore[union-attr]
        states.append(read)
        expected.append(written)
    assert gap(network.encode(Ragged.from_lists(SOURCES)), torch.cat(states)) < EXACT
    assert gap(both(network), torch.cat(expected)) < EXACT


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@torch.no_grad()
def test_attention_is_the_formula(cell: str) -> None:
    """Literal loops over tokens and states: Bahdanau's context before the layer, Luong's above it."""
    for kind in ("additive", "dot"):
        network = build(cell, kind, True)
        found = both(network)
        weights = network.attention_weights(Ragged.from_lists(TARGETS), Ragged.from_lists(SOURCES))
        expected = []
        for row, (source, target) in enumerate(zip(SOURCES, TARGETS, strict=True)):
            read, ends = by_torch(network.encoder.blocks, network.tokens(torch.tensor(source)), [None] * L)  # type: ignore[union-attr]
            starts = [beside(end) for end in ends]
            low, _ = by_torch(network.decoder.blocks[:-1], network.tokens(torch.tensor(target)), starts[:-1])  # type: ignore[union-attr]
            for t, (out, a) in enumerate(literal(network.decoder.blocks[-1], low, starts[-1], read)):  # type: ignore[union-attr]
                expected.append(out)
                assert gap(weights[row][t], torch.tensor(a, dtype=torch.float64)) < 1e-6
        assert gap(found, torch.stack(expected)) < 1e-6


def literal(block: Any, low: Tensor, state: Any, memory: Tensor) -> Any:
    cell = (nn.LSTMCell if isinstance(block.rnn, nn.LSTM) else nn.GRUCell)(block.rnn.input_size, D).double()
    cell.load_state_dict({name.removesuffix("_l0"): value for name, value in block.rnn.state_dict().items()})
    for x in low:
        before = state[0][0] if isinstance(state, tuple) else state[0]
        if not block.fed:
            state = cell(x[None], state)
            now = state[0][0] if isinstance(state, tuple) else state[0]
            weights, context = looked(block.attention, now, memory)
        else:
            weights, context = looked(block.attention, before, memory)
            state = cell(torch.cat((x, context))[None], state)
            now = state[0][0] if isinstance(state, tuple) else state[0]
        yield torch.tanh(block.combine.weight @ torch.cat((context, now))), weights


def looked(attention: Any, query: Tensor, memory: Tensor) -> tuple[list[float], Tensor]:
    scores = []
    for m in memory:
        if attention.kind == "dot":
            scores.append(sum(float(a) * float(b) for a, b in zip(query, m, strict=True)))
        else:
            inner = attention.query.weight @ query + attention.key.weight @ m
            scores.append(
                sum(float(v) * math.tanh(float(e)) for v, e in zip(attention.score.weight[0], inner, strict=True))
            )
    total = sum(math.exp(s) for s in scores)
    weights = [math.exp(s) / total for s in scores]
    return weights, sum((w * m for w, m in zip(weights, memory, strict=True)), torch.zeros(D, dtype=torch.float64))


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_row_is_the_same_alone_in_a_batch_with_a_readout_a_cache_and_a_trunk(kind: Any) -> None:
    network = build(*kind)
    whole = both(network)
    alone = [
        network(Ragged.from_lists([t]), sources=Ragged.from_lists([s])) for s, t in zip(SOURCES, TARGETS, strict=True)
    ]
    assert gap(whole, torch.cat(alone)) < EXACT
    readout = torch.tensor([1, 3, 5])
    assert gap(whole[readout], both(network, readout=readout)) < EXACT
    cache, found = Cache(network.spec, 3, 9), {}
    for t in range(4):  # rows that have ended bring no token
        rows = [[row[t]] if t < len(row) else [] for row in TARGETS]
        out = network(Ragged.from_lists(rows), sources=Ragged.from_lists(SOURCES) if t == 0 else None, cache=cache)
        found |= {(i, t): x for i, x in zip([i for i, row in enumerate(rows) if row], out, strict=True)}
    assert gap(whole, torch.stack([found[i, t] for i, row in enumerate(TARGETS) for t in range(len(row))])) < EXACT
    for cut in (Cut(1, 0), Cut(2, 0), Cut(2, 1), Cut(2, 2)):
        network.cut = cut
        trunk = network.compute_trunk(Ragged.from_lists(TARGETS), readout=readout, sources=Ragged.from_lists(SOURCES))
        assert gap(whole[readout], both(network, readout=readout, trunk=trunk)) < EXACT


def test_an_empty_source_gives_finite_numbers() -> None:
    for attention in ("additive", "dot"):
        network = build("gru", attention, True)
        out = network(Ragged.from_lists([[1], [2]]), sources=Ragged.from_lists([[], [3]]))
        assert bool(out.isfinite().all())


@pytest.mark.parametrize("attention", ["none", "additive", "dot"])
def test_light_tuning_trains_exactly_what_it_says(attention: str) -> None:
    for method, begins in (("head", ("head.",)), ("top", ("decoder.blocks.1.",)), ("full", ("",))):
        network = build("lstm", attention, True)
        options = {"blocks": 1} if method == "top" else {}
        attachment = make_method(Choice(name=method, **options)).attach(network)
        before = {name: p.detach().clone() for name, p in network.named_parameters()}
        network.train()
        network.head.loss(both(network), torch.tensor([1, 2, 3, 4, 5, 6, 7])).backward()  # type: ignore[operator]
        reached = {n for n, p in network.named_parameters() if p.grad is not None and bool(p.grad.any())}
        assert reached == set(attachment.trainable)
        assert all(name.startswith(begins) for name in attachment.trainable)
        with torch.no_grad():
            for name in attachment.trainable:
                network.get_parameter(name).add_(1.0)
        attachment.detach()
        assert all(torch.equal(p, before[n]) for n, p in network.named_parameters() if n in before)


def test_the_language_model_reads_left_to_right() -> None:
    network = Recurrent(RecurrentSpec.from_dict({"vocab_size": V, "decoder": {"num_layers": 2, "hidden_size": D}}))
    network.eval()
    one, other = (network(Ragged.from_lists([row])) for row in ([1, 2, 3], [1, 2, 9]))
    assert torch.equal(one[:2], other[:2])
    assert not torch.equal(one[2], other[2])


def test_plain_values_and_back() -> None:
    for kind in KINDS:
        made = spec(*kind)
        assert RecurrentSpec.from_dict(made.to_dict()) == made


STACK = {"num_layers": 1, "hidden_size": 8}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"decoder": {**STACK, "attention": "dot"}}, "needs an encoder"),
        ({"decoder": {**STACK, "bidirectional": True}}, "left to right"),
        ({"decoder": {**STACK, "cel": "gru"}}, 'unknown key "cel"'),
        ({"decoder": {**STACK, "cell": "rnn"}}, 'cell: unknown value "rnn"'),
        ({"decoder": {**STACK, "num_heads": 2}}, 'unknown key "num_heads"'),
        ({"decoder": {"num_layers": 1}}, '"hidden_size" is missing'),
        ({"decoder": 3}, "must hold the fields"),
        ({"encoder": {**STACK, "hidden_size": 7, "bidirectional": True}, "decoder": STACK}, "odd"),
        ({"encoder": {**STACK, "num_layers": 2}, "decoder": STACK}, "must be the same"),
        ({"encoder": {**STACK, "attention": "dot"}, "decoder": STACK}, "attention is the decoder's"),
        ({}, "needs an encoder, a decoder or both"),
    ],
)
def test_refusals(values: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        RecurrentSpec.from_dict({"vocab_size": V, **values})
