"""Models of other libraries and adapters of peft that do not fit: each refusal provoked and read in Chinese."""

from __future__ import annotations

from typing import Any

import pytest
from read_in_chinese import configured, foreign, refusal, words

pytestmark = pytest.mark.usefixtures("quick", "filled")


CONFIGS: list[tuple[str, dict[str, Any], str]] = [
    ("m", {"hidden_size": "wide"}, 'k/config.json：hidden_size 为 "wide"，应为 1 到 1048576 的整数。'),
    ("m", {"hidden_size": None}, "k/config.json：缺少字段“hidden_size”。"),
    ("m", {"num_attention_heads": 3}, "k/config.json：num_heads 3 不是 num_kv_heads 2 的整数倍。"),
    ("m", {"hidden_act": "mish"}, 'k/config.json：不支持 hidden_act "mish"。是不是“swish”？可用的有：'),
    ("m", {"rope_scaling": {"rope_type": "yarn"}}, "k/config.json：缺少字段“factor”。"),
    (
        "m",
        {"rope_scaling": {"rope_type": "spiral"}},
        "k/config.json：rope_scaling：不支持 rope_type“spiral”。可用的有：default, dynamic, linear, llama3, "
        "longrope, yarn。",
    ),
    ("m", {"rope_scaling": 3}, "k/config.json：rope_scaling 为 3，应为对象。"),
    (
        "m",
        {"rope_scaling": {"rope_type": "linear", "type": "yarn", "factor": 2.0}},
        "k/config.json：rope_scaling：rope_type 有几种写法（linear、yarn）；请只留一个。",
    ),
    (
        "m",
        {"rope_scaling": {"rope_type": "linear", "factor": 2.0, "foo": 1}},
        "k/config.json：rope_scaling：rope_type 为 linear 时不支持字段“foo”。",
    ),
    (
        "m",
        {
            "rope_scaling": {"rope_type": "linear", "factor": 2.0},
            "rope_parameters": {"rope_type": "linear", "factor": 4.0},
        },
        "k/config.json：rope_scaling 与 rope_parameters 互相矛盾；请只留一个。",
    ),
    (
        "m",
        {"rope_theta": 5.0, "rope_parameters": {"rope_type": "default", "rope_theta": 7.0}},
        "k/config.json：rope_theta 有几个值（5、7）；请只留一个。",
    ),
    (
        "m",
        {
            "rope_scaling": {
                "rope_type": "llama3",
                "factor": 2.0,
                "low_freq_factor": 4.0,
                "high_freq_factor": 1.0,
                "original_max_position_embeddings": 32,
            }
        },
        "k/config.json：rope_scaling：low_freq_factor 必须小于 high_freq_factor。",
    ),
    (
        "m",
        {"rope_scaling": {"rope_type": "longrope", "short_factor": [1.0], "long_factor": "x"}},
        "k/config.json：long_factor 为 x，应为数字的列表。",
    ),
    ("m", {"tie_word_embeddings": "yes"}, 'k/config.json：tie_word_embeddings 为 "yes"，应为 true 或 false。'),
    ("m", {"rms_norm_eps": -1}, "k/config.json：rms_norm_eps 为 -1，应为 0 到 1 的数字。"),
    ("m", {"is_encoder_decoder": True}, "k/config.json：不支持 is_encoder_decoder 取值 True：这一系列只支持 False。"),
    ("m", {"pruned_heads": {"0": [1]}}, "k/config.json：不支持 pruned_heads 取值 {'0': [1]}：这一系列只支持 {}。"),
    (
        "m",
        {"quantization_config": {"bits": 4}},
        "k/config.json：不支持 quantization_config 取值 {'bits': 4}：无法读取量化的权重；请以 16 位或 32 位导出模型。",
    ),
    (
        "m",
        {"num_hidden_layers": 3},
        "k：缺少张量“model.layers.2.self_attn.q_proj.weight”（以及另外 8 个）；文件夹不完整。",
    ),
    ("m", {"num_hidden_layers": 5000}, "k/config.json：声明有 5000 层，而权重只有 20 个张量。"),
    ("m", {"model_type": "lama"}, "k/config.json：不支持 model_type“lama”。是不是“llama”？可用的有："),
    ("m", {"model_type": None}, "k/config.json：不支持 model_type“None”。可用的有："),
    ("m", {"num_key_value_heads": 3}, "k/config.json：num_heads 2 不是 num_kv_heads 3 的整数倍。"),
    (
        "m",
        {"model_type": "mistral", "sliding_window": -2},
        "k/config.json：sliding_window 为 -2，应为 1 到 1048576 的整数。",
    ),
    (
        "m",
        {"model_type": "phi3", "attention_bias": True},
        "k/config.json：不支持 attention_bias 取值 True：这一系列只支持 False。",
    ),
    (
        "m",
        {"model_type": "gemma", "hidden_act": "gelu", "hidden_activation": "relu"},
        "k/config.json：hidden_act 与 hidden_activation 互相矛盾；请只留一个。",
    ),
    (
        "m",
        {"model_type": "gemma3_text", "rope_parameters": {"x": 1}},
        "k/config.json：rope_parameters 为 {'x': 1}，应含有 full_attention 和 sliding_attention。",
    ),
    (
        "m",
        {"model_type": "gemma3_text", "attn_logit_softcapping": 30.0},
        "k/config.json：不支持 attn_logit_softcapping 取值 30.0：这一系列的代码从不使用它。",
    ),
    (
        "m",
        {"model_type": "gemma2", "layer_types": ["full_attention"]},
        "k/config.json：layer_types 为 ['full_attention']，应给 2 层各写一个词。",
    ),
    (
        "m",
        {"model_type": "internlm3", "qkv_bias": True, "bias": False},
        "k/config.json：在这一系列中，qkv_bias 与 bias（attention_bias 与 mlp_bias）必须一致。",
    ),
    (
        "m",
        {"model_type": "modernbert", "rope_parameters": {"x": 1}},
        "k/config.json：rope_parameters 应为 full_attention、sliding_attention 各含一个对象，不含其他内容。",
    ),
    (
        "bert",
        {"position_embedding_type": "relative_key"},
        'k/config.json：不支持 position_embedding_type 取值 "relative_key"：这一系列只支持 "absolute"。',
    ),
    ("bert", {"is_decoder": True}, "k/config.json：不支持 is_decoder 取值 True：这一系列只支持 False。"),
    ("bart", {"decoder_vocab_size": 7}, "k/config.json：decoder_vocab_size 与 vocab_size 320 不同：不支持两个词表。"),
    (
        "bart",
        {"normalize_before": True},
        "k/config.json：不支持 normalize_before 取值 True：无论旧版 transformers 怎样处理，这种架构只有一种算法。",
    ),
    (
        "t5",
        {"architectures": ["T5EncoderModel"]},
        "k/config.json：architectures 写的是 T5EncoderModel，只有编码器；T5 须连同解码器一起读取。",
    ),
    ("t5", {"dense_act_fn": "gelu"}, "k/config.json：dense_act_fn 为“gelu”，与 feed_forward_proj 矛盾。"),
    ("t5", {"is_gated_act": True}, "k/config.json：不支持 is_gated_act 取值 True：与 feed_forward_proj 矛盾。"),
    (
        "gpt2",
        {"add_cross_attention": True},
        "k/config.json：不支持 add_cross_attention 取值 True：这一系列只支持 False。",
    ),
]
ADAPTERS: list[tuple[dict[str, Any], str, str]] = [
    ({"bias": "all"}, "", "ad/adapter_config.json：不支持 bias“all”，只支持“none”；请用 peft 合并适配器。"),
    (
        {"base_model_name_or_path": "nowhere"},
        "",
        "ad/adapter_config.json：找不到该适配器的基座：没有名为“nowhere”的模型或文件夹。可用的有：minilm, sprout。",
    ),
    (
        {"base_model_name_or_path": None},
        "",
        "ad/adapter_config.json：缺少字段“base_model_name_or_path”；请在其中写明该适配器的基座。",
    ),
    (
        {"base_model_name_or_path": "../r_lora"},
        "",
        "ad/adapter_config.json：基座“../r_lora”是适配器或运行的文件夹；请给出普通模型。",
    ),
    (
        {"task_type": "X"},
        "",
        "ad/adapter_config.json：不支持 task_type“X”；可用的有 CAUSAL_LM, SEQ_2_SEQ_LM, SEQ_CLS, FEATURE_EXTRACTION。",
    ),
    (
        {"init_lora_weights": "olora"},
        "",
        "ad/adapter_config.json：init_lora_weights“olora”会改动基座的权重，而这个文件里没有；请用 peft 转换。",
    ),
    (
        {"target_modules": []},
        "",
        "ad/adapter_config.json：target_modules 是空的，无法得知适配了哪些部分；请重新保存适配器。",
    ),
    (
        {"target_modules": ["zz"]},
        "",
        "[fits] ad/adapter_model.safetensors：adapter_config.json 没有选中该基座各层中的线性层“"
        "model.layers.0.mlp.down_proj”。",
    ),
    ({"target_modules": "(a+)+"}, "", "ad/adapter_config.json：模式“(a+)+”太复杂；请改为列出各模块的名称。"),
    (
        {"target_modules": "("},
        "",
        "ad/adapter_config.json：“(”不是正则表达式（missing ), unterminated subpattern at position 0）。",
    ),
    (
        {"megatron_config": {"a": 1}},
        "",
        "ad/adapter_config.json：不支持选项“megatron_config”；请用 peft 合并适配器，再加载结果。",
    ),
    (
        {"r": 7},
        "",
        "[fits] ad/adapter_model.safetensors：张量“base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight”"
        "的形状是 [2, 16]，而基座与 adapter_config.json 要求 [7, 16]。",
    ),
    (
        {"use_dora": True},
        "",
        "[fits] ad/adapter_model.safetensors：缺少张量“"
        "base_model.model.model.layers.0.mlp.down_proj.lora_magnitude_vector”；请重新保存适配器。",
    ),
    (
        {},
        "dropped",
        "[fits] ad/adapter_model.safetensors：缺少张量“"
        "base_model.model.model.layers.0.mlp.down_proj.lora_B.weight”；请重新保存适配器。",
    ),
    (
        {},
        "nan",
        "ad/adapter_model.safetensors：张量“base_model.model.model.layers.0.mlp.down_proj.lora_A.weight”含有非有"
        "限的数值；请重新保存适配器。",
    ),
    (
        {},
        "stray",
        "[fits] ad/adapter_model.safetensors：张量“base_model.model.zzz”既不属于 LoRA，也不属于分类头，无法读取。",
    ),
    ({}, "other", "ad/adapter_model.safetensors：张量“zzz”不以“base_model.model.”开头；只读取 peft 写出的适配器。"),
    ({}, "headless", "[fits] ad/adapter_model.safetensors：没有分类头，而 task_type 为 SEQ_CLS；请重新保存适配器。"),
    (
        {},
        "shape",
        "[fits] ad/adapter_model.safetensors：张量“base_model.model.model.layers.0.mlp.down_proj.lora_A.weight”的"
        "形状是 [2, 3]，而基座与 adapter_config.json 要求 [2, 24]。",
    ),
]


@pytest.mark.parametrize(("base", "fields", "expected"), CONFIGS)
def test_a_config_of_another_library(
    capsys: pytest.CaptureFixture[str], base: str, fields: dict[str, Any], expected: str
) -> None:
    configured(base, fields)
    assert refusal(capsys, *words("LABELS --model k")).startswith(expected)


@pytest.mark.parametrize(("fields", "tensors", "expected"), ADAPTERS)
def test_an_adapter_of_peft(
    capsys: pytest.CaptureFixture[str], fields: dict[str, Any], tensors: str, expected: str
) -> None:
    foreign(fields, tensors)
    assert refusal(capsys, "predict", "ad", "x").startswith(expected)
