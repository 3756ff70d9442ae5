"""Generation: from a prompt's ids to new ids, one at a time, with a key-value cache.

Greedy by default; what else there is stands in tasks/writing.py. A generator yields ids as they come, so that chat can
stream.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from microtune.nn.heads import VocabularyHead
from microtune.nn.transformer import Cache, Transformer
from microtune.ragged import Ragged
from microtune.run.decoding import Decoding
from microtune.run.picking import Terms, penalized, pick
from microtune.tasks.writing import Writing


@torch.inference_mode()
def generate_ids(
    model: Transformer,
    prompt: Sequence[int],
    *,
    max_new_tokens: int,
    stop_ids: Sequence[int],
    terms: Terms | None = None,
    sources: Sequence[int] | None = None,
    asked: Decoding | None = None,
    **options: Any,
) -> Iterator[int]:
    """New ids after `prompt`, up to a stop id (not yielded) or `max_new_tokens`.

    terms, or the options of `Writing` that make them: how each is chosen (default: the likeliest), beams apart;
    sources: the ids that an encoder reads; asked: what the model's files ask of its decoder.
    """
    assert isinstance(model.head, VocabularyHead)
    model.eval()
    device = next(model.parameters()).device
    terms = terms or Terms(Writing(**options))
    choice, rule = terms.options, None if terms.rule is None else terms.rule.copy()
    generator = torch.Generator().manual_seed(choice.seed)
    cache = Cache(model.spec, 1, model.output_stack.virtual.count + len(prompt) + max_new_tokens)
    cache.lengths = cache.lengths.to(device)
    encoder = None if sources is None else Ragged.from_lists([sources]).to(device)
    ids = list(prompt)
    written = list(prompt)
    for step in range(max_new_tokens):
        inputs = Ragged.from_lists([ids]).to(device)
        last = torch.tensor([len(ids) - 1], device=device)
        hidden = model(inputs, cache=cache, sources=encoder)[last]
        scores = penalized(model.head(hidden)[0].float().cpu(), written, choice.repetition_penalty)
        forced = None if asked is None else asked.forced(step, max_new_tokens)
        if asked is not None:
            scores[asked.banned(written)] = float("-inf")
        if rule is not None and forced is None:
            scores = scores.masked_fill(~rule.allowed(), float("-inf"))
        chosen = pick(scores, choice, generator) if forced is None else forced
        if chosen in stop_ids:
            return
        yield chosen
        written.append(chosen)
        if terms.ends is not None and terms.ends(written[len(prompt) :]):
            return
        if rule is not None:
            rule.take(chosen)
        ids, encoder = [chosen], None
