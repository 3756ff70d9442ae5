"""Decoder-only families: a value that we do not compute as the reference does is refused, never guessed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from decoders import ORIGINAL, VARIANTS, decoder, rope
from references import reference
from test_refusals import refused

from microtune.errors import InputError
from microtune.families import families, load_folder

LONGROPE = {"rope_type": "longrope", "short_factor": [1.0, 1.0], "long_factor": [2.0, 2.0], **ORIGINAL}
LIST = ["full_attention", "sliding_attention", "full_attention"]
SCALING, PARAMETERS = "rope_scaling", "rope_parameters"
VALUES: list[tuple[str, dict[str, Any], str]] = [
    ("llama", {PARAMETERS: {"rope_type": "ntk"}}, 'rope_parameters: rope_type "ntk" is not supported.'),
    ("llama", {PARAMETERS: {"rope_type": "proportional"}}, 'rope_type "proportional" is not supported.'),
    ("llama", {PARAMETERS: {"rope_type": "linear"}}, 'the field "factor" is missing.'),
    ("llama", {PARAMETERS: {"rope_type": "linear", "factor": 0.5}}, "factor is 0.5, but must be a number from 1"),
    (
        "llama",
        {PARAMETERS: {"rope_type": "linear", "factor": 2.0, "alpha": 3.0}},
        'the field "alpha" is not supported with the linear rope_type.',
    ),
    (
        "llama",
        {PARAMETERS: {"rope_type": "linear", "type": "dynamic", "factor": 2.0}},
        "rope_type is given as dynamic and as linear; keep one.",
    ),
    (
        "llama",
        {PARAMETERS: {"rope_type": "llama3", "factor": 2.0, "low_freq_factor": 4.0, "high_freq_factor": 1.0}},
        "low_freq_factor must be below high_freq_factor.",
    ),
    (
        "llama",
        {PARAMETERS: {"rope_type": "yarn", "factor": 2.0, **ORIGINAL}, "original_max_position_embeddings": 8},
        "original_max_position_embeddings is given as 4 and as 8; keep one.",
    ),
    ("llama", {PARAMETERS: LONGROPE | {"long_factor": 3}}, "long_factor is 3, but must be a list of numbers."),
    (
        "llama",
        {PARAMETERS: LONGROPE | {"long_factor": [1.0]}},
        "long_factor has 1 numbers, but 2 angles need one each.",
    ),
    ("llama", {PARAMETERS: LONGROPE | {"long_factor": [1.0, -1.0]}}, "long_factor is -1.0, but must be a number"),
    ("llama", {"partial_rotary_factor": 0.5}, "partial_rotary_factor is 0.5, but must be a number from 1 to 1."),
    (
        "mistral",
        {"layer_types": LIST},
        "layer_types is ['full_attention', 'sliding_attention', 'full_attention'], which",
    ),
    ("mistral", {"sliding_window": 0}, "sliding_window is 0, but must be a whole number"),
    ("internlm3", {"attention_bias": True}, "qkv_bias and bias (attention_bias and mlp_bias) must be alike"),
    ("internlm3", {"qkv_bias": True}, "qkv_bias and bias (attention_bias and mlp_bias) must be alike"),
    ("qwen2", {"layer_types": LIST}, 'A pattern with "L" layers needs a `window`.'),
    ("qwen2", {"layer_types": LIST[:2]}, "must list one word for each of 3 layers."),
    ("qwen2", {"layer_types": [*LIST[:2], "linear_attention"]}, 'layer_types "linear_attention" is not supported.'),
    ("qwen2", {"layer_types": "full"}, "layer_types is full, but must list one word for each of 3 layers."),
    ("qwen3", {"use_sliding_window": "yes"}, 'use_sliding_window is "yes", but must be true or false.'),
    ("qwen3", {"hidden_act": "xielu"}, 'hidden_act "xielu" is not supported.'),
    ("gemma", {"use_bidirectional_attention": True}, "use_bidirectional_attention is True, which is not supported"),
    ("gemma", {"hidden_activation": "relu"}, "hidden_act and hidden_activation say different things; keep one"),
    ("gemma2", {"attn_logit_softcapping": 0}, "attn_logit_softcapping is 0, but must be a number"),
    ("gemma2", {"sliding_window": None}, 'A pattern with "L" layers needs a `window`.'),
    ("gemma2", {"query_pre_attn_scalar": -1}, "query_pre_attn_scalar is -1, but must be a number"),
    ("gemma3_text", {"attn_logit_softcapping": 50.0}, "the code of this family never applies it"),
    ("gemma3_text", {PARAMETERS: {"rope_type": "default"}}, "but must hold full_attention and sliding_attention."),
    (
        "gemma3_text",
        {PARAMETERS: {"sliding_attention": {"rope_type": "linear", "factor": 2.0}}},
        "a rope_type other than default is not supported for sliding_attention.",
    ),
    ("phi3", {PARAMETERS: {"rope_type": "linear", "factor": 2.0}}, 'rope_type "linear" is not supported.'),
    ("phi3", {"attention_bias": True}, "attention_bias is True, which is not supported"),
    ("gpt_neox", {"rotary_pct": 0.5}, "rotary_pct is given as 0.25 and as 0.5; keep one."),
    ("gpt_neox", {PARAMETERS: {"partial_rotary_factor": 0.2}}, "rotary_dim is 3, but rotary positions need an even"),
    ("gpt_neox", {"hidden_act": "quick_gelu"}, 'hidden_act "quick_gelu" is not supported.'),
    (
        "glm",
        {PARAMETERS: {"partial_rotary_factor": 1.5}},
        "partial_rotary_factor is 1.5, but must be a number from 0 to 1",
    ),
]


@pytest.mark.parametrize(("name", "fields", "message"), VALUES, ids=[f"{n}: {m[:50]}" for n, _, m in VALUES])
def test_an_unknown_value_is_refused(name: str, fields: dict[str, Any], message: str, tmp_path: Path) -> None:
    reference(decoder(name), tmp_path)
    load_folder(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))
    refused(tmp_path, str(path), message)


OLDER: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    (
        "llama",
        {PARAMETERS: {"rope_type": "linear", "factor": 2.0, "rope_theta": 50.0}},
        {SCALING: {"type": "linear", "factor": 2.0}, "rope_theta": 50.0},
    ),
    (
        "phi3",
        {PARAMETERS: LONGROPE | {"rope_theta": 50.0}, "original_max_position_embeddings": 4},
        {
            SCALING: {"type": "su", "short_factor": [1.0, 1.0], "long_factor": [2.0, 2.0]},
            "rope_theta": 50.0,
            "original_max_position_embeddings": 4,
        },
    ),
    (
        "gpt_neox",
        {PARAMETERS: {"rope_type": "default", "rope_theta": 50.0, "partial_rotary_factor": 0.5}},
        {"rotary_pct": 0.5, "rotary_emb_base": 50},
    ),
    (
        "gemma3_text",
        {
            PARAMETERS: {
                "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 500.0},
                "sliding_attention": {"rope_type": "default", "rope_theta": 20.0},
            }
        },
        {SCALING: {"rope_type": "linear", "factor": 8.0}, "rope_theta": 500.0, "rope_local_base_freq": 20.0},
    ),
]


@pytest.mark.parametrize(("name", "new", "old"), OLDER, ids=[name for name, _, _ in OLDER])
def test_the_words_of_transformers_4_mean_the_same(name: str, new: dict[str, Any], old: dict[str, Any]) -> None:
    config = decoder(name).config.to_dict()
    before = {key: value for key, value in config.items() if key != PARAMETERS}
    assert families[name].to_spec(before | new) == families[name].to_spec(before | old)
    kept = families[name].to_config(families[name].to_spec(before | old), before | old)
    assert families[name].to_spec(kept) == families[name].to_spec(before | old)


@pytest.mark.parametrize(
    "key", ["layer_types", "use_sliding_window", "sliding_window", "rope_parameters", "hidden_act"]
)
def test_absent_fields_mean_what_the_reference_makes_of_them(key: str) -> None:
    """qwen2: a file without the field is a spec as transformers reads it."""
    config = VARIANTS["qwen2"].config.to_dict()
    del config[key]
    theirs = type(VARIANTS["qwen2"].config)(**config).to_dict()
    assert families["qwen2"].to_spec(config) == families["qwen2"].to_spec(theirs)


def test_a_family_without_a_classifier_says_so() -> None:
    spec = families["internlm3"].to_spec(VARIANTS["internlm3"].config.to_dict())
    with pytest.raises(InputError, match="transformers has no internlm3 with this head"):
        families["internlm3"].to_config(spec, head="label")


def test_a_spec_of_another_family_is_not_written() -> None:
    specs = {
        name: families[name].to_spec(VARIANTS[name].config.to_dict()) for name in ("qwen3", "olmo2", "glm", "gpt_neox")
    }
    for name, field in (
        ("qwen3", "decoder.query_key_norm: head"),
        ("olmo2", "decoder.placement: after"),
        ("glm", "decoder.rope_layout: pairs"),
        ("gpt_neox", "decoder.residuals: parallel"),
    ):
        with pytest.raises(InputError, match=field):
            families["llama"].to_config(specs[name])
    scaled = families["llama"].to_spec(decoder("llama", **rope(rope_type="linear", factor=2.0)).config.to_dict())
    assert families["mistral"].to_config(scaled)[PARAMETERS]["factor"] == 2.0
    with pytest.raises(InputError, match='rope_type "linear" is not supported'):
        families["phi3"].to_config(scaled)
