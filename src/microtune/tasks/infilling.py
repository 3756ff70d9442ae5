"""Text infilling (BART: Lewis et al., 2020): spans become one mask each, and the model writes the whole text.

Span lengths are drawn from Poisson(3) until they add up to 30 % of the text, the last one cut to fit; a span of length
0 is a mask where nothing was. Spans are laid between the tokens that stay, all ways equally likely, no two side by
side, so that the share is exact (the published code lets spans overlap). Before that sentences may change places.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from microtune.data.batches import Item
from microtune.data.text import Tokenizer
from microtune.data.words import Flags, Ids, surfaces, word_numbers
from microtune.errors import InputError
from microtune.tasks.spans import marks, without, written

ENDINGS = (".", "!", "?", "\n", "\u3002", "\uff01", "\uff1f")  # of sentences


@dataclass(frozen=True, eq=False)
class Infilling:
    """What hides spans. ends: [V], which tokens end a sentence, or None where sentences stay in their order."""

    share: float
    mean: float
    mask: int
    begin: int
    end: int
    marks: Ids
    ends: Flags | None

    @classmethod
    def of(cls, tokenizer: Tokenizer, share: float, mean: float, *, permute: bool) -> Infilling:
        """For the tokens of one tokenizer; InputError where it lacks one that this needs."""
        begin, end, mask = (tokenizer.id(name) for name in ("bos", "eos", "mask"))
        if begin is None or end is None or mask is None:
            raise InputError("task.objective: infilling needs a tokenizer with bos, eos and mask tokens.")
        ends = _sentence_ends(tokenizer) if permute else None
        return cls(share, mean, mask, begin, end, marks(tokenizer), ends)

    def size(self, length: int) -> int:
        """Tokens of both sides together, or nearly: how many masks there are is drawn."""
        return 2 * (length + 2)

    def item(self, ids: Ids, starts: Flags, generator: np.random.Generator) -> Item:
        """A block [T], T > 1, and its word starts [T] -> the spoilt text to read, the text itself to write."""
        ids, kept = without(ids, self.marks)
        starts = starts[kept]
        target = np.concatenate([[self.begin], ids, [self.end]])
        if self.ends is not None:
            order = self._permuted(ids, generator)
            ids, starts = ids[order], starts[order]
        source = np.concatenate([[self.begin], self._filled(ids, starts, generator), [self.end]])
        return written(source, target, self.end)

    def _permuted(self, ids: Ids, generator: np.random.Generator) -> Ids:
        """The places of the tokens with their sentences in random order."""
        assert self.ends is not None
        sentence = np.cumsum(np.concatenate([[False], self.ends[ids[:-1]]]))
        rank = generator.permutation(sentence[-1] + 1)
        return np.argsort(rank[sentence], kind="stable")

    def _filled(self, ids: Ids, starts: Flags, generator: np.random.Generator) -> Ids:
        """The tokens with one mask in place of each span of words."""
        words = word_numbers(starts, np.arange(len(ids)))
        count = int(words[-1]) + 1
        lengths = self.span_lengths(count, generator)
        kept = count - int(lengths.sum())
        gaps = np.sort(generator.choice(kept + 1, len(lengths), replace=False))  # how many words that stay come before
        first = gaps + np.cumsum(lengths) - lengths  # the word at which each span begins
        hidden = np.zeros(count + 1, dtype=np.int64)
        np.add.at(hidden, first, 1)
        np.add.at(hidden, first + lengths, -1)
        stays = np.cumsum(hidden[:-1]) == 0
        at = np.searchsorted(words, first)  # the token before which each mask stands
        return np.insert(ids, at, self.mask)[np.insert(stays[words], at, True)]

    def span_lengths(self, count: int, generator: np.random.Generator) -> Ids:
        """Lengths of the spans of a text of `count` words."""
        budget = min(max(round(self.share * count), 1), count - 1) if count > 1 else 1
        drawn = generator.poisson(self.mean, size=4 * budget + 16)
        total = np.cumsum(drawn)
        if total[-1] < budget:  # with a mean far below 1
            drawn = np.append(drawn, budget - total[-1])
            total = np.cumsum(drawn)
        number = int(np.searchsorted(total, budget)) + 1
        lengths = drawn[:number].astype(np.int64)
        lengths[-1] -= total[number - 1] - budget
        room = count - budget + 1  # gaps between the words that stay
        return lengths if number <= room else _fewer(lengths, room)


def _fewer(lengths: Ids, room: int) -> Ids:
    """The same sum in `room` spans: the shortest are put together."""
    lengths = np.sort(lengths)
    rest = len(lengths) - room + 1
    return np.concatenate([[lengths[:rest].sum()], lengths[rest:]])


def _sentence_ends(tokenizer: Tokenizer) -> Flags:
    """[V]: which tokens end a sentence."""
    return np.array([piece.decode("utf-8", "ignore").rstrip(" ").endswith(ENDINGS) for piece in surfaces(tokenizer)])
