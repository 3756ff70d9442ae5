"""Tiny encoders of transformers: RoBERTa, XLM-RoBERTa, DistilBERT, ELECTRA, ModernBERT, in many shapes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
import torch
import transformers as hf
from references import PAD, ROWS, VOCAB, Case, our_hidden, our_logits
from torch import Tensor
from transformers.models.modernbert import modeling_modernbert

from microtune.nn.heads import LabelHead
from microtune.nn.transformer import Transformer

SIZES = {"hidden_size": 16, "intermediate_size": 20, "num_hidden_layers": 2, "num_attention_heads": 4}
ODD = {"hidden_size": 21, "intermediate_size": 11, "num_hidden_layers": 3, "num_attention_heads": 3}


def roberta(build: type[Any] = hf.RobertaForMaskedLM, *, types: bool = False, **fields: Any) -> Case:
    """Its positions begin after the pad id, so the table is longer than the longest text by that much."""
    base = {"vocab_size": VOCAB, "max_position_embeddings": PAD + 16, "pad_token_id": PAD}
    base |= {"bos_token_id": None, "eos_token_id": None}
    return Case(build, build.config_class(**(base | SIZES | fields)), types)


def distilbert(build: type[Any] = hf.DistilBertForMaskedLM, **fields: Any) -> Case:
    sizes = {"dim": 16, "hidden_dim": 20, "n_layers": 2, "n_heads": 4}
    base = {"vocab_size": VOCAB, "max_position_embeddings": 24, "pad_token_id": PAD}
    return Case(build, hf.DistilBertConfig(**(base | sizes | fields)))


def electra(build: type[Any] = hf.ElectraForMaskedLM, *, types: bool = False, **fields: Any) -> Case:
    base = {"vocab_size": VOCAB, "max_position_embeddings": 24, "pad_token_id": PAD, "embedding_size": 10}
    return Case(build, hf.ElectraConfig(**(base | SIZES | fields)), types)


def modernbert(build: type[Any] = hf.ModernBertForMaskedLM, **fields: Any) -> Case:
    """Five layers, the first and the fourth global; local ones see two tokens to each side of texts of up to eight."""
    ids = dict.fromkeys(("bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id"))
    base = {"vocab_size": VOCAB, "pad_token_id": PAD, "local_attention": 4, "max_position_embeddings": 24}
    return Case(build, hf.ModernBertConfig(**(base | ids | SIZES | {"num_hidden_layers": 5} | fields)))


MAKERS: dict[str, Callable[..., Case]] = {
    "roberta": roberta,
    "xlm-roberta": partial(roberta, hf.XLMRobertaForMaskedLM),
    "distilbert": distilbert,
    "electra": electra,
    "modernbert": modernbert,
}
BIASED = dict.fromkeys(("attention_bias", "mlp_bias", "norm_bias", "classifier_bias"), True)
BASES = {
    "full_attention": {"rope_type": "default", "rope_theta": 77.0},
    "sliding_attention": {"rope_type": "default", "rope_theta": 7.0},
}
VOCABULARY = {
    "roberta": roberta(),
    "roberta, token types": roberta(types=True, type_vocab_size=3),
    "roberta, pad id 0, one type": roberta(pad_token_id=0, max_position_embeddings=9, type_vocab_size=1),
    "roberta, untied, tanh GELU": roberta(tie_word_embeddings=False, hidden_act="gelu_new"),
    "roberta, ReLU, odd sizes, epsilon": roberta(hidden_act="relu", layer_norm_eps=1e-3, **ODD),
    "xlm-roberta": roberta(hf.XLMRobertaForMaskedLM),
    "xlm-roberta, untied": roberta(hf.XLMRobertaForMaskedLM, tie_word_embeddings=False),
    "distilbert": distilbert(),
    "distilbert, a table of sines": distilbert(sinusoidal_pos_embds=True),
    "distilbert, untied": distilbert(tie_word_embeddings=False),
    "distilbert, ReLU, odd sizes": distilbert(activation="relu", dim=21, n_heads=3, hidden_dim=11, n_layers=3),
    "electra": electra(),
    "electra, one width": electra(embedding_size=16),
    "electra, wide embedding, types, untied": electra(embedding_size=23, types=True, tie_word_embeddings=False),
    "electra, ReLU, odd sizes, epsilon": electra(hidden_act="relu", layer_norm_eps=1e-3, **ODD),
    "modernbert": modernbert(),
    "modernbert, all biases": modernbert(**BIASED),
    "modernbert, untied, no bias at all": modernbert(tie_word_embeddings=False, decoder_bias=False),
    "modernbert, other bases, every second": modernbert(rope_parameters=BASES, global_attn_every_n_layers=2),
    "modernbert, odd sizes": modernbert(
        hidden_size=18, intermediate_size=13, num_attention_heads=3, hidden_activation="silu",
        classifier_activation="relu", norm_eps=1e-3, local_attention=7,
    ),
    "modernbert, local first": modernbert(layer_types=["sliding_attention"] * 3 + ["full_attention"] * 2),
    "modernbert, global only": modernbert(layer_types=["full_attention"] * 5),
}  # fmt: skip
BARE = {
    "roberta": roberta(hf.RobertaModel, types=True),
    "xlm-roberta": roberta(hf.XLMRobertaModel),
    "distilbert": distilbert(hf.DistilBertModel),
    "electra": electra(hf.ElectraModel),
    "modernbert": modernbert(hf.ModernBertModel),
}
LABELS = {
    "roberta": roberta(hf.RobertaForSequenceClassification, num_labels=3),
    "roberta, untied, one label": roberta(hf.RobertaForSequenceClassification, num_labels=1, tie_word_embeddings=False),
    "xlm-roberta": roberta(hf.XLMRobertaForSequenceClassification, id2label={0: "no", 1: "yes"}),
    "distilbert": distilbert(hf.DistilBertForSequenceClassification, num_labels=3),
    "electra": electra(hf.ElectraForSequenceClassification, num_labels=3, types=True),
    "modernbert, first token": modernbert(hf.ModernBertForSequenceClassification, num_labels=3),
    "modernbert, mean": modernbert(
        hf.ModernBertForSequenceClassification, num_labels=3, classifier_pooling="mean", **BIASED
    ),
    "modernbert, no bias at all": modernbert(
        hf.ModernBertForSequenceClassification, num_labels=2, decoder_bias=False, classifier_activation="silu"
    ),
}


@torch.no_grad()
def our_scores(case: Case, model: Transformer, rows: list[list[int]] = ROWS) -> list[Tensor]:
    """As `our_logits`, for label heads over the mean too."""
    if not isinstance(model.head, LabelHead) or model.head.pooling != "mean":
        return our_logits(case, model, rows)
    hidden = our_hidden(case, model, rows)
    return list(model.head(torch.cat(hidden), torch.tensor([len(h) for h in hidden])))


@contextmanager
def lifted(case: Case) -> Iterator[None]:
    """ModernBERT turns queries and keys in float32, whatever the weights are; here in the weights' own type."""

    def angles(self: Any, x: Tensor, position_ids: Tensor, layer_type: str) -> tuple[Tensor, Tensor]:
        config = self.config
        size = config.hidden_size // config.num_attention_heads
        base = config.rope_parameters[layer_type]["rope_theta"]
        rates = base ** (-torch.arange(0, size, 2, dtype=x.dtype) / size)
        found = torch.cat([position_ids[..., None].to(x.dtype) * rates] * 2, -1)
        return found.cos(), found.sin()

    def turn(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, **_: Any) -> list[Tensor]:
        return [x * cos[:, None] + modeling_modernbert.rotate_half(x) * sin[:, None] for x in (q, k)]

    with pytest.MonkeyPatch.context() as patch:
        if case.config.model_type == "modernbert":
            patch.setattr(modeling_modernbert.ModernBertRotaryEmbedding, "forward", angles)
            patch.setattr(modeling_modernbert, "apply_rotary_pos_emb", turn)
        yield
