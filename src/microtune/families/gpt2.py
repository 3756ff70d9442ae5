"""GPT-2 (Radford et al., 2019): learned positions, pre-norm, tanh GELU; q, k and v in one transposed weight."""

from __future__ import annotations

from typing import Any

from microtune.families.base import Family
from microtune.families.config import ACTIVATIONS, Fields, spelling
from microtune.families.rules import Rules, rename
from microtune.nn.spec import LONGEST, ModelSpec, StackSpec

THEIRS, OURS = "transformer.h.{}", "decoder.blocks.{}"


def read(config: dict[str, Any]) -> ModelSpec:
    """config.json -> ModelSpec."""
    fields = Fields(config)
    fields.only("scale_attn_by_inverse_layer_idx", False)
    fields.only("add_cross_attention", False)
    width = fields.integer("n_embd")
    decoder = StackSpec(
        num_layers=fields.integer("n_layer"),
        hidden_size=width,
        num_heads=fields.integer("n_head"),
        intermediate_size=fields.optional("n_inner") or 4 * width,
        causal=True,
        norm_eps=fields.number("layer_norm_epsilon", 1e-5, most=1.0),
        activation=fields.word("activation_function", "gelu_new", ACTIVATIONS),
        positions="learned",
        max_positions=fields.integer("n_positions", most=LONGEST),
        attention_scale=None if fields.flag("scale_attn_weights", True) else 1.0,
        dropout=fields.number("resid_pdrop", 0.1, most=1.0),
    )
    return ModelSpec(
        vocab_size=fields.integer("vocab_size", most=LONGEST),
        decoder=decoder,
        tied=fields.flag("tie_word_embeddings", True),
        initializer_range=fields.number("initializer_range", 0.02),
    )


def write(spec: ModelSpec, config: dict[str, Any]) -> dict[str, Any]:
    """ModelSpec -> the fields of config.json that follow from it."""
    d = spec.output_stack
    usual = config.get("n_inner") is None and d.intermediate_size == 4 * d.hidden_size
    return {
        "vocab_size": spec.vocab_size,
        "n_positions": d.max_positions,
        "n_embd": d.hidden_size,
        "n_layer": d.num_layers,
        "n_head": d.num_heads,
        "n_inner": None if usual else d.intermediate_size,
        "activation_function": spelling(ACTIVATIONS, d.activation, config.get("activation_function")),
        "layer_norm_epsilon": d.norm_eps,
        "scale_attn_weights": d.attention_scale != 1.0,
        "resid_pdrop": d.dropout,
        "embd_pdrop": config.get("embd_pdrop", d.dropout),
        "attn_pdrop": config.get("attn_pdrop", 0.0),
        "tie_word_embeddings": spec.tied,
        "initializer_range": spec.initializer_range,
    }


def rules(spec: ModelSpec | None) -> Rules:
    """Names in files; the same for every GPT-2."""
    qkv = tuple(f"{OURS}.attention.{name}" for name in "qkv")
    return Rules(
        model=(
            *rename("transformer.wte", "tokens"),
            *rename("transformer.wpe", "decoder.positions"),
            *rename(f"{THEIRS}.ln_1", f"{OURS}.attention_residual.norm"),
            *rename(f"{THEIRS}.attn.c_attn", qkv, transposed=True),
            *rename(f"{THEIRS}.attn.c_proj", f"{OURS}.attention.o", transposed=True),
            *rename(f"{THEIRS}.ln_2", f"{OURS}.mlp_residual.norm"),
            *rename(f"{THEIRS}.mlp.c_fc", f"{OURS}.mlp.up", transposed=True),
            *rename(f"{THEIRS}.mlp.c_proj", f"{OURS}.mlp.down", transposed=True),
            *rename("transformer.ln_f", "decoder.norm"),
            *rename("lm_head", "head.out"),
        ),
        label=rename("score", "head.out"),
        ignored=(f"{THEIRS}.attn.bias", f"{THEIRS}.attn.masked_bias"),
        prefix="transformer.",
    )


GPT2 = Family(
    model_type="gpt2",
    read=read,
    write=write,
    rules=rules,
    architectures={"vocabulary": "GPT2LMHeadModel", "label": "GPT2ForSequenceClassification", "none": "GPT2Model"},
)
