"""Tiny random encoder-decoders of transformers, written to disk, and what both sides make of the same pairs of rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from references import PAD, VOCAB
from remembered import key_of, remembered
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    MarianConfig,
    MarianMTModel,
    MBartConfig,
    MBartForConditionalGeneration,
    MT5Config,
    MT5ForConditionalGeneration,
    PegasusConfig,
    PegasusForConditionalGeneration,
    T5Config,
    T5ForConditionalGeneration,
)
from transformers.models.mt5 import modeling_mt5
from transformers.models.t5 import modeling_t5

from microtune.nn.transformer import Transformer
from microtune.ragged import Ragged

WEIGHTS = "model.safetensors"
EOS = 1
SOURCES = [[3, 4, 1, 5, 9, 2, 6], [5, 3, 5], [(7 * i + 3) % 39 for i in range(21)], [8], [9, 7, 9, 3, 2]]
TARGETS = [[PAD, 6, 2, 6], [PAD, 4, 3, 3, 8, 32], [PAD], [PAD, 7, 9], [PAD, 5, 0, 2, 8, 8, 4, 1]]


@dataclass(frozen=True)
class Pair:
    """One reference model: its class, its configuration, and tensors that its file gets besides (random ones)."""

    build: type[Any]
    config: Any
    extra: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        return self.config.model_type


def t5(build: type[Any] = T5ForConditionalGeneration, *, extra: tuple[str, ...] = (), **fields: Any) -> Pair:
    return Pair(build, T5Config(**(T5_SIZES | fields)), extra)


def mt5(build: type[Any] = MT5ForConditionalGeneration, *, extra: tuple[str, ...] = (), **fields: Any) -> Pair:
    return Pair(build, MT5Config(**(T5_SIZES | fields)), extra)


def bart(build: type[Any] = BartForConditionalGeneration, *, extra: tuple[str, ...] = (), **fields: Any) -> Pair:
    return Pair(build, BartConfig(**(BART_SIZES | fields)), extra)


def mbart(build: type[Any] = MBartForConditionalGeneration, *, extra: tuple[str, ...] = (), **fields: Any) -> Pair:
    return Pair(build, MBartConfig(**(BART_SIZES | fields)), extra)


def marian(build: type[Any] = MarianMTModel, *, extra: tuple[str, ...] = (), **fields: Any) -> Pair:
    return Pair(build, MarianConfig(**(BART_SIZES | {"activation_function": "swish"} | fields)), extra)


def pegasus(build: type[Any] = PegasusForConditionalGeneration, *, extra: tuple[str, ...] = (), **fields: Any) -> Pair:
    return Pair(build, PegasusConfig(**(BART_SIZES | {"activation_function": "relu"} | fields)), extra)


IDS = {"vocab_size": VOCAB, "pad_token_id": PAD, "eos_token_id": EOS, "decoder_start_token_id": PAD}
T5_SIZES = IDS | {
    "d_model": 16, "d_kv": 6, "d_ff": 20, "num_layers": 2, "num_heads": 4,
    "relative_attention_num_buckets": 12, "relative_attention_max_distance": 10,
}  # fmt: skip
BART_SIZES = IDS | {
    "d_model": 16, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4, "decoder_attention_heads": 4,
    "encoder_ffn_dim": 20, "decoder_ffn_dim": 20, "max_position_embeddings": 24, "forced_eos_token_id": EOS,
}  # fmt: skip
UNEQUAL = {
    "encoder_layers": 1, "decoder_layers": 3, "encoder_attention_heads": 2, "decoder_attention_heads": 8,
    "encoder_ffn_dim": 13, "decoder_ffn_dim": 23,
}  # fmt: skip
ODD = {"d_model": 21, "encoder_attention_heads": 3, "decoder_attention_heads": 7, "max_position_embeddings": 22}
UNTIED = {"tie_word_embeddings": False}
HEAD = ("lm_head.weight",)

PAIRS = {
    "t5": t5(),
    "t5, unscaled": t5(tie_word_embeddings=False),
    "t5 1.1, gated, with its own head": t5(feed_forward_proj="gated-gelu", tie_word_embeddings=False, extra=HEAD),
    "t5, scaled, with its own head": t5(extra=HEAD),
    "t5, unequal depth, odd sizes": t5(d_model=21, d_kv=5, num_heads=3, d_ff=17, num_layers=1, num_decoder_layers=3),
    "t5, default buckets, epsilon": t5(
        relative_attention_num_buckets=32, relative_attention_max_distance=128, layer_norm_epsilon=1e-3
    ),
    "t5, gated SiLU": t5(feed_forward_proj="gated-silu"),
    "t5, plain GELU": t5(feed_forward_proj="gelu"),
    "t5, three embeddings": t5(extra=(*HEAD, "encoder.embed_tokens.weight", "decoder.embed_tokens.weight")),
    "mt5": mt5(),
    "mt5, with its own head": mt5(extra=HEAD, tie_word_embeddings=False),
    "mt5, ReLU": mt5(feed_forward_proj="relu", num_decoder_layers=1),
    "bart": bart(),
    "bart, scaled embedding, tanh GELU": bart(scale_embedding=True, activation_function="gelu_new"),
    "bart, unequal stacks": bart(**UNEQUAL),
    "bart, odd sizes, ReLU": bart(**ODD, activation_function="relu"),
    "bart, untied": bart(**UNTIED),
    "mbart": mbart(),
    "mbart, scaled embedding, unequal stacks": mbart(scale_embedding=True, **UNEQUAL),
    "mbart, odd sizes, untied": mbart(**ODD, **UNTIED),
    "marian": marian(),
    "marian, scaled embedding": marian(scale_embedding=True, **UNEQUAL),
    "marian, odd sizes": marian(**ODD),
    "marian, untied": marian(**UNTIED),
    "marian, embeddings not shared": marian(share_encoder_decoder_embeddings=False),
    "pegasus": pegasus(),
    "pegasus, scaled embedding, GELU": pegasus(scale_embedding=True, activation_function="gelu", **UNEQUAL),
    "pegasus, odd sizes": pegasus(**ODD),
    "pegasus, untied": pegasus(**UNTIED),
}


def each(pairs: dict[str, Pair]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("pair", pairs.values(), ids=pairs.keys())


def reference(pair: Pair, folder: Path, dtype: torch.dtype = torch.float64) -> nn.Module:
    """The reference model, every weight random (norms and biases included) but fixed tables, saved to `folder`.

    Its generation_config.json bans some pairs of ids, for random models love to repeat themselves.
    """
    key = key_of(pair.build, pair.config, dtype, pair.extra)
    return remembered(key, folder, lambda: _built(pair, folder, dtype))


def _built(pair: Pair, folder: Path, dtype: torch.dtype) -> nn.Module:
    model = pair.build(pair.config).to(dtype).eval()
    generator = torch.Generator().manual_seed(0)
    buffers = ((name, t) for name, t in model.named_buffers() if name == "final_logits_bias")
    with torch.no_grad():
        for name, parameter in [*model.named_parameters(), *buffers]:
            if parameter.requires_grad or name == "final_logits_bias":
                noise = 0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
                norm = parameter.dim() == 1 and name.endswith("weight")
                parameter.copy_(1 + noise if norm else noise)
    if hasattr(model, "generation_config"):
        model.generation_config.bad_words_ids = [[i, (i + step) % VOCAB] for i in range(VOCAB) for step in (0, 1, 2)]
    model.save_pretrained(folder)
    if not pair.extra:
        return model
    shape = (pair.config.vocab_size, pair.config.d_model)
    more = {n: 0.3 * torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for n in pair.extra}
    save_file(load_file(folder / WEIGHTS) | more, folder / WEIGHTS, metadata={"format": "pt"})
    return pair.build.from_pretrained(folder, dtype=dtype).eval()


@torch.no_grad()
def our_hidden(model: Transformer, pairs: tuple[list[list[int]], list[list[int]]] = (SOURCES, TARGETS)) -> list[Tensor]:
    """The decoder's hidden states of each row, computed in one batch."""
    sources, targets = (Ragged.from_lists(rows) for rows in pairs)
    return list(model(targets, sources=sources).split(targets.lengths.tolist()))


