"""Configurations as their makers published them, with the words of their time: read, and of the published size.

The counts of parameters are those of the model cards' weights; they depend on every width, head, bias and tie.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any

import pytest

from microtune.families import expected_shapes, families
from microtune.nn.spec import ModelSpec

LLAMA_31_8B = {
    "model_type": "llama", "attention_bias": False, "hidden_act": "silu", "hidden_size": 4096,
    "intermediate_size": 14336, "max_position_embeddings": 131072, "mlp_bias": False, "num_attention_heads": 32,
    "num_hidden_layers": 32, "num_key_value_heads": 8, "pretraining_tp": 1, "rms_norm_eps": 1e-05,
    "rope_scaling": {
        "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192,
        "rope_type": "llama3",
    },
    "rope_theta": 500000.0, "tie_word_embeddings": False, "vocab_size": 128256,
}  # fmt: skip
MISTRAL_7B = {
    "model_type": "mistral", "hidden_act": "silu", "hidden_size": 4096, "intermediate_size": 14336,
    "max_position_embeddings": 32768, "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 8,
    "rms_norm_eps": 1e-05, "rope_theta": 10000.0, "sliding_window": 4096, "tie_word_embeddings": False,
    "vocab_size": 32000,
}  # fmt: skip
QWEN25_05B = {
    "model_type": "qwen2", "hidden_act": "silu", "hidden_size": 896, "intermediate_size": 4864,
    "max_position_embeddings": 32768, "max_window_layers": 21, "num_attention_heads": 14, "num_hidden_layers": 24,
    "num_key_value_heads": 2, "rms_norm_eps": 1e-06, "rope_theta": 1000000.0, "sliding_window": 32768,
    "tie_word_embeddings": True, "use_sliding_window": False, "vocab_size": 151936,
}  # fmt: skip
QWEN3_06B = {
    "model_type": "qwen3", "attention_bias": False, "head_dim": 128, "hidden_act": "silu", "hidden_size": 1024,
    "intermediate_size": 3072, "max_position_embeddings": 40960, "max_window_layers": 28, "num_attention_heads": 16,
    "num_hidden_layers": 28, "num_key_value_heads": 8, "rms_norm_eps": 1e-06, "rope_scaling": None,
    "rope_theta": 1000000, "sliding_window": None, "tie_word_embeddings": True, "use_sliding_window": False,
    "vocab_size": 151936,
}  # fmt: skip
GEMMA_2B = {
    "model_type": "gemma", "attention_bias": False, "head_dim": 256, "hidden_act": "gelu", "hidden_activation": None,
    "hidden_size": 2048, "intermediate_size": 16384, "max_position_embeddings": 8192, "num_attention_heads": 8,
    "num_hidden_layers": 18, "num_key_value_heads": 1, "rms_norm_eps": 1e-06, "rope_scaling": None,
    "rope_theta": 10000.0, "vocab_size": 256000,
}  # fmt: skip
GEMMA2_2B = {
    "model_type": "gemma2", "attention_bias": False, "attn_logit_softcapping": 50.0, "cache_implementation": "hybrid",
    "final_logit_softcapping": 30.0, "head_dim": 256, "hidden_act": "gelu_pytorch_tanh",
    "hidden_activation": "gelu_pytorch_tanh", "hidden_size": 2304, "intermediate_size": 9216,
    "max_position_embeddings": 8192, "num_attention_heads": 8, "num_hidden_layers": 26, "num_key_value_heads": 4,
    "query_pre_attn_scalar": 256, "rms_norm_eps": 1e-06, "rope_theta": 10000.0, "sliding_window": 4096,
    "vocab_size": 256000,
}  # fmt: skip
GEMMA3_1B = {
    "model_type": "gemma3_text", "attention_bias": False, "attn_logit_softcapping": None,
    "final_logit_softcapping": None, "head_dim": 256, "hidden_activation": "gelu_pytorch_tanh", "hidden_size": 1152,
    "intermediate_size": 6912, "max_position_embeddings": 32768, "num_attention_heads": 4, "num_hidden_layers": 26,
    "num_key_value_heads": 1, "query_pre_attn_scalar": 256, "rms_norm_eps": 1e-06, "rope_local_base_freq": 10000,
    "rope_scaling": None, "rope_theta": 1000000, "sliding_window": 512, "sliding_window_pattern": 6,
    "vocab_size": 262144,
}  # fmt: skip
PHI35_MINI = {
    "model_type": "phi3", "attention_bias": False, "embd_pdrop": 0.0, "hidden_act": "silu", "hidden_size": 3072,
    "intermediate_size": 8192, "max_position_embeddings": 131072, "num_attention_heads": 32, "num_hidden_layers": 32,
    "num_key_value_heads": 32, "original_max_position_embeddings": 4096, "resid_pdrop": 0.0, "rms_norm_eps": 1e-05,
    "rope_scaling": {"long_factor": [1.08] * 48, "short_factor": [1.0] * 48, "type": "longrope"},
    "rope_theta": 10000.0, "sliding_window": 262144, "tie_word_embeddings": False, "vocab_size": 32064,
}  # fmt: skip
PYTHIA_160M = {
    "model_type": "gpt_neox", "hidden_act": "gelu", "hidden_size": 768, "initializer_range": 0.02,
    "intermediate_size": 3072, "layer_norm_eps": 1e-05, "max_position_embeddings": 2048, "num_attention_heads": 12,
    "num_hidden_layers": 12, "rotary_emb_base": 10000, "rotary_pct": 0.25, "tie_word_embeddings": False,
    "use_parallel_residual": True, "vocab_size": 50304,
}  # fmt: skip
INTERNLM3_8B = {
    "model_type": "internlm3", "bias": False, "qkv_bias": False, "head_dim": 128, "hidden_act": "silu",
    "hidden_size": 4096, "intermediate_size": 10240, "max_position_embeddings": 32768, "num_attention_heads": 32,
    "num_hidden_layers": 48, "num_key_value_heads": 2, "rms_norm_eps": 1e-05,
    "rope_scaling": {"factor": 6.0, "rope_type": "dynamic"}, "rope_theta": 50000000, "tie_word_embeddings": False,
    "vocab_size": 128512,
}  # fmt: skip
COUNTS: list[tuple[dict[str, Any], int]] = [
    (LLAMA_31_8B, 8_030_261_248),
    (MISTRAL_7B, 7_241_732_096),
    (QWEN25_05B, 494_032_768),
    (QWEN3_06B, 596_049_920),
    (GEMMA_2B, 2_506_172_416),
    (GEMMA2_2B, 2_614_341_888),
    (GEMMA3_1B, 999_885_952),
    (PHI35_MINI, 3_821_079_552),
    (PYTHIA_160M, 162_322_944),
    (INTERNLM3_8B, 8_804_241_408),
]


def read(config: dict[str, Any]) -> ModelSpec:
    return families[config["model_type"]].to_spec(config)


@pytest.mark.parametrize(("config", "count"), COUNTS, ids=[c["model_type"] for c, _ in COUNTS])
def test_published_configurations_have_the_published_size(config: dict[str, Any], count: int) -> None:
    spec = read(config)
    shapes = expected_shapes(spec)
    if spec.tied:
        del shapes["head.out.weight"]
    assert sum(map(prod, shapes.values())) == count
    again = read(families[config["model_type"]].to_config(spec, config))
    assert spec.decoder is not None
    assert again.decoder is not None
    assert again.decoder == replace(spec.decoder, head_dim=again.decoder.head_dim)  # which is written where it followed


def test_what_else_these_files_say() -> None:
    stacks = {config["model_type"]: read(config).decoder for config, _ in COUNTS}
    assert all(stack is not None for stack in stacks.values())
    found = {name: stack for name, stack in stacks.items() if stack is not None}
    assert found["gemma"].activation == "gelu_tanh"
    assert (found["gemma2"].pattern, found["gemma2"].window) == ("LG", 4096)
    assert (found["gemma3_text"].pattern, found["gemma3_text"].rope_local_theta) == ("LLLLLG", 10_000.0)
    assert (found["qwen2"].pattern, found["qwen3"].pattern, found["mistral"].pattern) == ("G", "G", "L")
    assert found["gpt_neox"].rotary_size == 16
    sharp = found["phi3"].rope_scaling
    assert sharp is not None
    assert sharp.attention_factor == pytest.approx(1.190238, abs=1e-6)  # sqrt(1 + ln 32 / ln 4096)
    assert (found["internlm3"].max_positions, found["internlm3"].promised_positions) == (32768, 196_608)
