"""Parts of sentences that say why something cannot be, or what to do instead; they stand inside other sentences."""

from __future__ import annotations

REASONS: dict[str, str] = {
    # options that a run does not read
    "a corpus stands in data.sources": "语料写在 data.sources 中",
    "held-out text stands in data.sources.held_out": "留出的文本写在 data.sources.held_out 中",
    "fields stand in data.sources.fields": "字段写在 data.sources.fields 中",
    "train.max_steps ends a run early": "要提前结束，请用 train.max_steps",
    "tables of a corpus have a header": "语料中的表格都有表头",
    "held-out text is scored and chooses nothing": "留出的文本只用于评分，不用来选择",
    "nothing is frozen there": "那里没有冻结的部分",
    "data.block_size is the length of a row": "一行的长度由 data.block_size 决定",
    "it is for a new network, which model.spec describes": "它用于由 model.spec 描述的新网络",
    "it is for pretraining": "它用于预训练",
    "it is for pretraining, and validation rows are scored after every epoch": "它用于预训练；验证数据在每轮之后评分",
    "rows stand in data.train": "数据行写在 data.train 中",
    "it is for data.sources": "它用于 data.sources",
    "it is for language modelling; model.max_length cuts rows": "它用于语言建模；截断由 model.max_length 决定",
    # values in a config.json
    "quantised weights cannot be read; export the model in 16 or 32 bits": (
        "无法读取量化的权重；请以 16 位或 32 位导出模型"
    ),
    "this family has an encoder and a decoder; a file with one of the two is not read": (
        "这一系列既有编码器也有解码器；不读取只含其一的文件"
    ),
    "this family is computed with {value} only": "这一系列只支持 {value}",
    "it contradicts feed_forward_proj": "与 feed_forward_proj 矛盾",
    "this architecture is computed in one way only, whatever older versions of transformers did": (
        "无论旧版 transformers 怎样处理，这种架构只有一种算法"
    ),
    "layers of this family are all alike": "这一系列的各层都相同",
    "the code of this family never applies it": "这一系列的代码从不使用它",
    "only one stack": "只有一个堆栈",
    "this model ({reason})": "该模型（{reason}）",
    # adapters of other tools
    "merge it into its base with peft (`merge_and_unload`) and load the result": (
        "请用 peft 并入基座（`merge_and_unload`），再加载结果"
    ),
    "it adds virtual tokens and cannot be merged; use it with peft": "它添加虚拟词元，不能合并；请用 peft 使用",
    "use it with peft": "请用 peft 使用",
    "fuse it with `mlx_lm.fuse --de-quantize` and load the result": (
        "请用 `mlx_lm.fuse --de-quantize` 合并，再加载结果"
    ),
    "merge or retrain it; only LoRA in the form of peft is read": "请合并或重新训练；只读取 peft 形式的 LoRA",
    "merge it with `litgpt merge_lora`, convert it with `litgpt convert_from_litgpt`": (
        "请用 `litgpt merge_lora` 合并，再用 `litgpt convert_from_litgpt` 转换"
    ),
    "merge it with LyCORIS and load the result": "请用 LyCORIS 合并，再加载结果",
    "it belongs to an image model, which is not read": "它属于图像模型，不能读取",
    "merge it with OpenDelta and load the result": "请用 OpenDelta 合并，再加载结果",
    "AdaLoRA, ranks that differ and a third factor": "AdaLoRA，各处的秩不同，还有第三个因子",
    "butterfly orthogonal factors": "蝶形正交因子",
    "context-aware prompt tuning": "上下文感知的提示微调",
    "Fourier coefficients": "傅里叶系数",
    "LoHa of LyCORIS, Hadamard products": "LyCORIS 的 LoHa，哈达玛积",
    "LoKr of LyCORIS, Kronecker products": "LyCORIS 的 LoKr，克罗内克积",
    "prompt tuning": "提示微调",
    "orthogonal factors": "正交因子",
    "prompt tuning by an encoder": "用编码器生成的提示微调",
    "VeRA, shared random projections": "VeRA，共享的随机投影",
    "a mixture of LoRAs": "多个 LoRA 的混合",
    "AdapterHub's `adapters`": "AdapterHub 的 `adapters`",
    "kohya's sd-scripts": "kohya 的 sd-scripts",
    "orthogonal fine-tuning": "正交微调",
    "prompt or prefix tuning": "提示微调或前缀微调",
    # weights of other tools
    "a checkpoint of LitGPT or of Llama's own code": "LitGPT 或 Llama 原始代码的检查点",
    "a GGUF file": "GGUF 文件",
    "an ONNX graph": "ONNX 计算图",
    "Flax weights": "Flax 权重",
    "TensorFlow weights": "TensorFlow 权重",
    "`litgpt convert_from_litgpt` and `save_pretrained`": (
        "请用 `litgpt convert_from_litgpt` 和 `save_pretrained` 转换"
    ),
    "taking the original in Hugging Face form": "请改用 Hugging Face 格式的原始模型",
    "`from_pretrained(folder, from_flax=True)` and `save_pretrained` of transformers 4": (
        "请用 transformers 4 的 `from_pretrained(folder, from_flax=True)` 和 `save_pretrained` 转换"
    ),
    "`from_pretrained(folder, from_tf=True)` and `save_pretrained` of transformers 4": (
        "请用 transformers 4 的 `from_pretrained(folder, from_tf=True)` 和 `save_pretrained` 转换"
    ),
    "The padded ONNX graph": "补齐长度的 ONNX 计算图",
    # tokenizers that GGUF has no form of
    "is of the kind {kind}; only BPE is written": "类型是 {kind}，而只能写 BPE",
    "drops merges or marks the ends of words": "会随机丢弃合并，或在词尾加标记",
    "changes texts before it splits them ({kind})": "在切分之前改动文本（{kind}）",
    "splits texts in a way that llama.cpp has no name for ({steps})": "切分方式在 llama.cpp 中没有名称（{steps}）",
    'splits as "{name}" does, but treats whole words differently (ignore_merges)': (
        "切分方式与“{name}”相同，但对整词的处理不同（ignore_merges）"
    ),
    "puts other ids around a text than bos and eos": "在文本前后加的编号不是 bos 和 eos",
    "has {count} tokens that end an answer; llama.cpp knows {known}": (
        "有 {count} 个结束回答的词元，而 llama.cpp 只认 {known} 个"
    ),
    "has byte fallback, but treats blanks in another way than SentencePiece": (
        "带有字节回退，但对空格的处理与 SentencePiece 不同"
    ),
    "merges one token at two places of its order, which no SentencePiece model does": (
        "同一词元在合并次序中出现两次，SentencePiece 模型不会这样"
    ),
    "was not made of a SentencePiece model: some of its merges are missing": (
        "不是由 SentencePiece 模型转换而来：缺少一些合并"
    ),
    # counted models and word vectors
    "no network, so it cannot be tuned, merged or exported": "没有网络，因此不能微调、合并或导出",
    "no network, hence no spec": "没有网络，也就没有 spec",
    "no conversation to offer; use `predict`, or `generate` in Python": (
        "不能对话；请用 `predict`，或在 Python 中用 `generate`"
    ),
    "nothing to score on rows": "没有可以按行评分的内容",
    "no vectors": "没有向量",
    "no scores for tokens": "不给词元打分",
    "no text to generate": "不能生成文本",
    "no text to generate; `microtune vectors` asks it for neighbours and analogies": (
        "不能生成文本；请用 `microtune vectors` 查近义词和做类比"
    ),
    # methods
    "take one of them": "请只用其中一个",
    "name it once": "请只写一次",
    "{share} of the largest value, for float32 rounding": "最大值的 {share}，即 float32 的舍入误差",
    "{share} of the largest value, for float32 rounding in another order": (
        "最大值的 {share}，即 float32 换一种计算次序的舍入误差"
    ),
    "RMS norms": "RMS 归一化",
    "layer norms": "层归一化",
    # not a finite number
    "The loss is {value}": "损失为 {value}",
    "The gradient norm is {value}": "梯度范数为 {value}",
    "train.memory is {size}": "train.memory 为 {size}",
    "{size} are free": "空闲 {size}",
    "its list of files": "文件列表",
    "another base": "另一个基座",
}