@torch.no_grad()
def our_logits(model: Transformer, pairs: tuple[list[list[int]], list[list[int]]] = (SOURCES, TARGETS)) -> list[Tensor]:
    """The same, and the vocabulary head."""
    return [model.head(h) for h in our_hidden(model, pairs)]


@torch.no_grad()
def their_logits(model: nn.Module) -> list[Tensor]:
    """Each pair alone, as the reference computes it: no padding, no mask."""
    found = []
    for source, target in zip(SOURCES, TARGETS, strict=True):
        out = model(input_ids=torch.tensor([source]), decoder_input_ids=torch.tensor([target]))
        found.append((out.logits if "logits" in out else out.last_hidden_state)[0])
    return found


@torch.no_grad()
def their_padded(model: nn.Module) -> list[Tensor]:
    """All pairs in one batch, padded to the right; what stands on a pad token is cut away."""
    (ids, mask), (targets, _) = (padded(rows) for rows in (SOURCES, TARGETS))
    out = model(input_ids=ids, attention_mask=mask, decoder_input_ids=targets).logits
    return [o[: len(row)] for o, row in zip(out, TARGETS, strict=True)]


def padded(rows: list[list[int]]) -> tuple[Tensor, Tensor]:
    longest = max(map(len, rows))
    ids = torch.tensor([row + [PAD] * (longest - len(row)) for row in rows])
    return ids, torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])


@contextmanager
def without_float32_casts() -> Iterator[None]:
    """T5's norm takes the mean in float32 whatever the weights are; here in the weights' own type."""

    def norm(self: Any, x: Tensor) -> Tensor:
        return self.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)

    changed: list[tuple[type[nn.Module], Callable[..., Any]]] = [
        (modeling_t5.T5LayerNorm, norm),
        (modeling_mt5.MT5LayerNorm, norm),
    ]
    with pytest.MonkeyPatch.context() as patch:
        for kind, function in changed:
            patch.setattr(kind, "forward", function)
        yield
