"""RoBERTa (Liu et al., 2019) and XLM-RoBERTa (Conneau et al., 2020): BERT with positions that begin after the pad id.

The first token reads row `pad_token_id + 1` of the position table (2 in the published models): the pad token's own row
is in the way, and the vocabulary's layout thus became a part of the architecture.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from microtune.families import bert
from microtune.families.base import Family, Head
from microtune.families.config import Fields
from microtune.families.rules import Rule, Rules, rename
from microtune.nn.spec import LONGEST, ModelSpec


def read(config: dict[str, Any]) -> ModelSpec:
    """config.json -> ModelSpec."""
    spec, pad = bert.read(config), Fields(config).integer("pad_token_id", 1, least=0, most=LONGEST)
    encoder = replace(spec.output_stack, position_offset=pad + 1)
    return replace(spec, encoder=encoder, head_activation="gelu", label_head="tanh_dense")


def write(spec: ModelSpec, config: dict[str, Any]) -> dict[str, Any]:
    """ModelSpec -> the fields of config.json that follow from it."""
    return bert.write(spec, config) | {"pad_token_id": spec.output_stack.position_offset - 1}


def rules(spec: ModelSpec | None) -> Rules:
    """Names in files. The bare model has a pooler that no head reads: the label head has a layer of its own."""
    return Rules(
        model=(
            *bert.trunk("roberta"),
            *rename("lm_head.dense", "head.transform.dense"),
            *rename("lm_head.layer_norm", "head.transform.norm"),
            Rule("lm_head.decoder.weight", ("head.out.weight",)),
            *bert.output_bias("lm_head.decoder.bias", "lm_head.bias", spec),
        ),
        label=(*rename("classifier.dense", "head.dense"), *rename("classifier.out_proj", "head.out")),
        spare=rename("roberta.pooler.dense", "head.pooler"),
        ignored=("roberta.embeddings.position_ids",),
        prefix="roberta.",
        respelled=bert.RESPELLED,
    )


def _family(model_type: str, name: str) -> Family:
    classes: dict[Head, str] = {
        "vocabulary": f"{name}ForMaskedLM",
        "label": f"{name}ForSequenceClassification",
        "none": f"{name}Model",
    }
    return Family(model_type, read, write, rules, classes)


ROBERTA = _family("roberta", "Roberta")
XLM_ROBERTA = _family("xlm-roberta", "XLMRoberta")
