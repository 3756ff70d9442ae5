"""Llama (Touvron et al., 2023): RMSNorm, rotary positions, gated SiLU, grouped key heads, no biases by default."""

from __future__ import annotations

from typing import Any

from microtune.errors import InputError
from microtune.families.base import Family
from microtune.families.config import ACTIVATIONS, Fields, default_rope_theta, spelling
from microtune.families.rules import Rules, rename
from microtune.nn.spec import LONGEST, ModelSpec, StackSpec

THEIRS, OURS = "model.layers.{}", "decoder.blocks.{}"


def read(config: dict[str, Any]) -> ModelSpec:
    """config.json -> ModelSpec."""
    fields = Fields(config)
    heads = fields.integer("num_attention_heads")
    biased = fields.flag("attention_bias", False)
    decoder = StackSpec(
        num_layers=fields.integer("num_hidden_layers"),
        hidden_size=fields.integer("hidden_size"),
        num_heads=heads,
        num_kv_heads=fields.integer("num_key_value_heads", heads),
        head_dim=fields.optional("head_dim"),
        intermediate_size=fields.integer("intermediate_size"),
        causal=True,
        norm="rms",
        norm_eps=fields.number("rms_norm_eps", 1e-6, most=1.0),
        mlp="gated",
        activation=fields.word("hidden_act", "silu", ACTIVATIONS),
        positions="rotary",
        max_positions=fields.integer("max_position_embeddings", 2048, most=LONGEST),
        rope_theta=default_rope_theta(config),
        query_bias=biased,
        key_bias=biased,
        value_bias=biased,
        output_bias=biased,
        mlp_bias=fields.flag("mlp_bias", False),
    )
    if decoder.head_size % 2:
        raise InputError(f"head_dim is {decoder.head_size}, but rotary positions need an even number.")
    return ModelSpec(
        vocab_size=fields.integer("vocab_size", most=LONGEST),
        decoder=decoder,
        tied=fields.flag("tie_word_embeddings", False),
        initializer_range=fields.number("initializer_range", 0.02),
    )


def write(spec: ModelSpec, config: dict[str, Any]) -> dict[str, Any]:
    """ModelSpec -> the fields of config.json that follow from it; the rotary base in both spellings."""
    d = spec.output_stack
    return {
        "vocab_size": spec.vocab_size,
        "hidden_size": d.hidden_size,
        "intermediate_size": d.intermediate_size,
        "num_hidden_layers": d.num_layers,
        "num_attention_heads": d.num_heads,
        "num_key_value_heads": d.kv_heads,
        "head_dim": d.head_size,
        "hidden_act": spelling(ACTIVATIONS, d.activation, config.get("hidden_act")),
        "max_position_embeddings": d.max_positions or 2048,
        "rms_norm_eps": d.norm_eps,
        "rope_theta": d.rope_theta,
        "rope_parameters": {"rope_type": "default", "rope_theta": d.rope_theta},
        **({"rope_scaling": None} if "rope_scaling" in config else {}),
        "attention_bias": d.query_bias,
        "mlp_bias": d.mlp_bias,
        "tie_word_embeddings": spec.tied,
        "initializer_range": spec.initializer_range,
    }


def rules(spec: ModelSpec | None) -> Rules:
    """Names in files; the same for every Llama."""
    return Rules(
        model=(
            *rename("model.embed_tokens", "tokens"),
            *rename(f"{THEIRS}.input_layernorm", f"{OURS}.attention_residual.norm"),
            *(rule for n in "qkvo" for rule in rename(f"{THEIRS}.self_attn.{n}_proj", f"{OURS}.attention.{n}")),
            *rename(f"{THEIRS}.post_attention_layernorm", f"{OURS}.mlp_residual.norm"),
            *(rule for n in ("gate", "up", "down") for rule in rename(f"{THEIRS}.mlp.{n}_proj", f"{OURS}.mlp.{n}")),
            *rename("model.norm", "decoder.norm"),
            *rename("lm_head", "head.out"),
        ),
        label=rename("score", "head.out"),
        ignored=(f"{THEIRS}.self_attn.rotary_emb.inv_freq", "model.rotary_emb.inv_freq"),
        prefix="model.",
    )


LLAMA = Family(
    model_type="llama",
    read=read,
    write=write,
    rules=rules,
    architectures={"vocabulary": "LlamaForCausalLM", "label": "LlamaForSequenceClassification", "none": "LlamaModel"},
)
