"""New networks that cannot be built or pretrained: each refusal provoked and read in Chinese."""

from __future__ import annotations

from typing import Any

import pytest
from read_in_chinese import pretraining, recipe, refusal
from test_bad_corpora import STACK

pytestmark = pytest.mark.usefixtures("quick", "filled")


RECURRENT = {"num_layers": 1, "hidden_size": 8}
STACKS: list[tuple[dict[str, Any], str]] = [
    ({"num_heads": 3}, "hidden_size 16 不是 num_heads 3 的整数倍。"),
    ({"num_kv_heads": 5}, "num_heads 2 不是 num_kv_heads 5 的整数倍。"),
    ({"norm": "rmss"}, "norm：没有“rmss”这个值。是不是“rms”？可用的有：layer, rms。"),
    ({"num_layer": 2}, "model.decoder：没有“num_layer”这一项。是不是“num_layers”？可用的有："),
    ({"hidden_size": "x"}, "hidden_size 为 x，应为 1 到 1048576 的整数。"),
    ({"positions": "learned", "max_positions": None}, "positions：learned 需要设置 `max_positions`。"),
    ({"pattern": "GX"}, "pattern 为“GX”，应由字母 G 和 L 组成。"),
    ({"pattern": "GL"}, "含“L”层的 pattern 需要设置 `window`。"),
    ({"head_dim": 7}, "head_dim 为 7，而旋转位置编码需要偶数。"),
    ({"rotary_dim": 64}, "rotary_dim 为 64，而每个注意力头只有 8 维。"),
    ({"residuals": "parallel", "placement": "post"}, "residuals：parallel 要求归一化在各分支之前，且没有交叉注意力。"),
    ({"first_norm": False, "placement": "post"}, "first_norm: false 需要 placement: pre，而不是 post。"),
    (
        {"positions": "relative", "relative_buckets": 1},
        "relative_buckets 1 与 relative_max_distance 128 没有给近处或远处的词元留下分桶。",
    ),
    ({"rope_scaling": {"kind": "yarn"}}, "rope_scaling：yarn 需要设置 `original_max_positions`。"),
    (
        {"rope_scaling": {"kind": "llama3", "original_max_positions": 8, "low_freq_factor": 4, "high_freq_factor": 1}},
        "rope_scaling：low_freq_factor 必须小于 high_freq_factor。",
    ),
    ({"rope_scaling": {"kind": "x"}}, "kind：没有“x”这个值。可用的有：dynamic, linear, llama3, longrope, yarn。"),
    (
        {"rope_scaling": {"kind": "longrope", "original_max_positions": 8, "short_factor": [1.0]}},
        "rope_scaling：short_factor 有 1 个数字，而 4 个角度各需要一个。",
    ),
    (
        {"max_positions": 8},
        "配方：data.block_size 16 需要 16 个位置，而网络只有 8 个；请减小前者，或提高 max_positions。",
    ),
    ({"causal": False}, "配方：task.objective 为 causal，需要只有解码器的网络（causal: true）；这里的网络不符。"),
]
PRETRAININGS: list[tuple[dict[str, Any], str]] = [
    ({"model": {"source": None, "tokenizer": {"vocab_size": 320}, "spec": {}}}, "模型需要编码器、解码器或两者。"),
    (
        {"model": {"source": None, "tokenizer": {"vocab_size": 320}, "spec": {"decoder": 3}}},
        "model.decoder 为 3，应为一个堆栈的各个字段。",
    ),
    (
        {"model": {"source": None, "tokenizer": {"vocab_size": 320}, "spec": {"decoder": {}}}},
        "缺少 model.decoder.num_layers；没有它无法建立网络。",
    ),
    (
        {
            "model": {
                "source": None,
                "tokenizer": {"vocab_size": 320},
                "spec": {"decoder": STACK, "target_tokens": "own"},
            }
        },
        "target_tokens: own 需要编码器、解码器和独立的输出层（tied: false）。",
    ),
    (
        {"model": {"source": None, "tokenizer": {"vocab_size": 320}, "spec": {"decoder": STACK, "vocab_size": 3}}},
        "配方：model.spec.vocab_size 3 小于词元数 320。",
    ),
    (
        {
            "model": {
                "source": None,
                "tokenizer": {"vocab_size": 320},
                "spec": {"decoder": {**STACK, "embedding_size": 8}},
            }
        },
        "embedding_size 与 hidden_size 不同时，需要用 head_transform 变换回去。",
    ),
    ({"task": "classification"}, "配方：task 为 classification，而预训练只用 language-modelling。"),
    (
        {"model": {"source": None}},
        "配方：缺少 model.spec：要预训练的模型的结构；也可以用 model.source 指定要继续训练的模型。",
    ),
    ({"data": {}}, "配方：缺少 data.sources：供模型学习的文件。"),
    (
        {"task": {"name": "language-modelling", "objective": "masked"}},
        "配方：task.objective 为 masked，需要只有编码器的网络；这里的网络不符。",
    ),
    (
        {"task": {"name": "language-modelling", "objective": "span-denoising"}},
        "配方：task.objective 为 span-denoising，需要编码器加解码器的网络（causal: true，cross_attention: true）；"
        "这里的网络不符。",
    ),
    ({"model": {"source": "r_lora"}}, "r_lora：这是微调过的运行；请从基座模型或其导出结果继续训练。"),
    ({"train": {"average": 2}}, "配方：train.average 需要用留出的文本来评判平均结果：data.sources.held_out。"),
    (
        {
            "model": {
                "source": None,
                "tokenizer": {"vocab_size": 320},
                "spec": {"decoder": STACK},
                "vectors": "none.vec",
            }
        },
        "none.vec：没有这个词向量文件。",
    ),
    (
        {
            "model": {
                "source": None,
                "tokenizer": {"vocab_size": 320},
                "spec": {"decoder": STACK},
                "added_tokens": ["<a>"],
            }
        },
        "配方：model.added_tokens 只用于微调基座；新模型的词元来自文本。",
    ),
    (
        {"model": {"source": None, "tokenizer": {"vocab_size": 320}, "spec": {"decoder": STACK}, "family": "bert"}},
        "配方：model.family：bert 文件无法表达该模型（type_vocab_size 为 0，应为 1 到 1048576 的整数）；请以 "
        "microtune 自己的格式保存。",
    ),
    (
        {"model": {"source": None, "tokenizer": {"vocab_size": 320}, "spec": {"decoder": STACK}, "family": "berd"}},
        "family 中没有“berd”。是不是“bert”？可用的有：",
    ),
    (
        {"model": {"source": None, "classic": {"name": "ngram", "order": 99}}},
        "配方：model.classic：order：应当小于或等于 8，而不是 '99'。",
    ),
    (
        {
            "model": {"source": None, "classic": {"name": "ngram", "order": 8}},
            "data": {"sources": [{"path": "two.txt"}]},
        },
        "model.classic.order 为 8，而最长的文本连首尾在内只有 4 个词元；请取至多 4，或增加文本。",
    ),
    (
        {"model": {"source": None, "classic": {"name": "markov"}}},
        "classic model 中没有“markov”。可用的有：ngram, word2vec。",
    ),
    ({"model": {"source": None, "classic": "ngram:3:4"}}, "“ngram:3:4”不是简写；请写名称和整数，例如 top:2。"),
    (
        {"model": {"source": None, "classic": "word2vec:3"}},
        "配方：word2vec 后面不能带数字；请写 model.classic=word2vec。",
    ),
    (
        {"model": {"source": None, "classic": "ngram", "spec": {"decoder": STACK}}},
        "配方：model.spec 与 model.classic 不能同时使用；请去掉其中一个。",
    ),
    (
        {"model": {"source": None, "classic": {"name": "word2vec", "min_count": 99999}}},
        "语料中没有出现 99999 次的词；请增加文本，或减小 model.classic.min_count。",
    ),
    (
        {"model": {"source": None, "classic": {"name": "word2vec", "width": 4}}, "train": {"epochs": 0.5}},
        "配方：train.epochs 为 0.5，而 word2vec 只做完整的轮次，至少 1 轮。",
    ),
    (
        {"model": {"source": None, "classic": {"name": "ngram"}, "vectors": "x"}},
        "配方：model.vectors 不适用于 ngram；请去掉。",
    ),
    (
        {"model": {"source": None, "classic": {"name": "ngram", "unit": "characters"}, "tokenizer": "m"}},
        "配方：model.tokenizer 指定了分词器，而 unit: characters 会自己生成；请只写 {vocab_size: n}。",
    ),
]
RECURRENTS: list[tuple[dict[str, Any], str]] = [
    (
        {"encoder": {"num_layers": 1, "hidden_size": 7, "bidirectional": True}, "decoder": RECURRENT},
        "bidirectional：两个方向平分 hidden_size，而 7 是奇数。",
    ),
    (
        {"encoder": RECURRENT, "decoder": {"num_layers": 1, "hidden_size": 8, "bidirectional": True}},
        "model.decoder：bidirectional 只用于编码器；解码器从左到右写。",
    ),
    (
        {"encoder": {"num_layers": 1, "hidden_size": 8, "attention": "dot"}, "decoder": RECURRENT},
        "model.encoder：attention 属于解码器，由它查看编码器的状态。",
    ),
    (
        {"encoder": RECURRENT, "decoder": {"num_layers": 2, "hidden_size": 8}},
        "model：解码器各层从编码器对应层的最后状态开始，因此两者的 num_layers 必须相同，而这里是 1 与 2。",
    ),
    (
        {"encoder": RECURRENT, "decoder": {"num_layers": 1, "hidden_size": 8, "cell": "gru"}},
        "model：解码器各层从编码器对应层的最后状态开始，因此两者的 cell 必须相同，而这里是 lstm 与 gru。",
    ),
    (
        {"encoder": RECURRENT, "decoder": {"num_layers": 1, "hidden_size": 8, "cel": "gru"}},
        "model.decoder：seq2seq-rnn 没有“cel”这一项。是不是“cell”？可用的有：attention, bidirectional, cell, "
        "dropout, hidden_size, num_layers。",
    ),
    ({"encoder": 3, "decoder": RECURRENT}, "model.encoder 为 3，应为 seq2seq-rnn 的各个字段。"),
    ({"encoder": RECURRENT, "decoder": {"hidden_size": 8}}, "model.decoder：缺少“num_layers”。"),
    (
        {"decoder": {"num_layers": 1, "hidden_size": 8, "attention": "dot"}},
        "model.decoder：attention: dot 需要有编码器可看。",
    ),
]


