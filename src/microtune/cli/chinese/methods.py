"""What is said about methods, adapters beside one another, and their combination."""

from __future__ import annotations

METHODS: dict[str, str] = {
    "method: bitfit: {reason} Choose norms, ia3 or lora.": "method：bitfit：{reason}请用 norms、ia3 或 lora。",
    "method.hidden: the head of this task scores the vocabulary and came with the model; a hidden layer is for tasks "
    "with labels. Leave it out, or take lora or top.": (
        "method.hidden：这个任务的输出层给词表打分，是模型自带的；隐藏层只用于有标签的任务。请去掉，或改用 lora 或 "
        "top。"
    ),
    "method.dropout: is on the hidden layer; say how wide it is, for instance hidden: 128.": (
        "method.dropout：作用于隐藏层；请给出隐藏层的宽度，例如 hidden: 128。"
    ),
    "method.dropout: {dropout} would drop parts of the weights themselves, which the update of pissa begins with; "
    "leave it out.": ("method.dropout：pissa 的更新取自权重本身，{dropout} 会丢掉其中一部分；请去掉。"),
    "method.{asked}: says what `then: top` trains; `then: full` trains everything.": (
        "method.{asked}：只规定 `then: top` 训练什么；`then: full` 会训练全部。"
    ),
    "method.pooler: the head of this model and task has no layer below its scores.": (
        "method.pooler：该模型在这个任务上的输出层下面没有其他层。"
    ),
    "method.head: the vocabulary head of this model is its token embedding; it cannot start anew.": (
        "method.head：该模型的词表输出层就是词元嵌入，不能重新初始化。"
    ),
    "method: several methods inside several; write all of them in one list.": (
        "method：several 里面又有 several；请把所有方法写在一个列表里。"
    ),
    "method: {name} with unfreeze: gradual moves the trunk from epoch to epoch, which another method beside it cannot "
    "follow; leave unfreeze out, or take it alone.": (
        "method：{name} 设置 unfreeze: gradual 后主干会逐轮改变，不能与其他方法并用；请去掉 unfreeze，或单独使用。"
    ),
    "method: this model has {count} virtual tokens already.": "method：该模型已有 {count} 个虚拟词元。",
    "method.text: the text has no token in this model's vocabulary; write another.": (
        "method.text：这段文本在该模型的词表中没有词元；请另写一段。"
    ),
    "method.text: this model has no tokenizer that could read it; take init: vocabulary.": (
        "method.text：该模型没有分词器，无法读取；请用 init: vocabulary。"
    ),
    "method auto: no candidate learnt anything in {budget}; give method.budget=10m, or name a method.": (
        "method auto：在 {budget} 内没有一种候选方法学到东西；请设 method.budget=10m，或直接指定方法。"
    ),
    "method auto: what trains is not known before it is chosen; plan a method by its name.": (
        "method auto：选定之前不知道训练哪些部分；请按名称指定方法再做规划。"
    ),
    "method: a recurrent network is tuned by {methods}, not by {name}.": (
        "method：循环网络可用 {methods} 微调，不能用 {name}。"
    ),
    # folding and combining
    "Bottleneck adapters stand between the layers and cannot be folded into their weights; use the run as it is, or "
    "tune with lora, which can.": (
        "bottleneck 适配器位于各层之间，不能并入权重；请直接使用该运行，或改用可以合并的 lora 微调。"
    ),
    "Virtual tokens (prompt, prefix) stand before every text and cannot be folded into weights; keep them beside their "
    "base: the run itself, or microtune export --format peft.": (
        "虚拟词元（prompt、prefix）位于每段文本之前，不能并入权重；请与基座一起保留：直接使用该运行，"
        "或执行 microtune export --format peft。"
    ),
    '--weights: "{text}" is not a list of numbers; write one for each run, as in 0.7,0.3.': (
        "--weights：“{text}”不是数字列表；请为每个运行写一个，例如 0.7,0.3。"
    ),
    "weights: {count} for {adapters} adapters; give one for each, in their order.": (
        "weights：有 {count} 个，而适配器有 {adapters} 个；请按次序每个给一个。"
    ),
    "weights: {weight} is no finite number.": "weights：{weight} 不是有限的数字。",
    "weights: all are 0, so nothing would be left.": "weights：全部为 0，什么也不会留下。",
    'how: unknown value "{how}"; known are {known}.': "how：没有“{how}”；可用的有 {known}。",
    "There is no adapter to combine; name at least one, with its weight.": (
        "没有可以合并的适配器；请至少给出一个及其权重。"
    ),
    "Give two runs or more to combine.": "请给出两个或更多运行来合并。",
    "rank: linear keeps every update whole, so its rank is the sum of theirs; take svd to choose it.": (
        "rank：linear 完整保留每个更新，秩就是各自之和；要自选秩请用 svd。"
    ),
    "rank: {rank} leaves no update; give a whole number from 1.": "rank：{rank} 什么也不留；请给出不小于 1 的整数。",
    '"{name}" ({made}) has no low-rank form that could be added; combine lora adapters.': (
        "“{name}”（{made}）没有可以相加的低秩形式；请合并 lora 适配器。"
    ),
    '"{one}" and "{other}" have different tasks ({first} and {second}); adapters are combined within one task.': (
        "“{one}”和“{other}”的任务不同（{first} 与 {second}）；只能合并同一任务的适配器。"
    ),
    '"{one}" and "{other}" differ in task.{field}; adapters are combined within one task with the same labels.': (
        "“{one}”和“{other}”的 task.{field} 不同；只能合并任务和标签都相同的适配器。"
    ),
    '"{one}" and "{other}" have label heads of different shapes.': "“{one}”和“{other}”的分类头形状不同。",
    "exists and is not a combination; choose another folder with --out.": (
        "已存在，但不是合并的结果；请用 --out 另选文件夹。"
    ),
    "holds a combination already; choose another folder, or give --overwrite.": (
        "已有一次合并的结果；请另选文件夹，或加 --overwrite。"
    ),
    # several adapters on one base
    "The plain base was not tuned for a task; name the adapter of each text, or choose one with `use`.": (
        "基座本身没有针对任务微调过；请为每段文本指定适配器，或用 `use` 选一个。"
    ),
    "There are {count} rows, but {names} names of adapters; give one for each row.": (
        "有 {count} 行，却有 {names} 个适配器名；请每行给一个。"
    ),
    'There is no adapter "{name}". {hint}': "没有适配器“{name}”。{hint}",
    "The name of an adapter is a text that is not empty.": "适配器的名称应是非空文本。",
    'There is an adapter "{name}" already; remove it first, or choose another name.': (
        "已经有适配器“{name}”；请先移除，或另取名称。"
    ),
    "--adapter answers rows that each name theirs in the field {field}; give --input.": (
        "--adapter 用来回答文件里的行，每行在字段 {field} 中写明自己的适配器；请给出 --input。"
    ),
    'the field "{field}" holds no text.': "字段“{field}”里没有文本。",
    '--adapter: "{given}" is not NAME=RUN; write for instance cards=runs/cards.': (
        "--adapter：“{given}”不是“名称=运行目录”的形式；例如写成 cards=runs/cards。"
    ),
    '--adapter: "{name}" stands twice; give each adapter a name of its own.': (
        "--adapter：“{name}”出现了两次；请给每个适配器不同的名称。"
    ),
    "--decoding: with --adapter each task writes as its own run says; leave it out.": (
        "--decoding：有 --adapter 时，各任务按自己的运行所定的方式写答案；请去掉。"
    ),
    '--adapter: "{name}" answers {task}, whose rows hold more than one text; here each row is one text. '
    "Answer its rows with the run alone.": (
        "--adapter：“{name}”的任务是 {task}，它的一行不止一段文本；这里每行只有一段文本。请单独用该运行回答这些行。"
    ),
    'the field "{field}" is missing; each row names its adapter there: {names}.': (
        "缺少字段“{field}”；每行应在其中写明自己的适配器：{names}。"
    ),
    'there is no adapter "{name}". {hint}': "没有适配器“{name}”。{hint}",
    "an adapter, not a base; give the base that it was tuned on.": "这是适配器，不是基座；请给出微调时所用的基座。",
    "a whole model, not an adapter; give a run folder or an adapter folder of peft.": (
        "这是完整的模型，不是适配器；请给出运行文件夹或 peft 的适配器文件夹。"
    ),
    "was tuned on {base}, whose weights are not those of {model}; give the base that it was tuned on, or tune it again "
    "on this one.": ("微调时的基座是 {base}，其权重与 {model} 不同；请给出原来的基座，或在这个基座上重新微调。"),
    "was made on {base}, whose weights are not those of {model}; give the base that it was made on.": (
        "所依据的基座是 {base}，其权重与 {model} 不同；请给出原来的基座。"
    ),
    "made on other weights than those of its base, {base}; put the old files of the base back, or train the adapter "
    "again.": ("所依据的权重与基座 {base} 现在的权重不同；请恢复基座原来的文件，或重新训练适配器。"),
    "has no base that others could share (method {method}).": "没有可供其他适配器共用的基座（方法 {method}）。",
    "virtual tokens of peft cannot stand among other adapters; load them alone, with microtune.load.": (
        "peft 的虚拟词元不能与其他适配器并列；请用 microtune.load 单独加载。"
    ),
    "exists already; choose another folder.": "已存在；请另选文件夹。",
    '"{name}" has no low-rank update, so there is no folder of peft to write.': (
        "“{name}”没有低秩更新，无法写成 peft 文件夹。"
    ),
    "The saved weights do not fit this model: missing {missing}, unknown {unknown}.": (
        "保存的权重与该模型不符：缺少 {missing}，多出 {unknown}。"
    ),
}
