"""A tokenizer of characters: one id for each character of a text, bytes for all others, so that nothing is unknown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import tokenizers
from tokenizers import decoders, models

from microtune.data.text import CORE_TOKENS, Tokenizer
from microtune.data.tokenizer_training import Vocabulary
from microtune.errors import InputError

BYTES = 256


def train_characters(texts: Iterable[str], wanted: Vocabulary) -> Tokenizer:
    """The commonest characters, after bos, eos and the 256 bytes that spell every other one; of `wanted` its size.

    Characters that stand in `texts` once are spelled too: from them the model learns what an unseen one looks like.
    """
    special = {name: CORE_TOKENS[name] for name in ("bos", "eos")}
    room = wanted.vocab_size - len(special) - BYTES
    if room < 1:
        raise InputError(
            f"recipe: model.tokenizer.vocab_size is {wanted.vocab_size}, but bytes and marks alone take "
            f"{len(special) + BYTES} ids; take more."
        )
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text)
    ranked = sorted((c for c in counts if counts[c] > 1), key=lambda c: (-counts[c], c))
    tokens = [*special.values(), *(f"<0x{byte:02X}>" for byte in range(BYTES)), *ranked[:room]]
    backend = tokenizers.Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, [], byte_fallback=True))
    backend.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    backend.add_special_tokens(list(special.values()))
    return Tokenizer(backend, special)