@pytest.mark.parametrize(("fields", "expected"), STACKS)
def test_a_stack(capsys: pytest.CaptureFixture[str], fields: dict[str, Any], expected: str) -> None:
    model = {"source": None, "tokenizer": {"vocab_size": 320}, "spec": {"decoder": STACK | fields}}
    assert refusal(capsys, "pretrain", pretraining(model=model), "--out", "out", "--quiet").startswith(expected)


@pytest.mark.parametrize(("values", "expected"), PRETRAININGS)
def test_a_pretraining(capsys: pytest.CaptureFixture[str], values: dict[str, Any], expected: str) -> None:
    assert refusal(capsys, "pretrain", pretraining(**values), "--out", "out", "--quiet").startswith(expected)


@pytest.mark.parametrize(("spec", "expected"), RECURRENTS)
def test_a_recurrent_network(capsys: pytest.CaptureFixture[str], spec: dict[str, Any], expected: str) -> None:
    said = {
        "task": {"name": "sequence-to-sequence", "source_field": "en", "target_field": "de"},
        "method": "full",
        "model": {"source": None, "family": "seq2seq-rnn", "tokenizer": {"vocab_size": 320}, "spec": spec},
        "data": {"train": "p.jsonl"},
    }
    assert refusal(capsys, "tune", recipe("s.yaml", said), "--out", "out", "--quiet").startswith(expected)
