"""Qwen2 and Qwen2.5 (2024), Qwen3 (2025): Llama with biases of queries, keys and values, or with a norm of each head.

A window, where one is used, is that of the upper layers. The Qwen distillates of DeepSeek are `qwen2` files.
"""

from __future__ import annotations

from typing import Any

from microtune.families.config import Fields
from microtune.families.decoder import (
    PRE_NORMS,
    Form,
    biases,
    classes,
    decoder_rules,
    family,
    form,
    read_decoder,
    read_pattern,
    read_window,
    write_decoder,
    write_pattern,
)
from microtune.nn.spec import ModelSpec

HEADS = 32  # num_key_value_heads where a file does not name it
QWEN2_FORM = form(num_kv_heads=HEADS, max_positions=32768, names_head_dim=False)
QWEN3_FORM = form(num_kv_heads=HEADS, max_positions=32768, head_dim=128)
HEAD_NORMS = {"self_attn.q_norm": "attention.q_norm", "self_attn.k_norm": "attention.k_norm"}


def _windows(fields: Fields) -> dict[str, Any]:
    """`use_sliding_window` switches it on; without `layer_types`, the first `max_window_layers` have none."""
    window = read_window(fields, "sliding_window", 4096) if fields.flag("use_sliding_window", False) else None
    full = fields.number("max_window_layers", 28)
    pattern = read_pattern(fields, lambda layer: window is not None and layer >= full)
    return {"window": window, "pattern": pattern}


def _write(spec: ModelSpec, config: dict[str, Any], form: Form) -> dict[str, Any]:
    d = spec.output_stack
    pattern = write_pattern(d)
    used = "sliding_attention" in pattern
    return write_decoder(spec, config, form) | {
        "use_sliding_window": used,
        "sliding_window": d.window if used else config.get("sliding_window"),
        "max_window_layers": config.get(
            "max_window_layers", pattern.index("sliding_attention") if used else len(pattern)
        ),
        "layer_types": pattern,
    }


def read_qwen2(config: dict[str, Any]) -> ModelSpec:
    """config.json -> ModelSpec."""
    return read_decoder(config, QWEN2_FORM, biases(True, output=False) | _windows(Fields(config)))


def write_qwen2(spec: ModelSpec, config: dict[str, Any]) -> dict[str, Any]:
    """ModelSpec -> the fields of config.json that follow from it."""
    return _write(spec, config, QWEN2_FORM)


def read_qwen3(config: dict[str, Any]) -> ModelSpec:
    """config.json -> ModelSpec."""
    fields = Fields(config)
    own = biases(fields.flag("attention_bias", False)) | {"query_key_norm": "head"}
    return read_decoder(config, QWEN3_FORM, own | _windows(fields))


def write_qwen3(spec: ModelSpec, config: dict[str, Any]) -> dict[str, Any]:
    """ModelSpec -> the fields of config.json that follow from it."""
    return _write(spec, config, QWEN3_FORM) | {"attention_bias": spec.output_stack.query_bias}


QWEN2 = family("qwen2", read_qwen2, write_qwen2, decoder_rules(), classes("Qwen2"))
QWEN3 = family("qwen3", read_qwen3, write_qwen3, decoder_rules(PRE_NORMS | HEAD_NORMS), classes("Qwen3"))
