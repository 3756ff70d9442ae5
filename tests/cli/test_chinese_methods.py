"""Methods, training and models asked for as no run can be: each refusal provoked and read in Chinese."""

from __future__ import annotations

import pytest
from command import call
from read_in_chinese import refusal, words

pytestmark = pytest.mark.usefixtures("quick", "filled")


ASKED = [
    (
        "LABELS --method lora:99",
        "method.rank：99 超过了 decoder.blocks.0.attention.q 较短的一边（16 x 16）；请至多取 16，或在 "
        "method.roles 中另选部位。",
    ),
    (
        "LABELS --method lora method.roles=[q,zz]",
        "method.roles：这些层中没有部位“zz”。可用的有：down, gate, k, o, q, up, v。",
    ),
    (
        "LABELS --method lora method.variant=pissa method.dropout=0.1",
        "method.dropout：pissa 的更新取自权重本身，0.1 会丢掉其中一部分；请去掉。",
    ),
    ("LABELS --method lora method.first_block=5", "method：lora 从第 5 层起没有可用的层；模型有 2 层，编号 0 到 1。"),
    (
        "LABELS --method reinit:2 method.train_blocks=1",
        "method.train_blocks：重新初始化 2 层，却只训练 1 层；随机的层必须训练。",
    ),
    (
        "LABELS --method reinit:0 method.norm=false",
        "method：reinit 没有要重新初始化的部分；请选择 blocks、pooler 或 head。",
    ),
    (
        "LABELS --method reinit method.head=true method.then=full method.train_blocks=1",
        "method.train_blocks：只规定 `then: top` 训练什么；`then: full` 会训练全部。",
    ),
    (
        "LABELS --method head method.dropout=0.3",
        "method.dropout：作用于隐藏层；请给出隐藏层的宽度，例如 hidden: 128。",
    ),
    ("LABELS --method top:9", "method：要求 9 层，而模型只有 2 层。"),
    (
        "LABELS --method norms+norms",
        "method：norms 写了两次，两个都会训练 decoder.blocks.0.attention_residual.norm.weight；请只写一次，或用 "
        "last_block 或 first_block 把两者分开。",
    ),
    ("LABELS --method head+head", "method：head 写了两次，两个都会训练同一个输出层；请只写一次。"),
    (
        "LABELS --method lora+bitfit",
        "method：bitfit：没有可训练的偏置：线性部位（q, k, v, o, up, gate, down）和归一化层（RMS 归一化）都没有偏"
        "置。请用 norms、ia3 或 lora。",
    ),
    ("LABELS --method head+top:1 method.parts=3", "method：parts：应为列表，而不是 '3'。"),
    (
        "LABELS --method prompt method.tokens=100",
        "method.tokens：100 个虚拟词元没有给文本留下位置；共有 64 个位置，请取少一些。",
    ),
    (
        "LABELS --method prompt method.tokens=64",
        "method.tokens：64 个虚拟词元没有给文本留下位置；共有 64 个位置，请取少一些。",
    ),
    ("LABELS --method prompt method.init=text", "method：text：init: text 需要给出起始的词语。"),
    (
        "LABELS --method prompt method.text=abc",
        "method：text：只在 init: text 时读取（这里 init 为 vocabulary），而不是 'abc'。",
    ),
    (
        "LABELS --method top:1+lora:2",
        "method：同一部位用了两种方法：lora 改动 decoder.blocks.1.attention.k，而它的权重已由 top 训练；请用 "
        "last_block、first_block、blocks 或 roles 把两者分开。",
    ),
    ("LABELS --method full+lora", "method：full 已经训练全部权重，lora 没有可以补充的；请只用其中一个。"),
    (
        "LABELS --method ia3+ia3",
        "method：ia3 写了两次，两个都会训练 decoder.blocks.0.attention.k.factor；请只写一次，或用 last_block、"
        "first_block 或 roles 把两者分开。",
    ),
    (
        "LABELS --method bottleneck method.width=0",
        "method：没有“width”这一项。可用的有：activation, first_block, last_block, name, placement, reduction。",
    ),
    (
        "TEXT --method head method.hidden=8",
        "method.hidden：这个任务的输出层给词表打分，是模型自带的；隐藏层只用于有标签的任务。请去掉，或改用 lora "
        "或 top。",
    ),
    ("TEXT --method reinit method.head=true", "method.head：该模型的词表输出层就是词元嵌入，不能重新初始化。"),
    ("LABELS --method auto method.budget=3", "method：budget：应为字符串，而不是 '3'。"),
    ("LABELS --method auto method.budget=1s method.candidates=[lora,zz]", "method 中没有“zz”。可用的有："),
    (
        "plan d.jsonl --task classification --model m --method auto",
        "method auto：选定之前不知道训练哪些部分；请按名称指定方法再做规划。",
    ),
    ("LABELS train.lr=0", "配方：train.lr：应当大于 0，而不是 '0'。"),
    ("LABELS train.lr=nan", "配方：train.lr：应为有限的数字，而不是 'nan'。"),
    (
        "LABELS train.lr=1e9 --method full train.adjust=off train.clip=1000 train.warmup=0",
        "配方：train.adjust：应为 'off'、'advise' 或 'act'，而不是 'False'。",
    ),
    (
        "LABELS train.label_smoothing=0.1",
        "train.label_smoothing 用于学习词元的任务，不适用于 classification；请去掉。",
    ),
    ("LABELS train.average=0.9 --method lora", "配方：train.average：应为整数，而不是 '0.9'。"),
    ("LABELS train.compile=always", "配方：train.compile：应为 true 或 false，而不是 'always'。"),
    (
        "LABELS train.schedule=zig",
        "配方：train.schedule：应为 'cosine'、'linear'、'constant'、'wsd' 或 'inverse-sqrt'，而不是 'zig'。",
    ),
    ("LABELS train.epochs=0", "配方：train.epochs：应当大于 0，而不是 '0'。"),
    ("LABELS train.minutes=0", "配方：train.minutes：应当大于 0，而不是 '0'。"),
    ("LABELS train.max_steps=-1", "配方：train.max_steps：应当大于或等于 0，而不是 '-1'。"),
    ("LABELS seed=-1", "配方：seed：应当大于或等于 0，而不是 '-1'。"),
    ("LABELS model.max_length=1000", "model.max_length：1000 超过了该模型的 64 个位置。"),
    (
        "LABELS model.weights=random model.spec={}",
        "配方：model.spec 描述新网络，而 model.source 又指定了要加载的模型（m）；请写 source: null，或去掉 spec。",
    ),
    ("LABELS model.dtype=x", "配方：没有“model.dtype”这一项。可用的有："),
    ("LABELS data.split=[0.5]", "配方：data.split：应由“key: value”组成，而不是 '[0.5]'。"),
    (
        "LABELS model.classic={name:~ngram}",
        "配方：model.classic 用于 `microtune pretrain`；请用 model.source 指定基座。",
    ),
    ("LABELS model.vectors=none.vec", "配方：model.vectors 只用于新模型；m 保持原有的。"),
    ("LABELS model.tokenizer=bert", "配方：model.tokenizer 只用于新模型；m 保持原有的。"),
    ("LABELS --model sprout@9", "sprout@9：这个版本的 microtune 内置的是 sprout@2。"),
    ("LABELS task.objective=masked", "task：没有“objective”这一项。可用的有："),
    ("TEXT task.objective=masked", "task.objective：masked 只用于 microtune pretrain；微调只支持 causal。"),
    ("LABELS train.batch_size=0", "配方：train.batch_size：应当大于或等于 1，而不是 '0'。"),
    ("LABELS --model bert model.added_tokens=['<a>','<a>']", "model.added_tokens：“<a>”写了两次；每个词元只写一次。"),
    ("LABELS model.added_tokens=['']", "model.added_tokens：有一个词元为空或只有空白；请写出它代表的文本。"),
    (
        "tune c.txt --task language-modelling --model bert data.block_size=16 train.precision=float32 "
        "train.batch_size=8 --epochs 1 --quiet --out out",
        "40 行里只有 1 种不同的输入，相同的要放在一起，不够分成训练集、验证集、测试集；读的字段对吗（--text-field）？",
    ),
    (
        "tune i.jsonl --task instruction --model m model.max_length=4 train.precision=float32 train.batch_size=8 "
        "--epochs 1 --quiet --out out",
        "[answer-cut] 32 行中有 32 行超过模型能读的长度，会丢失答案；请缩短，或提高 model.max_length。首先是："
        "i.jsonl，第 1 行；i.jsonl，第 2 行；i.jsonl，第 4 行，另有 29 处。",
    ),
]


