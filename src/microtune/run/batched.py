"""Generation of many answers at once: greedy or drawn, with a key-value cache, over prompts of different lengths.

The rows of a batch go on together; one that has ended takes part in no product any more (it brings no token, and there
is no padding), and its room in the cache is simply not read. Rows of equal length stand together, because attention
works on groups of one shape. Token for token the answers are those of `generate_ids`, one row at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from microtune.nn.heads import VocabularyHead
from microtune.nn.transformer import Cache, Transformer
from microtune.ragged import Ragged
from microtune.run.decoding import Decoding
from microtune.run.picking import Terms, generator_of, penalized, pick
from microtune.run.rules import Rule

ROWS = 64  # of a batch at most: products gain little from more
CACHE_BYTES = 256_000_000  # keys and values of a batch


@dataclass(frozen=True, slots=True)
class Question:
    """What an answer is generated from: ids of the output stack, and what the encoder of an encoder-decoder reads.

    stops: ids that end this answer, beside those that end every one; number: which of several drawn answers it is.
    """

    ids: Sequence[int]
    sources: Sequence[int] = ()
    stops: Sequence[int] = ()
    number: int = 0


class Reader(Protocol):
    """What scores the next token: `[rows that go on, V]`, of a batch whose rows are these questions.

    questions: indexes, of all rows of the batch; live: which of the rows bring tokens; ends: their last tokens, [R].
    """

    def __call__(
        self,
        inputs: Ragged,
        ends: Tensor,
        cache: Cache,
        sources: Ragged | None,
        *,
        questions: Sequence[int],
        live: Sequence[int],
    ) -> Tensor: ...


@torch.inference_mode()
def generate_many(
    model: Transformer,
    questions: Sequence[Question],
    *,
    max_new_tokens: int,
    stop_ids: Sequence[int],
    asked: Decoding | None = None,
    reader: Reader | None = None,
    terms: Terms | None = None,
) -> Iterator[tuple[int, list[int]]]:
    """(index, new ids) of every question, a batch at a time, the shortest first; stop ids are not given.

    stop_ids: of all questions; asked: what the model's files ask of its decoder; reader: in place of the model's own
    pass and head; terms: how each id is chosen (default: the likeliest), beams apart; draws hang on the seed,
    the question and the number of its answer alone. A row ends where the positions of the
    model do, of which virtual tokens take some.
    """
    model.eval()
    room = rooms_of(model, questions, max_new_tokens)
    for piece in batches_of(model, questions, room):
        rows = [
            Growing(list(map(int, questions[i].ids)), room[i], frozenset([*stop_ids, *questions[i].stops]))
            for i in piece
        ]
        if terms is not None:
            for row, i in zip(rows, piece, strict=True):
                row.bind(terms, questions[i].sources, questions[i].number)
        sources = [questions[i].sources for i in piece]
        growth = Growth(model, rows, Ragged.from_lists(sources) if len(sources[0]) else None, asked)
        for _ in growth.steps(reader or own_reader(model), piece):
            pass
        yield from ((i, row.new) for i, row in zip(piece, rows, strict=True))


def rooms_of(model: Transformer, questions: Sequence[Question], max_new_tokens: int) -> dict[int, int]:
    """How many tokens the answer to each question may have: what the positions of the model leave, or fewer."""
    limit, taken = model.spec.max_positions, model.output_stack.virtual.count
    return {
        i: max_new_tokens if limit is None else min(max_new_tokens, limit - taken - len(q.ids))
        for i, q in enumerate(questions)
    }


def own_reader(model: Transformer) -> Reader:
    """A model's own pass and head."""
    assert isinstance(model.head, VocabularyHead)

    def read(
        inputs: Ragged,
        ends: Tensor,
        cache: Cache,
        sources: Ragged | None,
        *,
        questions: Sequence[int],
        live: Sequence[int],
    ) -> Tensor:
        scores: Tensor = model.head(model(inputs, readout=ends, cache=cache, sources=sources))
        return scores

    return read


