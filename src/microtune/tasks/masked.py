"""Masked language modelling: some tokens are hidden, and guessed from both sides (BERT: Devlin et al., 2019).

Of the words of a block, drawn at random, so many are chosen that 15 % of its tokens are in them. A chosen token becomes
the mask in 80 % of the cases, a random token in 10 %, and stays in the rest, so that the states of visible tokens are
trained too. Special tokens are never chosen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from microtune.data.batches import Item
from microtune.data.text import Tokenizer
from microtune.data.words import Flags, Ids, word_numbers
from microtune.errors import InputError


@dataclass(frozen=True, eq=False)
class Masking:
    """What hides tokens. special: [V], whether an id is never chosen; ordinary: the ids that replace at random."""

    share: float
    replaced: tuple[float, float, float]
    mask: int
    special: Flags
    ordinary: Ids

    @classmethod
    def of(cls, tokenizer: Tokenizer, share: float, replaced: tuple[float, float, float]) -> Masking:
        """For the tokens of one tokenizer; InputError where it has no mask."""
        mask = tokenizer.id("mask")
        if mask is None:
            raise InputError("task.objective: masked needs a tokenizer with a mask token, and this one has none.")
        special = special_ids(tokenizer)
        return cls(share, replaced, mask, special, np.flatnonzero(~special).astype(np.int64))

    def size(self, length: int) -> int:
        """Tokens that the model computes for a block of `length`."""
        return length

    def item(self, ids: Ids, starts: Flags, generator: np.random.Generator) -> Item:
        """A block [T] and its word starts [T] -> an item that reads the chosen positions."""
        places = np.flatnonzero(~self.special[ids])
        places = places if len(places) else np.arange(len(ids))
        chosen = places[self._choose(word_numbers(starts, places), generator)]
        hidden = ids.copy()
        fate = generator.random(len(chosen))
        mask, other, _ = self.replaced
        random = self.ordinary[generator.integers(len(self.ordinary), size=len(chosen))]
        hidden[chosen] = np.where(fate < mask, self.mask, np.where(fate < mask + other, random, ids[chosen]))
        return Item(hidden, chosen, ids[chosen])  # type: ignore[arg-type]

    def _choose(self, words: Ids, generator: np.random.Generator) -> Flags:
        """Which tokens, given the word of each: whole words in random order until the share is reached, at least one.

        The word at which the share is crossed is in where more of it lies before than behind, so that the share holds
        on average.
        """
        budget = max(1, round(self.share * len(words)))
        lengths = np.bincount(words)
        order = generator.permutation(len(lengths))
        middle = np.cumsum(lengths[order]) - lengths[order] / 2
        taken = order[: max(1, int(np.searchsorted(middle, budget, side="right")))]
        picked = np.zeros(len(lengths), dtype=bool)
        picked[taken] = True
        return picked[words]


def special_ids(tokenizer: Tokenizer) -> Flags:
    """[V]: which ids are special tokens."""
    found = np.zeros(len(tokenizer), dtype=bool)
    marks = [i for i, token in tokenizer.backend.get_added_tokens_decoder().items() if token.special]
    named = [i for i in map(tokenizer.id, tokenizer.special) if i is not None]
    found[[i for i in (*marks, *named) if i < len(found)]] = True
    return found
