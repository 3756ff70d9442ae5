"""A language of eight words in which a sentence is translated by turning it round, and networks to learn it."""

from __future__ import annotations

import random
from typing import Any

from microtune.recipe import Recipe, build

WORDS = ("ab", "cd", "ef", "gh", "ij", "kl", "mn", "op")
STACK: dict[str, Any] = {
    "num_layers": 2,
    "hidden_size": 32,
    "num_heads": 2,
    "intermediate_size": 64,
    "activation": "relu",
    "positions": "learned",
    "max_positions": 26,
    "position_offset": 2,
    "embedding_scale": 32**0.5,
    "embedding_norm": True,
}
SPEC: dict[str, Any] = {
    "head_bias": True,
    "encoder": STACK,
    "decoder": STACK | {"causal": True, "cross_attention": True},
}
READER: dict[str, Any] = {  # a BERT
    "token_types": 2,
    "head_transform": True,
    "head_bias": True,
    "pooling": "first",
    "encoder": {
        "num_layers": 2,
        "hidden_size": 32,
        "num_heads": 2,
        "intermediate_size": 64,
        "placement": "post",
        "final_norm": False,
        "norm_eps": 1e-12,
        "positions": "learned",
        "max_positions": 24,
        "embedding_norm": True,
    },
}


def turned(count: int, seed: int = 0) -> list[dict[str, str]]:
    """Different sentences of two to four words, and the same from behind."""
    generator = random.Random(seed)
    found: dict[str, str] = {}
    while len(found) < count:
        words = generator.choices(WORDS, k=generator.randint(2, 4))
        found[" ".join(words)] = " ".join(reversed(words))
    return [{"source": source, "target": target} for source, target in found.items()]


def scratch_recipe(data: Any, *, model: dict[str, Any] | None = None, **train: Any) -> Recipe:
    """An mBART of two blocks each, from nothing; two epochs of five steps with checkpoints after 3, 6, 9 and 10."""
    settings = {"epochs": 2, "batch_size": 8, "lr": 0.003, "checkpoint_steps": 3, "precision": "float32", **train}
    said = {"source": None, "family": "mbart", "tokenizer": {"vocab_size": 330}, "spec": SPEC}
    return build(
        {
            "task": {"name": "sequence-to-sequence", "max_new_tokens": 12},
            "model": said | (model or {}),
            "data": {"train": data, "split": {"validation": 0.2, "test": 0.2}},
            "method": "full",
            "train": settings,
        }
    )
