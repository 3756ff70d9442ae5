"""ELECTRA (Clark et al., 2020): BERT with an embedding of its own width and a projection from there to the blocks.

A published model is a generator, with a vocabulary head at the embedding's width, or a discriminator, whose head tells
replaced tokens from others: that head serves nothing here, and the model below it is a usable trunk.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from microtune.families import bert
from microtune.families.base import Family
from microtune.families.config import Fields
from microtune.families.rules import Rules, rename
from microtune.nn.spec import ModelSpec


def read(config: dict[str, Any]) -> ModelSpec:
    """config.json -> ModelSpec."""
    spec, width = bert.read(config), Fields(config).integer("embedding_size")
    encoder = replace(spec.output_stack, embedding_size=None if width == spec.hidden_size else width)
    return replace(spec, encoder=encoder, head_activation="gelu", label_head="gelu_dense")


def write(spec: ModelSpec, config: dict[str, Any]) -> dict[str, Any]:
    """ModelSpec -> the fields of config.json that follow from it."""
    return bert.write(spec, config) | {"embedding_size": spec.output_stack.embedding_width}


def rules(spec: ModelSpec | None) -> Rules:
    """Names in files; the same for every ELECTRA."""
    discriminator = ("discriminator_predictions.dense", "discriminator_predictions.dense_prediction")
    return Rules(
        model=(
            *bert.trunk("electra"),
            *rename("electra.embeddings_project", "encoder.projection"),
            *rename("generator_predictions.dense", "head.transform.dense"),
            *rename("generator_predictions.LayerNorm", "head.transform.norm"),
            *rename("generator_lm_head", "head.out"),
        ),
        label=(*rename("classifier.dense", "head.dense"), *rename("classifier.out_proj", "head.out")),
        ignored=(
            "electra.embeddings.position_ids",
            *(f"{module}.{kind}" for module in discriminator for kind in ("weight", "bias")),
        ),
        prefix="electra.",
        respelled=bert.RESPELLED,
    )


ELECTRA = Family(
    model_type="electra",
    read=read,
    write=write,
    rules=rules,
    architectures={
        "vocabulary": "ElectraForMaskedLM",
        "label": "ElectraForSequenceClassification",
        "none": "ElectraModel",
    },
)
