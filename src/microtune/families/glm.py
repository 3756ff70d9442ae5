"""GLM-4 in its two forms (Team GLM, 2024; 2025): neighbours turn together, in half of each head; fused gate and up.

`glm4` has norms on both sides of each branch, `glm` before it only.
"""

from __future__ import annotations

from typing import Any

from microtune.families.config import Fields
from microtune.families.decoder import (
    PRE_NORMS,
    biases,
    classes,
    decoder_rules,
    family,
    form,
    read_decoder,
    write_decoder,
)
from microtune.families.rotary import RopeForm
from microtune.nn.spec import ModelSpec

ROPE = RopeForm(partial=True, share=0.5)
FORM = form(norm_eps=1.5625e-7, num_kv_heads=2, head_dim=128, max_positions=131_072, pad=151_329, rope=ROPE)
BEHIND = {"post_self_attn_layernorm": "attention_residual.after", "post_mlp_layernorm": "mlp_residual.after"}


def _stack(config: dict[str, Any]) -> dict[str, Any]:
    return biases(Fields(config).flag("attention_bias", True), output=False) | {"rope_layout": "pairs"}


def read(config: dict[str, Any]) -> ModelSpec:
    """config.json -> ModelSpec."""
    return read_decoder(config, FORM, _stack(config))


def read4(config: dict[str, Any]) -> ModelSpec:
    """config.json -> ModelSpec."""
    return read_decoder(config, FORM, _stack(config) | {"placement": "sandwich"})


def write(spec: ModelSpec, config: dict[str, Any]) -> dict[str, Any]:
    """ModelSpec -> the fields of config.json that follow from it, for both."""
    return write_decoder(spec, config, FORM) | {"attention_bias": spec.output_stack.query_bias}


GLM = family("glm", read, write, decoder_rules(fused_mlp=True), classes("Glm"))
GLM4 = family("glm4", read4, write, decoder_rules(PRE_NORMS | BEHIND, fused_mlp=True), classes("Glm4"))
