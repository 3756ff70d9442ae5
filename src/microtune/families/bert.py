"""BERT (Devlin et al., 2019): an encoder with post-norm, token types, an embedding norm and a transformed head.

RoBERTa and ELECTRA are told as differences from it: their blocks have the same fields and, behind a prefix, the same
names.
"""

from __future__ import annotations

from typing import Any

from microtune.families.base import Family
from microtune.families.config import ACTIVATIONS, Fields, spelling
from microtune.families.rules import Rule, Rules, rename
from microtune.nn.spec import LONGEST, ModelSpec, StackSpec

OURS = "encoder.blocks.{}"
PREDICTIONS = "cls.predictions"
RESPELLED = ((".LayerNorm.gamma", ".LayerNorm.weight"), (".LayerNorm.beta", ".LayerNorm.bias"))


def read(config: dict[str, Any]) -> ModelSpec:
    """config.json -> ModelSpec."""
    fields = Fields(config)
    fields.only("is_decoder", False)
    fields.only("add_cross_attention", False)
    fields.only("position_embedding_type", "absolute")
    dropout = fields.number("hidden_dropout_prob", 0.1, most=1.0)
    encoder = StackSpec(
        num_layers=fields.integer("num_hidden_layers"),
        hidden_size=fields.integer("hidden_size"),
        num_heads=fields.integer("num_attention_heads"),
        intermediate_size=fields.integer("intermediate_size"),
        norm_eps=fields.number("layer_norm_eps", 1e-12, most=1.0),
        placement="post",
        final_norm=False,
        activation=fields.word("hidden_act", "gelu", ACTIVATIONS),
        positions="learned",
        max_positions=fields.integer("max_position_embeddings", most=LONGEST),
        embedding_norm=True,
        dropout=dropout,
    )
    return ModelSpec(
        vocab_size=fields.integer("vocab_size", most=LONGEST),
        encoder=encoder,
        token_types=fields.integer("type_vocab_size", 2),
        tied=fields.flag("tie_word_embeddings", True),
        head_transform=True,
        head_bias=True,
        pooling="first",
        label_head="tanh_pooler",
        label_bias=True,
        label_dropout=fields.number("classifier_dropout", dropout, most=1.0),
        initializer_range=fields.number("initializer_range", 0.02),
    )


def write(spec: ModelSpec, config: dict[str, Any]) -> dict[str, Any]:
    """ModelSpec -> the fields of config.json that follow from it."""
    e = spec.output_stack
    return {
        "vocab_size": spec.vocab_size,
        "hidden_size": e.hidden_size,
        "num_hidden_layers": e.num_layers,
        "num_attention_heads": e.num_heads,
        "intermediate_size": e.intermediate_size,
        "hidden_act": spelling(ACTIVATIONS, e.activation, config.get("hidden_act")),
        "hidden_dropout_prob": e.dropout,
        "attention_probs_dropout_prob": config.get("attention_probs_dropout_prob", 0.0),
        "max_position_embeddings": e.max_positions,
        "type_vocab_size": spec.token_types,
        "layer_norm_eps": e.norm_eps,
        "classifier_dropout": None if spec.label_dropout == e.dropout else spec.label_dropout,
        "tie_word_embeddings": spec.tied,
        "initializer_range": spec.initializer_range,
    }


def trunk(base: str) -> tuple[Rule, ...]:
    """Names of the embedding and the blocks; `base` is the name of the model that holds them, such as `bert`."""
    embeddings, layer = f"{base}.embeddings", base + ".encoder.layer.{}"
    attention = (("query", "q"), ("key", "k"), ("value", "v"))
    return (
        *rename(f"{embeddings}.word_embeddings", "tokens"),
        *rename(f"{embeddings}.position_embeddings", "encoder.positions"),
        *rename(f"{embeddings}.token_type_embeddings", "types"),
        *rename(f"{embeddings}.LayerNorm", "encoder.embedding_norm"),
        *(r for t, o in attention for r in rename(f"{layer}.attention.self.{t}", f"{OURS}.attention.{o}")),
        *rename(f"{layer}.attention.output.dense", f"{OURS}.attention.o"),
        *rename(f"{layer}.attention.output.LayerNorm", f"{OURS}.attention_residual.norm"),
        *rename(f"{layer}.intermediate.dense", f"{OURS}.mlp.up"),
        *rename(f"{layer}.output.dense", f"{OURS}.mlp.down"),
        *rename(f"{layer}.output.LayerNorm", f"{OURS}.mlp_residual.norm"),
    )


def predictions(spec: ModelSpec | None) -> tuple[Rule, ...]:
    """Names of the vocabulary head."""
    return (
        *rename(f"{PREDICTIONS}.transform.dense", "head.transform.dense"),
        *rename(f"{PREDICTIONS}.transform.LayerNorm", "head.transform.norm"),
        Rule(f"{PREDICTIONS}.decoder.weight", ("head.out.weight",)),
        *output_bias(f"{PREDICTIONS}.decoder.bias", f"{PREDICTIONS}.bias", spec),
    )


def output_bias(inner: str, outer: str, spec: ModelSpec | None) -> tuple[Rule, Rule]:
    """Two names of one bias. Tied: the outer is written, the inner a copy; untied, transformers 5 adds the inner one.

    So files differ by which of the two is the live one.
    """
    if spec is None or spec.tied:
        return Rule(outer, ("head.out.bias",)), Rule(inner, ("head.out.bias",), twin="equal")
    return Rule(inner, ("head.out.bias",)), Rule(outer, ("head.out.bias",), twin="dead")


def rules(spec: ModelSpec | None) -> Rules:
    """Names in files."""
    return Rules(
        model=(*trunk("bert"), *predictions(spec)),
        label=(*rename("bert.pooler.dense", "head.pooler"), *rename("classifier", "head.out")),
        ignored=("bert.embeddings.position_ids", "cls.seq_relationship.weight", "cls.seq_relationship.bias"),
        prefix="bert.",
        respelled=RESPELLED,
    )


BERT = Family(
    model_type="bert",
    read=read,
    write=write,
    rules=rules,
    architectures={"vocabulary": "BertForMaskedLM", "label": "BertForSequenceClassification", "none": "BertModel"},
)
