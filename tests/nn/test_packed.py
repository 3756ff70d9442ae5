"""Attention over sequences end to end equals attention by groups, in all that stands around the kernel of a GPU.

The kernel itself is played by a loop over sequences in float64, with masks counted from the last key as FlashAttention
counts them; tests/gpu holds the real one against groups.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from nn_specs import BOTH, DECODERS, PLAIN, ROTARY, SPECS, VOCAB, build, rows, run, sources
from torch import Tensor
from torch.testing import assert_close

from microtune.nn import fused_attention
from microtune.nn import packed as packing
from microtune.nn.packed import Packed
from microtune.nn.spec import ModelSpec
from microtune.nn.transformer import Cache, Transformer
from microtune.ragged import Ragged

EXACT = {"rtol": 0.0, "atol": 1e-11}  # sums in another order, in float64
SPARSE = torch.tensor([0, 4, 6, 13, 19, 21])  # of the 22 tokens of five rows; none of the third


def loop(q: Tensor, k: Tensor, v: Tensor, packed: Packed, scale: float, window: int | None) -> tuple[Tensor, ...]:
    """What the kernel computes, sequence by sequence."""
    (left, right), outputs = packed.window(window), []
    assert (int(packed.queries[-1]), int(packed.keys[-1])) == (len(q), len(k))
    bounds = (packed.queries.tolist(), packed.keys.tolist())
    queries, keys = (max(b - a for a, b in pairwise(ends)) for ends in bounds)
    assert packed.longest == (max(queries, 2), keys)
    for i in range(len(packed.queries) - 1):
        own, seen = (slice(ends[i], ends[i + 1]) for ends in bounds)
        repeats = q.shape[1] // k.shape[1]
        one, keys, values = q[own], k[seen].repeat_interleave(repeats, 1), v[seen].repeat_interleave(repeats, 1)
        gap = torch.arange(len(keys)) - (torch.arange(len(one))[:, None] + len(keys) - len(one))
        hidden = ((gap < -left) & (left >= 0)) | ((gap > right) & (right >= 0))
        scores = torch.einsum("the,she->hts", one, keys) * scale
        weights = torch.softmax(scores.masked_fill(hidden, float("-inf")), -1)
        outputs.append(torch.einsum("hts,she->the", weights, values))
    return torch.cat(outputs), torch.empty(0), torch.empty(0)


def loop_back(dy: Tensor, q: Tensor, k: Tensor, v: Tensor, _: Any, *rest: Any) -> tuple[Tensor, ...]:
    leaves = [t.detach().requires_grad_() for t in (q, k, v)]
    with torch.enable_grad():
        return torch.autograd.grad(loop(*leaves, *rest)[0], leaves, dy)  # type: ignore[arg-type]


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The kernel's place taken by the loop; how often it was called."""
    calls: list[int] = []

    def counted(*arguments: Any) -> tuple[Tensor, ...]:
        calls.append(1)
        return loop(*arguments)

    monkeypatch.setattr(packing, "packs", lambda device: True)
    monkeypatch.setattr(packing, "fits", lambda dtype, width: True)
    monkeypatch.setattr(packing, "flash", counted)
    monkeypatch.setattr(packing, "flash_backward", loop_back)
    return calls


def both_ways(model: Transformer, monkeypatch: pytest.MonkeyPatch, **other: Any) -> list[list[Tensor]]:
    """Hidden states and the gradients of all parameters, by groups and end to end; plain blocks, then fast ones."""
    found = []
    for way in (False, True):
        monkeypatch.setattr(packing, "packs", lambda device, way=way: way)
        model.zero_grad()
        hidden = run(model, **other)
        hidden.square().sum().backward()
        found.append([hidden.detach(), *(p.grad for p in model.parameters() if p.grad is not None)])
    return found


