"""Items and batches: from encoded examples to ragged tensors, in an order that can be resumed.

An `Item` is what a task makes of one row. A plan is computed from (lengths, seed, epoch) alone, so a resumed run walks
the very same micro-batches. Rows are sorted by length inside a shuffled order: enough to keep sequences of equal length
together, not enough to make the order predictable to the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from microtune.ragged import Ragged

SHARED_SHARE = 0.1  # of the tokens of a batch: a shared beginning that saves less is not worth the gathering
WORTH = 64  # tokens that an item has to save by standing alone: a pass of its own costs as much as a few tokens
WINDOW = 32  # optimizer batches inside which rows are sorted by length


@dataclass(frozen=True, slots=True)
class Item:
    """One encoded example.

    ids: tokens of the output stack; readout: positions somebody will read (ascending); targets: one per readout
    position (vocabulary losses) or one per item (labels); sources: tokens of the encoder of an encoder-decoder;
    types: token types; extra: what only the task understands; row: index of the row it came from; pieces: lengths of
    the sequences that stay together (a question with each of its options), which stand end to end in `ids`, each read
    at one position at least; () where the item is one sequence. Sequences of an encoder-decoder answer the same source,
    which its encoder reads once. weights: what each target counts for in the loss; () where all count alike.
    """

    ids: Sequence[int]
    readout: Sequence[int]
    targets: Sequence[int] = ()
    sources: Sequence[int] = ()
    types: Sequence[int] = ()
    extra: Any = None
    row: int = -1
    pieces: Sequence[int] = ()
    weights: Sequence[float] = ()

    @property
    def reads(self) -> list[int]:
        """How many positions are read of each sequence."""
        if not len(self.pieces):
            return [len(self.readout)]
        ends = np.searchsorted(np.asarray(self.readout), np.cumsum(self.pieces))
        return np.diff(ends, prepend=0).tolist()

    @property
    def size(self) -> int:
        """Tokens that the model has to compute."""
        return len(self.ids) + len(self.sources)


class Items(Protocol):
    """Items by index, with their sizes at hand; a list does, and so does a memory-mapped store."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Item: ...


@dataclass(frozen=True)
class Batch:
    """Items side by side: `inputs` of N tokens, `readout [R]` into N, `targets`, `counts [B]` readouts per sequence.

    weights: float64, what each target counts for in the loss; None where all count alike.
    """

    inputs: Ragged
    readout: Tensor
    targets: Tensor
    counts: Tensor
    sources: Ragged | None = None
    types: Tensor | None = None
    items: list[Item] = field(default_factory=list)
    weights: Tensor | None = None

    def to(self, device: torch.device | str) -> Batch:
        """A copy on another device."""
        return Batch(
            self.inputs.to(device),
            self.readout.to(device),
            self.targets.to(device),
            self.counts.to(device),
            None if self.sources is None else self.sources.to(device),
            None if self.types is None else self.types.to(device),
            self.items,
            None if self.weights is None else self.weights.to(device),
        )


def collate(items: Sequence[Item], *, share: bool = False) -> Batch:
    """Items -> Batch, without padding.

    share: a beginning that all items have in common, and that nobody reads, is laid down once (`Ragged.shared`); for
    causal models only, in which what stands before does not depend on what follows.
    """
    if any(len(item.pieces) for item in items):
        return _grouped(items, share=share)
    shared = common_beginning(items) if share else 0
    rows = [item.ids[shared:] for item in items]
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    starts = np.cumsum(lengths) - lengths + shared
    places = [
        np.asarray(item.readout, dtype=np.int64) - shared + start for item, start in zip(items, starts, strict=True)
    ]
    return Batch(
        inputs=_ragged([items[0].ids[:shared], *rows] if shared else rows, shared),
        readout=torch.from_numpy(np.concatenate(places)),
        targets=_flat([item.targets for item in items]),
        counts=torch.tensor([len(item.readout) for item in items]),
        sources=_sources(items),
        types=_flat([item.types for item in items]) if any(len(i.types) for i in items) else None,
        items=list(items),
        weights=_weights(items),
    )


def _grouped(items: Sequence[Item], *, share: bool) -> Batch:
    """Items of several sequences each; what one item's sequences begin with alike is laid down once."""
    parts = [replace(part, sources=()) for item in items for part in sequences(item)]
    whole = collate(parts, share=share and len(items) == 1)
    return Batch(
        whole.inputs,
        whole.readout,
        _flat([item.targets for item in items]),
        whole.counts,
        _sources(items),
        whole.types,
        items=list(items),
        weights=_weights(items),
    )


def sequences(item: Item) -> list[Item]:
    """Each sequence of an item as an item of its own, without targets, with the source that all of them answer."""
    if not len(item.pieces):
        return [Item(item.ids, item.readout, (), item.sources, item.types, row=item.row)]
    found: list[Item] = []
    start = read = 0
    readout = np.asarray(item.readout, dtype=np.int64)
    for length, count in zip(item.pieces, item.reads, strict=True):
        part = slice(start, start + length)
        places = readout[read : read + count] - start
        types = item.types[part] if len(item.types) else ()
        found.append(Item(item.ids[part], places, (), item.sources, types, row=item.row))  # type: ignore[arg-type]
        start, read = start + length, read + count
    return found


