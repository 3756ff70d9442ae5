"""Speculative decoding: a quick model guesses some tokens ahead, the large one checks them all in one pass.

Leviathan et al. (2023), Chen et al. (2023). What comes out is what the large model alone would have given: greedy, the
same ids (to the rounding of products of several rows against one); drawn, ids of the same distribution, though not the
same draws. The draft is an n-gram model of the same tokenizer, which guesses by looking up; how much time it saves
depends on how often it guesses rightly.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from microtune.classic.recurrent import Recurrent
from microtune.errors import InputError
from microtune.nn.heads import VocabularyHead
from microtune.nn.transformer import Cache, Transformer
from microtune.ragged import Ragged
from microtune.run.classic.ngram import NGramModel
from microtune.run.load import Model
from microtune.run.picking import Drawing


@dataclass
class Tally:
    """How the guessing went: passes of the large model, guesses, and how many of them were right."""

    passes: int = 0
    guessed: int = 0
    right: int = 0


def drafted_ids(
    model: Model,
    draft: object,
    ids: Sequence[int],
    *,
    max_new_tokens: int,
    stop_ids: Sequence[int] = (),
    draft_tokens: int = 4,
    sure: float = 0.0,
    tally: Tally | None = None,
    **options: Any,
) -> Iterator[int]:
    """New ids after `ids`, as `Model.next_ids` gives them, with the guesses of `draft` checked several at a time.

    draft_tokens: guesses for each pass of the model; sure: guessing stops before a token whose likeliest value has less
    probability; tally: counts how it went; options: temperature, top_k, top_p, min_p, seed.
    """
    if not isinstance(draft, NGramModel):
        raise InputError("draft: only an n-gram model can guess ahead; give what mt.load makes of its run.")
    if model.is_encoder_decoder:
        raise InputError("draft: guessing ahead is for decoders; this model is an encoder-decoder.")
    if isinstance(model.network, Recurrent):
        raise InputError("draft: a recurrent network cannot take a token back; guessing ahead is for Transformers.")
    if draft.text.backend.get_vocab() != model.text.backend.get_vocab():
        raise InputError(
            "draft: its tokenizer is not that of the model; train it with model.tokenizer set to the model's folder."
        )
    if draft_tokens < 1:
        raise InputError(f"draft_tokens: {draft_tokens}, but at least one token has to be guessed.")
    count = model.new_tokens(len(ids), max_new_tokens)
    drawing = Drawing.of(**options)
    guesser = Guesser(draft, drawing, draft_tokens, sure, model.spec.vocab_size)
    return _checked(model.network, guesser, list(ids), count, stop_ids, tally or Tally())


@dataclass(frozen=True)
class Guesser:
    """Guesses of an n-gram model, as many ids wide as the large one."""

    draft: NGramModel
    drawing: Drawing
    count: int
    sure: float
    width: int

    def guess(self, written: Sequence[int], most: int) -> tuple[list[int], list[Tensor]]:
        """At most `most` further ids, and the probabilities [V] that each was drawn from."""
        context = self.draft.read(written)
        guesses: list[int] = []
        shares: list[Tensor] = []
        for _ in range(min(self.count, most)):
            scores = self.draft.log_probabilities(context)
            if self.sure and float(scores.max().exp()) < self.sure:
                break
            share = self.drawing.shares(scores)
            guesses.append(self.drawing.draw(share))
            shares.append(torch.nn.functional.pad(share, (0, self.width - len(share))))
            context.append(guesses[-1])
        return guesses, shares


@torch.inference_mode()
def _checked(
    network: Transformer, guesser: Guesser, written: list[int], count: int, stop_ids: Sequence[int], tally: Tally
) -> Iterator[int]:
    head = network.head
    assert isinstance(head, VocabularyHead)
    network.eval()
    device = next(network.parameters()).device
    cache = Cache(network.spec, 1, network.output_stack.virtual.count + len(written) + count)
    pending = list(written)  # ids that the large model has not read yet
    while count:
        guesses, shares = guesser.guess(written, count - 1)
        inputs = Ragged.from_lists([[*pending, *guesses]]).to(device)
        hidden = network(inputs, cache=cache)[-len(guesses) - 1 :]
        right, last = accept(head(hidden).float().cpu(), guesses, shares, guesser.drawing)
        cache.lengths = cache.lengths - (len(guesses) - right)  # what was guessed wrongly is read over
        tally.passes, tally.guessed, tally.right = tally.passes + 1, tally.guessed + len(guesses), tally.right + right
        for chosen in [*guesses[:right], last]:
            if chosen in stop_ids:
                return
            yield chosen
            written.append(chosen)
            count -= 1
        pending = [last]


def accept(scores: Tensor, guesses: Sequence[int], shares: Sequence[Tensor], drawing: Drawing) -> tuple[int, int]:
    """How many guesses stand, and the id that follows them.

    scores: [k + 1, V] of the large model, the last row after all guesses; shares: what each guess was drawn from. A
    guess g stands with probability min(1, p(g) / q(g)); the first that does not is replaced by a draw from what p has
    over q, so that every id is drawn with probability p.
    """
    for number, (guess, q) in enumerate(zip(guesses, shares, strict=True)):
        p = drawing.shares(scores[number])
        chance = float(p[guess] / q[guess])
        if chance < 1 and (chance == 0 or float(torch.rand(1, generator=drawing.generator)) >= chance):
            return number, drawing.draw(rest(p, q))
    return len(guesses), drawing.draw(drawing.shares(scores[-1]))


def rest(p: Tensor, q: Tensor) -> Tensor:
    """max(p - q, 0), brought to the sum 1: what replaces a guess that does not stand."""
    left = (p - q).clamp_min(0)
    return left / left.sum()