@pytest.mark.parametrize("fast", [True, False], ids=["fast", "plain"])
@pytest.mark.parametrize("readout", [None, SPARSE], ids=["all", "readout"])
@pytest.mark.parametrize("name", SPECS)
def test_states_and_gradients_are_those_of_groups(
    name: str, readout: Tensor | None, fast: bool, gpu: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build(SPECS[name])
    if not fast:
        monkeypatch.setattr("microtune.nn.transformer.fusible", lambda *_: None)
    other = {"ids": rows(), "src": sources(SPECS[name]), "readout": readout}
    groups, packed = both_ways(model, monkeypatch, **other)
    for mine, theirs in zip(packed, groups, strict=True):
        assert_close(mine, theirs, **EXACT)
    biased = name in ("relative", "windowed relative", "softcap", "relative encoder")
    assert bool(gpu) != biased


def test_the_fast_blocks_take_the_kernel(gpu: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    monkeypatch.setattr(fused_attention.PackedPass, "forward", lambda self, *a: made.append(self) or loop(*a, self.packed, 1, None)[0])  # fmt: skip  # noqa: E501
    model = build(DECODERS["rotary, grouped heads"])
    run(model, rows())
    assert len(made) == 3
    assert gpu == []


@pytest.mark.parametrize("fast", [True, False], ids=["fast", "plain"])
@pytest.mark.parametrize("name", ["rotary, grouped heads", "windowed", "learned"])
def test_a_shared_beginning_and_its_gradients(
    name: str, fast: bool, gpu: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first sequence is the beginning of the two others: gradients of its keys add up."""
    model, ids = build(DECODERS[name]), rows((4, 3, 5))
    if not fast:
        monkeypatch.setattr("microtune.nn.transformer.fusible", lambda *_: None)
    whole = run(model, [ids[0] + ids[1], ids[0] + ids[2]])
    wanted = torch.cat((whole[4:7], whole[11:]))
    wanted.square().sum().backward()
    grads = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    model.zero_grad()
    flat = Ragged.from_lists(ids)
    shared = model(Ragged(flat.values, flat.lengths, shared=4), readout=torch.arange(4, 12))
    assert_close(shared, wanted, **EXACT)
    shared.square().sum().backward()
    found = [p.grad for p in model.parameters() if p.grad is not None]
    for mine, theirs in zip(found, grads, strict=True):
        assert_close(mine, theirs, **EXACT)
    assert gpu


@pytest.mark.parametrize("name", ["rotary, grouped heads", "windowed", "learned", "bart", "rotary pair"])
@torch.no_grad()
def test_a_cache_holds_what_the_kernel_reads(name: str, gpu: list[int]) -> None:
    """Rows of several lengths, token by token; one of them ends early."""
    spec = SPECS[name]
    model, ids, src = build(spec), rows((5, 3)), sources(spec, 2)
    full = run(model, ids, src).split((5, 3))
    cache, parts = Cache(spec, 2, capacity=6), [[], []]  # type: ignore[var-annotated]
    for start, stop in ((0, 2), (2, 3), (3, 4), (4, 5)):
        piece = [row[start:stop] for row in ids]
        given = None if src is None else Ragged.from_lists(src)
        hidden = model(Ragged.from_lists(piece), sources=given, cache=cache)
        for row, part in enumerate(hidden.split([len(p) for p in piece])):
            parts[row].append(part)
    for row, wanted in enumerate(full):
        assert_close(torch.cat(parts[row]), wanted, **EXACT)
    assert gpu


def test_no_groups_are_made_where_all_goes_through_the_kernel(gpu: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU each would be dozens of small kernels."""
    monkeypatch.setattr("microtune.nn.layout._groups", lambda *_, **__: pytest.fail("groups were made"))
    for spec in (DECODERS["windowed"], BOTH["bart"]):
        run(build(spec), rows(), sources(spec), readout=SPARSE)
    assert gpu


def test_an_empty_batch_asks_nothing(gpu: list[int]) -> None:
    model = build(ModelSpec(vocab_size=VOCAB, decoder=replace(ROTARY, num_layers=1)))
    assert run(model, rows(), readout=torch.tensor([], dtype=torch.int64)).shape == (0, PLAIN.hidden_size)


def test_the_kernel_takes_half_types_and_heads_of_its_widths() -> None:
    assert [packing.fits(torch.bfloat16, width) for width in (8, 64, 256, 60, 264)] == [True, True, True, False, False]
    assert not packing.fits(torch.float32, 64)
    assert not packing.packs(torch.device("cpu"))
