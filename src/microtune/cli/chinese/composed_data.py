"""Sentences about rows, tokenizers, templates and options of tasks that the source puts together of several parts."""

from __future__ import annotations

COMPOSED_DATA: dict[str, str] = {
    # options
    "{field}: ordinal is true or false, and true is the same as form: ordinal.": (
        "{field}：ordinal 应为 true 或 false，true 与 form: ordinal 相同。"
    ),
    "{field}: weights are chosen by one of {choices} or f1:LABEL, not {value}.": (
        "{field}：权重按 {choices} 或 f1:LABEL 之一选择，而不是 {value}。"
    ),
    "{field}: {answers} answers need as many beams, or a temperature.": (
        "{field}：{answers} 个回答需要同样多的 beams，或设置 temperature。"
    ),
    "{field}: a schema is a JSON object, not {value}.": "{field}：schema 应为 JSON 对象，而不是 {value}。",
    "{field}: a schema is JSON; this is not ({reason}), not {value}.": (
        "{field}：schema 应为 JSON，而 {value} 不是（{reason}）。"
    ),
    "{field}: three shares that add up to 1: of the mask, of random tokens, of tokens that stay, not {value}.": (
        "{field}：应为和为 1 的三个比例（换成掩码的、换成随机词元的、保持原样的），而不是 {value}。"
    ),
    "{field}: {name} belongs to the objective {meant}, not to {objective}.": (
        "{field}：{name} 用于目标 {meant}，不用于 {objective}。"
    ),
    "{field}: the task {task} needs the templates {names}.": ("{field}：任务 {task} 需要模板 {names}。"),
    "{field}: a template has at most {most} characters, not {value}.": "{field}：模板最多 {most} 个字符（{value}）。",
    "{field}: not a template ({reason}); a brace of the text itself is written twice, not {value}.": (
        "{field}：不是有效的模板（{reason}）；文本自身的花括号请写成两个（{value}）。"
    ),
    # templates
    "{field}: a template names at least one field in braces, as in {example}; this one is the same for all, "
    "not {value}.": ("{field}：模板至少要用花括号写出一个字段，例如 {example}；这里各行都一样（{value}）。"),
    "{field}: a template names fields in braces, as in {example}; nothing else may stand in them, not {value}.": (
        "{field}：模板用花括号写字段，例如 {example}；括号里不能有别的内容（{value}）。"
    ),
    # rows and fields
    "data.steps, sentence-rows: the task reads {named}, which belong together; leave the step out, or name the one "
    "field whose sentences are rows: {example}.": (
        "data.steps，sentence-rows：任务所读的 {named} 不能拆开；请去掉这一步，"
        "或指定按句拆成多行的那个字段：{example}。"
    ),
    '"{field}" has roles out of order: message {number} is of "{role}", the one before of "nobody"; join or move '
    "messages, or remove the row.": (
        "“{field}”的角色顺序不对：第 {number} 条消息的角色是“{role}”，不能放在开头；请合并或移动消息，或删除这一行。"
    ),
    "{cells} fields where the header has {names}; give each column a name.": (
        "这一行有 {cells} 个字段，而表头只有 {names} 个；请给每一列起名。"
    ),
    "{cells} fields where the first rows have {names}; give each column a name.": (
        "这一行有 {cells} 个字段，而前面各行只有 {names} 个；请给每一列起名。"
    ),
    "the end is not valid {encoding}; save the file as UTF-8 or name its encoding, such as "
    "--encoding gb18030 or --encoding cp1252.": (
        "文件末尾不是有效的 {encoding}；请把文件另存为 UTF-8，或指明编码，"
        "例如 --encoding gb18030 或 --encoding cp1252。"
    ),
    "{file} is named after a split and {other} is not, and they would be mixed; name the files one by one (DATA, "
    "--validation, --test), or all of them by a pattern, such as {path}.": (
        "{file} 以数据划分命名，而 {other} 不是，两者会混在一起；请逐个指明文件（DATA、--validation、--test），"
        "或用通配符给出全部文件，例如 {path}。"
    ),
    "{file} is not for training, and there is no file called train; name the files one by one (DATA, --validation, "
    "--test).": "{file} 不用于训练，而没有名为 train 的文件；请逐个指明文件（DATA、--validation、--test）。",
    "{one} and {other} are both of the {split} split; keep one, or number them as pieces ({first}, {second}).": (
        "{one} 和 {other} 都属于{split}；请只留一个，或把它们编号为分片（{first}、{second}）。"
    ),
    "there is no pair of files {one} and {other} in this folder (each also with .gz or .xz).": (
        "这个文件夹里没有成对的文件 {one} 和 {other}（也可以带 .gz 或 .xz）。"
    ),
    "the name has no ending that tells the format; known are {endings}; or pass format=.": (
        "文件名没有能说明格式的扩展名；可以读取的有 {endings}；也可以用 format= 指定格式。"
    ),
    '"{first}" ({label}, {start} to {end}) and "{second}" ({beside}, {begin} to {stop}) overlap; a token can have one '
    "label, so keep one of them.": (
        "“{first}”（{label}，{start} 到 {end}）与“{second}”（{beside}，{begin} 到 {stop}）重叠；"
        "一个词元只能有一个标签，请只留一个。"
    ),
    'the span {start} to {end} of "{label}" ends past the text, which has {size} characters; the offsets seem to count '
    "bytes, but they must count characters.": (
        "“{label}”的片段 {start} 到 {end} 超出了文本，文本只有 {size} 个字符；位置似乎按字节计数，应按字符计数。"
    ),
    'the span {start} to {end} of "{label}" says "{wanted}", but there stands "{found}"; the offsets seem to count '
    "bytes, but they must count characters.": (
        "“{label}”的片段 {start} 到 {end} 写着“{wanted}”，而原文此处是“{found}”；位置似乎按字节计数，应按字符计数。"
    ),
    'the tag "{tag}" has no B- or I- before it, which other tags have; give it one, or write O.': (
        "标记“{tag}”前面没有 B- 或 I-，而其他标记有；请补上，或写成 O。"
    ),
    'the sentence ends after "{tag}", without the end that {scheme} asks for.': (
        "句子在“{tag}”之后就结束了，缺少 {scheme} 标注法要求的结尾标记。"
    ),
    "{kind} inside its compression": "压缩文件，里面还是{kind}",
    # a run that goes on
    "data {name} has changed": "数据 {name} 已改变",
    "data {name} is gone": "数据 {name} 已不存在",
    # tokenizers
    "a token cannot be added ({reason}).": "不能添加词元（{reason}）。",
    "not a usable tokenizer file ({reason}).": "不是可用的分词器文件（{reason}）。",
    "not a usable tokenizer ({reason}).": "不是可用的分词器（{reason}）。",
    "The tokenizer fails ({reason}).": "分词器出错（{reason}）。",
    "The tokenizer cannot read a text ({reason}).": "分词器无法读取一段文本（{reason}）。",
    "The tokenizer cannot write a text ({reason}).": "分词器无法写出一段文本（{reason}）。",
    "A tokenizer cannot be trained on this text ({reason}).": "无法用这些文本训练分词器（{reason}）。",
    'there is no "{token}", which Marian\'s tokenizer needs.': "没有“{token}”，而 Marian 的分词器需要它。",
    "two tokens have one id.": "有两个词元的编号相同。",
    "there is no token in it.": "里面没有词元。",
    "{found} numbers, but the embedding of the model has {width}.": (
        "这里有 {found} 个数字，而模型的嵌入有 {width} 维。"
    ),
    "{found} numbers, but the first line says that a vector has {width}.": (
        "这里有 {found} 个数字，而第一行声明每个词向量有 {width} 个。"
    ),
    # how a model is asked, and how much it reads
    "This model answers a question from a passage: give two texts for each, first the question.": (
        "该模型根据段落回答问题：每次请给两段文本，先写问题。"
    ),
    "This model compares two texts: give them two by two.": "该模型比较两段文本：请两段两段地给出。",
    "This model reads pairs of texts: give them two by two, the first and the second of each.": (
        "该模型读文本对：请两段两段地给出，每对先写第一段。"
    ),
    "This model chooses among options: give a question and its options.": "该模型做选择题：请给出问题和选项。",
    "This model chooses among options: give a passage, a question and its options.": (
        "该模型做选择题：请给出段落、问题和选项。"
    ),
    "model.max_length: {asked} is more than the {left} positions that {virtual} virtual tokens leave of the {limit} of "
    "this model.": (
        "model.max_length：{asked} 太大；该模型有 {limit} 个位置，{virtual} 个虚拟词元之外只剩 {left} 个。"
    ),
    "Row {number} has {count} tokens, but the model has {most} positions.": (
        "第 {number} 行有 {count} 个词元，而模型只有 {most} 个位置。"
    ),
    "Row {number} has {count} tokens, but the model has {most} positions, of which virtual tokens take {virtual}.": (
        "第 {number} 行有 {count} 个词元，而模型只有 {most} 个位置，其中虚拟词元占 {virtual} 个。"
    ),
    "The prompt has {given} tokens, but the model has {most} positions, of which virtual tokens take {virtual}.": (
        "提示有 {given} 个词元，而模型只有 {most} 个位置，其中虚拟词元占 {virtual} 个。"
    ),
    "the saved model gives other outputs than the trained one (gap {gap}, first tensor that differs: {tensor}).": (
        "保存的模型与训练所得的模型输出不同（相差 {gap}；首先是张量 {tensor}）。"
    ),
    "This model only reads: it has no decoder to write a text with, which the task {task} needs; take an "
    'encoder-decoder such as T5, or a decoder such as "sprout".': (
        "该模型只能读：它没有解码器，不能写文本，而任务 {task} 需要写；请用 T5 这样的编码器-解码器，"
        "或“sprout”这样的解码器。"
    ),
    "the base model has changed": "基座模型已改变",
    "task.choose: of one label a row there is no {chosen}; take {choices}, f1:LABEL.": (
        "task.choose：每行一个标签的分类没有指标 {chosen}；请取 {choices} 或 f1:LABEL。"
    ),
    "task.choose: of several labels a row there is no {chosen}; take {choices}, f1:LABEL.": (
        "task.choose：每行多个标签的分类没有指标 {chosen}；请取 {choices} 或 f1:LABEL。"
    ),
    "the row holds {count} lists, and limits.{name} is {allowed}; if the data is right, raise limits.{again}=.": (
        "这一行含有 {count} 个列表，而 limits.{name} 为 {allowed}；如果数据无误，请提高 limits.{again}。"
    ),
    "the file is {kind} inside its compression, not text; give it the ending of what it is.": (
        "压缩文件里面还是{kind}，不是文本；请改成与内容相符的扩展名。"
    ),
    "a row is a dict with keys that are not text, not a dict such as {example}.": (
        "有一行的键不是文本，应为字典，例如 {example}。"
    ),
    "a template names at least one field in braces, as in {example}; this one is the same for all.": (
        "模板至少要用花括号写出一个字段，例如 {example}；这里各行都一样。"
    ),
}
