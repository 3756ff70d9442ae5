"""GPT-NeoX (Black et al., 2022), Pythia: parallel residuals, a quarter of each head turns, q, k and v fused by head."""

from __future__ import annotations

from typing import Any

from microtune.families.base import Family
from microtune.families.config import ACTIVATIONS, Fields, spelling
from microtune.families.decoder import biases
from microtune.families.rotary import RopeForm, read_rope, write_rope, written_positions
from microtune.families.rules import Rules, rename
from microtune.nn.spec import LONGEST, ModelSpec, StackSpec

THEIRS, OURS = "gpt_neox.layers.{}", "decoder.blocks.{}"
ROPE = RopeForm(partial=True, share=0.25, theta_key="rotary_emb_base", share_key="rotary_pct")


def read(config: dict[str, Any]) -> ModelSpec:
    """config.json -> ModelSpec."""
    fields = Fields(config)
    heads, width = fields.integer("num_attention_heads"), fields.integer("hidden_size")
    positions = fields.integer("max_position_embeddings", 2048, most=LONGEST)
    rope = read_rope(config, positions, ROPE)
    rest: dict[str, Any] = biases(fields.flag("attention_bias", True)) | rope.fields(max(width // heads, 1))
    decoder = StackSpec(
        num_layers=fields.integer("num_hidden_layers"),
        hidden_size=width,
        num_heads=heads,
        intermediate_size=fields.integer("intermediate_size"),
        causal=True,
        norm_eps=fields.number("layer_norm_eps", 1e-5, most=1.0),
        residuals="parallel" if fields.flag("use_parallel_residual", True) else "sequential",
        activation=fields.word("hidden_act", "gelu", ACTIVATIONS),
        max_positions=positions,
        dropout=fields.number("hidden_dropout", 0.0, most=1.0),
        **rest,
    )
    return ModelSpec(
        vocab_size=fields.integer("vocab_size", most=LONGEST),
        decoder=decoder,
        tied=fields.flag("tie_word_embeddings", False),
        initializer_range=fields.number("initializer_range", 0.02),
    )


def write(spec: ModelSpec, config: dict[str, Any]) -> dict[str, Any]:
    """ModelSpec -> the fields of config.json that follow from it."""
    d = spec.output_stack
    return {
        "vocab_size": spec.vocab_size,
        "hidden_size": d.hidden_size,
        "intermediate_size": d.intermediate_size,
        "num_hidden_layers": d.num_layers,
        "num_attention_heads": d.num_heads,
        "hidden_act": spelling(ACTIVATIONS, d.activation, config.get("hidden_act")),
        "hidden_dropout": d.dropout,
        "attention_dropout": config.get("attention_dropout", 0.0),
        "max_position_embeddings": written_positions(d),
        "layer_norm_eps": d.norm_eps,
        "use_parallel_residual": d.residuals == "parallel",
        "attention_bias": d.query_bias,
        **write_rope(d, config, ROPE),
        "tie_word_embeddings": spec.tied,
        "initializer_range": spec.initializer_range,
    }


def rules(spec: ModelSpec | None) -> Rules:
    """Names in files; q, k and v of one head stand together, so how many heads there are matters."""
    qkv = tuple(f"{OURS}.attention.{name}" for name in "qkv")
    heads = 1 if spec is None else spec.output_stack.num_heads
    return Rules(
        model=(
            *rename("gpt_neox.embed_in", "tokens"),
            *rename(f"{THEIRS}.input_layernorm", f"{OURS}.attention_residual.norm"),
            *rename(f"{THEIRS}.attention.query_key_value", qkv, heads=heads),
            *rename(f"{THEIRS}.attention.dense", f"{OURS}.attention.o"),
            *rename(f"{THEIRS}.post_attention_layernorm", f"{OURS}.mlp_residual.norm"),
            *rename(f"{THEIRS}.mlp.dense_h_to_4h", f"{OURS}.mlp.up"),
            *rename(f"{THEIRS}.mlp.dense_4h_to_h", f"{OURS}.mlp.down"),
            *rename("gpt_neox.final_layer_norm", "decoder.norm"),
            *rename("embed_out", "head.out"),
        ),
        label=rename("score", "head.out"),
        ignored=tuple(f"{THEIRS}.attention.{name}" for name in ("bias", "masked_bias", "rotary_emb.inv_freq")),
        prefix="gpt_neox.",
        respelled=(("lm_head.weight", "embed_out.weight"),),
    )


GPT_NEOX = Family(
    model_type="gpt_neox",
    read=read,
    write=write,
    rules=rules,
    architectures={
        "vocabulary": "GPTNeoXForCausalLM",
        "label": "GPTNeoXForSequenceClassification",
        "none": "GPTNeoXModel",
    },
)
