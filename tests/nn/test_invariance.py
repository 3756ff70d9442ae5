"""What must not change a result: the other rows of a batch, their order, later tokens, a cache, a readout.

All in float64. Where the tensors that are multiplied have equal shapes the results are equal bit for bit; where they
differ (a row alone against a batch), 1e-12 covers the other summation order inside a matrix product.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate

import pytest
import torch
from nn_specs import BOTH, DECODERS, LENGTHS, PLAIN, SPECS, VOCAB, build, rows, run, sources
from torch.testing import assert_close

from microtune.nn import attention
from microtune.nn.spec import ModelSpec
from microtune.nn.transformer import Cache
from microtune.ragged import Ragged

CAUSAL = DECODERS | BOTH
EXACT = {"rtol": 0.0, "atol": 1e-12}
SPARSE = torch.tensor([0, 4, 6, 13, 19, 21])  # of the 22 tokens of LENGTHS; none of the third row


def each(specs: dict[str, ModelSpec]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("spec", specs.values(), ids=specs.keys())


@each(SPECS)
def test_a_sequence_alone_equals_itself_in_any_batch(spec: ModelSpec) -> None:
    model, ids, src = build(spec), rows(), sources(spec)
    together = run(model, ids, src).split(LENGTHS)
    for row, hidden in enumerate(together):
        assert_close(hidden, run(model, [ids[row]], None if src is None else [src[row]]), **EXACT)
        two = [row, (row + 1) % len(ids)]
        pair = run(model, [ids[i] for i in two], None if src is None else [src[i] for i in two])
        assert_close(hidden, pair[: len(ids[row])], **EXACT)


@each(SPECS)
def test_the_order_in_a_batch_moves_nothing(spec: ModelSpec) -> None:
    model, ids, src = build(spec), rows(), sources(spec)
    before = run(model, ids, src).split(LENGTHS)
    for order in ([4, 3, 2, 1, 0], [2, 4, 0, 3, 1]):
        moved = run(model, [ids[i] for i in order], None if src is None else [src[i] for i in order])
        after = moved.split([LENGTHS[i] for i in order])
        for place, row in enumerate(order):
            assert_close(after[place], before[row], **EXACT)


@each(CAUSAL)
def test_a_changed_future_token_moves_no_past_logit(spec: ModelSpec) -> None:
    model, ids, src = build(spec), rows(), sources(spec)
    before = model.head(run(model, ids, src)).split(LENGTHS)
    for row, length in enumerate(LENGTHS):
        for changed in range(1, length):
            other = [list(r) for r in ids]
            other[row][changed] = (other[row][changed] + 1) % VOCAB
            after = model.head(run(model, other, src)).split(LENGTHS)
            assert torch.equal(after[row][:changed], before[row][:changed])
            assert not torch.equal(after[row][changed:], before[row][changed:])
            assert all(torch.equal(after[i], before[i]) for i in range(len(ids)) if i != row)


@pytest.mark.parametrize("causal", [True, False])
def test_a_window_of_three_sees_three_tokens_itself_included(causal: bool) -> None:
    stack = replace(PLAIN, num_layers=1, window=3, pattern="L", causal=causal)
    model, ids = build(ModelSpec(vocab_size=VOCAB, decoder=stack)), rows((9,))
    before = run(model, ids)
    ids[0][4] = (ids[0][4] + 1) % VOCAB
    moved = (run(model, ids) != before).any(1).nonzero().flatten().tolist()
    assert moved == ([4, 5, 6] if causal else [2, 3, 4, 5, 6])


@each({name: spec for name, spec in SPECS.items() if name not in CAUSAL})
def test_an_encoder_sees_both_ways(spec: ModelSpec) -> None:
    model, ids = build(spec), rows()
    other = [list(r) for r in ids]
    other[0][4] = (other[0][4] + 1) % VOCAB
    assert not torch.equal(run(model, ids)[0], run(model, other)[0])


@each(CAUSAL)
@pytest.mark.parametrize("chunks", [(3, 1, 1, 1, 1, 1), (1, 4, 0, 3), (8,)], ids=["steps", "chunks", "whole"])
@torch.no_grad()
def test_cache_equals_full_pass(spec: ModelSpec, chunks: tuple[int, ...]) -> None:
    """Rows end at different times, and then stay in the batch with no new token."""
    model, ids, src = build(spec), rows(), sources(spec)
    full = run(model, ids, src).split(LENGTHS)
    cache = Cache(spec, len(ids), capacity=9)
    parts: list[list[torch.Tensor]] = [[] for _ in ids]
    stops = list(accumulate(chunks))
    for start, stop in zip([0, *stops], stops, strict=False):
        new = [row[start:stop] for row in ids]
        hidden = run(model, new, src, cache=cache) if sum(map(len, new)) else torch.empty(0, 16)
        for row, piece in enumerate(hidden.split([len(n) for n in new])):
            parts[row].append(piece)
    for row in range(len(ids)):
        assert_close(torch.cat([p for p in parts[row] if len(p)]), full[row], **EXACT)


@each(CAUSAL)
@torch.no_grad()
def test_readout_with_a_cache_equals_full_pass(spec: ModelSpec) -> None:
    """Generation reads the last token of a prompt, then one token per step."""
    model, ids, src = build(spec), rows((5, 3, 5, 6)), sources(spec, 4)
    full = run(model, ids, src).split([5, 3, 5, 6])
    cache = Cache(spec, 4, capacity=7)
    prompts = [row[:-2] for row in ids]
    last = Ragged.from_lists(prompts).lengths.cumsum(0) - 1
    assert_close(run(model, prompts, src, cache=cache, readout=last), torch.stack([f[-3] for f in full]), **EXACT)
    every = torch.arange(4)
    for back in (2, 1):
        hidden = run(model, [[row[-back]] for row in ids], src, cache=cache, readout=every)
        assert_close(hidden, torch.stack([f[-back] for f in full]), **EXACT)


def test_a_full_cache_refuses_another_token() -> None:
    spec = DECODERS["rotary, grouped heads"]
    model, cache = build(spec), Cache(DECODERS["rotary, grouped heads"], 2, capacity=3)
    run(model, [[1, 2, 3], [1]], cache=cache)
    with pytest.raises(ValueError, match="4 tokens do not fit into a cache for 3"):
        run(model, [[4], [2]], cache=cache)


@each(SPECS)
@pytest.mark.parametrize("readout", [SPARSE, torch.arange(22), torch.tensor([7]), torch.tensor([], dtype=torch.int64)])
def test_readout_equals_select_after_full_pass(spec: ModelSpec, readout: torch.Tensor) -> None:
    model, ids, src = build(spec), rows(), sources(spec)
    assert_close(run(model, ids, src, readout=readout), run(model, ids, src)[readout], **EXACT)


@each(SPECS)
def test_readout_gives_the_gradients_of_select_after_full_pass(spec: ModelSpec) -> None:
    model, ids, src = build(spec), rows(), sources(spec)
    run(model, ids, src, readout=SPARSE).sin().sum().backward()
    short = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    run(model, ids, src)[SPARSE].sin().sum().backward()
    full = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert short.keys() == full.keys()
    for name, grad in full.items():
        assert_close(short[name], grad, rtol=1e-12, atol=1e-12, msg=name)


@each(SPECS)
def test_the_fused_kernel_computes_the_same(spec: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    model, ids, src = build(spec), rows(), sources(spec)
    plain = run(model, ids, src, readout=SPARSE)
    monkeypatch.setattr(attention, "FUSED_FROM", 0)
    assert_close(run(model, ids, src, readout=SPARSE), plain, **EXACT)