def headed(items: Sequence[Item], *, pooled: bool = False) -> Batch:
    """Items -> Batch for a head alone: what the blocks say of the items is known, so no ids are laid down.

    pooled: one state stands for each item, whatever it reads.
    """
    counts = [1 if pooled else count for item in items for count in item.reads]
    return Batch(
        inputs=Ragged(torch.zeros(0, dtype=torch.int64), torch.zeros(len(counts), dtype=torch.int64)),
        readout=torch.arange(sum(counts)),
        targets=_flat([item.targets for item in items]),
        counts=torch.tensor(counts),
        items=list(items),
        weights=_weights(items),
    )


def _flat(rows: Sequence[Sequence[int]]) -> Tensor:
    return torch.from_numpy(np.concatenate([np.asarray(row, dtype=np.int64) for row in rows]))


def _weights(items: Sequence[Item]) -> Tensor | None:
    """What each target counts for, one after the other; None where all count alike."""
    if not any(len(item.weights) for item in items):
        return None
    rows = [item.weights if len(item.weights) else np.ones(len(item.targets)) for item in items]
    return torch.from_numpy(np.concatenate([np.asarray(row, dtype=np.float64) for row in rows]))


def _sources(items: Sequence[Item]) -> Ragged | None:
    """What an encoder reads: the source of each item once, however many of its sequences answer it."""
    if not any(len(item.sources) for item in items):
        return None
    found = _ragged([item.sources for item in items])
    readers = [max(len(item.pieces), 1) for item in items]
    return replace(found, readers=torch.tensor(readers)) if max(readers) > 1 else found


def _ragged(rows: Sequence[Sequence[int]], shared: int = 0) -> Ragged:
    return Ragged(_flat(rows), torch.tensor([len(row) for row in rows], dtype=torch.int64), shared)


def common_beginning(items: Sequence[Item]) -> int:
    """Tokens with which all items begin, up to the first that is read of any; 0 where sharing them saves too little."""
    if len(items) < 2 or any(len(item.types) or len(item.sources) for item in items):
        return 0
    limit = min(min((int(item.readout[0]) if len(item.readout) else 0), len(item.ids) - 1) for item in items)
    first = np.asarray(items[0].ids[:limit])
    for item in items[1:]:
        different = np.flatnonzero(first != np.asarray(item.ids[: len(first)]))
        first = first[: different[0]] if len(different) else first
    saved = len(first) * (len(items) - 1)
    return len(first) if saved >= SHARED_SHARE * sum(len(item.ids) for item in items) else 0


def epoch_plan(
    sizes: Sequence[int], *, batch_size: int, micro_tokens: int, seed: int, epoch: int
) -> list[list[list[int]]]:
    """Optimizer batches of one epoch, each a list of micro-batches of item indexes.

    Every item occurs once; each batch has `batch_size` items but the last; a micro-batch holds at most `micro_tokens`
    tokens, or one item. The same arguments give the same plan.
    """
    generator = np.random.default_rng([seed, epoch])
    order = generator.permutation(len(sizes))
    measure = np.asarray(sizes)
    batches: list[list[int]] = []
    for start in range(0, len(order), batch_size * WINDOW):
        window = order[start : start + batch_size * WINDOW]
        window = window[np.argsort(measure[window], kind="stable")]
        batches += [window[i : i + batch_size].tolist() for i in range(0, len(window), batch_size)]
    shuffled = [batches[i] for i in generator.permutation(len(batches))]
    return [micro_batches(batch, sizes, micro_tokens) for batch in shuffled]


def micro_batches(batch: Sequence[int], sizes: Sequence[int], micro_tokens: int) -> list[list[int]]:
    """Cut a batch of item indexes, sorted by size, into pieces of at most `micro_tokens` tokens."""
    pieces: list[list[int]] = []
    room = 0
    for index in sorted(batch, key=lambda i: (sizes[i], i)):
        if not pieces or sizes[index] > room:
            pieces.append([])
            room = micro_tokens
        pieces[-1].append(index)
        room -= sizes[index]
    return pieces


def joined(pieces: list[list[int]], items: Items, sizes: Sequence[int], micro_tokens: int) -> list[list[int]]:
    """Micro-batches of one optimizer batch cut anew where its items share a beginning, which counts once in each."""
    batch = [index for piece in pieces for index in piece]
    if any(len(items[i].pieces) for i in batch):
        return apart(pieces, items)
    shared = common_beginning([items[i] for i in batch]) if len(pieces) > 1 else 0
    if not shared:
        return pieces
    rest = {i: sizes[i] - shared for i in batch}
    order = sorted(batch, key=lambda i: (sizes[i], i))
    cut = micro_batches(range(len(order)), [rest[i] for i in order], max(micro_tokens - shared, 1))
    return [[order[place] for place in piece] for piece in cut]


def apart(pieces: list[list[int]], items: Items) -> list[list[int]]:
    """Micro-batches in which an item stands alone whose sequences share a beginning: one beginning is shared at a time,
    and that of a question with its options is most of it."""
    found: list[list[int]] = []
    for piece in pieces:
        rest = []
        for index in piece:
            parts = sequences(items[index])
            if common_beginning(parts) * (len(parts) - 1) >= WORTH:
                found.append([index])
            else:
                rest.append(index)
        found += [rest] if rest else []
    return found


def in_order(sizes: Sequence[int], micro_tokens: int) -> list[list[int]]:
    """Micro-batches over all items for one pass without learning, shortest first."""
    return micro_batches(range(len(sizes)), sizes, micro_tokens)


def item_sizes(items: Items) -> list[int]:
    """Tokens of every item; a store that knows them is not read for it."""
    known = getattr(items, "sizes", None)
    return list(known) if known is not None else [items[i].size for i in range(len(items))]
