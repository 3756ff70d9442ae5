"""Tiny reference models of the decoder-only families, and a way to let transformers compute in float64 throughout."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
import transformers
from references import PAD, VOCAB, Case
from transformers import modeling_rope_utils

SIZES = {"hidden_size": 16, "intermediate_size": 20, "num_hidden_layers": 3, "num_attention_heads": 4}
IDS = {"vocab_size": VOCAB, "bos_token_id": None, "eos_token_id": None, "pad_token_id": PAD}
GROUPED = {"num_key_value_heads": 2}
LONG = {"max_position_embeddings": 64}
WINDOWED = {"head_dim": 6, "query_pre_attn_scalar": 5, "sliding_window": 3}
NAMES = {  # model_type -> beginning of its classes' names, and what its tiny models have besides the sizes
    "llama": ("Llama", GROUPED),
    "mistral": ("Mistral", GROUPED | {"sliding_window": None}),
    "internlm3": ("InternLM3", GROUPED | {"head_dim": None}),
    "qwen2": ("Qwen2", GROUPED),
    "qwen3": ("Qwen3", GROUPED | {"head_dim": 6}),
    "gemma": ("Gemma", GROUPED | {"head_dim": 6}),
    "gemma2": ("Gemma2", GROUPED | WINDOWED | {"num_hidden_layers": 2}),
    "gemma3_text": ("Gemma3Text", GROUPED | WINDOWED | {"num_hidden_layers": 2, "sliding_window_pattern": 2}),
    "phi3": ("Phi3", GROUPED),
    "gpt_neox": ("GPTNeoX", {"hidden_size": 64}),
    "olmo2": ("Olmo2", GROUPED),
    "glm": ("Glm", GROUPED | {"head_dim": 8}),
    "glm4": ("Glm4", GROUPED | {"head_dim": 8}),
}
KINDS = {"vocabulary": "ForCausalLM", "label": "ForSequenceClassification", "bare": "Model"}
CODE = {"internlm3": "Llama", "gemma3_text": "Gemma3"}  # whose code computes a model, where the names differ
FOLDERS = {"internlm3": "llama", "gemma3_text": "gemma3"}


def decoder(model_type: str, kind: str = "vocabulary", **fields: Any) -> Case:
    """A case of a family; fields: what differs from its tiny model."""
    name, usual = NAMES[model_type]
    code = CODE.get(model_type, name)
    if model_type == "gemma3_text" and kind != "vocabulary":
        code = "Gemma3Text"
    values = copy.deepcopy(SIZES | IDS | LONG | usual | fields)  # configurations change the objects that they get
    config = getattr(transformers, f"{name}Config")(**values)
    return Case(getattr(transformers, code + KINDS[kind]), config)


class _Wide:
    """torch, but what it calls float32 is float64."""

    def __getattr__(self, name: str) -> Any:
        return torch.float64 if name in ("float", "float32") else getattr(torch, name)


@contextmanager
def float64_throughout(model_type: str) -> Iterator[None]:
    """The code of a family without its casts to float32: in norms, softmax and rotary tables of models built inside."""
    folder = FOLDERS.get(model_type, model_type)
    code = importlib.import_module(f"transformers.models.{folder}.modeling_{folder}")
    with pytest.MonkeyPatch.context() as patch:
        for module in (code, modeling_rope_utils):
            patch.setattr(module, "torch", _Wide())
        patch.setattr(torch.Tensor, "float", torch.Tensor.double)
        torch.set_default_dtype(torch.float64)
        try:
            yield
        finally:
            torch.set_default_dtype(torch.float32)


def rope(**values: Any) -> dict[str, Any]:
    return {"rope_parameters": {"rope_theta": 50.0} | values}


ORIGINAL = {"original_max_position_embeddings": 4}
SCALINGS: dict[str, dict[str, Any]] = {  # the longest row has 8 tokens, twice the original length
    "linear": rope(rope_type="linear", factor=3.0),
    "dynamic": rope(rope_type="dynamic", factor=2.5) | {"max_position_embeddings": 4},
    "llama3": rope(rope_type="llama3", factor=4.0, low_freq_factor=0.15, high_freq_factor=0.5, **ORIGINAL),
    "yarn": rope(rope_type="yarn", factor=4.0, beta_fast=0.5, beta_slow=0.05, **ORIGINAL),
    "yarn, sharpened, no whole bounds": rope(
        rope_type="yarn", factor=4.0, beta_fast=0.5, beta_slow=0.05, attention_factor=1.7, truncate=False, **ORIGINAL
    ),
    "yarn, two scales": rope(rope_type="yarn", factor=4.0, mscale=0.7, mscale_all_dim=0.3, **ORIGINAL),
    "longrope": rope(
        rope_type="longrope", short_factor=[1.0, 1.3, 1.1, 1.2], long_factor=[1.5, 2.0, 3.0, 4.0], **ORIGINAL
    ),
    "longrope, factors given": rope(
        rope_type="longrope", short_factor=[1.0, 1.3, 1.1, 1.2], long_factor=[1.5, 2.0, 3.0, 4.0],
        **ORIGINAL, factor=5.0, attention_factor=1.25,
    ),
}  # fmt: skip
BY_ROW = ("dynamic", "longrope")
WIDE = {"head_dim": 8}
LONG_PHI = {
    "hidden_size": 32,
    "original_max_position_embeddings": 4,
    **rope(rope_type="longrope", short_factor=[1.0, 1.3, 1.1], long_factor=[1.5, 2.0, 3.0], partial_rotary_factor=0.75),
}
VARIANTS: dict[str, Case] = {
    **{name: decoder(name) for name in NAMES},
    **{f"llama, {name}": decoder("llama", **WIDE, **fields) for name, fields in SCALINGS.items()},
    "llama, older words": decoder("llama", rope_theta=50.0, rope_scaling={"type": "linear", "factor": 2.0}),
    "mistral, window": decoder("mistral", sliding_window=3, head_dim=10, hidden_size=18, num_attention_heads=2),
    "mistral, tied": decoder("mistral", tie_word_embeddings=True, hidden_act="gelu"),
    "internlm3, biases, dynamic": decoder(
        "internlm3", attention_bias=True, mlp_bias=True, head_dim=6, **SCALINGS["dynamic"]
    ),
    "qwen2, windows above": decoder("qwen2", use_sliding_window=True, sliding_window=3, max_window_layers=1),
    "qwen2, listed layers": decoder(
        "qwen2", use_sliding_window=True, sliding_window=2,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
    ),
    "qwen2, tied, yarn": decoder("qwen2", tie_word_embeddings=True, **SCALINGS["yarn"]),
    "qwen3, biases, windows": decoder(
        "qwen3", attention_bias=True, use_sliding_window=True, sliding_window=3, max_window_layers=2
    ),
    "qwen3, tied, odd sizes": decoder("qwen3", tie_word_embeddings=True, hidden_size=21, num_attention_heads=6),
    "gemma, untied, biases": decoder("gemma", tie_word_embeddings=False, attention_bias=True, hidden_size=18),
    "gemma, the older gelu": decoder("gemma", hidden_act="gelu"),
    "gemma2, no caps": decoder("gemma2", attn_logit_softcapping=None, final_logit_softcapping=None),
    "gemma2, strong caps, biases": decoder(
        "gemma2", attn_logit_softcapping=0.5, final_logit_softcapping=20.0, attention_bias=True
    ),
    "gemma2, other windows": decoder(
        "gemma2", sliding_window=2, num_hidden_layers=3,
        layer_types=["full_attention", "full_attention", "sliding_attention"],
    ),
    "gemma3_text, capped logits": decoder("gemma3_text", final_logit_softcapping=20.0, attention_bias=True),
    "gemma3_text, scaled": decoder(
        "gemma3_text", head_dim=8, num_hidden_layers=3,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        rope_parameters={
            "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 500.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 20.0},
        },
    ),
    "phi3, window, tied": decoder("phi3", sliding_window=3, tie_word_embeddings=True, num_key_value_heads=4),
    "phi3, longrope, partial": decoder("phi3", **LONG_PHI),
    "gpt_neox, sequential, no biases": decoder(
        "gpt_neox", use_parallel_residual=False, attention_bias=False, hidden_act="gelu_fast"
    ),
    "gpt_neox, all turns, tied": decoder(
        "gpt_neox", tie_word_embeddings=True, **rope(rope_type="default", partial_rotary_factor=1.0)
    ),
    "gpt_neox, linear": decoder(
        "gpt_neox", hidden_size=32, **rope(rope_type="linear", factor=2.0, partial_rotary_factor=0.5)
    ),
    "olmo2, biases, tied": decoder("olmo2", attention_bias=True, tie_word_embeddings=True, rms_norm_eps=1e-3),
    "olmo2, one key head, yarn": decoder("olmo2", num_key_value_heads=1, **SCALINGS["yarn"]),
    "glm, no biases, all turns": decoder(
        "glm", attention_bias=False, **rope(rope_type="default", partial_rotary_factor=1.0)
    ),
    "glm4, tied, dynamic": decoder("glm4", tie_word_embeddings=True, head_dim=16, **SCALINGS["dynamic"]),
}  # fmt: skip
LABELLED = {name: decoder(name, "label", num_labels=3) for name in NAMES if name != "internlm3"}
BARE = {name: decoder(name, "bare") for name in NAMES if name != "internlm3"}


def by_row(case: Case) -> bool:
    """Whether the reference's angles follow the longest row of a batch (ours follow each row's own length)."""
    parameters = case.config.rope_parameters
    return parameters.get("rope_type") in BY_ROW
