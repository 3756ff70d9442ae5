"""Sequences of nearly one length laid side by side in one group, the places behind the shorter ones masked.

Attention takes sequences of one shape at a time, and each group costs two dozen small kernels there and back, whatever
it holds. Short texts of 28, 29, 30 and 31 tokens are better off as one group of 31: the few scores too many cost less
than three groups. What is masked has a weight of exactly zero, so the outputs are those of the groups of one shape, up
to the order in which products add. Only for whole blocks (fused.py) on a CPU.

There, texts of many lengths have a second price: the library generates code for every new shape of a product, which
takes longer than a small product itself, and keeps it, half a megabyte each. So short groups are as long as a multiple
of 16, and the tokens of narrow blocks as many as a number that comes back.

Shape letters: G sequences of a group, T queries and S keys of its longest, P places (G T or G S of all groups).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from microtune.nn.layout import Group, Layout, Rows, blocked, seen

WORTH = 8_000  # scores a head that a group costs beside those it computes
STEP, SHORT = 16, 128  # groups of at most SHORT places are as long as a multiple of STEP
NARROW = 384  # width of blocks in which a few tokens too many cost less than code for a new shape
SHARE, MOST = 8, 64  # tokens in steps of at most an eighth of them, and of MOST


@dataclass
class Padded:
    """Groups of places, and how tokens come into them and back."""

    groups: list[Group]
    query_order: Tensor  # [P] place -> token; a place behind the end repeats the last token of its sequence
    query_back: Tensor  # [Nq] token -> place
    query_pads: Tensor  # places behind the ends
    key_order: Tensor  # [P] place -> stored key
    key_places: Tensor  # places of keys
    key_tokens: Tensor | None  # the stored keys at those places; None where they are all of them, in their order
    ends: list[Tensor]  # of each group: [G, 1], how many keys each sequence has
    causal: bool
    masks: dict[tuple[int, int | None], Tensor | None] = field(default_factory=dict)

    def mask(self, index: int, window: int | None, dtype: torch.dtype) -> Tensor | None:
        """[G, T or 1, S] of 0 and -inf for group `index`, or None where every query sees every place."""
        if (index, window) not in self.masks:
            group = self.groups[index]
            keep = (torch.arange(group.key_positions.shape[1]) < self.ends[index])[:, None]
            if self.causal or window is not None:
                keep = keep & seen(group, self.causal, window)
            self.masks[index, window] = blocked(keep, dtype)
        return self.masks[index, window]

    def keys_back(self, t: Tensor, tokens: int) -> Tensor:
        """Gradients `[P, K, E]` of places -> those of the stored keys; keys that nobody reads get none."""
        own = t.index_select(0, self.key_places)
        return (
            own if self.key_tokens is None else t.new_zeros(tokens, *t.shape[1:]).index_copy_(0, self.key_tokens, own)
        )


def padded(layout: Layout, dtype: torch.dtype) -> Padded | None:
    """The sequences of a layout in groups of nearly one shape; None where all have one. dtype: that of products, of
    which those in float32 (MKL) need no code of their own for a shape."""
    step = STEP if dtype == torch.bfloat16 else 1
    if step not in layout.made:
        layout.made[step] = None if layout.rows is None else pad(layout.rows, layout.causal, step)
    found: Padded | None = layout.made[step]
    return found


def pad(lying: Rows, causal: bool, step: int) -> Padded | None:
    """`padded`, without a layout to keep it; step: short groups are as long as a multiple of it."""
    query_lengths, query_positions, key_lengths, key_starts, first = lying
    shapes = list(zip(query_lengths.tolist(), key_lengths.tolist(), strict=True))
    if len({shape for shape in shapes if shape[0]}) < 2:
        return None
    buckets = _buckets(shapes)
    query_starts = query_lengths.cumsum(0) - query_lengths
    asked = [
        _places(query_starts, query_lengths, rows, _longest((shapes[r][0] for r in rows), step)) for rows in buckets
    ]
    read = [_places(key_starts, key_lengths, rows, _longest((shapes[r][1] for r in rows), step)) for rows in buckets]
    query_order, key_order = (torch.cat([order.flatten() for order, _ in parts]) for parts in (asked, read))
    query_real, key_real = (torch.cat([real.flatten() for _, real in parts]) for parts in (asked, read))
    back = torch.empty(len(query_positions), dtype=torch.int64)
    places = query_real.nonzero()[:, 0]
    back[query_order[places]] = places
    key_places = key_real.nonzero()[:, 0]
    tokens, order = key_order[key_places].sort()
    return Padded(
        groups=_groups(asked, read, query_positions, first),
        query_order=query_order,
        query_back=back,
        query_pads=(~query_real).nonzero()[:, 0],
        key_order=key_order,
        key_places=key_places[order],
        key_tokens=None if len(tokens) == int(key_lengths.sum()) else tokens,
        ends=[key_lengths[torch.tensor(rows)][:, None] for rows in buckets],
        causal=causal,
    )


def more_tokens(tokens: int, width: int, layout: Layout, dtype: torch.dtype) -> int:
    """How many rows of nothing a narrow block of that width computes beside its tokens, so that shapes recur."""
    if dtype != torch.bfloat16 or width > NARROW or layout.packed is not None or padded(layout, dtype) is None:
        return 0
    return _up(tokens) - tokens


def computed(lengths: Sequence[int], width: int) -> tuple[int, list[tuple[int, int]]]:
    """Of texts of these lengths: the tokens that a block computes, and the groups of self-attention (length, count)."""
    tokens = sum(lengths)
    if len(set(lengths)) < 2:
        return tokens, [(length, len(lengths)) for length in set(lengths)]
    buckets = _buckets([(length, length) for length in lengths])
    groups = [(_longest((lengths[row] for row in rows), STEP), len(rows)) for rows in buckets]
    return tokens if width > NARROW else _up(tokens), groups


def _up(tokens: int) -> int:
    step = min(MOST, 1 << max(tokens // SHARE, 1).bit_length() - 1)  # a power of two
    return tokens + -tokens % step


def longer(t: Tensor, rows: int) -> Tensor:
    """`t [N, ...]` with so many rows of zeros behind."""
    return F.pad(t, (*(0, 0) * (t.dim() - 1), 0, rows)) if rows else t


def _longest(sizes: Iterable[int], step: int) -> int:
    longest = max(sizes)
    return longest if longest == 1 or longest > SHORT else -(-longest // step) * step


def _buckets(shapes: list[tuple[int, int]]) -> list[list[int]]:
    """Numbers of the sequences that ask, those of one group together."""
    buckets: list[list[int]] = []
    T = S = 0
    for row in sorted((r for r, (asking, _) in enumerate(shapes) if asking), key=lambda r: shapes[r][::-1]):
        queries, keys = shapes[row]
        most = max(T, queries), max(S, keys)
        if buckets:
            many = len(buckets[-1])
            extra = (many + 1) * most[0] * most[1] - many * T * S - queries * keys
            if extra <= WORTH:
                buckets[-1].append(row)
                T, S = most
                continue
        buckets.append([row])
        T, S = queries, keys
    return buckets


def _places(starts: Tensor, lengths: Tensor, rows: list[int], longest: int) -> tuple[Tensor, Tensor]:
    """[G, longest]: which token each place holds, and whether it is one of its own."""
    chosen = torch.tensor(rows)
    inside, sizes = torch.arange(longest), lengths[chosen][:, None]
    return starts[chosen][:, None] + torch.minimum(inside, sizes - 1), inside < sizes


def _groups(
    asked: list[tuple[Tensor, Tensor]], read: list[tuple[Tensor, Tensor]], positions: Tensor, first: int
) -> list[Group]:
    groups: list[Group] = []
    query = key = 0
    for (queries, _), (keys, _) in zip(asked, read, strict=True):
        spans = slice(query, query + queries.numel()), slice(key, key + keys.numel())
        key_positions = torch.arange(first, first + keys.shape[1])[None]
        groups.append(Group(len(queries), *spans, positions[queries], key_positions))
        query, key = spans[0].stop, spans[1].stop
    return groups
