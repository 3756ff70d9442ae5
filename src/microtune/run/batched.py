"""Generation of many answers at once: greedy, with a key-value cache, over prompts of different lengths.

The rows of a batch go on together; one that has ended takes part in no product any more (it brings no token, and there
is no padding), and its room in the cache is simply not read. Rows of equal length stand together, because attention
works on groups of one shape. Token for token the answers are those of `generate_ids`, one row at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from microtune.nn.heads import VocabularyHead
from microtune.nn.spec import ModelSpec
from microtune.nn.transformer import Cache, Transformer
from microtune.ragged import Ragged
from microtune.run.decoding import Decoding

ROWS = 64  # of a batch at most: products gain little from more
CACHE_BYTES = 256_000_000  # keys and values of a batch


@dataclass(frozen=True, slots=True)
class Question:
    """What an answer is generated from: ids of the output stack, and what the encoder of an encoder-decoder reads."""

    ids: Sequence[int]
    sources: Sequence[int] = ()


@torch.inference_mode()
def generate_many(
    model: Transformer,
    questions: Sequence[Question],
    *,
    max_new_tokens: int,
    stop_ids: Sequence[int],
    asked: Decoding | None = None,
) -> Iterator[tuple[int, list[int]]]:
    """(index, new ids) of every question, a batch at a time, the shortest first; stop ids are not given.

    asked: what the model's files ask of its decoder. A row ends where the positions of the model do.
    """
    assert isinstance(model.head, VocabularyHead)
    model.eval()
    limit = model.spec.max_positions
    room = {
        i: max_new_tokens if limit is None else min(max_new_tokens, limit - len(q.ids)) for i, q in enumerate(questions)
    }
    for piece in _batches(model.spec, questions, room):
        found = _Writing(model, [questions[i] for i in piece], [room[i] for i in piece], frozenset(stop_ids), asked)
        yield from zip(piece, found.answers(), strict=True)


class _Writing:
    """One batch of answers in the making."""

    def __init__(
        self,
        model: Transformer,
        questions: Sequence[Question],
        room: Sequence[int],
        stops: frozenset[int],
        asked: Decoding | None,
    ) -> None:
        self.model, self.room, self.stops, self.asked = model, room, stops, asked
        self.device = next(model.parameters()).device
        totals = [len(q.ids) + more for q, more in zip(questions, room, strict=True)]
        self.cache = Cache(model.spec, len(questions), max(totals), torch.tensor(totals, device=self.device))
        self.next = [
            [int(i) for i in q.ids] for q in questions
        ]  # what the model reads next of each row; nothing once it has ended
        self.written = [list(ids) for ids in self.next]
        self.new: list[list[int]] = [[] for _ in questions]
        self.sources = Ragged.from_lists([q.sources for q in questions]) if len(questions[0].sources) else None

    def answers(self) -> list[list[int]]:
        """Go on until every row has ended."""
        live = [row for row, room in enumerate(self.room) if room > 0]
        self.next = [ids if row in set(live) else [] for row, ids in enumerate(self.next)]
        step = 0
        while live:
            scores = self._scores()
            live = [
                row
                for row, chosen in zip(live, self._chosen(scores, live, step), strict=True)
                if self._take(row, chosen)
            ]
            step += 1
        return self.new

    def _scores(self) -> Tensor:
        """`[rows that go on, V]`."""
        inputs = Ragged.from_lists(self.next).to(self.device)
        ends = (inputs.lengths.cumsum(0) - 1)[inputs.lengths > 0]
        sources = None if self.sources is None else self.sources.to(self.device)
        hidden = self.model(inputs, readout=ends, cache=self.cache, sources=sources)
        self.sources = None
        scores: Tensor = self.model.head(hidden)
        return scores.float()

    def _chosen(self, scores: Tensor, live: Sequence[int], step: int) -> list[int]:
        if self.asked is not None:
            for place, row in enumerate(live):
                banned = self.asked.banned(self.written[row])
                if banned:
                    scores[place, banned] = float("-inf")
        best: list[int] = scores.argmax(-1).tolist()
        if self.asked is None:
            return best
        forced = [self.asked.forced(step, self.room[row]) for row in live]
        return [b if f is None else f for b, f in zip(best, forced, strict=True)]

    def _take(self, row: int, chosen: int) -> bool:
        """Write one id; whether the row goes on."""
        if chosen not in self.stops:
            self.new[row].append(chosen)
            self.written[row].append(chosen)
        goes_on = chosen not in self.stops and len(self.new[row]) < self.room[row]
        self.next[row] = [chosen] if goes_on else []
        return goes_on


def _batches(spec: ModelSpec, questions: Sequence[Question], room: dict[int, int]) -> Iterator[list[int]]:
    """Indexes of questions, those of one length together, as many as the cache may hold."""
    stack = spec.output_stack
    token = 8 * stack.num_layers * stack.kv_heads * stack.head_size  # keys and values in float32
    piece: list[int] = []
    capacity = read = 0
    for i in sorted(room, key=lambda i: (len(questions[i].ids), len(questions[i].sources))):
        capacity = max(capacity, len(questions[i].ids) + room[i])
        read = max(read, len(questions[i].sources))
        if piece and (len(piece) == ROWS or (len(piece) + 1) * (capacity + read) * token > CACHE_BYTES):
            yield piece
            piece, capacity, read = [], len(questions[i].ids) + room[i], len(questions[i].sources)
        piece.append(i)
    if piece:
        yield piece
