"""Llama (Touvron et al., 2023), and two that name tensors as it does: Mistral (Jiang et al., 2023), InternLM3 (2025).

RMSNorm, rotary positions, gated SiLU, grouped key heads, no biases by default. Llama 1 to 3, SmolLM, Yi, TinyLlama and
the Llama distillates of DeepSeek are all `llama` files.
"""

from __future__ import annotations

from typing import Any

from microtune.errors import InputError
from microtune.families.config import Fields
from microtune.families.decoder import (
    biases,
    classes,
    decoder_rules,
    family,
    form,
    read_decoder,
    read_window,
    write_decoder,
)
from microtune.nn.spec import ModelSpec

FORM = form()
MISTRAL_FORM = form(num_kv_heads=8, max_positions=4096 * 32)
INTERNLM_FORM = form(num_kv_heads=2, head_dim=128, max_positions=32768, norm_eps=1e-5)
RULES = decoder_rules()


def read(config: dict[str, Any]) -> ModelSpec:
    """config.json -> ModelSpec."""
    fields = Fields(config)
    biased = biases(fields.flag("attention_bias", False))
    return read_decoder(config, FORM, biased | {"mlp_bias": fields.flag("mlp_bias", False)})


def write(spec: ModelSpec, config: dict[str, Any]) -> dict[str, Any]:
    """ModelSpec -> the fields of config.json that follow from it."""
    d = spec.output_stack
    return write_decoder(spec, config, FORM) | {"attention_bias": d.query_bias, "mlp_bias": d.mlp_bias}


def read_mistral(config: dict[str, Any]) -> ModelSpec:
    """Llama without biases, and with a window in every layer where the file names one."""
    fields = Fields(config)
    fields.only("layer_types", None, "layers of this family are all alike")
    window = read_window(fields, "sliding_window", 4096)
    return read_decoder(config, MISTRAL_FORM, biases(False) | {"window": window, "pattern": "L" if window else "G"})


def write_mistral(spec: ModelSpec, config: dict[str, Any]) -> dict[str, Any]:
    """ModelSpec -> the fields of config.json that follow from it."""
    d = spec.output_stack
    return write_decoder(spec, config, MISTRAL_FORM) | {"sliding_window": d.window if d.windowed(0) else None}


def read_internlm(config: dict[str, Any]) -> ModelSpec:
    """Llama with other words for its biases; transformers computes it where both are alike."""
    fields = Fields(config)
    found = [
        [fields.flag(key, False) for key in keys if config.get(key) is not None]
        for keys in (("qkv_bias", "attention_bias"), ("bias", "mlp_bias"))
    ]
    values = {value for words in found for value in words or [False]}
    if len(values) > 1:
        raise InputError("qkv_bias and bias (attention_bias and mlp_bias) must be alike in this family.")
    biased = values.pop()
    return read_decoder(config, INTERNLM_FORM, biases(biased) | {"mlp_bias": biased})


def write_internlm(spec: ModelSpec, config: dict[str, Any]) -> dict[str, Any]:
    """ModelSpec -> the fields of config.json that follow from it, in the words that the file used already."""
    d = spec.output_stack
    words = {"qkv_bias": d.query_bias, "bias": d.mlp_bias}
    old = {key: value for key, value in words.items() if key in config}
    new = {"attention_bias": d.query_bias, "mlp_bias": d.mlp_bias}
    return write_decoder(spec, config, INTERNLM_FORM) | old | ({} if old.keys() == words.keys() else new)


LLAMA = family("llama", read, write, RULES, classes("Llama"))
MISTRAL = family("mistral", read_mistral, write_mistral, RULES, classes("Mistral"))
INTERNLM3 = family(
    "internlm3", read_internlm, write_internlm, RULES, {"vocabulary": "LlamaForCausalLM", "none": "LlamaModel"}
)
