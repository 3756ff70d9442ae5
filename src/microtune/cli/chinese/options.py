"""The help of options and arguments: English -> Chinese. A test walks all verbs, so that none stays without."""

from __future__ import annotations

TASK_NAMES = (
    "classification, regression, token-labelling, question-answering, multiple-choice, similarity, instruction, "
    "preference, sequence-to-sequence, language-modelling"
)
KINDS = "models, families, methods, tasks, steps, checks"
OPTIONS: dict[str, str] = {
    # before the verb
    "show the traceback of an error": "出错时显示调用栈",
    "print the version": "显示版本",
    "language of help, messages and reports: en or zh [default: MICROTUNE_LANG, or en]": (
        "帮助、消息和报告的语言：en 或 zh [默认：MICROTUNE_LANG，未设置则为 en]"
    ),
    # data
    TASK_NAMES: TASK_NAMES.replace(", ", "、"),
    "data (file, glob, folder, or `tickets`) or a recipe (.yaml)": (
        "数据（文件、通配符、文件夹或 `tickets`），或配方（.yaml）"
    ),
    "data (file, glob, folder, or `tickets`)": "数据（文件、通配符、文件夹或 `tickets`）",
    "recipe values, such as train.lr=3e-4": "配方中的值，例如 train.lr=3e-4",
    "recipe values, such as train.batch_size=32": "配方中的值，例如 train.batch_size=32",
    "recipe values, such as train.memory=4GB": "配方中的值，例如 train.memory=4GB",
    "rows for choosing [default: cut from the data]": "验证集，用来做选择 [默认：从数据中划出]",
    "rows for the final score [default: cut from the data]": "测试集，用来最后打分 [默认：从数据中划出]",
    "text to read, line by line; beside a folder as DATA: its ending": (
        "要读的文本，一行一条；data 是文件夹时写其后缀"
    ),
    "text to write, line by line; beside a folder as DATA: its ending": (
        "要写的文本，一行一条；data 是文件夹时写其后缀"
    ),
    "validation rows as parallel files": "平行文件形式的验证集",
    "test rows as parallel files": "平行文件形式的测试集",
    "name of a field that says train, validation or test; or `none`": (
        "写明 train、validation 或 test 的字段名；或 `none`"
    ),
    "name of a field that says train, validation or test": "写明 train、validation 或 test 的字段名",
    "field with the text [default: detected]": "文本所在的字段 [默认：自动识别]",
    "field with the label [default: detected]": "标签所在的字段 [默认：自动识别]",
    "field of these rows with the text [default: as in training]": "这份数据中文本所在的字段 [默认：与训练时相同]",
    "field of these rows with the label [default: as in training]": "这份数据中标签所在的字段 [默认：与训练时相同]",
    "text encoding [default: recognised]": "文本编码 [默认：自动识别]",
    "tables have a header [default: recognised]": "表格有没有表头 [默认：自动识别]",
    # model, method, training
    "base, folder, file, hub id[@revision] [default: sprout]": (
        "基座名、文件夹、文件或 hub 名称[@版本] [默认：sprout]"
    ),
    "full, head, top:2, lora:8, head+bitfit, auto [default: lora]": (
        "full、head、top:2、lora:8、head+bitfit、auto [默认：lora]"
    ),
    "full, head, top:2, lora:8, head+bitfit [default: lora]": "full、head、top:2、lora:8、head+bitfit [默认：lora]",
    "passes over the training rows [default: 3]": "训练的轮数 [默认：3]",
    "passes over the training rows": "训练的轮数",
    "of everything random": "随机种子",
    "run folder [default: runs/<data>-<task>-<method>-<hash>]": "运行文件夹 [默认：runs/<数据>-<任务>-<方法>-<哈希>]",
    "replace what stands in the run folder": "替换运行文件夹里已有的内容",
    "show memory and time, then stop": "只显示要用的内存和时间，不训练",
    "no progress": "不显示进度",
    "a recipe (.yaml), or text to learn from (file, glob)": "配方（.yaml），或要学的文本（文件、通配符）",
    "of a table: the field with the text [default: text]": "表格中文本所在的字段 [默认：text]",
    "the model to go on from, such as sprout": "在哪个模型上继续，例如 sprout",
    "run folder": "运行文件夹",
    "run folder, or that of a comparison": "运行文件夹，或一次比较的文件夹",
    "where everything is saved": "保存全部结果的文件夹",
    "the base to tune": "要微调的基座",
    # output
    "the scores as JSON on stdout": "把得分以 JSON 写到标准输出",
    "the result as JSON on stdout": "把结果以 JSON 写到标准输出",
    "the report as JSON on stdout": "把报告以 JSON 写到标准输出",
    "the plan as JSON on stdout": "把预估以 JSON 写到标准输出",
    "JSON lines on stdout": "把 JSON 行写到标准输出",
    "JSON on stdout": "把 JSON 写到标准输出",
    "language of the pages: en or zh [default: MICROTUNE_LANG, or en]": (
        "页面的语言：en 或 zh [默认：MICROTUNE_LANG，未设置则为 en]"
    ),
    "language of the report: en or zh [default: MICROTUNE_LANG, or en]": (
        "报告的语言：en 或 zh [默认：MICROTUNE_LANG，未设置则为 en]"
    ),
    # compare
    "such as head,top:2,lora:8,full; two at least": "例如 head,top:2,lora:8,full；至少两种",
    "time for everything, such as 90s, 10m, 1h": "总共的时间，例如 90s、10m、1h",
    "of each run, such as 4GB [default: what is free]": "每次运行的内存，例如 4GB [默认：空闲的内存]",
    "runs of each method": "每种方法运行几次",
    "a learning curve at so many examples per label, such as 8,32,128": ("学习曲线：每个标签用多少样本，例如 8,32,128"),
    "texts by which forgetting is measured [default: 500 embedded ones]": ("用来衡量遗忘的文本 [默认：内置的 500 条]"),
    "of everything random; the first of --seeds": "随机种子；用 --seeds 时是第一个",
    "folder of the comparison [default: runs/compare-<data>-<task>-<hash>]": (
        "比较结果的文件夹 [默认：runs/compare-<数据>-<任务>-<哈希>]"
    ),
    "replace what stands in the folder": "替换文件夹里已有的内容",
    # lint
    "rows whose copies are looked for in the data": "测试集；会在数据中查找与它重复的行",
    "instead of the guess": "指定任务，不再猜测",
    "look at all rows where otherwise 20,000 are sampled": "查看所有行；不加时抽样 20,000 行",
    "folder for lint.json, lint.html and recipe.yaml": "存放 lint.json、lint.html 和 recipe.yaml 的文件夹",
    "exit with 1 if there is an error or a warning": "有错误或警告时以 1 退出",
    # evaluate, predict, chat
    "run folder; with rows to score, any model that `predict` takes": (
        "运行文件夹；给出要打分的行时，可以是 `predict` 接受的任何模型"
    ),
    "rows to score; default: show the run's own scores": "要打分的行；不给时显示运行自己的得分",
    "run folder, or a decoder that goes on with texts; with --adapter, the base of all": (
        "运行文件夹，或能续写文本的解码器；用 --adapter 时是共同的基座"
    ),
    "texts to answer": "要回答的文本",
    "file with rows to answer": "要回答的数据文件",
    "plain text to answer, line by line": "要逐行回答的纯文本文件",
    ".jsonl or .csv; default: JSON lines on stdout": ".jsonl 或 .csv；不给时把 JSON 行写到标准输出",
    "name rows that cannot be answered, answer all others, exit with 1": (
        "列出无法回答的行，回答其余各行，并以 1 退出"
    ),
    'below it, the answer is "unsure"': "置信度低于此值时回答 unsure",
    "longest generated answer [default: the task's, or 128]": "生成的回答最多几个词元 [默认：按任务，否则 128]",
    "how answers are written, such as beams=5, top_p=0.9, regex=[0-9]+, json_schema=@file.json; repeatable": (
        "怎样写回答，例如 beams=5、top_p=0.9、regex=[0-9]+、json_schema=@file.json；可以重复"
    ),
    "an adapter on the base; each row of --input names its own; repeatable": (
        "基座上的一个适配器；--input 的每一行写明用哪个；可以重复"
    ),
    "field of a row with the name of its adapter": "写明适配器名的字段",
    "run folder, embedded base or model folder": "运行文件夹、内置基座或模型文件夹",
    "longest answer": "回答最多几个词元",
    "0: always the likeliest token [default: 0.7; with beams, 0]": (
        "采样温度；0 为总取最可能的词元 [默认：0.7；集束搜索时为 0]"
    ),
    "draw from the likeliest tokens with this share": "只从概率合计达到此值的最可能词元中抽取",
    "of the draws": "抽样的随机种子",
    # attention, vectors
    "run of a seq2seq-rnn with attention, or such a model": "带注意力的 seq2seq-rnn 的运行或模型",
    "what it reads": "模型读的文本",
    "PNG file to write": "写入的 PNG 文件",
    "what it writes [default: its own answer]": "模型写的文本 [默认：它自己的回答]",
    "the matrix as JSON on stdout, no picture": "把矩阵以 JSON 写到标准输出，不画图",
    "run folder of word2vec, or a file of vectors in its text format": (
        "word2vec 的运行文件夹，或其文本格式的词向量文件"
    ),
    "one word: its neighbours; three, A B C: A is to B as C is to ?": (
        "一个词：查近邻；三个词 A B C：A 之于 B，如同 C 之于什么"
    ),
    "answers": "给出几个答案",
    # export, merge, combine
    "run, adapter folder, model folder, name": "运行、适配器文件夹、模型文件夹或模型名",
    "run or adapter folder": "运行或适配器的文件夹",
    "folder to write": "要写入的文件夹",
    "hf, peft, gguf, onnx or own": "hf、peft、gguf、onnx 或 own",
    "hf: float32, bfloat16, float16; gguf: float16, float32, q8_0": (
        "hf：float32、bfloat16、float16；gguf：float16、float32、q8_0"
    ),
    "float32, bfloat16 or float16 [default: float32]": "float32、bfloat16 或 float16 [默认：float32]",
    "replace an earlier export": "替换以前的导出结果",
    "runs or LoRA folders of peft, on one base": "同一基座上的运行，或 peft 的 LoRA 文件夹",
    "one for each run, such as 0.7,0.3 [default: equal shares]": "每次运行的权重，例如 0.7,0.3 [默认：各占相同份额]",
    "linear: exact, ranks add up; svd: the nearest update of --rank": (
        "linear：精确，秩相加；svd：秩为 --rank 的最接近的更新"
    ),
    "of svd [default: the largest of the runs]": "svd 的秩 [默认：各次运行中最大的]",
    "replace an earlier combination": "替换以前的合并结果",
    # list
    KINDS: KINDS.replace(", ", "、"),
}
