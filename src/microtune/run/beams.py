"""Beam search: the several most promising beginnings of every answer go on together (Graves, 2012).

An answer's score is its log-probability divided by length ** penalty, the length counted in new tokens, its stop token
included: the rule of transformers (Wu et al., 2016, divide by another power). As there, an answer counts as ended if it
is among the `beams` best of its step, and the search of a question ends when it has so many ended answers and its best
beginning, scored as if it ended here, is no better than the worst of them. Of several stop tokens the likeliest counts.

The rows of a batch are the beams of several questions; keys and values follow them by a change of rows in the cache, so
no token is read twice, and a question that has ended takes part in nothing more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from microtune.nn.heads import VocabularyHead
from microtune.nn.transformer import Cache, Transformer
from microtune.ragged import Ragged
from microtune.run.batched import Question, batches_of, rooms_of
from microtune.run.decoding import Decoding
from microtune.run.picking import Terms, penalized
from microtune.run.rules import Rule


@dataclass(frozen=True, slots=True)
class Found:
    """An answer: its new ids without the stop, the sum of its log-probabilities with it, and the score of that."""

    ids: list[int]
    logp: float
    score: float


@torch.inference_mode()
def search_many(
    model: Transformer,
    questions: Sequence[Question],
    *,
    max_new_tokens: int,
    stop_ids: Sequence[int],
    terms: Terms,
    asked: Decoding | None = None,
) -> Iterator[tuple[int, list[Found]]]:
    """(index, the best `terms.options.answers` answers, the best first) of every question, a batch at a time."""
    model.eval()
    room = rooms_of(model, questions, max_new_tokens)
    for piece in batches_of(model, questions, room, copies=terms.options.beams):
        trees = [
            _Tree(list(map(int, questions[i].ids)), room[i], frozenset([*stop_ids, *questions[i].stops]), terms, asked)
            for i in piece
        ]
        sources = [questions[i].sources for i in piece]
        _search(model, trees, Ragged.from_lists(sources) if len(sources[0]) else None)
        yield from ((i, tree.best()) for i, tree in zip(piece, trees, strict=True))


def _search(model: Transformer, trees: Sequence[_Tree], sources: Ragged | None) -> None:
    """Grow the trees of one batch until each is done."""
    assert isinstance(model.head, VocabularyHead)
    device = model.tokens.weight.device
    sources = None if sources is None else sources.to(device)
    ahead = model.output_stack.virtual.count
    totals = [ahead + len(tree.prompt) + tree.room for tree in trees]
    cache = Cache(model.spec, len(trees), max(totals), torch.tensor(totals, device=device))
    cache.lengths = cache.lengths.to(device)
    rows = [tree.prompt if tree.live else [] for tree in trees]
    growing, before = list(trees), [1] * len(trees)  # and the rows of each in the cache
    while any(rows):
        inputs = Ragged.from_lists(rows).to(device)
        ends = (inputs.lengths.cumsum(0) - 1)[inputs.lengths > 0]
        scores = model.head(model(inputs, readout=ends, cache=cache, sources=sources)).cpu()
        parents: list[int] = []
        next_growing: list[_Tree] = []
        after: list[int] = []
        rows, first, read = [], 0, 0
        for tree, count in zip(growing, before, strict=True):
            if tree.live:
                parents += [first + p for p in tree.grow(scores[read : read + len(tree.live)])]
                read += count
                rows += [[beam.new[-1]] for beam in tree.live]
            if tree.live:
                next_growing.append(tree)
                after.append(len(tree.live))
            first += count
        same = len(next_growing) == len(growing) and after == before
        if rows:
            cache.select(torch.tensor(parents, device=device), sources=not same)
        growing, before, sources = next_growing, after, None


@dataclass
class _Beam:
    """A beginning of an answer."""

    new: list[int] = field(default_factory=list)
    logp: float = 0.0
    rule: Rule | None = None


class _Tree:
    """The search for one question's answers."""

    def __init__(
        self, prompt: list[int], room: int, stops: frozenset[int], terms: Terms, asked: Decoding | None
    ) -> None:
        self.prompt, self.room, self.stops, self.terms, self.asked = prompt, room, stops, terms, asked
        self.width, self.penalty = terms.options.beams, terms.options.length_penalty
        self.live = [_Beam(rule=terms.rule)] if room > 0 else []
        self.ended: list[Found] = []

    def best(self) -> list[Found]:
        """The best answers, as many as are asked for; one that is empty where there was no room to write."""
        return self.ended[: self.terms.options.answers] or [Found([], 0.0, 0.0)]

    def grow(self, scores: Tensor) -> list[int]:
        """Scores [live, V] of the next token -> the beams that go on, and which old one each of them goes on from."""
        logp = self._log_probabilities(scores)
        step = len(self.live[0].new) + 1
        values, ids = logp.topk(min(self.width + len(self.stops), logp.shape[1]), -1)
        candidates = []
        for parent, (row, names) in enumerate(zip(values.tolist(), ids.tolist(), strict=True)):
            stops = [chosen for chosen in names if chosen in self.stops][1:]  # one answer, however it is ended
            candidates += [
                (self.live[parent].logp + value, parent, chosen)
                for value, chosen in zip(row, names, strict=True)
                if value > float("-inf") and chosen not in stops
            ]
        candidates.sort(key=lambda c: -c[0])
        going: list[_Beam] = []
        parents: list[int] = []
        for rank, (total, parent, chosen) in enumerate(candidates):
            new = self.live[parent].new
            new = new if chosen in self.stops else [*new, chosen]
            if chosen in self.stops or step == self.room or (self.terms.ends is not None and self.terms.ends(new)):
                if rank < self.width:
                    self.ended.append(Found(new, total, total / step**self.penalty))
            elif len(going) < self.width:
                rule = self.live[parent].rule
                if rule is not None:
                    rule = rule.copy()
                    rule.take(chosen)
                going.append(_Beam(new, total, rule))
                parents.append(parent)
        self.ended = sorted(self.ended, key=lambda f: -f.score)[: self.width]
        full = len(self.ended) == self.width
        if going and full and self.ended[-1].score >= going[0].logp / step**self.penalty:
            going, parents = [], []
        self.live = going
        return parents

    def _log_probabilities(self, scores: Tensor) -> Tensor:
        """[live, V]: the model's own, with -inf for what may not come; what must come costs nothing."""
        scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
        penalty, step = self.terms.options.repetition_penalty, len(self.live[0].new)
        if penalty != 1.0:
            rows = zip(scores, self.live, strict=True)
            scores = torch.stack([penalized(row, [*self.prompt, *beam.new], penalty) for row, beam in rows])
        logp = torch.log_softmax(scores, -1)
        forced = None if self.asked is None else self.asked.forced(step, self.room)
        if forced is not None:
            logp = torch.full_like(logp, float("-inf"))
            logp[:, forced] = 0.0
            return logp
        for row, beam in zip(logp, self.live, strict=True):
            if self.asked is not None:
                row[self.asked.banned([*self.prompt, *beam.new])] = float("-inf")
            if beam.rule is not None:
                row.masked_fill_(~beam.rule.allowed(), float("-inf"))
        return logp
