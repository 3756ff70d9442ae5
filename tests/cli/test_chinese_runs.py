"""Runs, exports, answers and comparisons that cannot be: each refusal provoked and read in Chinese."""

from __future__ import annotations

import pytest
from read_in_chinese import refusal, words

pytestmark = pytest.mark.usefixtures("quick", "filled")


ASKED = [
    ("export bart --format onnx --out ex", "ONNX 文件只能由编码器或解码器写出，不支持两者兼有的模型。"),
    ("export bart --format gguf --out ex", "只能为 gpt2, llama, mistral, qwen2 写 GGUF 文件，不能为“bart”写。"),
    ("export bert --format gguf --out ex", "只能为 gpt2, llama, mistral, qwen2 写 GGUF 文件，不能为“bert”写。"),
    ("export m --format peft --out ex", "m：这是完整的模型，不是适配器；请用 --format hf 写出。"),
    ("export m --format own --out ex", "format：own 只用于循环网络；该模型请用 hf。"),
    (
        "export m --format gguf --out ex --dtype int4",
        "dtype：gguf 文件不能用“int4”写出；可用的有 float16, float32, q8_0。",
    ),
    (
        "tune d.jsonl --task classification --model m train.precision=float32 train.batch_size=8 --epochs 1 "
        "--quiet --out mine",
        "mine：已存在，但不是运行文件夹；请用 --out 另选文件夹。",
    ),
    (
        "tune d.jsonl --task classification --model m train.precision=float32 train.batch_size=8 --epochs 1 "
        "--quiet --out afile",
        "afile：已存在，但不是文件夹；请用 --out 另选。",
    ),
    (
        "tune d.jsonl --task classification --model m train.precision=float32 train.batch_size=8 --epochs 1 "
        "--quiet --out afile/x",
        "afile/x：无法写入（不是文件夹）。",
    ),
    ("export r_lora --format zip --out ex", "format：没有“zip”。可用的有：gguf, hf, onnx, own, peft。"),
    (
        "export r_lora --format hf --out ex --dtype int8",
        "dtype：hf 文件不能用“int8”写出；可用的有 float32, bfloat16, float16。",
    ),
    ("export r_full --format peft --out ex", "r_full：用 full 微调，没有 PEFT 形式；请用 --format hf。"),
    (
        "export r_head --format hf --out ex",
        "该分类器在得分之下有宽为 8 的隐藏层，而 LlamaForSequenceClassification 没有；请导出为 onnx，或以 "
        "method.hidden 0 微调。",
    ),
    ("export r_head --format peft --out ex", "r_head：用 head 微调，没有 PEFT 形式；请用 --format hf。"),
    (
        "export r_bottle --format hf --out ex",
        "r_bottle：用 bottleneck 适配器微调，适配器位于各层之间，不能并入权重，也没有可导出的形式；请直接使用该运"
        "行（microtune predict、evaluate、chat），或改用可以合并和导出的 lora 微调。",
    ),
    ("export r_lora --format gguf --out ex", "GGUF 文件只存放写文本的模型，而该模型是为标签微调的；请用 hf 或 onnx。"),
    ("export r_lora --format own --out ex", "format：own 只用于循环网络；该模型请用 hf。"),
    (
        "export r_prompt --format hf --out ex",
        "虚拟词元（prompt、prefix）位于每段文本之前，不能并入权重；请与基座一起保留：直接使用该运行，或执行 "
        "microtune export --format peft。",
    ),
    (
        "export r_pre1 --format peft --out ex",
        "这个 prefix 只在第 1 层及以上，而 peft 的 prefix 在所有层；请直接使用该运行。",
    ),
    ("export nope --format hf --out ex", "没有名为“nope”的模型或文件夹。可用的有：minilm, sprout。"),
    ("export d.jsonl --format hf --out ex", "d.jsonl：这是文件；请给出含有 config.json 和权重的文件夹。"),
    ("export bart --format onnx --out ex", "ONNX 文件只能由编码器或解码器写出，不支持两者兼有的模型。"),
    ("export bart --format gguf --out ex", "只能为 gpt2, llama, mistral, qwen2 写 GGUF 文件，不能为“bart”写。"),
    ("export bert --format gguf --out ex", "只能为 gpt2, llama, mistral, qwen2 写 GGUF 文件，不能为“bert”写。"),
    ("export talk --format hf --out ex", "没有名为“talk”的模型或文件夹。可用的有：minilm, sprout。"),
    (
        "merge r_full --out mg",
        "r_full：没有可以合并的部分：既没有低秩更新，也没有系数。权重已是完整的；请用 microtune export --format "
        "hf 写出。",
    ),
    (
        "merge m --out mg",
        "m：没有可以合并的部分：既没有低秩更新，也没有系数。权重已是完整的；请用 microtune export --format hf 写出。",
    ),
    ("combine r_lora --out cb", "请给出两个或更多运行来合并。"),
    ("combine r_lora r_lora2 --weights 1 --out cb", "weights：有 1 个，而适配器有 2 个；请按次序每个给一个。"),
    ("combine r_lora r_lora2 --weights 0,0 --out cb", "weights：全部为 0，什么也不会留下。"),
    ("combine r_lora r_lora2 --weights nan,1 --out cb", "weights：nan 不是有限的数字。"),
    ("combine r_lora r_lora2 --weights=-1,1 --out cb", "weights：总和为 0，而分类头要取平均，总和必须大于 0。"),
    (
        "combine r_lora r_talk --out cb",
        "“r_lora”和“r_talk”的任务不同（classification 与 instruction）；只能合并同一任务的适配器。",
    ),
    (
        "combine r_lora r_dora --out cb",
        "“r_dora”采用权重分解（dora）：它缩放权重的整行，没有低秩形式；请合并 plain 或 rslora 适配器。",
    ),
    ("combine r_lora r_full --out cb", "r_full：里面是完整的模型（方法 full）；请用 microtune.load 单独加载。"),
    ("combine r_lora r_ia3 --out cb", "“r_ia3”（ia3）没有可以相加的低秩形式；请合并 lora 适配器。"),
    ("combine r_lora r_lora2 --how ties --out cb", "how：没有“ties”；可用的有 linear, svd。"),
    ("combine r_lora r_lora2 --rank 3 --out cb", "rank：linear 完整保留每个更新，秩就是各自之和；要自选秩请用 svd。"),
    ("combine r_lora r_lora2 --how svd --rank 0 --out cb", "rank：0 什么也不留；请给出不小于 1 的整数。"),
    ("combine r_lora m --out cb", "m：这是完整的模型，不是适配器；请给出运行文件夹或 peft 的适配器文件夹。"),
    ("predict bart x", "这个模型没有针对任务微调过；请给出运行文件夹，或先微调。"),
    ("predict r_lora", "请给出文本、--input FILE 或 --source FILE 中的一种。"),
    ("predict r_lora x --min-confidence 2", "--min-confidence 应为 0 与 1 之间的概率。"),
    ("predict r_talk x --max-new-tokens 0", "--max-new-tokens 至少为 1。"),
    ("predict r_talk x --min-confidence 0.5", "--min-confidence 只用于分类；任务 instruction 没有置信度。"),
    ("predict r_lora x --decoding beams=2", "--decoding 用于写文本的模型；任务 classification 不写文本。"),
    ("predict r_talk x --decoding beams=x", "decoding：beams：应为整数，而不是 'x'。"),
    ("predict r_talk x --decoding beam=2", "decoding：没有“beam”这一项。是不是“beams”？可用的有："),
    (
        "predict r_talk x --decoding temperature=1 --decoding beams=2",
        "decoding：beams 是搜索，temperature 是抽样；请去掉其中一个。",
    ),
    ("predict r_talk x --decoding stops=['']", "decoding：stops：空文本不能作停止符或标签（\"['']\"）。"),
    ("predict r_talk x --decoding beams", "“beams”不是覆盖项；请写成 key=value，例如 train.lr=3e-4。"),
    ("predict r_lora --input none.jsonl", "none.jsonl：没有这个文件；是不是“p.jsonl”？"),
    ("predict r_lora --input d.jsonl --output x.zip", "x.zip：--output 只写 .jsonl 或 .csv。"),
    ("predict r_talk x --decoding answers=3", "decoding：3 个回答需要同样多的 beams，或设置 temperature。"),
    ("chat r_lora", "该模型是为标签微调的，没有词表输出层；请用 `predict`。"),
    ("report nope", "nope：没有这个文件夹。"),
    ("report m", "m：不是已完成的运行；里面没有 scores.json。"),
    (
        "evaluate r_lora --data c.txt",
        'c.txt：没有一行有该模型所学答案的字段 "label"；字段有 "text"；请用 --label-field 指出代替它的字段。',
    ),
    (
        "evaluate r_lora --data p.jsonl",
        'p.jsonl：没有一行有该模型要读的字段 "text"；字段有 "en", "de"；请用 --text-field 指出代替它的字段。',
    ),
    ("vectors none.vec cat", "none.vec：没有这个词向量文件。"),
    ("vectors m cat", "m：既不是词向量文件，也不是 word2vec 的运行。"),
    ("vectors bad.vec cat", "bad.vec，第 3 行：这里应是数字，却是 'x'；每个词向量有 2 个数字。"),
    ("vectors short.vec cat", "short.vec：第一行声明有 3 个词向量，实际有 1 个。"),
    ("vectors ok.vec cot", "没有“cot”的词向量。是不是“cat”？可用的有：cat, dog。"),
    ("vectors ok.vec cat dog", "给出了 2 个词；查近义词请给一个，做类比请给三个：A B C。"),
    ("vectors ok.vec cat --count 0", "count 为 0；至少要查一个词。"),
    ("attention m hello", "注意力矩阵只存在于带 attention: additive 或 dot 的 seq2seq-rnn；这个模型没有这种层。"),
    ("list planets", "没有“planets”的列表。可用的有：checks, families, methods, models, steps, tasks。"),
    ("COMPARE --methods head", "methods：只有 head；比较至少需要两种方法。"),
    ("COMPARE --methods head,lora --seeds 0", "seeds 为 0；比较至少需要一个随机种子。"),
    ("COMPARE --methods ,", "methods：一种方法也没有；比较至少需要两种方法。"),
    (
        "COMPARE --methods head,lora --curve 500",
        "curve：没有剩下任何样本数；每个标签 500 个样本放不下，训练集中一般的标签只有 16 个。",
    ),
    (
        "COMPARE --methods head,lora:2 --split none",
        "比较要靠验证集来选择，而这份数据没有验证集；请去掉 split=none，或用 --validation 指定。",
    ),
]


@pytest.mark.parametrize(("asked", "expected"), ASKED)
def test_what_is_asked_for(capsys: pytest.CaptureFixture[str], asked: str, expected: str) -> None:
    assert refusal(capsys, *words(asked)).startswith(expected)
