"""Tiny random transformers models, written to disk, and ours read from there. transformers is a reference for tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from remembered import key_of, remembered
from torch import Tensor, nn
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForPreTraining,
    BertForSequenceClassification,
    BertModel,
    GPT2Config,
    GPT2ForSequenceClassification,
    GPT2LMHeadModel,
    GPT2Model,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    LlamaModel,
)
from transformers.models.llama import modeling_llama

from microtune.families import Loaded, load_folder
from microtune.nn.heads import LabelHead
from microtune.nn.spec import ModelSpec
from microtune.nn.transformer import Transformer
from microtune.ragged import Ragged

transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()

VOCAB, PAD = 41, 40
ROWS = [[3, 1, 4, 1, 5, 9, 2], [6, 5, 3], [35, 8, 9, 7, 9, 3, 2, 38], [11], [12, 13, 14]]


@dataclass(frozen=True)
class Case:
    """One reference model: its class, its configuration, and whether token types are given."""

    build: type[Any]
    config: Any
    types: bool = False


def gpt2(build: type[Any] = GPT2LMHeadModel, **fields: Any) -> Case:
    base = {"vocab_size": VOCAB, "n_positions": 24, "n_embd": 16, "n_layer": 2, "n_head": 4, "pad_token_id": PAD}
    return Case(build, GPT2Config(**(base | {"bos_token_id": None, "eos_token_id": None} | fields)))


def llama(build: type[Any] = LlamaForCausalLM, **fields: Any) -> Case:
    sizes = {"hidden_size": 16, "intermediate_size": 20, "num_hidden_layers": 2, "num_attention_heads": 4}
    base = {"vocab_size": VOCAB, "bos_token_id": None, "eos_token_id": None, "pad_token_id": PAD}
    return Case(build, LlamaConfig(**(base | sizes | fields)))


def bert(build: type[Any] = BertForMaskedLM, *, types: bool = False, **fields: Any) -> Case:
    sizes = {"hidden_size": 16, "intermediate_size": 20, "num_hidden_layers": 2, "num_attention_heads": 4}
    base = {"vocab_size": VOCAB, "max_position_embeddings": 24, "pad_token_id": PAD}
    return Case(build, BertConfig(**(base | sizes | fields)), types)


VOCABULARY = {
    "gpt2": gpt2(),
    "gpt2, inner width, erf GELU": gpt2(n_inner=23, activation_function="gelu"),
    "gpt2, epsilon, unscaled attention": gpt2(layer_norm_epsilon=1e-3, scale_attn_weights=False),
    "gpt2, untied, ReLU": gpt2(tie_word_embeddings=False, activation_function="relu"),
    "gpt2, odd sizes": gpt2(n_embd=21, n_head=3, n_positions=17, n_layer=3),
    "llama": llama(),
    "llama, grouped heads of their own width": llama(num_key_value_heads=2, head_dim=6),
    "llama, tied, one key head": llama(tie_word_embeddings=True, num_key_value_heads=1),
    "llama, all biases": llama(attention_bias=True, mlp_bias=True),
    "llama, epsilon, rotary base": llama(
        rms_norm_eps=1e-3, rope_parameters={"rope_theta": 77.0, "rope_type": "default"}
    ),
    "llama, odd sizes, tanh GELU": llama(
        hidden_size=18, num_attention_heads=3, head_dim=10, intermediate_size=13, hidden_act="gelu_pytorch_tanh"
    ),
    "bert": bert(),
    "bert, token types": bert(types=True, type_vocab_size=3),
    "bert, untied": bert(tie_word_embeddings=False),
    "bert, tanh GELU, epsilon": bert(hidden_act="gelu_new", layer_norm_eps=1e-3),
    "bert, ReLU, odd sizes": bert(hidden_act="relu", hidden_size=21, num_attention_heads=3, intermediate_size=11),
    "bert for pretraining": bert(BertForPreTraining),
}
BARE = {"gpt2": gpt2(GPT2Model), "llama": llama(LlamaModel), "bert": bert(BertModel, types=True)}
LABELS = {
    "gpt2": gpt2(GPT2ForSequenceClassification, num_labels=3),
    "llama": llama(LlamaForSequenceClassification, num_labels=3, num_key_value_heads=2),
    "bert": bert(BertForSequenceClassification, num_labels=5, types=True),
    "bert, one label": bert(BertForSequenceClassification, num_labels=1),
    "llama, two labels": llama(LlamaForSequenceClassification, id2label={0: "no", 1: "yes"}, tie_word_embeddings=True),
}


def each(cases: dict[str, Case]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", cases.values(), ids=cases.keys())


def reference(case: Case, folder: Path, dtype: torch.dtype = torch.float64) -> nn.Module:
    """The reference model, every parameter random (norms and biases included), saved to `folder`."""
    return remembered(key_of(case.build, case.config, dtype), folder, lambda: _built(case, folder, dtype))


def _built(case: Case, folder: Path, dtype: torch.dtype) -> nn.Module:
    model = case.build(case.config).to(dtype).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = 0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            norm = parameter.dim() == 1 and name.endswith("weight")
            parameter.copy_(1 + noise if norm else noise)
    model.save_pretrained(folder)
    return model


def ours(loaded: Loaded, spec: ModelSpec | None = None, *, strict: bool = True) -> Transformer:
    """Our model with what a folder holds; with another `spec` for deliberate mistakes."""
    spec = spec or loaded.spec
    dtype = next(iter(loaded.state.values())).dtype
    model = Transformer(spec)
    if loaded.head == "label":
        assert loaded.num_labels is not None
        model.head = LabelHead(spec, loaded.num_labels)
    trunk = {name: t for name, t in loaded.state.items() if not name.startswith("head.")}
    state = trunk | loaded.spare if loaded.head == "label" else loaded.state
    model.to(dtype).load_state_dict(state, strict=strict)
    return model.eval()


def open_ours(folder: Path) -> Transformer:
    return ours(load_folder(folder))


def types_of(row: list[int]) -> list[int]:
    """Token types as of a question and an answer."""
    return [int(i >= (len(row) + 1) // 2) for i in range(len(row))]


@torch.no_grad()
def our_hidden(case: Case, model: Transformer, rows: list[list[int]] = ROWS) -> list[Tensor]:
    """Hidden states of each row, computed in one batch."""
    types = torch.tensor([t for row in rows for t in types_of(row)]) if case.types else None
    return list(model(Ragged.from_lists(rows), types=types).split([len(row) for row in rows]))


@torch.no_grad()
def our_logits(case: Case, model: Transformer, rows: list[list[int]] = ROWS) -> list[Tensor]:
    """Vocabulary logits of each row, or the scores of its labels."""
    hidden = our_hidden(case, model, rows)
    if not isinstance(model.head, LabelHead):
        return [model.head(h) for h in hidden]
    place = 0 if model.head.pooling == "first" else -1
    pooled = torch.stack([h[place] for h in hidden])
    return list(model.head(pooled, torch.ones(len(rows), dtype=torch.int64)))


@torch.no_grad()
def their_logits(case: Case, model: nn.Module, rows: list[list[int]] = ROWS) -> list[Tensor]:
    """Each row alone, as the reference computes it: no padding, no mask."""
    found = []
    for row in rows:
        extra = {"token_type_ids": torch.tensor([types_of(row)])} if case.types else {}
        found.append(first_of(model(input_ids=torch.tensor([row]), **extra))[0])
    return found


@torch.no_grad()
def their_padded(case: Case, model: nn.Module, rows: list[list[int]] = ROWS) -> list[Tensor]:
    """All rows in one batch, padded to the right and masked; what stands on a pad token is cut away."""
    longest = max(map(len, rows))
    ids = torch.tensor([row + [PAD] * (longest - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    extra = {}
    if case.types:
        extra["token_type_ids"] = torch.tensor([types_of(row) + [0] * (longest - len(row)) for row in rows])
    out = first_of(model(input_ids=ids, attention_mask=mask, **extra))
    return [o[: len(row)] if o.dim() > 1 else o for o, row in zip(out, rows, strict=True)]


def first_of(output: Any) -> Tensor:
    """Logits, or the hidden states of a bare model."""
    for name in ("prediction_logits", "logits", "last_hidden_state"):
        if getattr(output, name, None) is not None:
            return output[name]
    raise AssertionError(type(output))


@contextmanager
def without_float32_casts() -> Iterator[None]:
    """Llama's norm and rotary tables compute in float32 whatever the weights are; here in the weights' own type."""

    def norm(self: Any, x: Tensor) -> Tensor:
        return self.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)

    def rotary(self: Any, x: Tensor, position_ids: Tensor) -> tuple[Tensor, Tensor]:
        config = self.config
        size = config.head_dim
        rates = config.rope_parameters["rope_theta"] ** (-torch.arange(0, size, 2, dtype=x.dtype) / size)
        angles = torch.cat([position_ids[..., None].to(x.dtype) * rates] * 2, -1)
        return angles.cos(), angles.sin()

    changed: list[tuple[type[nn.Module], Callable[..., Any]]] = [
        (modeling_llama.LlamaRMSNorm, norm),
        (modeling_llama.LlamaRotaryEmbedding, rotary),
    ]
    with pytest.MonkeyPatch.context() as patch:
        for kind, function in changed:
            patch.setattr(kind, "forward", function)
        yield
