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
    'There is no model or folder "{name}". {hint}': "没有名为“{name}”的模型或文件夹。{hint}",
    "holds no model: there is no config.json, adapter_config.json or recipe.yaml in it.": (
        "里面没有模型：没有 config.json、adapter_config.json 或 recipe.yaml。"
    ),
    "model.max_length: {asked} is more than the {limit} positions of this model.": (
        "model.max_length：{asked} 超过了该模型的 {limit} 个位置。"
    ),
    # runs
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
    "This model was not tuned for a task; give a run folder, or tune it first.": (
        "这个模型没有针对任务微调过；请给出运行文件夹，或先微调。"
    ),
    "--min-confidence is a probability between 0 and 1.": "--min-confidence 应为 0 与 1 之间的概率。",
    "Give either texts, --input FILE or --source FILE.": "请给出文本、--input FILE 或 --source FILE 中的一种。",
    'There is no list of "{kind}". {hint}': "没有“{kind}”的列表。{hint}",
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
}
