"""Generation: from a prompt's ids to new ids, one at a time, with a key-value cache.

Greedy by default; `temperature` draws, from the `top_k` best or from the smallest set that holds `top_p` of the
probability (Holtzman et al., 2020). A generator yields ids as they come, so that chat can stream.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from microtune.nn.heads import VocabularyHead
from microtune.nn.transformer import Cache, Transformer
from microtune.ragged import Ragged
from microtune.run.decoding import Decoding


@torch.inference_mode()
def generate_ids(
    model: Transformer,
    prompt: Sequence[int],
    *,
    max_new_tokens: int,
    stop_ids: Sequence[int],
    temperature: float = 0.0,
    top_k: int = 0,
    top_p: float = 1.0,
    seed: int = 0,
    sources: Sequence[int] | None = None,
    asked: Decoding | None = None,
) -> Iterator[int]:
    """New ids after `prompt`, up to a stop id (not yielded) or `max_new_tokens`.

    sources: the ids that an encoder reads; asked: what the model's files ask of its decoder.
    """
    assert isinstance(model.head, VocabularyHead)
    model.eval()
    device = next(model.parameters()).device
    generator = torch.Generator().manual_seed(seed)
    cache = Cache(model.spec, 1, model.output_stack.virtual.count + len(prompt) + max_new_tokens)
    cache.lengths = cache.lengths.to(device)
    encoder = None if sources is None else Ragged.from_lists([sources]).to(device)
    ids = list(prompt)
    written = list(prompt)
    for step in range(max_new_tokens):
        inputs = Ragged.from_lists([ids]).to(device)
        last = torch.tensor([len(ids) - 1], device=device)
        hidden = model(inputs, cache=cache, sources=encoder)[last]
        scores = model.head(hidden)[0].float().cpu()
        forced = None if asked is None else asked.forced(step, max_new_tokens)
        if asked is not None:
            scores[asked.banned(written)] = float("-inf")
        chosen = pick(scores, temperature, top_k, top_p, generator) if forced is None else forced
        if chosen in stop_ids:
            return
        yield chosen
        written.append(chosen)
        ids, encoder = [chosen], None


def pick(logits: Tensor, temperature: float, top_k: int, top_p: float, generator: torch.Generator) -> int:
    """One id for scores [V]."""
    if temperature <= 0:
        return int(logits.argmax())
    return int(torch.multinomial(chances(logits, temperature, top_k, top_p), 1, generator=generator))


def chances(logits: Tensor, temperature: float, top_k: int, top_p: float) -> Tensor:
    """What is drawn from: weights [V] in proportion to the probability of each id, 0 where it cannot be drawn."""
    logits = logits / temperature
    if top_k:
        bound = logits.topk(min(top_k, len(logits))).values[-1]
        logits = logits.masked_fill(logits < bound, float("-inf"))
    probabilities = torch.softmax(logits, -1)
    if top_p < 1.0:
        ordered, order = probabilities.sort(descending=True)
        beyond = ordered.cumsum(0) - ordered >= top_p
        probabilities[order[beyond]] = 0.0
    return probabilities
