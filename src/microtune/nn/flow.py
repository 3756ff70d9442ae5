"""What travels through the blocks of a stack beside the hidden states, and what generation keeps between tokens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from microtune.nn.attention import KeyValueCache, row_totals
from microtune.nn.layout import Layout, make_layout
from microtune.nn.positions import RelativeBias
from microtune.nn.spec import ModelSpec, StackSpec
from microtune.nn.virtual import VirtualTokens, written_ahead
from microtune.ragged import Ragged, looked_at


@dataclass(frozen=True)
class Flow:
    """What travels through the blocks of one stack beside the hidden states."""

    layout: Layout
    lay: Callable[..., Layout]  # what makes a layout of these keys for other queries
    lengths: Tensor
    positions: Tensor
    key_lengths: Tensor  # [B]: lengths plus what a cache holds
    readout: Tensor | None = None
    memory: Tensor | None = None
    memory_lengths: Tensor | None = None
    readers: Tensor | None = None  # [sources]: how many sequences look at each memory (`Ragged.readers`)
    memory_layout: Layout | None = None
    bias: RelativeBias | None = None
    caches: list[tuple[KeyValueCache, KeyValueCache]] | None = None
    places: Tensor | None = None
    order: Tensor | None = None  # [N]: which of [virtual, given] tokens each one is, where a prompt is read
    prefix: dict[int, tuple[Tensor, Tensor]] | None = None  # by block; `below`: the flow of blocks that hold none
    below: Flow | None = None

    def shortened(self, readout: Tensor) -> Flow:
        """The same flow for a block that computes the tokens `readout [R]` (ascending) only."""
        asked = self.positions[readout]
        counts = None if self.memory_lengths is None else self._counts(readout)

        def lay() -> Layout:
            return self.lay(self._counts(readout) if counts is None else counts, asked, aligned=False)

        if self.layout.packed is None:
            layout = lay()
        else:  # all tokens stay where they are; only the readout asks
            layout = Layout(lambda: lay().sorted, self.layout.causal, self.layout.repeats, self.layout.packed)
        layout.totals = self.layout.totals
        across = None
        if self.memory_lengths is not None and counts is not None:
            across = across_layout(counts, asked, self.memory_lengths, self.readers, aligned=False)
        return replace(self, layout=layout, memory_layout=across, readout=readout)

    def _counts(self, readout: Tensor) -> Tensor:
        """[B]: how many tokens of each sequence the readout names."""
        numbers = torch.arange(len(self.lengths), device=self.lengths.device)
        rows = torch.repeat_interleave(numbers, self.lengths, output_size=len(self.positions))
        return torch.bincount(rows[readout], minlength=len(self.lengths))

    def under(self, virtual: VirtualTokens, cache: Cache | None, starts: Tensor | None) -> Flow:
        """This flow with the keys and values of a prefix, which the first pass with a cache writes into it.

        starts: [B], where the storage of each row begins in a cache.
        """
        below, ahead = None, virtual.ahead
        if virtual.first_block:  # blocks without a prefix see the same positions, and no key before the text's first
            keys: dict[str, Any] = {"ahead": 0, "first": ahead}
            if starts is not None:
                keys |= {"key_lengths": self.key_lengths - ahead, "key_starts": starts + ahead}
            lay = partial(self.lay, **keys)
            layout = lay(self.lengths, self.positions, aligned=True)
            layout.totals = self.layout.totals
            below = replace(self, lay=lay, layout=layout)
        if cache is not None and not cache.empty:
            return replace(self, below=below)
        prefix, places = virtual.keys_values(), self.places
        if starts is not None and places is not None:
            prefix = {block: written_ahead(pair, len(starts)) for block, pair in prefix.items()}
            before = starts[:, None] + torch.arange(ahead, device=starts.device)
            places = torch.cat((before.flatten(), places))
        return replace(self, prefix=prefix, places=places, below=below)


class Cache:
    """Keys and values of all blocks of the output stack, for generation.

    totals: [B], how long each row will be in the end (default: `capacity`). Some rotary scalings follow it (DESIGN,
    section 4): a row is generated with the angles of its final length, so that earlier keys never have to turn again.
    """

    def __init__(self, spec: ModelSpec, batch: int, capacity: int, totals: Tensor | None = None) -> None:
        layers = range(spec.output_stack.num_layers)  # of each: its own keys, and those of cross-attention
        self.layers = [(KeyValueCache(batch, capacity), KeyValueCache(batch, capacity)) for _ in layers]
        self.capacity = capacity
        self.lengths = torch.zeros(batch, dtype=torch.int64)
        self.totals = torch.full((batch,), capacity) if totals is None else totals
        self.memory: Tensor | None = None
        self.memory_lengths: Tensor | None = None
        self.kept: Any = None  # what a recurrent network keeps in place of all this

    @property
    def empty(self) -> bool:
        """Whether the first pass, which brings the virtual tokens, is still to come."""
        return not bool(self.lengths.any())

    def select(self, rows: Tensor, *, sources: bool = True) -> None:
        """Make its sequences those numbered `rows [B']`, which may name one twice or not at all: beams.

        sources: whether what cross-attention reads follows; it need not where each row still reads the same text.
        """
        if self.kept is not None:
            self.kept.select(rows, sources=sources)
        used = int(self.lengths.max())
        for own, _ in self.layers:
            own.select(rows, used)
        if sources and self.memory_lengths is not None:
            lengths = self.memory_lengths[rows]
            starts = (self.memory_lengths.cumsum(0) - self.memory_lengths)[rows] - (lengths.cumsum(0) - lengths)
            total = int(lengths.sum())
            order = torch.repeat_interleave(starts, lengths, output_size=total)
            order = order + torch.arange(total, device=order.device)
            for _, cross in self.layers:
                if cross.keys is not None and cross.values is not None:
                    cross.keys, cross.values = cross.keys[order], cross.values[order]
            self.memory = None if self.memory is None else self.memory[order]
            self.memory_lengths = lengths
        self.lengths, self.totals = self.lengths[rows], self.totals[rows]


def across_layout(
    counts: Tensor, positions: Tensor, memory_lengths: Tensor, readers: Tensor | None, *, aligned: bool
) -> Layout:
    """Queries of each sequence, `counts [B]`, beside the memory that it looks at.

    Cross-attention knows no order of its queries: sequences that look at one memory ask as one, and no key is copied.
    """
    if readers is None:
        return make_layout(counts, positions, memory_lengths, causal=False, aligned=aligned)
    asking = torch.zeros_like(readers).index_add(0, looked_at(readers, len(counts)), counts)
    return make_layout(asking, positions, memory_lengths, causal=False, aligned=False)


def make_flow(
    spec: StackSpec,
    virtual: VirtualTokens,
    inputs: Ragged,
    memory: Tensor | None,
    memory_lengths: Tensor | None,
    cache: Cache | None,
    readers: Tensor | None = None,
) -> Flow:
    """How the tokens of `inputs` go through a stack; memory: [M, D], for cross-attention (`Ragged.readers`)."""
    if readers is not None and cache is not None:
        raise ValueError("with a cache every row has a memory of its own")
    ahead, rows = virtual.ahead, inputs.lengths
    positions, key_lengths = inputs.positions, inputs.lengths
    starts = places = None
    if cache is not None:
        offsets = torch.arange(len(inputs), device=positions.device) * cache.capacity
        held = cache.lengths.to(positions.device) + (ahead if cache.empty else 0)
        positions = positions + held[inputs.rows]
        key_lengths = key_lengths + held
        if int(key_lengths.max()) > cache.capacity:  # beyond it begins the storage of the next sequence
            raise ValueError(f"{int(key_lengths.max())} tokens do not fit into a cache for {cache.capacity}")
        starts, places = offsets, offsets[inputs.rows] + positions
    elif ahead:
        positions = positions + ahead
    keys: dict[str, Any] = {"key_lengths": key_lengths, "key_starts": starts, "causal": spec.causal}
    lay: Callable[..., Layout] = partial(
        make_layout, **keys, shared=inputs.shared, ahead=0 if cache is not None else ahead
    )
    layout = lay(rows, positions, aligned=True)
    layout.totals = row_totals(spec, inputs, rows + ahead if cache is None else cache.totals)
    across = None
    if memory_lengths is not None:
        across = across_layout(rows, positions, memory_lengths, readers, aligned=True)
    flow = Flow(
        layout=layout,
        lay=lay,
        lengths=rows,
        positions=positions,
        key_lengths=key_lengths,
        memory=memory,
        memory_lengths=memory_lengths,
        readers=readers,
        memory_layout=across,
        caches=None if cache is None else cache.layers,
        places=places,
    )
    return flow if not ahead else flow.under(virtual, cache, starts)
