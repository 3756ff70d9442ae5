"""A model folder small enough for hundreds of loads: a random two-block Llama with a trained byte-level tokenizer."""

from __future__ import annotations

from pathlib import Path

import torch

from microtune.data.text import train_bpe
from microtune.families import save_folder
from microtune.nn.parameters import initialize
from microtune.nn.spec import ModelSpec, StackSpec
from microtune.nn.transformer import Transformer

TEXTS = ["my card was declined at the shop", "the transfer has not arrived in my account", "退款还没有到账"]
POSITIONS = 64
SPEC = ModelSpec(
    vocab_size=340,
    decoder=StackSpec(
        num_layers=2,
        hidden_size=16,
        num_heads=2,
        intermediate_size=24,
        causal=True,
        norm="rms",
        mlp="gated",
        activation="silu",
        positions="rotary",
        max_positions=POSITIONS,
        query_bias=False,
        key_bias=False,
        value_bias=False,
        output_bias=False,
        mlp_bias=False,
    ),
)


def make_model(folder: Path) -> Path:
    """Write the model and return its folder."""
    tokenizer = train_bpe(TEXTS, SPEC.vocab_size)
    torch.manual_seed(3)
    network = Transformer(SPEC)
    initialize(network, 0.2, num_layers=2)
    save_folder(folder, SPEC, network.state_dict(), family="llama")
    tokenizer.save(folder)
    return folder


def rows(count: int = 24) -> list[dict[str, str]]:
    """Texts of two classes that no two rows share."""
    return [{"text": f"{TEXTS[i % 2]} {i}", "label": ("card", "transfer")[i % 2]} for i in range(count)]
