"""What is said about recipes and options: values of a wrong kind, splits, steps of the data, training."""

from __future__ import annotations

RECIPES: dict[str, str] = {
    "--text-field is for a table; in a recipe a source names its `fields`.": (
        "--text-field 用于表格；在配方里，每个来源用 `fields` 写明字段。"
    ),
    "say which model learns from this text: --model sprout goes on from one, model.classic=ngram:5 counts n-grams; a "
    "new network is described in a recipe (.yaml).": (
        "请说明由哪个模型来学这份文本：--model sprout 在已有模型上继续，model.classic=ngram:5 统计 n 元语法；"
        "新的网络请写在配方（.yaml）里。"
    ),
    # values
    "{field}: the value should be a valid integer, unable to parse string as an integer, not {value}.": (
        "{field}：应为整数，而不是 {value}。"
    ),
    "{field}: the value should be a valid integer, got a number with a fractional part, not {value}.": (
        "{field}：应为整数，而不是 {value}。"
    ),
    "{field}: the value should be a valid integer, not {value}.": "{field}：应为整数，而不是 {value}。",
    "{field}: the value should be a valid number, unable to parse string as a number, not {value}.": (
        "{field}：应为数字，而不是 {value}。"
    ),
    "{field}: the value should be a valid number, not {value}.": "{field}：应为数字，而不是 {value}。",
    "{field}: the value should be a finite number, not {value}.": "{field}：应为有限的数字，而不是 {value}。",
    "{field}: the value should be a valid boolean, unable to interpret input, not {value}.": (
        "{field}：应为 true 或 false，而不是 {value}。"
    ),
    "{field}: the value should be a valid boolean, not {value}.": "{field}：应为 true 或 false，而不是 {value}。",
    "{field}: the value should be a valid string, not {value}.": "{field}：应为字符串，而不是 {value}。",
    "{field}: the value should be a valid list, not {value}.": "{field}：应为列表，而不是 {value}。",
    "{field}: the value should be a valid list; write [{value}].": "{field}：应为列表；请写 [{value}]。",
    "{field}: the value should be a valid tuple, not {value}.": "{field}：应为列表，而不是 {value}。",
    "{field}: the value should be a valid dictionary, not {value}.": "{field}：应由“key: value”组成，而不是 {value}。",
    "{field}: the value should be a valid dictionary or instance of {kind}, not {value}.": (
        "{field}：应由 {kind} 的“key: value”组成，而不是 {value}。"
    ),
    "{field}: the value should be {options}, not {value}.": "{field}：应为 {options}，而不是 {value}。",
    # form
    "cannot be read ({reason}).": "无法读取（{reason}）。",
    "nested deeper than {levels} levels.": "嵌套超过 {levels} 层。",
    "a key is a {kind}, not a text; write it in quotes.": "有一个键是{kind}，不是文本；请加上引号。",
    "a text holds a NUL, or half of a surrogate pair; neither is a character.": (
        "有一段文本含有 NUL 或半个代理对；两者都不是字符。"
    ),
    "a whole number beyond 64 bits.": "整数超过了 64 位。",
    "{value} is a {kind}, which a recipe cannot hold.": "{value} 是{kind}，配方中不能有这种值。",
    '"{text}" is not an override: a recipe has at most {levels} levels.': (
        "“{text}”不是覆盖项：配方最多有 {levels} 层。"
    ),
    '"{text}": {key} holds a value, not keys.': "“{text}”：{key} 是一个值，下面没有键。",
    "--{option} names a file of rows, not a share; to cut from the data, write data.split.validation={share} "
    "data.split.test={other}.": (
        "--{option} 应为数据文件，不是比例；从数据中划出请写 data.split.validation={share} data.split.test={other}。"
    ),
    "--split names a field, not a share; to cut from the data, write data.split.validation={share} "
    "data.split.test={other}.": (
        "--split 应为字段名，不是比例；要从数据中划出，请写 data.split.validation={share} data.split.test={other}。"
    ),
    "Say what the data is for, with --task (`microtune lint` guesses it): {tasks}.": (
        "请用 --task 说明数据用于什么任务（microtune lint 可以猜出来）：{tasks}。"
    ),
    # splits
    "data.split ({shares}) and data.split_by ({field}) are two ways to part rows; take one.": (
        "data.split（{shares}）和 data.split_by（{field}）是两种划分方法；请只用一种。"
    ),
    'data.split_by: there is no field "{field}"; the row has {names}.': (
        "data.split_by：没有字段“{field}”；这一行有 {names}。"
    ),
    # steps of the data
    "The step {step} leaves no row of the training split.": "经过步骤 {step}，训练集一行也没有剩下。",
    'data.steps, {step}: no row has the field "{field}"; there are {names}.': (
        "data.steps，{step}：没有一行有字段“{field}”；可用的有 {names}。"
    ),
    'the step {step} leaves nothing of the field "{field}"; remove the row.': (
        "经过步骤 {step}，字段“{field}”成了空的；请删去这一行。"
    ),
    'The step chinese needs OpenCC, which is not installed: pip install "microtune[text]".': (
        '步骤 chinese 需要 OpenCC，但没有安装：请执行 pip install "microtune[text]"。'
    ),
    'The step stopwords needs jieba for Chinese: pip install "microtune[text]".': (
        '步骤 stopwords 处理中文需要 jieba：请执行 pip install "microtune[text]"。'
    ),
    "The step balance needs labels; this task has none.": "步骤 balance 需要标签，而这个任务没有标签。",
    "data.steps, mix: a rate is a number from 0 to {most}, not {value}.": (
        "data.steps，mix：倍率应为 0 到 {most} 的数字，而不是 {value}。"
    ),
    'data.steps, mix: no row is of the source "{source}"; there are {names}.': (
        "data.steps，mix：没有一行来自“{source}”；可用的有 {names}。"
    ),
    "The step substitute needs a model, and nothing here can ask one.": (
        "步骤 substitute 需要模型，而这里没有可以使用的模型。"
    ),
    "{where} is no masked model; name one of the BERT kind, such as bert-base-uncased.": (
        "{where} 不是掩码模型；请指定 BERT 一类的模型，例如 bert-base-uncased。"
    ),
    "{where} has no mask token, so no word can be hidden; name a masked model of the BERT kind.": (
        "{where} 没有掩码词元，无法遮住词语；请指定 BERT 一类的掩码模型。"
    ),
    "data.steps, sentence-rows: not for the task {task}: {why}; it is for {tasks}.": (
        "data.steps，sentence-rows：不适用于任务 {task}（{why}）；适用于 {tasks}。"
    ),
    # training
    "train.batch_size: this task learns by comparing the rows of a batch; take 2 or more.": (
        "train.batch_size：这个任务靠比较同一批中的各行来学习；请取 2 或更大。"
    ),
    "train.label_smoothing is for tasks that learn tokens, not for {task}; leave it out.": (
        "train.label_smoothing 用于学习词元的任务，不适用于 {task}；请去掉。"
    ),
    'train.track: {name} is not installed; pip install "microtune[track]", or leave {again} out.': (
        'train.track：没有安装 {name}；请执行 pip install "microtune[track]"，或去掉 {again}。'
    ),
}
