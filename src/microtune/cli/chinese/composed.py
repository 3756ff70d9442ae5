"""Sentences that the source puts together of several parts; the theme modules hold those that stand there whole."""

from __future__ import annotations

from microtune.cli.chinese.assembled import ASSEMBLED
from microtune.cli.chinese.composed_data import COMPOSED_DATA

COMPOSED: dict[str, str] = {
    **ASSEMBLED,
    **COMPOSED_DATA,
    "{field}: it says how many answers are written, which needs task.generate=true, not {value}.": (
        "{field}：它说明写多少行回答，需要 task.generate=true，这里是 {value}。"
    ),
    "{dropped} of {rows} rows are longer than the model can read and would lose their answer; shorten them or raise "
    "model.max_length. First: {places}.": (
        "{rows} 行中有 {dropped} 行超过模型能读的长度，会丢失答案；请缩短，或提高 model.max_length。首先是：{places}。"
    ),
    "the saved model gives other outputs than the trained one (gap {gap}).": (
        "保存的模型与训练所得的模型输出不同（相差 {gap}）。"
    ),
    "After {step} steps {count} trainable tensors have not moved (first: {name}): no gradient reaches them. Choose "
    "roles that the loss depends on.": (
        "{step} 步之后有 {count} 个可训练的张量没有变化（首先是 {name}）：梯度传不到。请选择影响损失的部位。"
    ),
    "{reason} at step {step}: lower train.lr, for all {count} rows of the step give it (first: {places}).": (
        "第 {step} 步：{reason}；这一步的 {count} 行全都如此，请降低 train.lr（首先是：{places}）。"
    ),
    "{reason} at step {step}: lower train.lr, or mend the rows that give it, {count} of {rows} in this step: "
    "{places}.": (
        "第 {step} 步：{reason}；请降低 train.lr，或改正引起问题的行，这一步 {rows} 行中有 {count} 行：{places}。"
    ),
    "the file is {kind}, not text; give it the ending of what it is.": (
        "文件是 {kind}，不是文本；请改成与内容相符的扩展名。"
    ),
    "byte {byte} (0x{value}) is not valid {encoding}; save the file as UTF-8 or name its encoding, such as "
    "--encoding gb18030 or --encoding cp1252.": (
        "第 {byte} 字节（0x{value}）不是有效的 {encoding}；请把文件另存为 UTF-8，或指明编码，"
        "例如 --encoding gb18030 或 --encoding cp1252。"
    ),
    "{cells} fields where {header} has {names}; quote a field that holds the separator, or leave missing fields "
    "empty.": ("这一行有 {cells} 个字段，而{header}有 {names} 个；含分隔符的字段请加引号，缺少的字段请留空。"),
    "--{what} names one file of two; give --{other} too.": "--{what} 只给出了两个文件中的一个；请同时给出 --{other}。",
    "method: {method} finds nothing from block {first} upwards: the model has {depth} blocks, 0 to {last}.": (
        "method：{method} 从第 {first} 层起没有可用的层；模型有 {depth} 层，编号 0 到 {last}。"
    ),
    "method: {method}: last_block is {last}, but the model has {depth} blocks, 0 to {top}.": (
        "method：{method}：last_block 为 {last}，而模型有 {depth} 层，编号 0 到 {top}。"
    ),
    'model_type "{type}" is not supported. {hint}': "不支持 model_type“{type}”。{hint}",
    'tensor "{name}" is missing; the folder is incomplete.': "缺少张量“{name}”；文件夹不完整。",
    'the field "{field}" must map tensor names to file names.': "字段“{field}”应是张量名到文件名的对应。",
    "model.added_tokens: {count} tokens are more than {most}; pretrain a tokenizer of its own instead.": (
        "model.added_tokens：{count} 个词元超过上限 {most}；请改为训练自己的分词器。"
    ),
    "model.added_tokens: a token is empty or white space alone; write the text that it stands for.": (
        "model.added_tokens：有一个词元为空或只有空白；请写出它代表的文本。"
    ),
    'model.added_tokens: "{text}..." is longer than {most} characters.': (
        "model.added_tokens：“{text}...”超过 {most} 个字符。"
    ),
    'model.added_tokens: "{text}" stands twice; name each token once.': (
        "model.added_tokens：“{text}”写了两次；每个词元只写一次。"
    ),
    "model.added_tokens: this model has no tokenizer that a token could be added to.": (
        "model.added_tokens：该模型没有可以添加词元的分词器。"
    ),
    'model.added_tokens: "{text}" is read as {count} tokens and not as one; take another text for it.': (
        "model.added_tokens：“{text}”被读成 {count} 个词元而不是一个；请换一段文本。"
    ),
    '"{name}" needs the package modelscope; pip install "microtune[modelscope]" brings it.': (
        '“{name}”需要 modelscope 软件包；请执行 pip install "microtune[modelscope]"。'
    ),
    '"{name}": {file} did not arrive; run the same command again.': (
        "“{name}”：{file} 没有下载成功；请再执行同一条命令。"
    ),
    '"{name}": revision "{revision}" could not be had from ModelScope ({reason}); check the name, the network and '
    "whether the model asks for a login.": (
        "“{name}”：无法从 ModelScope 取得版本“{revision}”（{reason}）；请检查名称、网络，以及该模型是否需要登录。"
    ),
    'tensor "{name}" is missing, which {config} promises.': "缺少 {config} 声明的张量“{name}”。",
    "{field}: a size of memory is a number and a unit, such as 4GB, 800MB or 1.5GiB, not {value}.": (
        "{field}：内存大小应为数字加单位，例如 4GB、800MB 或 1.5GiB，而不是 {value}。"
    ),
    "{field}: an empty text can be neither a stop nor a label, not {value}.": (
        "{field}：空文本不能作停止符或标签（{value}）。"
    ),
    "{field}: beams search and a temperature draws: leave out one of the two.": (
        "{field}：beams 是搜索，temperature 是抽样；请去掉其中一个。"
    ),
    "{field}: labels, regex and json_schema each say what an answer is: give one of them.": (
        "{field}：labels、regex 和 json_schema 都规定回答的形式；请只给一个。"
    ),
    '"{text}" is not an override: {key} holds a value, not keys.': "“{text}”不是覆盖项：{key} 是一个值，下面没有键。",
    "the field {field} has one value, too few to part the rows in its order into {split_names}.": (
        "字段 {field} 只有一个值，不够按次序分成{split_names}。"
    ),
    "the field {field} has {count} different values, too few to part the rows in its order into {split_names}.": (
        "字段 {field} 只有 {count} 个不同的值，不够按次序分成{split_names}。"
    ),
    'data.split_by: the field "{field}" is empty; give every row a number or a date such as 2024-01-31, 2024/1/31 '
    "09:30 or 2024年1月31日.": (
        "data.split_by：字段“{field}”是空的；请给每一行写上数字或日期，例如 2024-01-31、2024/1/31 09:30 或 "
        "2024年1月31日。"
    ),
    "its comparison.yaml cannot be read; choose another folder with --out, or replace it with --overwrite.": (
        "其中的 comparison.yaml 无法读取；请用 --out 另选文件夹，或用 --overwrite 替换。"
    ),
    "holds a different comparison ({fields} changed); choose another folder with --out, or replace it with "
    "--overwrite.": ("已有另一次比较（{fields} 不同）；请用 --out 另选文件夹，或用 --overwrite 替换。"),
    "this comparison is finished; choose another folder with --out, or replace it with --overwrite.": (
        "这次比较已经完成；请用 --out 另选文件夹，或用 --overwrite 替换。"
    ),
    'task.{option} asks for the field "{field}", which this row does not have. {hint}': (
        "task.{option} 要用字段“{field}”，而这一行没有。{hint}"
    ),
    "task.{option} makes {count} characters, more than limits.field_characters ({most}).": (
        "task.{option} 生成了 {count} 个字符，超过 limits.field_characters（{most}）。"
    ),
    "task.{option} makes an empty text: all its fields are empty; fill one in, or remove the row.": (
        "task.{option} 得到空文本：所用字段全是空的；请补上内容，或删去这一行。"
    ),
    'task.{option}: the field "{field}" is {kind}, not a text.': "task.{option}：字段“{field}”是{kind}，不是文本。",
    'the number in "{field}" is missing.': "“{field}”中缺少数字。",
    'the number in "{field}" is {value}, not a finite number.': "“{field}”中应为有限的数字，而不是 {value}。",
    'the label "{label}" of the {split} split is not among the declared ones; declare it in task.labels or remove the '
    "row.": ("{split}的标签“{label}”不在声明的标签之中；请加入 task.labels，或删去这一行。"),
    'the label "{label}" of the {split} split does not occur in the training split; add examples of it there or remove '
    "it.": ("{split}的标签“{label}”没有在训练集中出现；请在训练集中补充样本，或删去它。"),
    'data.tasks: two tasks are called "{name}"; their scores could not be told apart.': (
        "data.tasks：有两个任务都叫“{name}”；它们的得分无法区分。"
    ),
    "the {name} has changed": "{name} 已改变",
    "the {name} is gone": "{name} 已不存在",
    # fields
    'there is no field "{field}" for the {sought}; did you mean "{near}"? It has {names}.': (
        "没有可作{sought}的字段“{field}”；是不是“{near}”？字段有 {names}。"
    ),
    'there is no field "{field}" for the {sought}; it has {names}.': (
        "没有可作{sought}的字段“{field}”；字段有 {names}。"
    ),
    "no field looks like the {sought}; the fields are {names}; name it with {flag}.": (
        "没有字段像是{sought}；字段有 {names}；请用 {flag} 指定。"
    ),
    'no field looks like the {sought}; the fields are {names}; name it with {flag} (perhaps "{field}", whose few '
    "values come back).": (
        "没有字段像是{sought}；字段有 {names}；请用 {flag} 指定（也许是“{field}”，它只有几个反复出现的值）。"
    ),
    'no field looks like the {sought}; the fields are {names}; name it with {flag} (perhaps "{field}" or "{other}", '
    "whose few values come back).": (
        "没有字段像是{sought}；字段有 {names}；请用 {flag} 指定"
        "（也许是“{field}”或“{other}”，它们只有几个反复出现的值）。"
    ),
    "plain text has no field for the {sought}; make a table (.csv) or JSON lines with one.": (
        "纯文本没有可作{sought}的字段；请改用带这一列的表格（.csv）或 JSONL。"
    ),
    "plain text has no field for the {sought}; make a table (.csv) or JSON lines with one, or put the texts of each "
    "class into a folder of its own.": (
        "纯文本没有可作{sought}的字段；请改用带这一列的表格（.csv）或 JSONL，或把每一类的文本放进各自的文件夹。"
    ),
    "no field looks like the {sought}; all fields are taken; name it with {flag}.": (
        "没有字段像是{sought}，各字段都已用掉；请用 {flag} 指定。"
    ),
    "several fields could be the {sought} ({names}); name it with {flag}.": (
        "有几个字段都可能是{sought}（{names}）；请用 {flag} 指定。"
    ),
    "several fields could be the number ({names}); name it with --label-field.": (
        "有几个字段都可能是要预测的数字（{names}）；请用 --label-field 指定。"
    ),
    "no field of numbers is named like a score; the fields are {names}; name it with --label-field.": (
        "没有一个数字字段的名称像是分数；字段有 {names}；请用 --label-field 指定。"
    ),
    "a row is {kind}, not an object such as {example}; if the whole file is one list, give it the ending .json.": (
        "有一行是{kind}，应为对象，例如 {example}；如果整个文件是一个列表，请把扩展名改为 .json。"
    ),
    "a row is {kind}, not an object such as {example}.": "有一行是{kind}，应为对象，例如 {example}。",
    "a row is {kind}, not a dict such as {example}.": "有一行是{kind}，应为字典，例如 {example}。",
    # parts of a split
    'the field "{field}" says "{value}"; it must be train, validation (valid, val, dev) or test.': (
        "字段“{field}”写着“{value}”；应为 train、validation（valid、val、dev）或 test。"
    ),
    'no field "{field}"; it must be train, validation (valid, val, dev) or test.': (
        "没有字段“{field}”；其中应写 train、validation（valid、val、dev）或 test。"
    ),
    'data.split_by: the field "{field}" says "{value}", which is neither a number nor a date; write a number or a date '
    "such as 2024-01-31, 2024/1/31 09:30 or 2024年1月31日.": (
        "data.split_by：字段“{field}”写着“{value}”，既不是数字也不是日期；请写数字或日期，例如 2024-01-31、"
        "2024/1/31 09:30 或 2024年1月31日。"
    ),
    'data.split_by: the field "{field}" says "{value}", {kind}, where the rows before have {known}; write all in one '
    "form.": ("data.split_by：字段“{field}”写着“{value}”，是{kind}，而前面各行是{known}；请统一写法。"),
    'data.split_by: this row is of the {split} split, but the field "{field}" says "{value}", which is not later than '
    '"{other}" of the {earlier} split ({places}).': (
        "data.split_by：这一行属于{split}，而字段“{field}”写着“{value}”，并不晚于{earlier}中的“{other}”（{places}）。"
    ),
    # spans and answers
    'the field "{field}" is missing; a list of {example}.': "缺少字段“{field}”；应为 {example} 的列表。",
    'the field "{field}" is "{value}"; a list of {example}.': "字段“{field}”为“{value}”；应为 {example} 的列表。",
    'a span is "{span}", not {example} or [start, end, label].': (
        "有一个片段是“{span}”，应为 {example} 或 [start, end, label]。"
    ),
    'the span {start} to {end} of "{label}" says "{wanted}", but there stands "{found}".': (
        "“{label}”的片段 {start} 到 {end} 写着“{wanted}”，而原文此处是“{found}”。"
    ),
    'the tag "{tag}" begins the sentence, which {scheme} does not allow.': (
        "按 {scheme} 标注法，标记“{tag}”不能在句首。"
    ),
    'the tag "{tag}" follows "{before}", which {scheme} does not allow.': (
        "按 {scheme} 标注法，标记“{tag}”不能跟在“{before}”之后。"
    ),
    'the answer of {asked} is "{value}", which is none of its options, but other rows name theirs by its text; if all '
    "answers are numbers of options, say task.counts_from=.": (
        "{asked}的答案是“{value}”，不是其选项之一，而其他行是用选项的文本作答的；"
        "如果所有答案都是选项的编号，请用 task.counts_from= 说明。"
    ),
    "the answer of {asked} is missing, which is none of its options ({names}).": "{asked}缺少答案；选项有 {names}。",
    'the answer of {asked} is "{value}", which is none of its options ({names}).': (
        "{asked}的答案“{value}”不在选项之中（{names}）。"
    ),
    # several tasks
    "data.tasks, {task}: it has no row in the {split} split, and {other} has; name a file ({part}: ...), give it more "
    "rows, or write data.split: none where no task shall have one.": (
        "data.tasks，{task}：在{split}中没有数据行，而 {other} 有；请指定文件（{part}: ...），增加数据行，"
        "或在所有任务都不需要时写 data.split: none。"
    ),
    "data.{flag} and data.tasks both name files; write the files of each task into data.tasks.": (
        "data.{flag} 和 data.tasks 都指定了文件；请把各任务的文件写进 data.tasks。"
    ),
    "data.tasks: the task {task} answers with a head of its own, which several tasks cannot share. Word them as text "
    "(task: instruction or sequence-to-sequence), or tune one adapter for each on the same base (docs/adapters.md).": (
        "data.tasks：任务 {task} 用自己的输出层作答，几个任务不能共用。请改写成文本（task: instruction 或 "
        "sequence-to-sequence），或在同一基座上各微调一个适配器（docs/adapters.md）。"
    ),
    "Data of two files is written {example}, each a path; {key} does not fit.": (
        "两个文件的数据请写成 {example}，各为路径；{key} 不符。"
    ),
    # models beside one another
    "holds a whole model of its own (method {method}); load it alone, with microtune.load.": (
        "里面是完整的模型（方法 {method}）；请用 microtune.load 单独加载。"
    ),
    "has {count} added tokens, so its embedding is its own; load it alone, with microtune.load.": (
        "添加了 {count} 个词元，有自己的嵌入；请用 microtune.load 单独加载。"
    ),
    "The budget of {budget} is too small: {spent} went into reading and measuring, and {steps} steps for every method, "
    "with the final scores, take about {least} more; give {flag} (the training that was asked for takes {whole}), or "
    "fewer methods.": (
        "{budget} 的时间预算太少：读取和测速用了 {spent}，每种方法走 {steps} 步再加最后评分约需 {least}；"
        "请设 {flag}（按要求完整训练需 {whole}），或减少方法。"
    ),
    'data.tasks, {task}: there is no training row of it; its rows name it in the field "{field}", or in a file of '
    "their own.": ("data.tasks，{task}：没有训练行；请在各行的字段“{field}”中写明任务，或为它单独给出文件。"),
    "data.{flag}: the templates of data.tasks say where the texts stand; leave it out.": (
        "data.{flag}：data.tasks 的模板已指明文本的位置；请去掉。"
    ),
    "there is no bias to train: no linear role ({roles}) and no norm ({norms}) has one.": (
        "没有可训练的偏置：线性部位（{roles}）和归一化层（{norms}）都没有偏置。"
    ),
    "there is no bias to train in these blocks: no linear role ({roles}) and no norm ({norms}) has one.": (
        "这些层中没有可训练的偏置：线性部位（{roles}）和归一化层（{norms}）都没有偏置。"
    ),
}
