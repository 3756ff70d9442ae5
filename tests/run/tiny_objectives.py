"""Pretraining runs of every objective that take a second: a corpus with planted rules, and networks of one block."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from microtune.recipe import Recipe, build

PAIRS = {"cat": "milk", "dog": "bone", "cow": "grass", "bee": "honey"}
ENCODER = {
    "tied": True,
    "head_transform": True,
    "head_transform_bias": False,
    "label_head": "transform",
    "label_bias": True,
    "pooling": "mean",
    "initializer_range": 0.1,
    "encoder": {
        "num_layers": 2,
        "hidden_size": 32,
        "num_heads": 2,
        "intermediate_size": 48,
        "norm_bias": False,
        "first_norm": False,
        "embedding_norm": True,
        "mlp": "gated",
        "positions": "rotary",
        "max_positions": 64,
        **{f"{name}_bias": False for name in ("query", "key", "value", "output", "mlp")},
    },
}


def sentences(count: int, seed: int = 0) -> list[str]:
    """Each animal eats one thing, so that either word of a pair tells the other."""
    draw = random.Random(seed)
    return [f"the {a} eats {PAIRS[a]}" for a in draw.choices(sorted(PAIRS), k=count)]


def objective_recipe(folder: Path, objective: str, model: dict[str, Any], **train: Any) -> Recipe:
    """A recipe over 600 sentences, with 40 others held out."""
    (folder / "corpus.txt").write_text("\n".join(sentences(600)), encoding="utf-8")
    (folder / "held.txt").write_text("\n".join(sentences(40, seed=1)), encoding="utf-8")
    settings = {"epochs": 1, "batch_size": 16, "lr": 0.01, "precision": "float32", "keep": "last", **train}
    return build(
        {
            "task": {"name": "language-modelling", "objective": objective},
            "model": {"source": None, "tokenizer": {"vocab_size": 330}, **model},
            "data": {
                "folder": str(folder),
                "block_size": 32,
                "sources": [{"path": "corpus.txt", "held_out": "held.txt", "name": "tiny", "language": "en"}],
            },
            "method": "full",
            "train": settings,
        }
    )
