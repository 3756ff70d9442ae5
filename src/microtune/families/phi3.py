"""Phi-3 and Phi-4 (Abdin et al., 2024): Llama with fused q, k and v, and gate and up; long contexts by LongRoPE."""

from __future__ import annotations

from typing import Any

from microtune.families.config import Fields
from microtune.families.decoder import biases, classes, decoder_rules, family, form, read_decoder, write_decoder
from microtune.families.rotary import RopeForm
from microtune.nn.spec import ModelSpec

ROPE = RopeForm(partial=True, kinds=("longrope",), older={"su": "longrope", "yarn": "longrope"}, original=4096)
FORM = form(norm_eps=1e-5, max_positions=4096, names_head_dim=False, pad=32000, rope=ROPE)


def read(config: dict[str, Any]) -> ModelSpec:
    """config.json -> ModelSpec."""
    fields = Fields(config)
    fields.only("attention_bias", False)
    window = fields.optional("sliding_window")
    own = {"window": window, "pattern": "L" if window else "G", "dropout": fields.number("resid_pdrop", 0.0, most=1.0)}
    return read_decoder(config, FORM, biases(False) | own)


def write(spec: ModelSpec, config: dict[str, Any]) -> dict[str, Any]:
    """ModelSpec -> the fields of config.json that follow from it."""
    d = spec.output_stack
    window = d.window if d.windowed(0) else None
    return write_decoder(spec, config, FORM) | {"sliding_window": window, "resid_pdrop": d.dropout}


PHI3 = family("phi3", read, write, decoder_rules(fused_attention=True, fused_mlp=True), classes("Phi3"))
