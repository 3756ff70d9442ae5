"""Beam search: the most probable whole answer of the k best beginnings, in place of the best next token.

As for the first encoder-decoders (Graves, 2012; Sutskever et al., 2014), with the length penalty of Wu et al. (2016) in
its plain form: an answer of n tokens counts as log p / n ** penalty. One beam is greedy search. The beams are the rows
of one batch with a cache; those that go on take the states of those they come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from microtune.nn.heads import VocabularyHead
from microtune.nn.transformer import Cache, Transformer
from microtune.ragged import Ragged
from microtune.run.batched import Question
from microtune.run.decoding import Decoding


@dataclass(frozen=True)
class Found:
    """An answer, and its log-probability over its length to the power of the penalty."""

    ids: tuple[int, ...]
    score: float


@torch.inference_mode()
def beam_search(
    model: Transformer,
    question: Question,
    *,
    beams: int,
    max_new_tokens: int,
    stop_ids: Sequence[int],
    asked: Decoding | None = None,
    penalty: float = 1.0,
) -> list[Found]:
    """Up to `beams` answers, the best first; stop ids are not given.

    asked: what the model's files ask of its decoder.
    """
    assert isinstance(model.head, VocabularyHead)
    model.eval()
    device = next(model.parameters()).device
    stops = {*stop_ids, *question.stops}
    limit, taken = model.spec.max_positions, model.output_stack.virtual.count
    room = max_new_tokens if limit is None else min(max_new_tokens, limit - taken - len(question.ids))
    cache = Cache(model.spec, beams, taken + len(question.ids) + max(room, 0))
    cache.lengths = cache.lengths.to(device)
    opening = [int(i) for i in question.ids]
    written: list[list[int]] = [[] for _ in range(beams)]
    scores = torch.full((beams,), float("-inf"))
    scores[0] = 0.0  # all beams begin alike: only one of them counts
    sources = Ragged.from_lists([question.sources] * beams).to(device) if len(question.sources) else None
    inputs, done = [opening] * beams, []
    for step in range(room):
        rows = Ragged.from_lists(inputs).to(device)
        hidden = model(rows, readout=rows.lengths.cumsum(0) - 1, cache=cache, sources=sources)
        logp = model.head(hidden).float().log_softmax(-1).cpu()
        _restrict(logp, asked, [[*opening, *ids] for ids in written], step, room)
        ended, going = _best(scores[:, None] + logp, beams, stops)
        done += [_found(written[beam], score, 1, penalty) for beam, score in ended]
        if len(done) >= beams or not going:
            break
        going += [going[-1]] * (beams - len(going))  # fewer go on than there are rows: the others count for nothing
        origins = torch.tensor([beam for beam, _, _ in going], device=device)
        written = [[*written[beam], chosen] for beam, chosen, _ in going]
        alive = len({tuple(ids) for ids in written})
        scores = torch.tensor([score if i < alive else float("-inf") for i, (_, _, score) in enumerate(going)])
        inputs, sources = [[ids[-1]] for ids in written], None
        _follow(cache, origins)
    else:
        done += [_found(ids, s, 0, penalty) for ids, s in zip(written, scores.tolist(), strict=True) if s > -1e30]
    return sorted(done, key=lambda answer: -answer.score)[:beams]


def _best(scores: Tensor, beams: int, stops: set[int]) -> tuple[list[tuple[int, float]], list[tuple[int, int, float]]]:
    """Of scores `[beams, V]`: (beam, score) of those that end now, and (beam, id, score) of the best that go on.

    An end counts where it is among the best `beams`, so that one beam ends where greedy search does.
    """
    ended, going = [], []
    found, places = scores.flatten().topk(min(2 * beams, scores.numel()))
    for rank, (score, place) in enumerate(zip(found.tolist(), places.tolist(), strict=True)):
        beam, chosen = divmod(place, scores.shape[1])
        if score == float("-inf"):
            break
        if chosen not in stops:
            going.append((beam, chosen, score))
        elif rank < beams:
            ended.append((beam, score))
    return ended, going[:beams]


def _found(ids: Sequence[int], score: float, ended: int, penalty: float) -> Found:
    return Found(tuple(ids), score / max(len(ids) + ended, 1) ** penalty)


def _restrict(logp: Tensor, asked: Decoding | None, written: list[list[int]], step: int, room: int) -> None:
    """What the model's files ban gets no probability; what they force is all that is left."""
    if asked is None:
        return
    forced = asked.forced(step, room)
    for row, ids in enumerate(written):
        banned = asked.banned(ids)
        if forced is not None:
            kept = logp[row, forced].item()
            logp[row] = float("-inf")
            logp[row, forced] = kept
        elif banned:
            logp[row, banned] = float("-inf")


def _follow(cache: Cache, origins: Tensor) -> None:
    """Row i goes on from what row origins[i] has read; the encoder's states are the same for all."""
    if cache.kept is not None:
        cache.kept.states = [tuple(part[origins] for part in state) for state in cache.kept.states]
        return
    for own, _ in cache.layers:
        for name in ("keys", "values"):
            storage = getattr(own, name)
            if storage is not None:
                setattr(own, name, storage.view(own.batch, own.capacity, *storage.shape[1:])[origins].flatten(0, 1))
