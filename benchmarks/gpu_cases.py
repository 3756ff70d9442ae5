"""What benchmarks/gpu.py measures: shapes of models, rows of token ids, how many of them a step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

PAD = 2
SHARED = {"max_position_embeddings": 2048, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": PAD}
SMALL = {"hidden_size": 576, "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3}
SMALL |= {"intermediate_size": 1536, "vocab_size": 49152, "tie_word_embeddings": True}
LARGE = {"hidden_size": 2048, "num_hidden_layers": 22, "num_attention_heads": 32, "num_key_value_heads": 4}
LARGE |= {"intermediate_size": 5632, "vocab_size": 32000, "tie_word_embeddings": False}
TINY = {**SMALL, "hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 6, "intermediate_size": 96}
TINY |= {"vocab_size": 512}


@dataclass(frozen=True)
class Case:
    """One line of the table."""

    name: str
    shape: dict[str, Any]
    batch: int
    alone: int  # steps that each side trains alone


CASES = [
    Case("135M (SmolLM2), 8 rows a step", SMALL, 8, 32),
    Case("135M (SmolLM2), 32 rows a step", SMALL, 32, 16),
    Case("1.1B (TinyLlama), 8 rows a step", LARGE, 8, 32),
    Case("1.1B (TinyLlama), 16 rows a step", LARGE, 16, 16),
]
TINY_CASES = [Case("tiny, 4 rows a step", TINY, 4, 8)]


@dataclass
class Row:
    """A prompt, which is read, and an answer, which is learnt."""

    ids: list[int]
    prompt: int


def make_rows(count: int, vocabulary: int, seed: int) -> list[Row]:
    """Prompts of 120 +- 60 tokens, answers of 60 +- 40 and an end mark; ids as frequent as words (Zipf, 1935)."""
    generator = np.random.default_rng(seed)
    shares = np.cumsum(1 / (np.arange(vocabulary - 3) + 2))
    rows = []
    for _ in range(count):
        prompt, answer = (
            int(np.clip(generator.normal(mean, spread), least, most))
            for mean, spread, least, most in ((120, 60, 16, 400), (60, 40, 8, 300))
        )
        drawn = np.searchsorted(shares, generator.random(prompt + answer) * shares[-1])
        rows.append(Row([*(3 + np.minimum(drawn, vocabulary - 4)).tolist(), 1], prompt))
    return rows
