"""How the sequences of a batch are laid side by side for attention, sorted by shape once for all blocks.

Blocks work on slices of sequences of equal shape, so there is no padding. (Whole blocks may lay sequences of nearly one
shape together: padded.py.) On a GPU all sequences stay where they are, and nothing is sorted: packed.py.

Shape letters: G sequences of equal shape, T queries, S keys, N tokens.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from microtune.nn import packed as packing
from microtune.nn.packed import Packed
from microtune.nn.spec import RopeScaling


@dataclass(frozen=True)
class Group:
    """Sequences of one shape, consecutive in the sorted order: `queries` and `keys` are slices of tokens."""

    size: int
    queries: slice
    keys: slice
    query_positions: Tensor  # [G, T], or [1, T] where all sequences agree
    key_positions: Tensor  # [1, S]


def seen(group: Group, causal: bool, window: int | None) -> Tensor:
    """[G or 1, T, S]: which keys each query sees by the positions of both."""
    gap = group.query_positions[:, :, None] - group.key_positions[:, None, :]
    keep = gap >= 0 if causal else torch.ones_like(gap, dtype=torch.bool)
    return keep if window is None else keep & (gap.abs() < window)


def blocked(keep: Tensor, dtype: torch.dtype) -> Tensor | None:
    """0 where a key is seen and -inf elsewhere, to be added to scores; None where all are."""
    mask = torch.zeros(keep.shape, dtype=dtype, device=keep.device).masked_fill_(~keep, float("-inf"))
    return None if bool(keep.all()) else mask


@dataclass(frozen=True)
class Sorted:
    """The groups of a batch, and how its tokens come into their order and back."""

    groups: list[Group]
    query_order: Tensor | None  # [Nq] sorted place -> token; None where the tokens stand sorted already
    query_back: Tensor | None
    key_order: Tensor | None


class Rows(NamedTuple):
    """The sequences as they lie: queries and keys of each `[B]`, where its keys begin `[B]`, positions `[Nq]`."""

    query_lengths: Tensor
    query_positions: Tensor
    key_lengths: Tensor
    key_starts: Tensor
    first: int  # position of the first key


@dataclass
class Layout:
    """How the tokens of a batch are laid side by side; built once per forward pass, used by every block."""

    sort: Callable[[], Sorted]  # asked once, and only where a block goes by groups
    causal: bool
    repeats: bool = False  # whether a key stands in the sorted order more than once
    packed: Packed | None = None  # on a GPU: sequences end to end
    rows: Rows | None = None  # where no key stands in the sorted order more than once
    made: dict[int, Any] = field(default_factory=dict)  # groups of nearly one shape, by their step (padded.py)
    totals: Tensor | None = None  # [N]: how long the row of each token will be; only where rotary angles follow it
    masks: dict[tuple[int, int | None], Tensor | None] = field(default_factory=dict)
    rotary: dict[tuple[float, RopeScaling | None], tuple[Tensor, Tensor]] = field(default_factory=dict)

    @cached_property
    def sorted(self) -> Sorted:
        """The groups; see there."""
        return self.sort()

    @property
    def groups(self) -> list[Group]:
        """Sequences of one shape each."""
        return self.sorted.groups

    @property
    def query_order(self) -> Tensor | None:
        """[Nq] sorted place -> token."""
        return self.sorted.query_order

    @property
    def query_back(self) -> Tensor | None:
        """[Nq] token -> sorted place."""
        return self.sorted.query_back

    @property
    def key_order(self) -> Tensor | None:
        """Sorted place -> stored key."""
        return self.sorted.key_order

    def mask(self, index: int, window: int | None, dtype: torch.dtype) -> Tensor | None:
        """[G or 1, T, S] of 0 and -inf for group `index`, or None where every query sees every key."""
        if not self.causal and window is None:
            return None
        if (index, window) not in self.masks:
            self.masks[index, window] = blocked(seen(self.groups[index], self.causal, window), dtype)
        return self.masks[index, window]


def make_layout(
    query_lengths: Tensor,
    query_positions: Tensor,
    key_lengths: Tensor,
    *,
    key_starts: Tensor | None = None,
    causal: bool,
    aligned: bool,
    shared: int = 0,
    ahead: int = 0,
    first: int = 0,
) -> Layout:
    """Sort sequences by shape.

    query_lengths, key_lengths: [B]; query_positions: [Nq]. key_starts: [B], where the keys of each sequence begin in
    their storage (default: end to end). aligned: sequences of one shape have the same query positions. shared: keys of
    the first sequence that all others see before their own (`Ragged.shared`; key_lengths are without them). ahead: keys
    that stand before all in storage and that every sequence sees first (nn/virtual.py); first: position of first key.
    """
    starts = key_starts if key_starts is not None else key_lengths.cumsum(0) - key_lengths

    def key_order(order: list[int]) -> Tensor:
        if shared or ahead:
            return _shared_order(starts, key_lengths, order, shared, ahead)
        return _token_order(starts, key_lengths, order)

    def sort() -> Sorted:
        seen = [own + ahead + (shared if row else 0) for row, own in enumerate(key_lengths.tolist())]
        lengths = list(zip(query_lengths.tolist(), seen, strict=True))
        order = sorted((row for row, (T, _) in enumerate(lengths) if T), key=lambda row: lengths[row])
        in_place = order == list(range(len(lengths)))
        queries = None if in_place else _token_order(query_lengths.cumsum(0) - query_lengths, query_lengths, order)
        moved = bool(shared or ahead) or not in_place or key_starts is not None
        positions = query_positions if queries is None else query_positions[queries]
        groups = _groups([lengths[row] for row in order], positions, aligned=aligned, first=first)
        back = None if queries is None else torch.argsort(queries)
        return Sorted(groups, queries, back, key_order(order) if moved else None)

    packed = None
    if packing.packs(query_positions.device) and (aligned or not causal):
        moved = bool(shared or ahead) or key_starts is not None
        keys = key_order(list(range(len(key_lengths)))) if moved else None
        behind = shared * (torch.arange(len(key_lengths), device=key_lengths.device) > 0) + ahead if moved else 0
        packed = packing.pack(query_lengths, key_lengths + behind, len(query_positions), keys, causal=causal)
    repeats = bool(shared or ahead)
    rows = None if repeats else Rows(query_lengths, query_positions, key_lengths, starts, first)
    return Layout(sort, causal, repeats, packed, rows)


def _groups(lengths: list[tuple[int, int]], positions: Tensor, *, aligned: bool, first: int) -> list[Group]:
    """Groups of sequences with these sorted lengths of queries and keys, whose queries have these sorted positions."""
    groups: list[Group] = []
    first_query = first_key = 0
    for (T, S), size in Counter(lengths).items():
        queries = slice(first_query, first_query + size * T)
        own = positions[queries].view(size, T)
        keys = slice(first_key, first_key + size * S)
        key_positions = torch.arange(first, first + S, device=positions.device)[None]
        groups.append(Group(size, queries, keys, own[:1] if aligned else own, key_positions))
        first_query, first_key = queries.stop, keys.stop
    return groups


def _token_order(starts: Tensor, lengths: Tensor, order: list[int]) -> Tensor:
    rows = torch.tensor(order, dtype=torch.int64, device=starts.device)
    sizes = lengths[rows]
    inside = torch.arange(int(sizes.sum()), device=starts.device)
    inside = inside - torch.repeat_interleave(sizes.cumsum(0) - sizes, sizes)
    return torch.repeat_interleave(starts[rows], sizes) + inside


def _shared_order(starts: Tensor, lengths: Tensor, order: list[int], shared: int, ahead: int) -> Tensor:
    """Places of the keys of each sequence in `order`: those ahead of all, those of the shared beginning, its own."""
    rows = torch.tensor(order, dtype=torch.int64, device=starts.device)
    before = shared * (rows > 0)
    sizes = lengths[rows] + ahead + before
    inside = torch.arange(int(sizes.sum()), device=starts.device)
    inside = inside - torch.repeat_interleave(sizes.cumsum(0) - sizes, sizes)
    own = inside + torch.repeat_interleave(starts[rows] - before, sizes)
    return torch.where(inside < torch.repeat_interleave(before + ahead, sizes), inside, own)
