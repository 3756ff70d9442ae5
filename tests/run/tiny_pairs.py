"""Encoder-decoders and pairs of texts small enough for whole runs in a second."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from microtune.data.text import train_bpe
from microtune.families import families
from microtune.families.base import save_folder
from microtune.nn.parameters import initialize
from microtune.nn.transformer import Transformer
from microtune.recipe import Recipe, build

VOCAB, LIMIT = 320, 40
NUMBERS = ["one", "two", "three", "four", "five", "six"]
ANSWERS = ["eins", "zwei", "drei", "vier", "fünf", "sechs"]
_BART = {
    "d_model": 16, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2, "decoder_attention_heads": 2,
    "encoder_ffn_dim": 24, "decoder_ffn_dim": 24, "max_position_embeddings": LIMIT, "dropout": 0.1,
}  # fmt: skip
_T5 = {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2, "relative_attention_num_buckets": 8}
CONFIGS: dict[str, dict[str, Any]] = {
    "t5": _T5,
    "mt5": _T5 | {"feed_forward_proj": "gated-gelu"},
    "bart": _BART,
    "mbart": _BART | {"activation_function": "relu", "scale_embedding": True},
    "marian": _BART | {"activation_function": "swish"},
    "pegasus": _BART | {"activation_function": "relu"},
}


def make_pair_base(folder: Path, family: str = "bart", **fields: Any) -> str:
    """A random encoder-decoder of two blocks each, with its tokenizer, in Hugging Face form."""
    tokenizer = train_bpe([*NUMBERS, *ANSWERS], VOCAB)
    ids = {f"{name}_token_id": tokenizer.id(name) for name in ("bos", "eos", "pad")}
    config = {"model_type": family, "vocab_size": VOCAB, "decoder_start_token_id": ids["pad_token_id"]}
    config |= {"is_encoder_decoder": True, "forced_eos_token_id": None} | ids | CONFIGS[family] | fields
    spec = families[family].to_spec(config)
    torch.manual_seed(3)
    network = Transformer(spec)
    initialize(network, 0.2, num_layers=2)
    save_folder(folder, spec, network.state_dict(), family=family, config=config)
    tokenizer.save(folder)
    return str(folder)


def pair_rows(count: int = 48) -> list[dict[str, str]]:
    """English numbers and their German, no two rows alike."""
    found = []
    for i in range(count):
        digits = [i % 6, i // 6 % 6, i // 36 % 6][: 2 + i % 2]
        words = [(NUMBERS[d], ANSWERS[d]) for d in digits]
        found.append({"en": f"{i} " + " ".join(w[0] for w in words), "de": " ".join(w[1] for w in words)})
    return found


def write_rows(path: Path, count: int = 48) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in pair_rows(count)), encoding="utf-8")
    return str(path)


def pair_recipe(base: str, data: Any, method: dict[str, Any], **train: Any) -> Recipe:
    """Two epochs of four steps, checkpoints after steps 3, 6 and 8."""
    settings = {"epochs": 2, "batch_size": 8, "lr": 0.01, "checkpoint_steps": 3, "precision": "float32", **train}
    return build(
        {
            "task": {"name": "sequence-to-sequence", "max_new_tokens": 12},
            "model": {"source": base},
            "data": {
                "train": data,
                "text_field": "en",
                "label_field": "de",
                "split": {"validation": 0.17, "test": 0.17},
            },
            "method": method,
            "train": settings,
        }
    )
