"""Sentences that the source puts together of several parts; the theme modules hold those that stand there whole."""

from __future__ import annotations

COMPOSED: dict[str, str] = {
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
    "The run does not fit into memory: {free} are free, but it needs about {needed} even with one row computed at a "
    "time ({parts}); lower model.max_length, choose a lighter method (top:1, lora) or a smaller model.": (
        "内存不够：空闲 {free}，而即使一次只算一行也需要约 {needed}（{parts}）；请减小 model.max_length，"
        "换用较轻的方法（top:1、lora）或较小的模型。"
    ),
    "The run does not fit into memory: train.memory is {free}, but it needs about {needed} even with one row computed "
    "at a time ({parts}); lower model.max_length, choose a lighter method (top:1, lora) or a smaller model, or raise "
    "train.memory.": (
        "内存不够：train.memory 为 {free}，而即使一次只算一行也需要约 {needed}（{parts}）；请减小 model.max_length，"
        "换用较轻的方法（top:1、lora）或较小的模型，或提高 train.memory。"
    ),
    "the file is {kind}, not text; give it the ending of what it is.": (
        "文件是 {kind}，不是文本；请改成与内容相符的扩展名。"
    ),
    "byte {byte} (0x{value}) is not valid {encoding}; save the file as UTF-8 or name its encoding, such as "
    'encoding="gb18030" or encoding="latin-1".': (
        "第 {byte} 字节（0x{value}）不是有效的 {encoding}；请把文件另存为 UTF-8，或指明编码，"
        '例如 encoding="gb18030" 或 encoding="latin-1"。'
    ),
    "{cells} fields where {known} has {names}; quote a field that holds the separator, or leave missing fields "
    "empty.": ("这一行有 {cells} 个字段，而{known}有 {names} 个；含分隔符的字段请加引号，缺少的字段请留空。"),
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
    "{field}: beams search and a temperature draws: leave out one of the two, not {value}.": (
        "{field}：beams 是搜索，temperature 是抽样；请去掉其中一个（{value}）。"
    ),
    "{field}: labels, regex and json_schema each say what an answer is: give one of them, not {value}.": (
        "{field}：labels、regex 和 json_schema 都规定回答的形式；请只给一个（{value}）。"
    ),
    '"{text}" is not an override: {key} holds a value, not keys.': "“{text}”不是覆盖项：{key} 是一个值，下面没有键。",
    "the field {field} has one value, too few to part the rows in its order into {parts}.": (
        "字段 {field} 只有一个值，不够按次序分成 {parts}。"
    ),
    "the field {field} has {count} different values, too few to part the rows in its order into {parts}.": (
        "字段 {field} 只有 {count} 个不同的值，不够按次序分成 {parts}。"
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
    "row.": ("{split} 部分的标签“{label}”不在声明的标签之中；请加入 task.labels，或删去这一行。"),
    'the label "{label}" of the {split} split does not occur in the training split; add examples of it there or remove '
    "it.": ("{split} 部分的标签“{label}”没有在训练集中出现；请在训练集中补充样本，或删去它。"),
    'data.tasks: two tasks are called "{name}"; their scores could not be told apart.': (
        "data.tasks：有两个任务都叫“{name}”；它们的得分无法区分。"
    ),
    "the {name} has changed": "{name} 已改变",
    "the {name} is gone": "{name} 已不存在",
}
