"""Blocks of a corpus, spoilt anew in every epoch, for a model that learns to repair them.

What happens to a block is drawn from (seed, epoch, number of the block) alone, so that a resumed run sees the very same
blocks, and no block is spoilt in the same way twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from microtune.data.batches import Item
from microtune.data.corpus import Blocks
from microtune.data.store import RaggedStore
from microtune.data.words import Flags, Ids, Words

STREAM = 6  # of random numbers, apart from those of the order of items
KEPT = 512  # items that are remembered: a step asks for each of its items more than once


class Corruption(Protocol):
    """A block of token ids -> what the model reads and what it shall say."""

    def size(self, length: int) -> int:
        """Tokens that the model computes for a block of `length`, at most."""

    def item(self, ids: Ids, starts: Flags, generator: np.random.Generator) -> Item:
        """Spoil a block [T], whose word starts [T] are given."""


class Corrupted:
    """The blocks of a corpus as items of an objective; `begin` says which epoch it is.

    words: word starts by the tokens alone (None: every token is a word); marks: for each store of the corpus the word
    starts of its tokens, where a segmenter found them.
    """

    def __init__(
        self,
        blocks: Blocks,
        corruption: Corruption,
        seed: int,
        words: Words | None = None,
        marks: Sequence[RaggedStore] | None = None,
    ) -> None:
        self.blocks, self.corruption, self.seed = blocks, corruption, seed
        self.words, self.marks = words, marks
        known = {length: corruption.size(length) for length in set(blocks.sizes)}
        self.sizes = [known[length] for length in blocks.sizes]
        self.epoch = 0
        self._kept: dict[int, Item] = {}

    def begin(self, epoch: int) -> None:
        """From now on items are those of `epoch` (from 0)."""
        self.epoch, self._kept = epoch, {}

    def __len__(self) -> int:
        return len(self.blocks)

    def __getitem__(self, index: int) -> Item:
        index = int(index)
        found = self._kept.get(index)
        if found is None:
            if len(self._kept) >= KEPT:
                self._kept = {}
            found = self._kept[index] = self._made(index)
        return found

    def _made(self, index: int) -> Item:
        ids = self.blocks.tokens(index)
        return self.corruption.item(ids, self._starts(index, ids), _draws(self.seed, self.epoch, index))

    def _starts(self, index: int, ids: Ids) -> Flags:
        if self.marks is not None:
            number, start, _ = self.blocks.places[index]
            return np.asarray(self.marks[number].values[start : start + len(ids)], dtype=bool)
        return np.ones(len(ids), dtype=bool) if self.words is None else self.words.starts(ids)


def spoilt(ids: Sequence[int], corruption: Corruption, words: Words | None, row: int, number: int) -> Item:
    """One piece of a held-out row, spoilt in the way that belongs to its place: the same in every evaluation."""
    values = np.asarray(ids, dtype=np.int64)
    starts = np.ones(len(values), dtype=bool) if words is None else words.starts(values)
    made = corruption.item(values, starts, _draws(0, row, number))
    return Item(made.ids, made.readout, made.targets, sources=made.sources, row=row)


def _draws(*place: int) -> np.random.Generator:
    return np.random.default_rng([STREAM, *place])
