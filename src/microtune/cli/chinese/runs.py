"""What is said about recipes, methods, models, runs and comparisons. English form -> Chinese, with the same names."""

from __future__ import annotations

RUNS: dict[str, str] = {
    # recipes
    "no such recipe file.": "没有这个配方文件。",
    "a recipe is a mapping of keys to values.": "配方应当由“key: value”组成。",
    "larger than {bytes} bytes; a recipe is a short file.": "超过 {bytes} 字节；配方应当是个短文件。",
    "not UTF-8 text (byte {byte}).": "不是 UTF-8 文本（第 {byte} 字节）。",
    "not valid YAML: {reason}": "YAML 格式有误：{reason}",
    'unknown key "{key}". {hint}': "没有“{key}”这一项。{hint}",
    'Unknown {kind} "{name}". {hint}': "{kind} 中没有“{name}”。{hint}",
    '"{key}" is missing.': "缺少“{key}”。",
    '"{text}" is not an override; write key=value, for instance train.lr=3e-4.': (
        "“{text}”不是覆盖项；请写成 key=value，例如 train.lr=3e-4。"
    ),
    '"{text}" is not a short form; write a name and a whole number, as in top:2.': (
        "“{text}”不是简写；请写名称和整数，例如 top:2。"
    ),
    "{field}: the value should be greater than {bound}, not {value}.": "{field}：应当大于 {bound}，而不是 {value}。",
    "{field}: the value should be less than {bound}, not {value}.": "{field}：应当小于 {bound}，而不是 {value}。",
    "{field}: the value should be greater than or equal to {bound}, not {value}.": (
        "{field}：应当大于或等于 {bound}，而不是 {value}。"
    ),
    "{field}: the value should be less than or equal to {bound}, not {value}.": (
        "{field}：应当小于或等于 {bound}，而不是 {value}。"
    ),
    "{field}: the value should be a valid {kind}, {more}, not {value}.": "{field}：{value} 不是有效的 {kind}。",
    # methods
    "method: {count} blocks were asked for, the model has {depth}.": "method：要求 {count} 层，而模型只有 {depth} 层。",
    "The method selects nothing to train in this model.": "这个方法在该模型中没有选中任何可训练的部分。",
    'method: "{name}:{size}": {again} takes no number.': "method：“{name}:{size}”：{again} 后面不能带数字。",
    'method.roles: there is no role "{role}" in these blocks. {hint}': "method.roles：这些层中没有部位“{role}”。{hint}",
    "method.rank: {rank} is above the smaller side of {role} ({outputs} x {inputs}); choose at most {most}, or name "
    "other roles in method.roles.": (
        "method.rank：{rank} 超过了 {role} 较短的一边（{outputs} x {inputs}）；请至多取 {most}，或在 method.roles "
        "中另选部位。"
    ),
    "method: {name}: last_block {last} lies below first_block {first}; no block is left.": (
        "method：{name}：last_block {last} 低于 first_block {first}，没有剩下任何一层。"
    ),
    "method.first_block: {first} leaves no block, the model has {depth}.": (
        "method.first_block：{first} 之后没有剩下任何一层，模型只有 {depth} 层。"
    ),
    "method.tokens: {tokens} virtual tokens leave no room for a text; there are {room} positions, take fewer.": (
        "method.tokens：{tokens} 个虚拟词元没有给文本留下位置；共有 {room} 个位置，请取少一些。"
    ),
    "method: reinit has nothing to start anew; choose blocks, pooler or head.": (
        "method：reinit 没有要重新初始化的部分；请选择 blocks、pooler 或 head。"
    ),
    "method.train_blocks: {blocks} blocks start anew, and {count} train; what is random has to train.": (
        "method.train_blocks：重新初始化 {blocks} 层，却只训练 {count} 层；随机的层必须训练。"
    ),
    # models
    '"{name}" is not loaded, it is made: {command}.': "“{name}”不是加载的，而是做出来的：{command}。",
    'There is no model or folder "{name}". {hint}': "没有名为“{name}”的模型或文件夹。{hint}",
    "holds training rows ({file}) beside others, and they would be scored together; name the file to score, such as "
    "{path}.": "里面既有训练行（{file}），也有其他行，会被放在一起打分；请指明要打分的文件，例如 {path}。",
    "holds no model: there is no config.json, adapter_config.json or recipe.yaml in it.": (
        "里面没有模型：没有 config.json、adapter_config.json 或 recipe.yaml。"
    ),
    "model.max_length: {asked} is more than the {limit} positions of this model.": (
        "model.max_length：{asked} 超过了该模型的 {limit} 个位置。"
    ),
    # runs
    "no such folder.": "没有这个文件夹。",
    'no such folder; did you mean "{name}"?': "没有这个文件夹；是不是“{name}”？",
    "not a finished run; there is no scores.json in it.": "不是已完成的运行；里面没有 scores.json。",
    "this run has no model yet; run its command again to finish it.": (
        "这次运行还没有模型；请再执行一次原来的命令把它做完。"
    ),
    "the saved model is damaged ({damage}); run its command again with --overwrite.": (
        "保存的模型已损坏（{damage}）；请加 --overwrite 再执行一次原来的命令。"
    ),
    "the disk is full; free some space and run the same command again; a run resumes.": (
        "磁盘已满；请腾出空间后再执行同一条命令，运行会从中断处继续。"
    ),
    "cannot be written ({reason}).": "无法写入（{reason}）。",
    "This folder holds a classifier in the form of other tools, without the task that says how it is asked; give the "
    "run folder that it was made of.": (
        "这个文件夹是其他工具的格式的分类器，没有说明如何提问的任务；请给出导出它的那个运行目录。"
    ),
    "This model was not tuned for a task; give a run folder, or tune it first.": (
        "这个模型没有针对任务微调过；请给出运行文件夹，或先微调。"
    ),
    "--max-new-tokens is at least 1.": "--max-new-tokens 至少为 1。",
    "{option} is for the rows of --input FILE, answered by one run; leave it out.": (
        "{option} 用于由一个运行回答的 --input 文件的各行；请去掉它。"
    ),
    "--min-confidence is a probability between 0 and 1.": "--min-confidence 应为 0 与 1 之间的概率。",
    "Give either texts, --input FILE or --source FILE.": "请给出文本、--input FILE 或 --source FILE 中的一种。",
    'There is no list of "{asked}". {hint}': "没有“{asked}”的列表。{hint}",
    # comparisons
    "Say what to compare, for instance --methods head,top:2,lora:8.": (
        "请说明比较哪些方法，例如 --methods head,top:2,lora:8。"
    ),
    "methods: {name} alone; a comparison needs two methods at least.": "methods：只有 {name}；比较至少需要两种方法。",
    'methods: "{name}" stands twice; a comparison needs every method once.': (
        "methods：“{name}”写了两次；每种方法只写一次。"
    ),
    "seeds is {seeds}; a comparison needs one seed at least.": "seeds 为 {seeds}；比较至少需要一个随机种子。",
    "seeds is {seeds}; a comparison takes {most} seeds at most.": "seeds 为 {seeds}；比较最多用 {most} 个随机种子。",
    "curve: {size} is not a number of examples; write for instance 8,32,128.": (
        "curve：{size} 不是样本数；例如写 8,32,128。"
    ),
    '--curve: "{text}" is not a list of numbers; write for instance --curve 8,32,128,512.': (
        "--curve：“{text}”不是数字列表；例如写 --curve 8,32,128,512。"
    ),
    '{where}: "{text}" is not a time; write a number and a unit, such as 90s, 10m or 1h.': (
        "{where}：“{text}”不是时间；请写数字和单位，例如 90s、10m 或 1h。"
    ),
    "No method fits this model. {method}: {hint}": "没有一种方法适合这个模型。{method}：{hint}",
    "No method could be trained. {method}: {hint}": "没有一种方法训练成功。{method}：{hint}",
    "A comparison chooses by the validation split, and this data has none; leave out split=none, or name one with "
    "--validation.": ("比较要靠验证集来选择，而这份数据没有验证集；请去掉 split=none，或用 --validation 指定。"),
    "The budget of {budget} is too small: reading and measuring alone took {spent}.": (
        "{budget} 的时间预算太少：仅读取和测速就用了 {spent}。"
    ),
    "exists and is not a comparison; choose another folder with --out.": (
        "已存在，但不是一次比较；请用 --out 另选文件夹。"
    ),
    "exists and is not a folder; choose another with --out.": "已存在，但不是文件夹；请用 --out 另选。",
    "another process is working on this comparison.": "另一个进程正在做这次比较。",
    # going on in a folder
    "holds a different run ({differences}); choose another folder with --out, or replace it with --overwrite.": (
        "已有另一次运行（{differences}）；请用 --out 另选文件夹，或用 --overwrite 替换。"
    ),
    "this run is finished; choose another folder with --out, or redo it with --overwrite.": (
        "这次运行已经完成；请用 --out 另选文件夹，或用 --overwrite 重做。"
    ),
    "its recipe.yaml or environment.json cannot be read; choose another folder with --out, or replace the run with "
    "--overwrite.": ("其中的 recipe.yaml 或 environment.json 无法读取；请用 --out 另选文件夹，或用 --overwrite 替换。"),
    "exists and is not a run; choose another folder with --out.": "已存在，但不是运行文件夹；请用 --out 另选文件夹。",
    "another process (pid {pid}) is working on this run.": "另一个进程（pid {pid}）正在做这次运行。",
    "its checkpoint is of a longer run; delete its folder checkpoints to begin anew.": (
        "检查点来自更长的运行；要重新开始，请删去其中的 checkpoints 文件夹。"
    ),
    "The base model has changed since this run began; put the old files back, or begin anew in another folder with "
    "--out.": ("运行开始以后基座模型变了；请恢复原来的文件，或用 --out 在另一个文件夹重新开始。"),
    "config.json of the base model {name} has changed since this run ({field} was {before} and is {now}); put the old "
    "file back or tune again.": (
        "基座模型 {name} 的 config.json 在这次运行之后被改动过（{field} 原为 {before}，现为 {now}）；"
        "请放回原来的文件，或重新微调。"
    ),
    "the base model {name} has changed since this run; put the old files back or tune again.": (
        "这次运行之后基座模型 {name} 变了；请恢复原来的文件，或重新微调。"
    ),
    "The checkpoint holds the state of {count} optimizers; this run has {own}.": (
        "检查点含有 {count} 个优化器的状态，而这次运行有 {own} 个。"
    ),
    "The checkpoint's state of the optimizer does not fit this run: tensor {index} differs.": (
        "检查点中优化器的状态与这次运行不符：第 {index} 个张量不同。"
    ),
    "the tokenizer is missing; run the command of this run again with --overwrite.": (
        "缺少分词器；请加 --overwrite 再执行一次原来的命令。"
    ),
    "cannot be read; begin anew with --overwrite.": "无法读取；请用 --overwrite 重新开始。",
    "is not UTF-8 text; move it away, and give the command again.": "不是 UTF-8 文本；请把它移走，再执行一次命令。",
    "cannot be read ({reason}); was it written by another program?": "无法读取（{reason}）；是不是由别的程序写的？",
    # reports
    'There is no report in the language "{lang}". {hint}': "没有语言为“{lang}”的报告。{hint}",
    '--lang: "{lang}" is not known; reports are written in en and zh.': "--lang：没有“{lang}”；报告的语言有 en 和 zh。",
    "the report cannot be written there ({reason}).": "报告无法写到这里（{reason}）。",
    'The tour compares with scikit-learn; pip install "microtune[metrics]".': (
        'tour 要与 scikit-learn 比较；请执行 pip install "microtune[metrics]"。'
    ),
    'A picture needs matplotlib: pip install "microtune[plot]".': (
        '画图需要 matplotlib：请执行 pip install "microtune[plot]"。'
    ),
    "there is no text in it, by which forgetting could be measured.": "里面没有可以衡量遗忘的文本。",
    # asking a model
    "{file}: --output writes .jsonl or .csv.": "{file}：--output 只写 .jsonl 或 .csv。",
    "{file}: there is no folder {folder}; make it first.": "{file}：没有文件夹 {folder}；请先建立。",
    "{file}: --output is the file with the rows to answer; name another one.": (
        "{file}：--output 就是要回答的那个文件；请换一个文件名。"
    ),
    "--min-confidence is for classifiers; the task {task} has no confidence.": (
        "--min-confidence 只用于分类；任务 {task} 没有置信度。"
    ),
    "min_confidence is for classifiers; the answers of other adapters have no confidence.": (
        "min_confidence 只用于分类；其他适配器的回答没有置信度。"
    ),
    "--decoding is for models that write; the task {task} does not.": (
        "--decoding 用于写文本的模型；任务 {task} 不写文本。"
    ),
    "The prompt is empty, and this model has no token to begin with.": "提示是空的，而该模型没有起始词元。",
    "The prompt has {given} tokens, but the model has {most}.": "提示有 {given} 个词元，而模型只能读 {most} 个。",
    "The prompt has {given} tokens, but the model has {most} positions.": (
        "提示有 {given} 个词元，而模型只有 {most} 个位置。"
    ),
    "This model was tuned for labels; it has no vocabulary head. Use `predict`.": (
        "该模型是为标签微调的，没有词表输出层；请用 `predict`。"
    ),
    "The files of this model hold no vocabulary head; it can be tuned, but not asked for tokens.": (
        "该模型的文件里没有词表输出层；可以微调，但不能生成词元。"
    ),
    "decoding.answers: generation in pieces gives one answer; `predict` gives several.": (
        "decoding.answers：逐段生成只给一个回答；要多个回答请用 `predict`。"
    ),
    "Row {number} has no token.": "第 {number} 行没有词元。",
    "Row {number} has {count} tokens, but the model has {most}.": (
        "第 {number} 行有 {count} 个词元，而模型只能读 {most} 个。"
    ),
    "Row {number} holds an id outside 0..{last}, the model's vocabulary.": (
        "第 {number} 行有一个编号不在模型词表的 0..{last} 之内。"
    ),
    "The tokenizer of this model has no token that ends a text, so no answer could end.": (
        "该模型的分词器没有结束词元，回答不会结束。"
    ),
    "The tokenizer of this model has no token that ends a text, so no label could end.": (
        "该模型的分词器没有结束词元，标签不会结束。"
    ),
    "A regular expression or a JSON schema for answers needs the package llguidance: pip install "
    '"microtune[constrain]".': (
        '用正则表达式或 JSON schema 约束回答需要 llguidance 软件包：请执行 pip install "microtune[constrain]"。'
    ),
    "draft: only an n-gram model can guess ahead; give what mt.load makes of its run.": (
        "draft：只有 n-gram 模型可以预先猜测；请给出 mt.load 加载的 n-gram 运行。"
    ),
    "draft: guessing ahead is for decoders; this model is an encoder-decoder.": (
        "draft：预先猜测只用于解码器；该模型是编码器-解码器。"
    ),
    "draft: its tokenizer is not that of the model; train it with model.tokenizer set to the model's folder.": (
        "draft：它的分词器与模型不同；请把 model.tokenizer 设为模型的文件夹重新训练。"
    ),
    "draft_tokens: {tokens}, but at least one token has to be guessed.": "draft_tokens：{tokens}；至少要猜一个词元。",
    "{what}: nothing can match it: {reason}.": "{what}：没有文本能够匹配：{reason}。",
    "{what}: no text that this model can write matches it.": "{what}：该模型能写的文本都不匹配。",
    'its field "{field}" says {value}, not {task}.': "字段“{field}”写的是 {value}，而不是 {task}。",
    "generation would start from other ids than training has before the answer (they part at token {token}): the model "
    "would be asked what it never learnt. Please report this with the chat template.": (
        "生成时回答之前的编号会与训练时不同（从第 {token} 个词元起）：等于问模型从未学过的内容。"
        "请附上对话模板报告这个问题。"
    ),
}
