"""What is said about export, merging and formats of other tools."""

from __future__ import annotations

EXPORT: dict[str, str] = {
    'format: unknown value "{format}". {hint}': "format：没有“{format}”。{hint}",
    'dtype: {format} files are not written in "{dtype}"; known are {known}.': (
        "dtype：{format} 文件不能用“{dtype}”写出；可用的有 {known}。"
    ),
    'dtype: unknown value "{dtype}"; known are {known}.': "dtype：没有“{dtype}”；可用的有 {known}。",
    "exists and is not an export; choose another folder with --out.": "已存在，但不是导出结果；请用 --out 另选文件夹。",
    "holds an export already; choose another folder, or replace it with --overwrite.": (
        "已有导出结果；请另选文件夹，或用 --overwrite 替换。"
    ),
    "{what} cannot express this model ({wrong}).": "{what} 无法表达该模型（{wrong}）。",
    'GGUF files need the package gguf: pip install "microtune[export]".': (
        '写 GGUF 文件需要 gguf 软件包：请执行 pip install "microtune[export]"。'
    ),
    "GGUF files hold models that write text; this one was tuned for labels. Use hf or onnx.": (
        "GGUF 文件只存放写文本的模型，而该模型是为标签微调的；请用 hf 或 onnx。"
    ),
    'GGUF files are written of {known}, not of "{family}".': "只能为 {known} 写 GGUF 文件，不能为“{family}”写。",
    "The tokenizer of this model cannot be written as GGUF: it {reason}.": "该模型的分词器无法写成 GGUF（{reason}）。",
    'Tensor "{name}" holds values beyond float16; export with --dtype float32.': (
        "张量“{name}”含有超出 float16 范围的数值；请加 --dtype float32 导出。"
    ),
    'ONNX files need the packages onnx and onnxscript: pip install "microtune[export]".': (
        '写 ONNX 文件需要 onnx 和 onnxscript 软件包：请执行 pip install "microtune[export]"。'
    ),
    "The ONNX file has no input for token types, which this model of pairs reads; export to hf.": (
        "ONNX 文件没有词元类型的输入，而该文本对模型需要它；请导出为 hf。"
    ),
    "ONNX files are written of encoders and of decoders, not of both in one model.": (
        "ONNX 文件只能由编码器或解码器写出，不支持两者兼有的模型。"
    ),
    "The written ONNX file cannot be run ({reason}).": "写出的 ONNX 文件无法运行（{reason}）。",
    "A classifier of an ordered scale has thresholds that no class of transformers has; export to onnx, or tune with "
    "task.form=single.": (
        "有序等级分类器带有阈值，transformers 中没有这样的类；请导出为 onnx，或以 task.form=single 微调。"
    ),
    "This classifier has a hidden layer of {width} under its scores, which a {name} has not: export to onnx, or tune "
    "with method.hidden 0.": (
        "该分类器在得分之下有宽为 {width} 的隐藏层，而 {name} 没有；请导出为 onnx，或以 method.hidden 0 微调。"
    ),
    "there is nothing to merge: it holds no low-rank update and no factor. Its weights are whole; write them with "
    "microtune export --format hf.": (
        "没有可以合并的部分：既没有低秩更新，也没有系数。权重已是完整的；请用 microtune export --format hf 写出。"
    ),
    "tuned with bottleneck adapters, which stand between the layers: they cannot be folded into weights, and no "
    "exported form holds them. Use the run itself (microtune predict, evaluate, chat), or tune with lora, which can be "
    "merged and exported.": (
        "用 bottleneck 适配器微调，适配器位于各层之间，不能并入权重，也没有可导出的形式；请直接使用该运行"
        "（microtune predict、evaluate、chat），或改用可以合并和导出的 lora 微调。"
    ),
    "Merging moves the outputs by {gap}, more than rounding explains ({bound}); keep the adapter beside its base "
    "(microtune export --format peft).": (
        "合并使输出改变 {gap}，超过舍入误差（{bound}）；请把适配器与基座分开保存（microtune export --format peft）。"
    ),
    "Merging moves {name} on the test split from {old} to {new}; keep the adapter.": (
        "合并使测试集上的 {name} 从 {old} 变为 {new}；请保留适配器。"
    ),
    "The exported {format} files do not compute what the model does: {reader} gives {what} that differ by {gap}, and "
    "{bound} is allowed ({cause}). Nothing was written.": (
        "导出的 {format} 文件与模型的计算结果不同：{reader} 给出的 {what} 相差 {gap}，允许 {bound}（"
        "{cause}）。没有写出任何文件。"
    ),
    "a whole model, not an adapter; write it with --format hf.": "这是完整的模型，不是适配器；请用 --format hf 写出。",
    "tuned with {method}, which has no PEFT form; use --format hf.": (
        "用 {method} 微调，没有 PEFT 形式；请用 --format hf。"
    ),
    "tuned with {methods}, of which {method} has no PEFT form; use --format hf.": (
        "用 {methods} 微调，其中 {method} 没有 PEFT 形式；请用 --format hf。"
    ),
    "tuned with {methods}; one adapter of peft cannot hold {one} and {other} together; use --format hf.": (
        "用 {methods} 微调；peft 的一个适配器不能同时容纳 {one} 和 {other}；请用 --format hf。"
    ),
    "its base has random weights that no file holds; use --format hf.": (
        "它的基座是随机权重，没有存在任何文件中；请用 --format hf。"
    ),
    "format: no other tool reads a recurrent network, so there is no {format} of it; take own.": (
        "format：没有其他工具能读循环网络，因此没有 {format} 形式；请用 own。"
    ),
    "format: own is for recurrent networks; for this model take hf.": "format：own 只用于循环网络；该模型请用 hf。",
    "format: own keeps a network with its vocabulary head; this one was tuned for labels.": (
        "format：own 保存带词表输出层的网络，而该模型是为标签微调的。"
    ),
}
