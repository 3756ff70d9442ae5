"""Generation of one answer, whose ids come as they are found, so that chat can stream: a batch of one (batched.py).

Greedy by default; what else there is stands in tasks/writing.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from microtune.nn.transformer import Transformer
from microtune.ragged import Ragged
from microtune.run.batched import Growing, Growth, own_reader
from microtune.run.decoding import Decoding
from microtune.run.picking import Terms
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
    model.eval()
    row = Growing(list(map(int, prompt)), max_new_tokens, frozenset(stop_ids))
    row.bind(terms or Terms(Writing(**options)), sources or (), 0)
    given = 0
    for _ in Growth(model, [row], None if sources is None else Ragged.from_lists([sources]), asked).steps(
        own_reader(model), [0]
    ):
        yield from row.new[given:]
        given = len(row.new)
