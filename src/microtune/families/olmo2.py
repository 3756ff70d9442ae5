"""OLMo 2 (Walsh et al., 2024): Llama with norms behind the branches only, and of all heads of queries and keys."""

from __future__ import annotations

from typing import Any

from microtune.families.config import Fields
from microtune.families.decoder import biases, classes, decoder_rules, family, form, read_decoder, write_decoder
from microtune.families.qwen import HEAD_NORMS
from microtune.nn.spec import ModelSpec

FORM = form(norm_eps=1e-5, names_head_dim=False)
NORMS = {"post_attention_layernorm": "attention_residual.after", "post_feedforward_layernorm": "mlp_residual.after"}


def read(config: dict[str, Any]) -> ModelSpec:
    """config.json -> ModelSpec."""
    biased = biases(Fields(config).flag("attention_bias", False))
    return read_decoder(config, FORM, biased | {"placement": "after", "query_key_norm": "width"})


def write(spec: ModelSpec, config: dict[str, Any]) -> dict[str, Any]:
    """ModelSpec -> the fields of config.json that follow from it."""
    return write_decoder(spec, config, FORM) | {"attention_bias": spec.output_stack.query_bias}


OLMO2 = family("olmo2", read, write, decoder_rules(NORMS | HEAD_NORMS), classes("Olmo2"))
