"""What is said about data: files, fields, labels, splits, texts. English form -> Chinese, with the same names."""

from __future__ import annotations

DATA: dict[str, str] = {
    # files
    "no such file.": "没有这个文件。",
    'no such file; did you mean "{name}"?': "没有这个文件；是不是“{name}”？",
    "no such file, and no such folder as {folder}.": "没有这个文件，也没有文件夹 {folder}。",
    "no such folder.": "没有这个文件夹。",
    "no file matches this pattern.": "没有文件符合这个通配符。",
    "no readable file in this folder; read are {endings}.": "这个文件夹里没有可读的文件；可以读取的有 {endings}。",
    'the ending "{ending}" is not known; known are {endings}.': "不认识扩展名“{ending}”；可以读取的有 {endings}。",
    "the file is empty.": "文件是空的。",
    "no file in the folder of this class; put its texts there, or remove the folder.": (
        "这个类别的文件夹里没有文件；请把它的文本放进去，或删除这个文件夹。"
    ),
    "the file holds only blanks; fill it in, or remove it.": "文件里只有空白；请补上内容，或删除文件。",
    "not a text file; each file in the folder of a class is a text, so move it elsewhere.": (
        "不是文本文件；类别文件夹里的每个文件都是一段文本，请把它移到别处。"
    ),
    "there is no token in this text.": "这段文本里没有任何词元。",
    "the file holds no rows.": "文件里没有数据行。",
    "the file holds only blanks.": "文件里只有空白。",
    "the file has a header and no rows below it.": "文件只有表头，下面没有数据行。",
    "is not a regular file.": "不是普通文件。",
    "cannot be opened ({reason}).": "无法打开（{reason}）。",
    "a folder, not a file.": "这是文件夹，不是文件。",
    "the list or data frame holds no rows.": "列表或数据表里没有数据行。",
    "two columns are called {name}; rename one, or pass header=False.": (
        "有两列都叫 {name}；请给其中一列改名，或设置 header=False。"
    ),
    "column {column}: broken JSON ({reason}).": "第 {column} 列：JSON 格式有误（{reason}）。",
    "there is a NUL byte in the text; remove it, or name the encoding if it is not UTF-8.": (
        "文本中有 NUL 字节；请删去，若不是 UTF-8 编码，请指明编码。"
    ),
    "the file is one object without a list of rows; write a list of objects.": (
        "文件是一个对象，里面没有数据行的列表；请写成对象的列表。"
    ),
    "the file is not a list of objects; expected [ at its beginning.": "文件不是对象的列表；开头应当是 [。",
    # fields
    "the field {field} is empty; fill it in, or remove the row.": "字段 {field} 是空的；请补上内容，或删去这一行。",
    "no row has the field {field}, whose text this model reads; the fields are {names}; name the one that stands for "
    "it with --text-field.": (
        "没有一行有该模型要读的字段 {field}；字段有 {names}；请用 --text-field 指出代替它的字段。"
    ),
    "no row has the field {field}, whose answer this model learnt; the fields are {names}; name the one that stands "
    "for it with --label-field.": (
        "没有一行有该模型所学答案的字段 {field}；字段有 {names}；请用 --label-field 指出代替它的字段。"
    ),
    "The task {task} reads no single field that --{role}-field could name.": (
        "任务 {task} 读的不是单个字段，不能用 --{role}-field 指定。"
    ),
    "the field {field} is missing; the row has {names}.": "缺少字段 {field}；这一行有 {names}。",
    "there are {tokens} tokens, but {tags} tags; each token needs one.": (
        "有 {tokens} 个词元，却有 {tags} 个标记；每个词元需要一个标记。"
    ),
    # labels
    "all rows have the number {number} in {field}; there is nothing to predict.": (
        "所有行的 {field} 都是 {number}，没有可以预测的东西。"
    ),
    'all rows have the label "{label}"; a classifier needs at least two classes.': (
        "所有行的标签都是“{label}”；分类至少需要两个类别。"
    ),
    'the rows have no two different labels in "{field}" (only "{label}").': (
        "各行在“{field}”中没有两个不同的标签（只有“{label}”）。"
    ),
    'the label in "{field}" is missing.': "“{field}”中缺少标签。",
    "The labels are of mixed types: {types}; make them all strings or all whole numbers.": (
        "标签的类型不一致：{types}；请全部写成字符串，或全部写成整数。"
    ),
    'the label "{label}" is not among the declared ones. {hint}': "标签“{label}”不在声明的标签之中。{hint}",
    'the model does not know the label "{label}". {hint}': "模型不认识标签“{label}”。{hint}",
    "task.labels: a label is declared twice.": "task.labels：有一个标签声明了两次。",
    # splits
    "{rows} rows are too few to part into {split_names}: {split} would be empty.": (
        "只有 {rows} 行，不够分成{split_names}：{split}会是空的。"
    ),
    "{rows} rows have {labels} different labels, too many to part into {split_names} with some of each; is the right "
    "field the label (--label-field)?": (
        "{rows} 行里有 {labels} 种不同的标签，太多了，无法在{split_names}里各放一些；"
        "标签字段选对了吗（--label-field）？"
    ),
    "{rows} rows hold only {groups} different inputs, too few to part into {split_names}, as equal ones stay together; "
    "is the right field read (--text-field)?": (
        "{rows} 行里只有 {groups} 种不同的输入，相同的要放在一起，不够分成{split_names}；读的字段对吗（--text-field）？"
    ),
    "split leaves nothing for train: the fractions add up to {sum}.": (
        "split 没有给训练集留下数据：各比例之和为 {sum}。"
    ),
    "split names the part {part}; parts are validation and test, the rest is train.": (
        "split 写了 {part}；只能写 validation 和 test，其余都是训练集。"
    ),
    "split.{part} is {share}; it must be a fraction between 0 and 1, such as 0.1.": (
        "split.{part} 为 {share}；应为 0 与 1 之间的比例，例如 0.1。"
    ),
    'data.split: no row says "train" in the field "{field}".': "data.split：字段“{field}”中没有一行写着“train”。",
    "No row of the training split is left to learn from.": "训练集中没有留下可以学习的行。",
    "There is no training data; name a file, for instance: microtune tune data.csv --task classification, or, behind a "
    "recipe, data.train=data.csv.": (
        "没有训练数据；请指定一个文件，例如：microtune tune data.csv --task classification，或在配方后面写 "
        "data.train=data.csv。"
    ),
    "There are no rows to evaluate on.": "没有可以用来评估的行。",
    # texts
    "the text has no token for this tokenizer.": "这段文本在这个分词器下没有任何词元。",
    "there is no answer to learn in this row.": "这一行没有可以学习的答案。",
    'a plain model reads the field "text"; the fields are {names}. Rename one.': (
        "未经微调的模型读取字段 text；字段有 {names}。请把要读的那个改名为 text。"
    ),
    'there is no field "{field}"; the row has {names}; name it with --text-field, or as `fields` of the source.': (
        "没有字段“{field}”；这一行有 {names}；请用 --text-field 指定，或写在来源的 `fields` 里。"
    ),
    '"{field}" must be a list of messages.': "“{field}”应当是消息的列表。",
    "no training row has an answer; there is nothing to learn.": "训练集中没有一行有答案，没有可以学习的东西。",
    "no training row has a span; there is nothing to learn.": "训练集中没有一行有标注的片段，没有可以学习的东西。",
    "This model has no chat template; give `prompt` and `completion` fields instead.": (
        "这个模型没有对话模板；请改用 `prompt` 和 `completion` 字段。"
    ),
    "The corpus is shorter than one block of {size} tokens; add text or lower data.block_size.": (
        "语料比一个长为 {size} 个词元的块还短；请增加文本，或减小 data.block_size。"
    ),
}