@pytest.mark.parametrize(("asked", "expected"), ASKED)
def test_what_is_asked_for(capsys: pytest.CaptureFixture[str], asked: str, expected: str) -> None:
    assert refusal(capsys, *words(asked)).startswith(expected)


def test_a_rate_that_breaks_the_weights(capsys: pytest.CaptureFixture[str]) -> None:
    answer = call(capsys, *words("LABELS train.lr=1e30 --method full train.warmup=0"))
    assert answer.code == 2
    assert answer.err.splitlines()[-1].startswith(
        "错误：[finite] 第 2 步：梯度范数为 nan；这一步的 8 行全都如此，请降低 train.lr（首先是：d.jsonl，第 "
    )


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("method=[lora, 3]", "method：列表里应是方法，例如 lora:8 或 {name: lora, rank: 8}；这里却是 3。"),
        ("method=[]", "method：列表里应是方法，例如 lora:8 或 {name: lora, rank: 8}；这里却是空。"),
        ("method=[{name: several, parts: [head, norms]}, lora]", "method：several 里面又有 several；请把所有方法写在"),
        ("method=[{name: full, unfreeze: gradual}, {name: norms}]", "method：full 设置 unfreeze: gradual 后主干会逐轮"),
        ("train.memory=1MB", "内存不够：train.memory 为 1MB，而即使一次只算一行也需要约 "),
    ],
)
def test_a_list_of_methods(capsys: pytest.CaptureFixture[str], method: str, expected: str) -> None:
    assert refusal(capsys, *words("LABELS"), method).startswith(expected)
