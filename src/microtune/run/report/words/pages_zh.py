"""What model cards and pages of comparisons say in Chinese, line by line: sentences, and headings of columns."""

from __future__ import annotations

LINES: dict[str, str] = {
    # a model card
    "{task} on {data}, base {base}, method {method}; made by microtune {version}.": (
        "任务 {task}，数据 {data}，基座模型 {base}，方法 {method}；由 microtune {version} 生成。"
    ),
    "{task} on {data}, from nothing ({family}), method {method}; made by microtune {version}.": (
        "任务 {task}，数据 {data}，从零开始（{family}），方法 {method}；由 microtune {version} 生成。"
    ),
    "Licence: not chosen; the model has no base, and the data may have conditions of their own.": (
        "许可证：未定；模型没有基座，数据可能另有自己的条件。"
    ),
    "{trainable} of {parameters} parameters were trained ({share}).": (
        "共 {parameters} 个参数，训练了其中 {trainable} 个（{share}）。"
    ),
    "How the training went: {sentence}": "训练情况：{sentence}",
    "- and {count} more in metrics.jsonl": "- 另有 {count} 项见 metrics.jsonl",
    "## Data": "## 数据",
    "Languages, by frequency: {languages}.": "语言，按出现多少排列：{languages}。",
    "## Training": "## 训练",
    "Trained for at most {epochs}, {rows} rows per step, {optimizer}, learning rate {rate}, schedule "
    "{schedule}, seed {seed}; kept: the {keep} weights. recipe.yaml repeats it, environment.json says with which "
    "versions, report.html shows curves, errors and examples.": (
        "最多训练 {epochs}，每步 {rows} 行，优化器 {optimizer}，学习率 {rate}，学习率调度 {schedule}，随机种子 "
        "{seed}；保留的权重：{keep}。用 recipe.yaml 可以重做一遍，environment.json 记录了所用的版本，report.html "
        "中有曲线、错误和示例。"
    ),
    "What to know:": "须知：",
    "Checks that this run made of itself: {passed} passed.": "本次运行对自身所做的检查：{passed} 通过。",
    "Checks that this run made of itself: {passed} passed; {warned} warned (see above).": (
        "本次运行对自身所做的检查：{passed} 通过；{warned} 有提醒（见上文）。"
    ),
    "## Use": "## 使用",
    "The model gives a label to every text, also to texts unlike those it has learnt from. The scores hold for data of "
    "the same source; look at the examples in report.html before relying on them.": (
        "模型对任何文本都会给出标签，即使它与学过的文本毫不相像。得分只适用于同一来源的数据；依赖它之前，请先看 "
        "report.html 中的示例。"
    ),
    "The model gives an answer to every text, also to texts unlike those it has learnt from. The scores hold for data "
    "of the same source; look at the examples in report.html before relying on them.": (
        "模型对任何文本都会给出回答，即使它与学过的文本毫不相像。得分只适用于同一来源的数据；依赖它之前，请先看 "
        "report.html 中的示例。"
    ),
    "Licence: {name} (that of the base model; the data may add conditions of its own).": (
        "许可证：{name}（基座模型的许可证；数据可能另有自己的条件）。"
    ),
    # the card of an export
    "This folder holds the whole model for {library}, its weights in {number}.": (
        "本文件夹是供 {library} 使用的完整模型，权重为 {number}。"
    ),
    "The file model.gguf holds the whole model for llama.cpp, its weights in {number}.": (
        "文件 model.gguf 是供 llama.cpp 使用的完整模型，权重为 {number}。"
    ),
    "The file model.onnx holds the whole model for onnxruntime; rows and their length are open.": (
        "文件 model.onnx 是供 onnxruntime 使用的完整模型；行数和长度不限。"
    ),
    "This folder holds the whole network in the form of microtune, which no other tool reads.": (
        "本文件夹是 microtune 自己格式的完整网络，其他工具读不了。"
    ),
    "This folder holds an adapter for peft.": "本文件夹是供 peft 使用的适配器。",
    "Its base, {base}, is in the folder base.": "它的基座模型 {base} 在文件夹 base 中。",
    "Its base, {base}, is loaded beside it.": "它的基座模型 {base} 要另外加载。",
    "The {count} updates of the adapter are merged into the weights.": "适配器的 {count} 处更新已并入权重。",
    "{reader} has read it: {compared} of {rows} rows differ from those of microtune by at most {gap} (allowed: "
    "{bound}, {cause}).": (
        "{reader} 已读过：{rows} 行的{compared}与 microtune 的相差不超过 {gap}（允许 {bound}，{cause}）。"
    ),
    "## Scores": "## 得分",
    "Of the run, before the export.": "训练运行的得分，导出之前。",
    "Of the run in float32, before the export; in {number} they can differ.": (
        "训练运行以 float32 得到的得分，导出之前；权重为 {number} 时可能不同。"
    ),
    "## Limits": "## 局限",
    "The model gives a label to every text, also to texts unlike those it has learnt from. The scores hold for data of "
    "the same source.": "模型对任何文本都会给出标签，即使它与学过的文本毫不相像。得分只适用于同一来源的数据。",
    "The model gives an answer to every text, also to texts unlike those it has learnt from. The scores hold for data "
    "of the same source.": "模型对任何文本都会给出回答，即使它与学过的文本毫不相像。得分只适用于同一来源的数据。",
    "It reads {count} tokens at most.": "它最多读 {count} 个词元。",
    "Trained for at most {epochs}, {rows} rows per step, {optimizer}, learning rate {rate}, schedule "
    "{schedule}, seed {seed}; kept: the {keep} weights.": (
        "最多训练 {epochs}，每步 {rows} 行，优化器 {optimizer}，学习率 {rate}，学习率调度 {schedule}，随机种子 "
        "{seed}；保留的权重：{keep}。"
    ),
    "{name}, written in another form by microtune {version}.": "{name}，由 microtune {version} 写成另一种格式。",
    "Licence: {name} (that of the model).": "许可证：{name}（模型的许可证）。",
    # the card of a pretrained base
    "A base model of {parameters} parameters, pretrained by microtune {version}": (
        "一个有 {parameters} 个参数的基座模型，由 microtune {version} 预训练，"
    ),
    "from nothing:": "从零开始：",
    "from the vectors {vectors}:": "以词向量 {vectors} 为起点：",
    "from {base} on:": "以 {base} 为起点：",
    "{tokens} tokens in {steps} steps, {hours} hours. Learnt from": (
        "共 {tokens} 个词元，{steps} 步，用时 {hours} 小时。学习的内容："
    ),
    "one token after the other (causal language modelling), never tuned to follow instructions.": (
        "逐个预测下一个词元（因果语言建模），没有经过指令微调。"
    ),
    "tokens hidden among the others (masked language modelling), never tuned to follow instructions.": (
        "猜出被遮住的词元（掩码语言建模），没有经过指令微调。"
    ),
    "texts with spans cut out, which it writes down (span denoising), never tuned to follow instructions.": (
        "写出文本中被挖去的片段（片段去噪），没有经过指令微调。"
    ),
    "texts with spans hidden, which it writes out whole (text infilling), never tuned to follow instructions.": (
        "完整写出有片段被遮住的文本（文本填充），没有经过指令微调。"
    ),
    "Of the passes planned, {share} of the tokens were seen, drawn from all sources alike.": (
        "在计划的遍数中，读过了 {share} 的词元，按同样的比例取自各个来源。"
    ),
    "The model sees both sides of what it guesses, so bits per byte are not defined for it. What is hidden never "
    "changes.": "模型能看到所猜内容的两侧，因此没有每字节比特数可言。被遮住的内容始终不变。",
    "The tokenizer has {entries} entries; {used} of them occur in the text, and {common} make up 99 % of it.": (
        "分词器有 {entries} 个词条；其中 {used} 在文本中出现，{common} 个词条占了文本的 99 %。"
    ),
    # the card of a classic model
    "An n-gram model of order {order} over {count} {unit}, interpolated modified Kneser-Ney: {parameters} n-grams of "
    "{tokens} tokens, counted in {seconds} seconds; made by microtune {version}.": (
        "{order} 阶 n 元语法模型，词表 {count} 个 {unit}，插值修正 Kneser-Ney 平滑：由 {tokens} 个词元统计出 "
        "{parameters} 个 n 元组，用时 {seconds} 秒；由 microtune {version} 生成。"
    ),
    "Vectors of width {width} for {count} {unit}, {variant} with {negative} negative samples, window {window}, "
    "{passes} passes, {seconds} seconds; made by microtune {version}.": (
        "{count} 个 {unit} 的词向量，宽度 {width}，{variant}，{negative} 个负样本，窗口 {window}，{passes} 遍，用时 "
        "{seconds} 秒；由 microtune {version} 生成。"
    ),
    # the page of a comparison
    "# {task} on {data}: methods compared": "# {data} 上的 {task}：方法比较",
    "Base {base}; {metric} (higher is better); seeds {seeds}; {spent} of {budget} used.": (
        "基座模型 {base}；{metric}（越高越好）；随机种子 {seeds}；时间限制 {budget}，用去 {spent}。"
    ),
    "Base {base}; {metric} (lower is better); seeds {seeds}; {spent} of {budget} used.": (
        "基座模型 {base}；{metric}（越低越好）；随机种子 {seeds}；时间限制 {budget}，用去 {spent}。"
    ),
    "**Recommended:** {reason}": "**推荐：** {reason}",
    "By training examples per label ({metric}, 95 % interval):": "按每个标签的训练样本数（{metric}，95 % 区间）：",
    "![learning curve]({picture})": "![学习曲线]({picture})",
    "A score on test is of a run that trained to the end; test was read once, after all choices were made. A score on "
    "validation is of a run that was stopped, and cannot be compared with the others. Time is that of the run alone; "
    "stored is what a method adds beside the base.": (
        "测试集上的得分来自训练到最后的运行；测试集只在一切选择作出之后读取一次。验证集上的得分来自中途停止的运行，"
        "不能与其他得分比较。时间只算该运行自身；“占用磁盘”是该方法在基座模型之外增加的大小。"
    ),
    "Each run can be used as it is:": "每次运行都可以直接使用：",
}
COLUMNS: dict[str, str] = {
    "split": "部分",
    "metric": "指标",
    "value": "数值",
    "95 % interval": "95 % 区间",
    "label": "标签",
    "precision": "精确率",
    "recall": "召回率",
    "F1": "F1",
    "rows": "行数",
    "learnt or scored": "其中参与学习或评分",
    "longest": "最长",
    "cut": "被截断",
    "left out": "被舍弃",
    "unsure below": "置信度低于此值算不确定",
    "answered": "作答比例",
    "accuracy": "准确率",
    "source": "来源",
    "language": "语言",
    "tokens": "词元数",
    "passes planned": "计划遍数",
    "share": "占比",
    "share read": "读取比例",
    "held-out text": "留出的文本",
    "bits per byte": "每字节比特数",
    "perplexity per token": "每词元困惑度",
    "loss": "损失",
    "tokens per word": "每词词元数",
    "bytes per token": "每词元字节数",
    "known": "已知比例",
    "method": "方法",
    "score": "得分",
    "on": "评分数据",
    "trains": "训练的参数",
    "time": "时间",
    "memory": "内存",
    "stored": "占用磁盘",
    "forgetting": "遗忘",
    "how it ended": "如何结束",
}
