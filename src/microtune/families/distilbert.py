"""DistilBERT (Sanh et al., 2019): half of BERT's blocks, without token types and pooler."""

from __future__ import annotations

from typing import Any

from microtune.families.base import Family
from microtune.families.config import ACTIVATIONS, Fields, spelling
from microtune.families.rules import Rules, rename
from microtune.nn.spec import LONGEST, ModelSpec, Positions, StackSpec

EPSILON = 1e-12  # written into the reference's code
EMBEDDINGS = "distilbert.embeddings"
THEIRS, OURS = "distilbert.transformer.layer.{}", "encoder.blocks.{}"


def read(config: dict[str, Any]) -> ModelSpec:
    """config.json -> ModelSpec."""
    fields = Fields(config)
    fields.only("position_embedding_type", "absolute")
    table: dict[bool, Positions] = {False: "learned", True: "sinusoidal"}
    encoder = StackSpec(
        num_layers=fields.integer("n_layers"),
        hidden_size=fields.integer("dim"),
        num_heads=fields.integer("n_heads"),
        intermediate_size=fields.integer("hidden_dim"),
        norm_eps=EPSILON,
        placement="post",
        final_norm=False,
        activation=fields.word("activation", "gelu", ACTIVATIONS),
        positions=table[fields.flag("sinusoidal_pos_embds", False)],  # stored either way, hence the file's own numbers
        max_positions=fields.integer("max_position_embeddings", 512, most=LONGEST),
        embedding_norm=True,
        dropout=fields.number("dropout", 0.1, most=1.0),
    )
    return ModelSpec(
        vocab_size=fields.integer("vocab_size", most=LONGEST),
        encoder=encoder,
        tied=fields.flag("tie_word_embeddings", True),
        head_transform=True,
        head_bias=True,
        pooling="first",
        label_head="relu_dense",
        label_bias=True,
        label_dropout=fields.number("seq_classif_dropout", 0.2, most=1.0),
        initializer_range=fields.number("initializer_range", 0.02),
    )


def write(spec: ModelSpec, config: dict[str, Any]) -> dict[str, Any]:
    """ModelSpec -> the fields of config.json that follow from it."""
    e = spec.output_stack
    return {
        "vocab_size": spec.vocab_size,
        "dim": e.hidden_size,
        "n_layers": e.num_layers,
        "n_heads": e.num_heads,
        "hidden_dim": e.intermediate_size,
        "activation": spelling(ACTIVATIONS, e.activation, config.get("activation")),
        "dropout": e.dropout,
        "attention_dropout": config.get("attention_dropout", 0.0),
        "max_position_embeddings": e.max_positions,
        "sinusoidal_pos_embds": e.positions == "sinusoidal",
        "seq_classif_dropout": spec.label_dropout,
        "tie_word_embeddings": spec.tied,
        "initializer_range": spec.initializer_range,
    }


def rules(spec: ModelSpec | None) -> Rules:
    """Names in files; the same for every DistilBERT."""
    attention = (("q_lin", "q"), ("k_lin", "k"), ("v_lin", "v"), ("out_lin", "o"))
    return Rules(
        model=(
            *rename(f"{EMBEDDINGS}.word_embeddings", "tokens"),
            *rename(f"{EMBEDDINGS}.position_embeddings", "encoder.positions"),
            *rename(f"{EMBEDDINGS}.LayerNorm", "encoder.embedding_norm"),
            *(r for t, o in attention for r in rename(f"{THEIRS}.attention.{t}", f"{OURS}.attention.{o}")),
            *rename(f"{THEIRS}.sa_layer_norm", f"{OURS}.attention_residual.norm"),
            *rename(f"{THEIRS}.ffn.lin1", f"{OURS}.mlp.up"),
            *rename(f"{THEIRS}.ffn.lin2", f"{OURS}.mlp.down"),
            *rename(f"{THEIRS}.output_layer_norm", f"{OURS}.mlp_residual.norm"),
            *rename("vocab_transform", "head.transform.dense"),
            *rename("vocab_layer_norm", "head.transform.norm"),
            *rename("vocab_projector", "head.out"),
        ),
        label=(*rename("pre_classifier", "head.dense"), *rename("classifier", "head.out")),
        ignored=(f"{EMBEDDINGS}.position_ids",),
        prefix="distilbert.",
    )


DISTILBERT = Family(
    model_type="distilbert",
    read=read,
    write=write,
    rules=rules,
    architectures={
        "vocabulary": "DistilBertForMaskedLM",
        "label": "DistilBertForSequenceClassification",
        "none": "DistilBertModel",
    },
)
