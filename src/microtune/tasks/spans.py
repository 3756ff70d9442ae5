"""Span denoising (T5: Raffel et al., 2020): spans are cut out of a text, and the model writes them down in order.

Of L tokens round(0.15 L) are cut out, in round(that / 3) spans. The encoder reads the text with a sentinel in place of
each span; the decoder writes each sentinel and what stood there. Either side ends with the end mark. Marks of documents
are left out first, as an end mark inside a target would end it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from microtune.data.batches import Item
from microtune.data.text import Tokenizer
from microtune.data.words import Flags, Ids
from microtune.errors import InputError

MARKS = ("bos", "eos", "cls", "sep", "pad")
SPELLINGS = ("<|sentinel_{}|>", "<extra_id_{}>")


@dataclass(frozen=True, eq=False)
class SpanDenoising:
    """What cuts spans out. sentinels: ids in the order of use; start: what the decoder begins with; marks: left out."""

    share: float
    mean: float
    sentinels: Ids
    start: int
    end: int
    marks: Ids

    @classmethod
    def of(cls, tokenizer: Tokenizer, share: float, mean: float, length: int) -> SpanDenoising:
        """For one tokenizer and blocks of up to `length`; InputError where it lacks a token that this needs."""
        end, start = tokenizer.id("eos"), tokenizer.id("pad")
        if end is None or start is None:
            raise InputError("task.objective: span-denoising needs a tokenizer with eos and pad tokens.")
        found = cls(share, mean, sentinels(tokenizer), start, end, marks(tokenizer))
        needed = found.counts(length)[1]
        if needed > len(found.sentinels):
            raise InputError(
                f"task.objective: blocks of {length} tokens have {needed} spans, but the tokenizer has "
                f"{len(found.sentinels)} sentinel tokens; lower data.block_size or raise task.mean_span."
            )
        return found

    def counts(self, length: int) -> tuple[int, int]:
        """How many tokens of `length` are cut out, and in how many spans; at least one token is and one stays."""
        noise = min(max(round(self.share * length), 1), length - 1)
        return noise, min(max(round(noise / self.mean), 1), noise, length - noise)

    def size(self, length: int) -> int:
        """Tokens of both sides together, at most."""
        return length + 2 * (self.counts(length)[1] + 1)

    def item(self, ids: Ids, starts: Flags, generator: np.random.Generator) -> Item:
        """A block [T], T > 1 -> what the encoder reads, what the decoder writes."""
        ids = without(ids, self.marks)[0]
        noise = self._noise(len(ids), generator)
        source = np.append(self._marked(ids, noise), self.end)
        return written(source, np.append(self._marked(ids, ~noise), self.end), self.start)

    def _noise(self, length: int, generator: np.random.Generator) -> Flags:
        """Which tokens are cut out: kept and cut segments in turn, beginning with a kept one."""
        count, spans = self.counts(length)
        lengths = np.stack([_parts(length - count, spans, generator), _parts(count, spans, generator)], axis=1)
        return np.repeat(np.arange(2 * spans) % 2 == 1, lengths.reshape(-1))

    def _marked(self, ids: Ids, hidden: Flags) -> Ids:
        """The tokens with one sentinel in place of each hidden segment."""
        first = hidden & ~np.concatenate([[False], hidden[:-1]])
        replaced = np.where(first, self.sentinels[np.cumsum(first) - 1], ids)
        return replaced[first | ~hidden]


def _parts(total: int, count: int, generator: np.random.Generator) -> Ids:
    """`total` as a sum of `count` numbers above zero, all such sums equally likely."""
    cuts = np.sort(generator.choice(total - 1, count - 1, replace=False)) + 1
    return np.diff(np.concatenate([[0], cuts, [total]])).astype(np.int64)


def sentinels(tokenizer: Tokenizer) -> Ids:
    """Ids of the sentinel tokens of a tokenizer, in order; empty where it has none."""
    for spelling in SPELLINGS:
        found: list[int] = []
        while (i := tokenizer.backend.token_to_id(spelling.format(len(found)))) is not None:
            found.append(i)
        if found:
            return np.array(found, dtype=np.int64)
    return np.zeros(0, dtype=np.int64)


def marks(tokenizer: Tokenizer) -> Ids:
    """Ids that stand around documents."""
    return np.array(sorted({i for name in MARKS if (i := tokenizer.id(name)) is not None}), dtype=np.int64)


def without(ids: Ids, left_out: Ids) -> tuple[Ids, Flags]:
    """The block without these ids, and which places stay; whole where fewer than two tokens would."""
    kept = ~np.isin(ids, left_out)
    kept = kept if kept.sum() > 1 else np.ones(len(ids), dtype=bool)
    return ids[kept], kept


def written(source: Ids, target: Ids, start: int) -> Item:
    """An item whose decoder begins with `start` and is asked for every token of the target."""
    ids = np.concatenate([[start], target[:-1]])
    return Item(ids, np.arange(len(ids)), target, sources=source)  # type: ignore[arg-type]
