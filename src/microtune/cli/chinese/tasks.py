"""What is said about tasks: their fields, labels, templates, options and answers."""

from __future__ import annotations

TASKS: dict[str, str] = {
    # fields
    "There are no rows to find the {sought} field in.": "没有数据行，无法确定{sought}字段。",
    "no field holds text, so there is nothing for a language model to read.": (
        "没有一个字段含有文本，语言模型没有可读的内容。"
    ),
    "task.{option} and data.{flag} both say where the text stands; leave one of them out.": (
        "task.{option} 和 data.{flag} 都指明了文本的位置；请去掉其中一个。"
    ),
    "task.{option} and task.{field} both say where the text stands; leave one of them out.": (
        "task.{option} 和 task.{field} 都指明了文本的位置；请去掉其中一个。"
    ),
    "{name} is of several labels a row, and rows have one; leave it out.": (
        "{name} 用于每行有多个标签的数据，而这里每行只有一个；请去掉。"
    ),
    '--min-confidence: "{label}" is a label of this model, so nobody could tell it from a missing answer; leave the '
    "option out and read the confidence.": (
        "--min-confidence：“{label}”是该模型的一个标签，无法与“没有把握”区分；请去掉这个选项，直接看置信度。"
    ),
    'the field "{field}" cannot also be the {role}; name another field.': (
        "字段“{field}”不能同时用作{role}；请另外指定一个字段。"
    ),
    'task.pair_field: "{pair}" is the first text already; name the field of the second one.': (
        "task.pair_field：“{pair}”已经是第一段文本；请指定第二段文本的字段。"
    ),
    '"{source}" cannot be both source and target; name two fields.': (
        "“{source}”不能既是源文本又是目标文本；请指定两个字段。"
    ),
    "language-modelling has no labels; leave --label-field out.": "语言建模没有标签；请去掉 --label-field。",
    "a text has no token for this tokenizer.": "有一段文本在这个分词器下没有任何词元。",
    "the text has no word that this tokenizer knows.": "这段文本中没有这个分词器认识的词。",
    # templates
    # labels and numbers
    'the labels in "{field}" are missing; write an empty list for a row of none.': (
        "“{field}”中缺少标签；没有标签的行请写空列表。"
    ),
    'the label in "{field}" is {kind}, not a string or a whole number.': (
        "“{field}”中的标签是{kind}；应为字符串或整数。"
    ),
    "{count} different labels; several labels a row are of {most}.": (
        "有 {count} 种不同的标签；多标签分类最多 {most} 种。"
    ),
    'the steps in "{field}" are words ({words}), whose order nobody can know; declare it from low to high with '
    "task.labels=[...].": ("“{field}”中的等级是词语（{words}），无法得知次序；请用 task.labels=[...] 从低到高声明。"),
    'the numbers in "{field}" are too large to be averaged; rescale them.': (
        "“{field}”中的数字太大，无法求平均；请缩放。"
    ),
    "task.choose: {label} names no label; there are {labels}.": "task.choose：没有标签 {label}；可用的有 {labels}。",
    "task.choose: of {form} there is no {chosen}; take {choices}, f1:LABEL.": (
        "task.choose：{form} 没有指标 {chosen}；请取 {choices} 或 f1:LABEL。"
    ),
    "task.ngrams: labels of a scale are not scored by n-grams; take task.form=single.": (
        "task.ngrams：有序等级的标签不由 n 元组打分；请用 task.form=single。"
    ),
    # conversations
    'every message of "{field}" is an object with role and content.': (
        "“{field}”中的每条消息都应是含有 role 和 content 的对象。"
    ),
    'a message needs a role ({roles}) and a text as content, not role "{role}" with {kind}.': (
        "消息需要 role（{roles}）和文本形式的 content，而这里 role 是“{role}”，content 是{kind}。"
    ),
    'the weight of a message in "{field}" is 0 (read only) or a larger number, 1 for what all others have, not '
    '"{weight}".': "“{field}”中消息的 weight 应为 0（只读）或更大的数，其余消息均为 1，而不是“{weight}”。",
    'a preference compares whole answers, so the weight of a message in "{field}" is 1 or 0, not "{weight}".': (
        "偏好比较的是整个回答，因此“{field}”中消息的 weight 只能是 1 或 0，而不是“{weight}”。"
    ),
    '"tools" must be a list of objects that describe functions.': "“tools”应为描述函数的对象的列表。",
    '"{field}" has roles out of order: message {number} is of "{role}", the one before of "{before}"; join or move '
    "messages, or remove the row.": (
        "“{field}”的角色顺序不对：第 {number} 条消息的角色是“{role}”，前一条是“{before}”；"
        "请合并或移动消息，或删除这一行。"
    ),
    '"{field}" has an empty answer: message {number} of the assistant says nothing; fill it in, or remove the row.': (
        "“{field}”中有空的回答：第 {number} 条消息（assistant）没有内容；请填写，或删除这一行。"
    ),
    "A conversation without an assistant's turn teaches nothing.": "没有 assistant 发言的对话，没有可以学习的内容。",
    "The chat template changes earlier turns when a later one is added; it cannot be trained on.": (
        "加入后面的发言时，对话模板会改动前面的内容；不能用它训练。"
    ),
    "The chat template is not valid Jinja: {reason}.": "对话模板不是有效的 Jinja：{reason}。",
    "The chat template cannot be rendered: {reason}.": "对话模板无法渲染：{reason}。",
    "The chat template refuses these messages: {reason}": "对话模板拒绝了这些消息：{reason}",
    "The chat template has {count} characters; at most {most} are read.": (
        "对话模板有 {count} 个字符；最多读取 {most} 个。"
    ),
    # preferences
    "task.generate is for instruction: a preference is scored by its pairs; leave it out.": (
        "task.generate 只用于 instruction：偏好任务按回答对评分；请去掉。"
    ),
    "task.answer is one template, but a pair has two answers; name chosen_field, rejected_field.": (
        "task.answer 只是一个模板，而每对有两个回答；请指定 chosen_field 和 rejected_field。"
    ),
    '"{field}" must be true or false, not {value}.': "“{field}”应为 true 或 false，而不是 {value}。",
    "A preference is learnt against a base that can write; name one as model.source.": (
        "偏好学习需要以能写文本的基座作参照；请用 model.source 指定。"
    ),
    'The task preference needs a model that writes: a decoder such as "sprout", or an encoder-decoder.': (
        "偏好任务需要能写文本的模型：“sprout”这样的解码器，或编码器-解码器。"
    ),
    "A preference is scored against the base that it was tuned from; give the run folder.": (
        "偏好要与微调前的基座对比评分；请给出运行文件夹。"
    ),
    "The base was not asked about these answers; score them with microtune evaluate.": (
        "还没有用基座计算过这些回答；请用 microtune evaluate 评分。"
    ),
    # similarity, choices, questions
    "task.form: scored needs a field with scores (--label-field), ranked needs none.": (
        "task.form：scored 需要分数字段（--label-field），ranked 不需要。"
    ),
    "all rows have the same text in {field}.": "所有行的 {field} 都是同一段文本。",
    "all rows have the score {score}; there is nothing to learn.": "所有行的分数都是 {score}，没有可以学习的东西。",
    "task.form: an encoder gives no likelihood of a text; take head, or a decoder.": (
        "task.form：编码器不能给出文本的概率；请用 head，或换成解码器。"
    ),
    "{tokens} tokens leave no room for a question beside its options.": "{tokens} 个词元放不下问题和选项。",
    "an option has no token, or more than {most}.": "有一个选项没有词元，或超过 {most} 个。",
    "{tokens} tokens leave no room for a passage beside a question.": "{tokens} 个词元放不下问题和段落。",
    "model.max_length: {tokens} tokens leave no room for a source beside task.mark.": (
        "model.max_length：除 task.mark 外，{tokens} 个词元放不下源文本。"
    ),
    # which models
    "This model reads one text at a time, not pairs.": "这个模型一次只读一段文本，不读文本对。",
    "The files of this model hold no vocabulary head, which the task {task} needs.": (
        "这个模型的文件里没有词表输出层，而任务 {task} 需要它。"
    ),
    "The task {task} has no input for an encoder; take a model that has one stack.": (
        "任务 {task} 没有给编码器的输入；请用只有一个堆栈的模型。"
    ),
    "The tokenizer of {name} has no token that ends a text, so no answer could ever end.": (
        "{name} 的分词器没有结束词元，回答永远不会结束。"
    ),
    "{name} only reads: it has no decoder to write a text with, which the task {task} needs; take an encoder-decoder "
    'such as T5, or a decoder such as "sprout".': (
        "{name} 只能读：它没有解码器，不能写文本，而任务 {task} 需要写；请用 T5 这样的编码器-解码器，"
        "或“sprout”这样的解码器。"
    ),
    # several tasks
    "data.temperature mixes several tasks (data.tasks), and there are none.": (
        "data.temperature 用于混合多个任务（data.tasks），而这里没有。"
    ),
    "train is missing: the file with its rows.": "缺少 train：存放数据行的文件。",
    "it has a file to score and none to learn from; name train too.": (
        "有用来评分的文件，却没有用来学习的文件；请同时指定 train。"
    ),
    "{other} is no template of the task {task}; it has {both}.": "{other} 不是任务 {task} 的模板；可用的有 {both}。",
    "no training row of it is left after the steps.": "经过数据步骤后，这个任务没有剩下训练行。",
    'this row names no task; write one of {names} into the field "{field}".': (
        "这一行没有写明任务；请在字段“{field}”中写上 {names} 之一。"
    ),
    'the field "{field}" names the task {task}, which is not known. {hint}': (
        "字段“{field}”写的任务 {task} 不存在。{hint}"
    ),
    "task.{option}: each task of data.tasks has its own templates; leave it out here.": (
        "task.{option}：data.tasks 中的每个任务有自己的模板；这里请去掉。"
    ),
}
