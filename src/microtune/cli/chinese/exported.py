"""What is said when exported or merged files do not compute what the model does, or cannot hold it."""

from __future__ import annotations

EXPORTED: dict[str, str] = {
    # GGUF
    'The written file holds a tensor "{name}" that belongs nowhere.': "写出的文件中有不属于任何部分的张量“{name}”。",
    "The written file lacks or adds tensors: {names}.": "写出的文件缺少或多出张量：{names}。",
    '"{name}" has shape {shape} in the written file.': "“{name}”在写出的文件中形状为 {shape}。",
    '"{name}" was written with {times} times the error of its number format.': (
        "“{name}”写出时的误差是其数值格式允许误差的 {times} 倍。"
    ),
    "The tokenizer that was written gives other ids: for {text} {found}, not {wanted}.": (
        "写出的分词器给出的编号不同：{text} 得到 {found}，应为 {wanted}。"
    ),
    "The chat template was not written as it is.": "写出的对话模板与原来的不同。",
    'llama.cpp\'s {name} has no tensor for "{tensor}".': "llama.cpp 的 {name} 没有与“{tensor}”对应的张量。",
    # Hugging Face
    "The tokenizer of the exported files gives other ids in transformers: for {text} {found} in place of {wanted}; "
    "nothing was written.": (
        "导出的分词器在 transformers 中给出的编号不同：{text} 得到 {found}，应为 {wanted}；没有写出任何文件。"
    ),
    "sentence-transformers gives embeddings that differ by {gap}; nothing was written.": (
        "sentence-transformers 给出的向量相差 {gap}；没有写出任何文件。"
    ),
    "This classifier cannot become a {name}: that class computes another head than this one ({differences}). Tune "
    "with task.pooling as the architecture has it, or export to onnx.": (
        "该分类器不能转成 {name}：那个类的输出层与它的计算方式不同（{differences}）。"
        "请按该架构设置 task.pooling 后再微调，或导出为 onnx。"
    ),
    'its label head is not the one that config.json describes ("{name}"); save the model again.': (
        "它的分类头不是 config.json 所描述的那个（“{name}”）；请重新保存模型。"
    ),
    # heads without a form of transformers
    "transformers has no classifier with a hidden layer under its scores; save in our own form.": (
        "transformers 没有在得分之下带隐藏层的分类器；请以 microtune 自己的格式保存。"
    ),
    "A head of this task has no form of transformers here; save in our own form.": (
        "这个任务的输出层没有 transformers 形式；请以 microtune 自己的格式保存。"
    ),
    "transformers has no classifier of an ordered scale; save in our own form.": (
        "transformers 没有有序等级的分类器；请以 microtune 自己的格式保存。"
    ),
    "transformers has no {family} classifier that reads {pooling}; save in our own form.": (
        "transformers 没有读取 {pooling} 的 {family} 分类器；请以 microtune 自己的格式保存。"
    ),
    # peft
    "has {count} added tokens: peft puts an adapter only on an embedding that has grown before; use --format hf.": (
        "添加了 {count} 个词元：peft 只能把适配器放在事先扩大的嵌入上；请用 --format hf。"
    ),
    "peft saves modules by their names, and the vocabulary head of {family} is not one module lm_head in every version "
    "of transformers, so a trained one has no PEFT form; use --format hf.": (
        "peft 按名称保存模块，而 {family} 的词表输出层并非在每个版本的 transformers 中都是一个名为 lm_head 的模块，"
        "因此训练过的词表输出层没有 PEFT 形式；请用 --format hf。"
    ),
    "{module}: has factors on input and output of its parts, which one IA3 cannot say.": (
        "{module}：各部分有的乘在输入，有的乘在输出，一个 IA3 无法表达。"
    ),
    "{module}: its parts read one input by different factors, which one IA3 of the fused module cannot say.": (
        "{module}：各部分对同一输入用了不同的系数，合并模块的一个 IA3 无法表达。"
    ),
    "This prefix stands in the blocks from {first} on only; a prefix of peft stands in all. Use the run itself.": (
        "这个 prefix 只在第 {first} 层及以上，而 peft 的 prefix 在所有层；请直接使用该运行。"
    ),
    "peft gives blocks {one} and {other} of a decoder the same prefix, here they differ; use the run itself, or a "
    "prompt.": (
        "peft 给解码器的第 {one} 层和第 {other} 层相同的 prefix，而这里两者不同；请直接使用该运行，或改用 prompt。"
    ),
}
