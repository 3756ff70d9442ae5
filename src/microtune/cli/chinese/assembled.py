"""More sentences that the source puts together of several parts: about networks, methods, runs and adapters."""

from __future__ import annotations

ASSEMBLED: dict[str, str] = {
    # checks of a run
    "Every token is supervised, prompts included; the answers cannot be told from the prompts.": (
        "所有词元都参与学习，包括提示；无法区分回答与提示。"
    ),
    "Every token is supervised, prompts included (first: {places}); the answers cannot be told from the prompts.": (
        "所有词元都参与学习，包括提示（首先是：{places}）；无法区分回答与提示。"
    ),
    "After {step} steps {count} trainable tensors are moved by weight decay alone (first: {name}): no gradient reaches "
    "them. Choose roles that the loss depends on.": (
        "{step} 步之后有 {count} 个可训练的张量只因权重衰减而变化（首先是 {name}）：梯度传不到。请选择影响损失的部位。"
    ),
    "{reason} at step {step}: lower train.lr (none of its rows gives it alone; they are {places}).": (
        "第 {step} 步：{reason}；请降低 train.lr（单独的任何一行都不会如此；这一步的行是 {places}）。"
    ),
    # models
    'tensor "{name}" (and {count} more) is missing; the folder is incomplete.': (
        "缺少张量“{name}”（以及另外 {count} 个）；文件夹不完整。"
    ),
    # the hub
    'There is no folder "{name}" here; as a model of the hub: HF_HUB_OFFLINE is set, and the cache ({cache}) holds no '
    "copy of it; check the name, or load it once with the network.": (
        "这里没有文件夹“{name}”；当作 hub 上的模型：设置了 HF_HUB_OFFLINE，而缓存（{cache}）中没有副本；"
        "请检查名称，或先联网加载一次。"
    ),
    'There is no folder "{name}" here; as a model of the hub: {hub} cannot be reached ({reason}), and the cache '
    "({cache}) holds no copy of it; check the name, or load it once with the network.": (
        "这里没有文件夹“{name}”；当作 hub 上的模型：无法连接 {hub}（{reason}），而缓存（{cache}）中没有副本；"
        "请检查名称，或先联网加载一次。"
    ),
    '"{name}": HF_HUB_OFFLINE is set, and the copy in the cache cannot be used: {reason}': (
        "“{name}”：设置了 HF_HUB_OFFLINE，而缓存中的副本不能使用：{reason}"
    ),
    '"{name}": {hub} cannot be reached ({error}), and the copy in the cache cannot be used: {reason}': (
        "“{name}”：无法连接 {hub}（{error}），而缓存中的副本不能使用：{reason}"
    ),
    # methods
    "method: a list holds methods, such as lora:8 or {example}; this holds {inside}.": (
        "method：列表里应是方法，例如 lora:8 或 {example}；这里却是 {inside}。"
    ),
    "method: {name} stands twice, and both would train {role}; {then}.": (
        "method：{name} 写了两次，两个都会训练 {role}；{then}。"
    ),
    "method: {name} stands twice, and both would train the same head; {then}.": (
        "method：{name} 写了两次，两个都会训练同一个输出层；{then}。"
    ),
    "part them by {ways}": "请用 {ways} 把两者分开",
    "name it once, or part them by {ways}": "请只写一次，或用 {ways} 把两者分开",
    "data {name} has changed": "数据 {name} 已改变",
    "data {name} is gone": "数据 {name} 已不存在",
    "methods: none alone; a comparison needs two methods at least.": "methods：一种方法也没有；比较至少需要两种方法。",
    # counted models and word vectors
    "an n-gram model has {lack}.": "n-gram 模型{lack}。",
    "a model of word vectors has {lack}.": "词向量模型{lack}。",
    "model.tokenizer says which tokenizer to take, but unit: characters makes one of its own; give {example} alone.": (
        "model.tokenizer 指定了分词器，而 unit: characters 会自己生成；请只写 {example}。"
    ),
    "this tokenizer has no id for some characters; take one that falls back to bytes, {example} to train one, or "
    "model.classic.unit=characters.": (
        "这个分词器没有某些字符的编号；请换用能回退到字节的分词器，写 {example} 训练一个，"
        "或设 model.classic.unit=characters。"
    ),
    "model.tokenizer is for unit: tokens; leave it out, or set model.classic.unit=tokens.": (
        "model.tokenizer 只用于 unit: tokens；请去掉，或设 model.classic.unit=tokens。"
    ),
    "{name} does not belong to {kind}; leave it out.": "{name} 不适用于 {kind}；请去掉。",
    "{field}: a time is a number and a unit, such as 90s or 5m, not {value}.": (
        "{field}：时间应为数字加单位，例如 90s 或 5m，而不是 {value}。"
    ),
    "{field}: a name is a short text without line breaks and without the signs | : ( ), not {value}.": (
        "{field}：名称应为简短的文本，不含换行和 | : ( ) 这些符号，而不是 {value}。"
    ),
    "{field}: init: text needs words to begin as.": "{field}：init: text 需要给出起始的词语。",
    "{field}: init: text needs words to begin as, not {value}.": (
        "{field}：init: text 需要给出起始的词语，而不是 {value}。"
    ),
    "{field}: read with init: text only (it is {init}), not {value}.": (
        "{field}：只在 init: text 时读取（这里 init 为 {init}），而不是 {value}。"
    ),
    # several tasks
    "data.tasks, {task}: {option} is missing: a template such as {example}.": (
        "data.tasks，{task}：缺少 {option}，即这样的模板：{example}。"
    ),
    # comparisons
    "curve: no size is left; {size} examples of each label: left out, the training split has {count} of a typical "
    "label.": ("curve：没有剩下任何样本数；每个标签 {size} 个样本放不下，训练集中一般的标签只有 {count} 个。"),
    "curve: no size is left; {size} examples in all: left out, the training split has {count} rows.": (
        "curve：没有剩下任何样本数；总共 {size} 个样本放不下，训练集只有 {count} 行。"
    ),
    # adapters
    "This model has a label head that reads the first token of a text; under a prompt peft reads the first virtual "
    "token instead, which is another model. Use a prefix, or the run itself.": (
        "该模型的分类头读取文本的第一个词元，而加上 prompt 之后 peft 读取的是第一个虚拟词元，模型就不同了；"
        "请改用 prefix，或直接使用该运行。"
    ),
    "this adapter has a label head that reads the first token of a text; under a prompt peft reads the first virtual "
    "token instead, which is another model. Use a prefix, or the run itself.": (
        "该适配器的分类头读取文本的第一个词元，而加上 prompt 之后 peft 读取的是第一个虚拟词元，模型就不同了；"
        "请改用 prefix，或直接使用该运行。"
    ),
    # tensors, adapters, methods and memory
    'tensor "{name}" is a second version of "{other}"; keep one of them.': (
        "张量“{name}”与“{other}”是同一张量的两个版本；请只留一个。"
    ),
    'tensor "{name}" has no place in this family; was the file made for another head?': (
        "张量“{name}”不属于这一系列的模型；文件是不是为另一种输出层制作的？"
    ),
    'tensor "{name}" has type {kind}, but only {known} are read; export the model in 16 or 32 bits.': (
        "张量“{name}”的类型是 {kind}，而只读取 {known}；请以 16 位或 32 位导出模型。"
    ),
    'tensor "{name}" has shape {found}, but {config} asks for {asked}.': (
        "张量“{name}”的形状是 {found}，而 {config} 要求 {asked}。"
    ),
    'tensor "{name}" cannot be read ({reason}).': ("张量“{name}”无法读取（{reason}）。"),
    'tensor "{name}" stands twice in the header; export the model again.': (
        "张量“{name}”在文件头中出现了两次；请重新导出模型。"
    ),
    'tensor "{name}": {there} in the file, but {config} asks for {wanted}.': (
        "张量“{name}”：文件中为 {there}，而 {config} 要求 {wanted}。"
    ),
    "{name}: saved as {there}, expected {wanted}.": ("{name}：保存的形状是 {there}，应为 {wanted}。"),
    'Its auto_map asks for code that comes with the model ("{code}"), and microtune never runs any. {hint}': (
        "其中的 auto_map 要求执行随模型附带的代码（“{code}”），而 microtune 从不执行这类代码。{hint}"
    ),
    "has {size} bytes, but {file} has {published} on the hub; delete the file {name} and load the model again.": (
        "有 {size} 字节，而 hub 上的 {file} 有 {published} 字节；请删除文件 {name}，再重新加载模型。"
    ),
    "is not the {file} that the hub publishes ({kind} {found}... instead of {wanted}...), so it is not used; "
    "delete the file {name} and load the model again.": (
        "与 hub 发布的 {file} 不同（{kind} 为 {found}...，应为 {wanted}...），因此不使用；请删除文件 {name}，"
        "再重新加载模型。"
    ),
    'transformers misses the tensor "{name}" in the exported files; nothing was written.': (
        "transformers 在导出的文件中找不到张量“{name}”；没有写出任何文件。"
    ),
    'transformers does not expect the tensor "{name}" in the exported files; nothing was written.': (
        "transformers 不认识导出的文件中的张量“{name}”；没有写出任何文件。"
    ),
    "This task has a head of its own, which no exported form has yet; the run itself can be loaded.": (
        "这个任务有自己的输出层，目前没有一种导出格式支持；运行本身可以加载。"
    ),
    "The task {task} has a head of its own, which no exported form has yet; the run itself can be loaded.": (
        "任务 {task} 有自己的输出层，目前没有一种导出格式支持；运行本身可以加载。"
    ),
    'tensor "{name}" is not part of an IA3; it cannot be read.': ("张量“{name}”不属于 IA3，无法读取。"),
    'tensor "{name}" is not part of a LoRA; it cannot be read.': ("张量“{name}”不属于 LoRA，无法读取。"),
    'tensor "{name}" is neither LoRA nor label head; it cannot be read.': (
        "张量“{name}”既不属于 LoRA，也不属于分类头，无法读取。"
    ),
    'tensor "{name}" belongs to no virtual token.': ("张量“{name}”不属于任何虚拟词元。"),
    'tensor "{name}" is one of DoRA, which {config} does not name (use_dora); save the adapter again.': (
        "张量“{name}”属于 DoRA，而 {config} 没有写明（use_dora）；请重新保存适配器。"
    ),
    'init_lora_weights "{value}" changes the base weights, which this file does not hold; convert it with peft.': (
        "init_lora_weights“{value}”会改动基座的权重，而这个文件里没有；请用 peft 转换。"
    ),
    '"{name}" has a factor and is no linear layer inside the blocks of this base; merge the adapter into its '
    "base with peft (`merge_and_unload`) and load the result.": (
        "“{name}”带有系数，却不是该基座各层中的线性层；请用 peft 把适配器并入基座（`merge_and_unload`），再加载结果。"
    ),
    '"{name}" has an update and is no linear layer inside the blocks of this base; merge the adapter into its '
    "base with peft (`merge_and_unload`) and load the result.": (
        "“{name}”带有更新，却不是该基座各层中的线性层；请用 peft 把适配器并入基座（`merge_and_unload`），再加载结果。"
    ),
    "reads with the encoder alone, while this base has its decoder too; load it alone, with microtune.load.": (
        "只用编码器读取，而这个基座还有解码器；请用 microtune.load 单独加载。"
    ),
    "{variant} changes the weights of its base; load it alone, with microtune.load.": (
        "{variant} 会改动基座的权重；请用 microtune.load 单独加载。"
    ),
    "method: {whole} trains every weight already, so {other} has nothing to add to it; take one of them.": (
        "method：{whole} 已经训练全部权重，{other} 没有可以补充的；请只用其中一个。"
    ),
    "method: two methods for one role: {one} and {two} both change {role}; {then}.": (
        "method：同一部位用了两种方法：{one} 和 {two} 都改动 {role}；{then}。"
    ),
    "method: two methods for one role: {one} changes {role}, whose weight {two} trains already; {then}.": (
        "method：同一部位用了两种方法：{one} 改动 {role}，而它的权重已由 {two} 训练；{then}。"
    ),
    "method: {name} adds nothing: {other} trains all of that already; leave it out.": (
        "method：{name} 没有增加任何内容：{other} 已经训练了它的全部；请去掉。"
    ),
    "The run does not fit into memory: {limit}, but it needs about {needed} even with one row computed at a time "
    "({taken}); lower model.max_length, choose a lighter method (top:1, lora) or a smaller model.": (
        "内存不够：{limit}，而即使一次只算一行也需要约 {needed}（{taken}）；请减小 model.max_length，"
        "换用较轻的方法（top:1、lora）或较小的模型。"
    ),
    "The run does not fit into memory: {limit}, but it needs about {needed} even with one row computed at a time "
    "({taken}); lower model.max_length, choose a lighter method (top:1, lora) or a smaller model, or raise "
    "train.memory.": (
        "内存不够：{limit}，而即使一次只算一行也需要约 {needed}（{taken}）；请减小 model.max_length，"
        "换用较轻的方法（top:1、lora）或较小的模型，或提高 train.memory。"
    ),
    "The run does not fit into memory: {limit}, but it needs about {needed} even with one row computed at a time "
    "({taken}); set train.cache=false, lower model.max_length, choose a lighter method (top:1, lora) or a smaller "
    "model.": (
        "内存不够：{limit}，而即使一次只算一行也需要约 {needed}（{taken}）；请设 train.cache=false，"
        "减小 model.max_length，换用较轻的方法（top:1、lora）或较小的模型。"
    ),
    "The run does not fit into memory: {limit}, but it needs about {needed} even with one row computed at a time "
    "({taken}); set train.cache=false, lower model.max_length, choose a lighter method (top:1, lora) or a smaller "
    "model, or raise train.memory.": (
        "内存不够：{limit}，而即使一次只算一行也需要约 {needed}（{taken}）；请设 train.cache=false，"
        "减小 model.max_length，换用较轻的方法（top:1、lora）或较小的模型，或提高 train.memory。"
    ),
}
