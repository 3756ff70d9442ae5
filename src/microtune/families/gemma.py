"""Gemma (2024), Gemma 2 (2024) and the text part of Gemma 3 (2025).

Llama with (1 + weight) in its norms, scaled embeddings and tanh GELU; Gemma 2 adds norms behind the branches, soft caps
and a window in every second layer; Gemma 3 has norms of queries and keys, and a rotary base of its own for windows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from microtune.errors import InputError
from microtune.families.config import ACTIVATIONS, Fields
from microtune.families.decoder import (
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
from microtune.families.qwen import HEAD_NORMS
from microtune.families.rotary import PARAMETERS, SCALING, RopeForm, read_rope, rope_parameters, written_positions
from microtune.nn.spec import Activation, ModelSpec, StackSpec

# The first Gemma files say "gelu" and mean its tanh form, and no code ever computed them otherwise.
WORDS: dict[str, Activation] = {"gelu_pytorch_tanh": "gelu_tanh", **ACTIVATIONS, "gelu": "gelu_tanh"}
GLOBAL, LOCAL = "full_attention", "sliding_attention"
USUAL = {"activation": "gelu_pytorch_tanh", "head_dim": 256, "tied": True, "max_positions": 8192}
FORM = form(num_kv_heads=16, activations=WORDS, **USUAL)
FORM2 = form(num_kv_heads=4, activation_key="hidden_activation", **USUAL)
FORM3 = form(num_kv_heads=4, activation_key="hidden_activation", **(USUAL | {"max_positions": 131_072}))
ROPE_GLOBAL, ROPE_LOCAL = RopeForm(theta=1_000_000.0), RopeForm(theta=10_000.0, theta_key="rope_local_base_freq")
SANDWICH = {
    "input_layernorm": "attention_residual.norm",
    "post_attention_layernorm": "attention_residual.after",
    "pre_feedforward_layernorm": "mlp_residual.norm",
    "post_feedforward_layernorm": "mlp_residual.after",
}


def _common(fields: Fields) -> dict[str, Any]:
    fields.only("use_bidirectional_attention", False)
    return biases(fields.flag("attention_bias", False)) | {
        "norm_shift": True,
        "embedding_scale": fields.integer("hidden_size") ** 0.5,
    }


def _cap(fields: Fields, key: str, default: float | None) -> float | None:
    """A soft cap; null says that there is none, an absent field that the default holds."""
    value = fields.config.get(key, default)
    return None if value is None else fields.number(key, default, least=1e-9)


def read(config: dict[str, Any]) -> ModelSpec:
    """config.json -> ModelSpec."""
    fields = Fields(config)
    if config.get("hidden_activation") is not None:  # which older code read instead
        words = [fields.word(key, "gelu_pytorch_tanh", WORDS) for key in ("hidden_act", "hidden_activation")]
        if len(set(words)) > 1:
            raise InputError("hidden_act and hidden_activation say different things; keep one of them.")
    return read_decoder(config, FORM, _common(fields))


def write(spec: ModelSpec, config: dict[str, Any]) -> dict[str, Any]:
    """ModelSpec -> the fields of config.json that follow from it."""
    out = write_decoder(spec, config, FORM) | {"attention_bias": spec.output_stack.query_bias}
    return out | ({"hidden_activation": out["hidden_act"]} if config.get("hidden_activation") is not None else {})


def _windows(fields: Fields, every: float) -> dict[str, Any]:
    return {
        "placement": "sandwich",
        "attention_scale": fields.number("query_pre_attn_scalar", 256, least=1e-9) ** -0.5,
        "window": read_window(fields, "sliding_window", 4096),
        "pattern": read_pattern(fields, lambda layer: bool((layer + 1) % every)),
    }


def read2(config: dict[str, Any]) -> ModelSpec:
    """config.json -> ModelSpec."""
    fields = Fields(config)
    cap = {"attention_softcap": _cap(fields, "attn_logit_softcapping", 50.0)}
    logits = {"logit_softcap": _cap(fields, "final_logit_softcapping", 30.0)}
    return read_decoder(config, FORM2, _common(fields) | _windows(fields, 2) | cap, logits)


def write2(spec: ModelSpec, config: dict[str, Any]) -> dict[str, Any]:
    """ModelSpec -> the fields of config.json that follow from it."""
    d = spec.output_stack
    return write_decoder(spec, config, FORM2) | {
        "attention_bias": d.query_bias,
        "query_pre_attn_scalar": _scalar(d, config),
        "sliding_window": config.get("sliding_window") if d.window is None else d.window,
        "layer_types": write_pattern(d),
        "attn_logit_softcapping": d.attention_softcap,
        "final_logit_softcapping": spec.logit_softcap,
    }


def read3(config: dict[str, Any]) -> ModelSpec:
    """config.json -> ModelSpec; rotary scalings belong to the layers that see everything."""
    fields = Fields(config)
    fields.only("attn_logit_softcapping", None, "the code of this family never applies it")
    every = fields.integer("sliding_window_pattern", 6)
    positions = fields.integer("max_position_embeddings", 131_072)
    whole, part = _ropes(config)
    rope, local = read_rope(whole, positions, ROPE_GLOBAL), read_rope(part, positions, ROPE_LOCAL)
    if local.scaling is not None:
        raise InputError(f"{PARAMETERS}: a rope_type other than default is not supported for {LOCAL}.")
    own = {
        "query_key_norm": "head",
        "rope_theta": rope.theta,
        "rope_scaling": rope.scaling,
        "rope_local_theta": local.theta,
    }
    logits = {"logit_softcap": _cap(fields, "final_logit_softcapping", None)}
    flat = {key: value for key, value in config.items() if key not in (PARAMETERS, SCALING)}
    return read_decoder(flat, FORM3, _common(fields) | _windows(fields, every) | own, logits)


def write3(spec: ModelSpec, config: dict[str, Any]) -> dict[str, Any]:
    """ModelSpec -> the fields of config.json that follow from it."""
    d = spec.output_stack
    local = d.rope_theta if d.rope_local_theta is None else d.rope_local_theta
    out = write2(spec, {key: value for key, value in config.items() if key not in (PARAMETERS, SCALING)})
    out |= {"attn_logit_softcapping": None, "rope_theta": d.rope_theta, "rope_local_base_freq": local}
    out |= {"max_position_embeddings": written_positions(d)} | ({SCALING: None} if SCALING in config else {})
    return out | {
        PARAMETERS: {GLOBAL: rope_parameters(d), LOCAL: {"rope_type": "default", "rope_theta": local}},
    }


def _ropes(config: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a config says about layers that see everything, and about those with a window, as two configs."""
    both = config.get(PARAMETERS)
    if both is None:
        both = {}
    if not isinstance(both, dict) or set(both) - {GLOBAL, LOCAL}:
        raise InputError(f"{PARAMETERS} is {str(both)[:80]}, but must hold {GLOBAL} and {LOCAL}.")
    whole = {key: config.get(key) for key in (SCALING, "rope_theta")} | {PARAMETERS: both.get(GLOBAL)}
    if whole[SCALING] and whole[PARAMETERS] == {"rope_type": "default"}:  # the older words complete it
        whole[PARAMETERS] = None
    return whole, {PARAMETERS: both.get(LOCAL), "rope_local_base_freq": config.get("rope_local_base_freq")}


def _scalar(stack: StackSpec, config: Mapping[str, Any]) -> Any:
    """`query_pre_attn_scalar`, a whole number whose inverse root the attention scale is."""
    scale = stack.head_size**-0.5 if stack.attention_scale is None else stack.attention_scale
    before: Any = config.get("query_pre_attn_scalar")
    known = isinstance(before, int | float) and before > 0 and before**-0.5 == scale
    return before if known else round(scale**-2)


GEMMA = family("gemma", read, write, decoder_rules(), classes("Gemma"))
GEMMA2 = family("gemma2", read2, write2, decoder_rules(SANDWICH), classes("Gemma2"))
GEMMA3 = family(
    "gemma3_text",
    read3,
    write3,
    decoder_rules(SANDWICH | HEAD_NORMS),
    classes("Gemma3", "Gemma3Text") | {"none": "Gemma3TextModel"},
)
