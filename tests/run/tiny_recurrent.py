"""A seq2seq-rnn that turns a few letters round, and its run: 560 rows, 6 epochs, letters as tokens."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

SIZE = 48
BYTES = 312  # 56 reserved ids and the 256 bytes: no merges, so that a letter is a token


def reversed_rows(path: Path, count: int = 560) -> str:
    """Rows of three to five letters and the same letters in reverse, no two alike."""
    drawn, rows = random.Random(1), []
    seen: set[str] = set()
    while len(rows) < count:
        word = "".join(drawn.choices("abcdefgh", k=drawn.randint(3, 5)))
        if word not in seen:
            seen.add(word)
            rows.append({"source": word, "target": word[::-1]})
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return str(path)


def recipe(data: str, attention: str = "additive", cell: str = "gru", **train: Any) -> dict[str, Any]:
    """Values of a tune recipe from scratch."""
    stack = {"num_layers": 1, "hidden_size": SIZE, "cell": cell}
    sides: dict[str, Any] = {
        "encoder": {**stack, "bidirectional": True},
        "decoder": {**stack, "attention": attention},
        "initializer_range": 0.3,
    }
    return {
        "task": {"name": "sequence-to-sequence", "max_new_tokens": 8},
        "model": {"family": "seq2seq-rnn", "source": None, "tokenizer": {"vocab_size": BYTES}, "spec": sides},
        "data": {"train": data},
        "method": "full",
        "train": {"lr": 0.005, "epochs": 6, "batch_size": 8, "precision": "float32", **train},
    }
