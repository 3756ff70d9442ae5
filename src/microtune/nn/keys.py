"""The keys and values that words leave in the blocks: what a prefix may begin as (Li and Liang, 2021, section 7.4)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from microtune.nn.transformer import Cache, Transformer
from microtune.ragged import Ragged


@torch.no_grad()
def left_by(model: Transformer, ids: Sequence[int], first_block: int) -> Tensor:
    """Keys and values `[L, 2, p, K, E]` that ids leave in the blocks of the output stack, in at least float32.

    The encoder of an encoder-decoder reads the same ids.
    """
    training = model.training
    model.eval()
    device = model.tokens.weight.device
    inputs, cache = Ragged.from_lists([ids]).to(device), Cache(model.spec, 1, len(ids))
    both = model.encoder is not None and model.decoder is not None
    model(inputs, sources=inputs if both else None, cache=cache)
    model.train(training)
    kept = [(own.keys, own.values) for own, _ in cache.layers[first_block:]]
    found = torch.stack([torch.stack((k, v)) for k, v in kept if k is not None and v is not None])
    return found.to(torch.promote_types(found.dtype, torch.float32))
