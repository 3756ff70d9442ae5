"""Rows of one batch with low-rank updates of their own: equal to each row alone under its own update, in float64."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from nn_specs import BOTH, DECODERS, ENCODERS, SPECS, VOCAB
from torch import Tensor, nn
from torch.testing import assert_close

from microtune.adapt.base import set_module
from microtune.adapt.lora import DoRALinear, LoRALinear
from microtune.nn.frozen import parts_of
from microtune.nn.grouped import GroupedLinear, Turns, owned, stream_of
from microtune.nn.spec import ModelSpec
from microtune.nn.transformer import Cache, Transformer
from microtune.ragged import Ragged

EXACT = {"rtol": 0.0, "atol": 1e-11}  # float64: other sums, of a few dozen terms of size one
OWNERS = ["b", None, "a", "c", "b"]
ROWS = [[3, 1, 4, 1, 5], [9, 2, 6], [5, 3, 5, 8, 9], [7], [9, 3, 2, 3, 8, 4, 6, 2]]
SOURCES = [[1, 2], [3, 4, 5], [6], [7, 8, 9, 10], [11, 12]]
ADAPTED = {"a": ("q", "v"), "b": ("q", "k", "v", "o", "up", "gate", "down"), "c": ("o", "down")}
RANKS = {"a": 2, "b": 3, "c": 1}


class Net:
    """A random network and three sets of updates: a few roles, all roles, DoRA."""

    def __init__(self, spec: ModelSpec) -> None:
        torch.manual_seed(4)
        self.network = Transformer(spec).double().eval().requires_grad_(False)
        for parameter in self.network.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.3)
        self.linears = {
            role: module
            for role, module in self.network.named_modules()
            if isinstance(module, nn.Linear) and ".blocks." in role
        }
        self.updates: dict[str, dict[str, LoRALinear]] = {}
        for name, kinds in ADAPTED.items():
            chosen = {role: linear for role, linear in self.linears.items() if role.rpartition(".")[2] in kinds}
            self.updates[name] = {role: self._update(name, linear) for role, linear in chosen.items()}
        self.turns = Turns()

    def _update(self, name: str, linear: nn.Linear) -> LoRALinear:
        kind = DoRALinear if name == "c" else LoRALinear
        update = kind(linear, RANKS[name], 3.0, 0.0).eval().requires_grad_(False)
        update.lora_B.copy_(torch.randn_like(update.lora_B) * 0.3)
        if isinstance(update, DoRALinear):
            update.magnitude.mul_(1.3)
        return update

    @contextmanager
    def alone(self, name: str | None) -> Iterator[Transformer]:
        """With one set of updates, as a method attaches it."""
        updates = self.updates.get(name or "", {})
        for role, update in updates.items():
            set_module(self.network, role, update)
        yield self.network
        for role in updates:
            set_module(self.network, role, self.linears[role])

    @contextmanager
    def mixed(self) -> Iterator[Transformer]:
        for role, linear in self.linears.items():
            parts = {name: parts_of(own[role]) for name, own in self.updates.items() if role in own}
            grouped = GroupedLinear(linear, parts, self.turns, stream_of(role, self.network.spec))  # type: ignore[arg-type]
            set_module(self.network, role, grouped)
        yield self.network
        for role, linear in self.linears.items():
            set_module(self.network, role, linear)


def sources(net: Net, rows: list[list[int]] | None = None) -> Ragged | None:
    spec = net.network.spec
    both = spec.encoder is not None and spec.decoder is not None
    return Ragged.from_lists(SOURCES if rows is None else rows) if both else None


@torch.inference_mode()
def row_by_row(net: Net, owners: list[str | None]) -> list[Tensor]:
    found = []
    for name, row, source in zip(owners, ROWS, SOURCES, strict=True):
        with net.alone(name) as network:
            found.append(network(Ragged.from_lists([row]), sources=sources(net, [source])))
    return found


@pytest.mark.parametrize("kind", SPECS)
@torch.inference_mode()
def test_a_mixed_batch_equals_row_by_row(kind: str) -> None:
    net = Net(SPECS[kind])
    wanted = row_by_row(net, OWNERS)
    different = row_by_row(net, [None] * len(OWNERS))
    inputs = Ragged.from_lists(ROWS)
    with net.mixed() as network, net.turns.during(OWNERS, inputs, None, sources(net)):
        got = network(inputs, sources=sources(net)).split(inputs.lengths.tolist())
    for owner, a, b, plain in zip(OWNERS, got, wanted, different, strict=True):
        assert_close(a, b, **EXACT)
        assert owner is None or float((b - plain).abs().max()) > 1e-3  # the updates do something


@pytest.mark.parametrize("kind", [*list(DECODERS)[:3], "parallel", "bert", "t5", "bart"])
@torch.inference_mode()
def test_readout_selects_after_a_full_pass(kind: str) -> None:
    """The last block sees other tokens in q, o and the MLP than in k and v."""
    net = Net(SPECS[kind])
    wanted = row_by_row(net, OWNERS)
    inputs = Ragged.from_lists(ROWS)
    readout = torch.tensor([0, 4, 6, 12, 13, 20, 21])
    with net.mixed() as network, net.turns.during(OWNERS, inputs, readout, sources(net)):
        got = network(inputs, readout=readout, sources=sources(net))
    assert_close(got, torch.cat(wanted)[readout], **EXACT)


@pytest.mark.parametrize("kind", ["rotary, grouped heads", "learned", "t5", "bart"])
@pytest.mark.parametrize("read", [False, True])
@torch.inference_mode()
def test_a_cache_equals_a_full_pass(kind: str, read: bool) -> None:
    """Rows of unequal length go on token by token; a row that is done gives no token any more."""
    net = Net(SPECS[kind])
    wanted = [hidden[-1] for hidden in row_by_row(net, OWNERS)]
    cache, got = Cache(net.network.spec, len(ROWS), 12), [torch.empty(0)] * len(ROWS)
    first = [row[: max(1, len(row) - 3)] for row in ROWS]
    rest = [row[len(begun) :] for row, begun in zip(ROWS, first, strict=True)]
    given, encoder = first, sources(net)
    with net.mixed() as network:
        while any(given):
            inputs = Ragged.from_lists(given)
            last = (inputs.starts + inputs.lengths - 1)[inputs.lengths > 0]
            readout = last if read else None
            with net.turns.during(OWNERS, inputs, readout, encoder):
                hidden = network(inputs, readout=readout, sources=encoder, cache=cache)
            live = [row for row, ids in enumerate(given) if ids]
            for row, state in zip(live, hidden if read else hidden[last], strict=True):
                got[row] = state
            given, rest, encoder = [ids[:1] for ids in rest], [ids[1:] for ids in rest], None
    for a, b in zip(got, wanted, strict=True):
        assert_close(a, b, **EXACT)


def test_whose_tokens_are_whose() -> None:
    rows = torch.tensor([0, 0, 1, 2, 2, 3])
    found = dict(owned(["x", "y", "x", None], rows))
    assert found["y"] == slice(2, 3)
    assert isinstance(found["x"], Tensor)
    assert found["x"].tolist() == [0, 1, 3, 4]
    assert owned([None, None, None, None], rows) == []
    assert dict(owned(["x", "x", "y", "y"], rows)) == {"x": slice(0, 3), "y": slice(3, 6)}


def test_what_a_role_reads() -> None:
    decoder, encoder, both = DECODERS["learned"], ENCODERS["bert"], BOTH["t5"]
    assert stream_of("decoder.blocks.0.mlp.up", decoder) == "inputs"
    assert stream_of("decoder.blocks.2.mlp.up", decoder) == "readout"
    assert stream_of("decoder.blocks.2.attention.k", decoder) == "inputs"
    assert stream_of("decoder.blocks.2.attention.o", decoder) == "readout"
    assert stream_of("encoder.blocks.2.attention.q", encoder) == "readout"
    assert stream_of("encoder.blocks.1.attention.q", both) == "sources"
    assert stream_of("decoder.blocks.0.cross.v", both) == "sources"
    assert stream_of("decoder.blocks.0.cross.q", both) == "inputs"
    assert stream_of("decoder.blocks.2.cross.o", both) == "readout"


@torch.inference_mode()
def test_misuse_fails_instead_of_mixing_rows_up() -> None:
    net = Net(DECODERS["learned"])
    inputs = Ragged.from_lists(ROWS)
    with net.mixed() as network:
        with pytest.raises(RuntimeError, match="outside of a pass"):
            network(inputs)
        with net.turns.during(OWNERS, inputs, None, None), pytest.raises(RuntimeError, match="was given 1 tokens"):
            network(Ragged.from_lists([[1]]))
        with (
            pytest.raises(ValueError, match="share no beginning"),
            net.turns.during(["a", "b"], Ragged(torch.tensor([1, 2, 3]), torch.tensor([2, 1]), 2), None, None),
        ):
            pass
        with pytest.raises(ValueError, match="2 owners for 5 rows"), net.turns.during(["a", "b"], inputs, None, None):
            pass


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@torch.inference_mode()
def test_a_weight_of_another_type_than_the_updates(dtype: torch.dtype) -> None:
    """The updates stay float32 over a bfloat16 weight, as they do alone; their sum is rounded once."""
    torch.manual_seed(0)
    linear = nn.Linear(VOCAB, 11, dtype=dtype)
    updates = {"a": LoRALinear(linear, 4, 8.0, 0.0).eval(), "b": DoRALinear(linear, 3, 8.0, 0.0).eval()}
    for update in updates.values():
        update.lora_B.copy_(torch.randn_like(update.lora_B))
    turns = Turns()
    grouped = GroupedLinear(linear, {n: parts_of(u) for n, u in updates.items()}, turns, "inputs")  # type: ignore[misc]
    x = torch.randn(6, VOCAB, dtype=dtype)
    inputs = Ragged(torch.zeros(6, dtype=torch.int64), torch.tensor([2, 1, 2, 1]))
    with turns.during(["a", "b", "a", None], inputs, None, None):
        got = grouped(x)
    wanted = torch.stack([*updates["a"](x[:2]), *updates["b"](x[2:3]), *updates["a"](x[3:5]), linear(x[5])])
    gap = {"rtol": 1e-2, "atol": 0.05} if dtype == torch.bfloat16 else {"rtol": 1e-5, "atol": 1e-5}
    assert got.dtype == dtype
    assert_close(got, wanted, **gap)