@dataclass
class Growing:
    """One answer in the making: what the model reads next of it (nothing once it has ended), and what is written."""

    next: list[int]
    room: int
    stops: frozenset[int]
    new: list[int] = field(default_factory=list)
    terms: Terms | None = None
    rule: Rule | None = None
    generator: torch.Generator | None = None

    def __post_init__(self) -> None:
        self.written = list(self.next)
        if self.room < 1:
            self.next = []

    def bind(self, terms: Terms, sources: Sequence[int], number: int) -> None:
        """Choose on these terms from now on."""
        if not terms.options.is_plain:
            self.terms, self.rule = terms, None if terms.rule is None else terms.rule.copy()
            self.generator = generator_of(terms.options.seed, self.written, sources, number)

    def chosen(self, scores: Tensor, banned: Sequence[int]) -> int:
        """The next id, on this row's own terms; scores: [V] on the CPU."""
        assert self.terms is not None
        scores = penalized(scores, self.written, self.terms.options.repetition_penalty)
        scores[list(banned)] = float("-inf")
        if self.rule is not None:
            scores = scores.masked_fill(~self.rule.allowed(), float("-inf"))
        return pick(scores, self.terms.options, self.generator)

    def take(self, chosen: int) -> None:
        """Write one id, or end."""
        self.next = []
        if chosen not in self.stops:
            self.new.append(chosen)
            self.written.append(chosen)
            self.next = [chosen] if len(self.new) < self.room else []
            if self.next and self.rule is not None:
                self.rule.take(chosen)
            if self.terms is not None and self.terms.ends is not None and self.terms.ends(self.new):
                self.next = []


class Growth:
    """One batch of answers in the making."""

    def __init__(
        self, model: Transformer, rows: Sequence[Growing], sources: Ragged | None, asked: Decoding | None
    ) -> None:
        self.rows, self.sources, self.asked = rows, sources, asked
        self.device = next(model.parameters()).device
        ahead = model.output_stack.virtual.count
        totals = [ahead + len(row.next) + row.room for row in rows]
        self.cache = Cache(model.spec, len(rows), max(totals), torch.tensor(totals, device=self.device))

    def steps(self, reader: Reader, questions: Sequence[int]) -> Iterator[None]:
        """Go on until every row has ended; after each token of all rows it may be looked at what they have."""
        step, sources = 0, None if self.sources is None else self.sources.to(self.device)
        while live := [place for place, row in enumerate(self.rows) if row.next]:
            inputs = Ragged.from_lists([row.next for row in self.rows]).to(self.device)
            ends = (inputs.lengths.cumsum(0) - 1)[inputs.lengths > 0]
            scores = reader(inputs, ends, self.cache, sources, questions=questions, live=live).float()
            for place, chosen in zip(live, self._chosen(scores, live, step), strict=True):
                self.rows[place].take(chosen)
            step, sources = step + 1, None
            yield

    def _chosen(self, scores: Tensor, live: Sequence[int], step: int) -> list[int]:
        rows = [self.rows[place] for place in live]
        banned = [[] if self.asked is None else self.asked.banned(row.written) for row in rows]
        if rows[0].terms is not None:
            best = [row.chosen(own, names) for row, own, names in zip(rows, scores.cpu(), banned, strict=True)]
        else:
            for place, names in enumerate(banned):
                if names:
                    scores[place, names] = float("-inf")
            best = scores.argmax(-1).tolist()
        if self.asked is None:
            return best
        forced = [self.asked.forced(step, row.room) for row in rows]
        return [b if f is None else f for b, f in zip(best, forced, strict=True)]


def batches_of(
    model: Transformer, questions: Sequence[Question], room: dict[int, int], copies: int = 1
) -> Iterator[list[int]]:
    """Indexes of questions, those of one length together, as many as the cache may hold `copies` times."""
    stack, ahead = model.spec.output_stack, model.output_stack.virtual.count
    token = 8 * stack.num_layers * stack.kv_heads * stack.head_size * copies  # keys and values in float32
    piece: list[int] = []
    capacity = read = 0
    for i in sorted(room, key=lambda i: (len(questions[i].ids), len(questions[i].sources))):
        own = ahead + len(questions[i].ids) + room[i]
        capacity = max(capacity, own)
        read = max(read, len(questions[i].sources))
        if piece and (len(piece) == ROWS or (len(piece) + 1) * (capacity + read) * token > CACHE_BYTES):
            yield piece
            piece, capacity, read = [], own, len(questions[i].sources)
        piece.append(i)
    if piece:
        yield piece
