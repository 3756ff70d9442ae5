"""What is said about questions with their options or passages, about spans and tags, and about turns."""

from __future__ import annotations

ANSWERS: dict[str, str] = {
    # options
    "{asked} has {count} options that are texts; two are needed.": "{asked}只有 {count} 个文本选项；至少需要两个。",
    'the option "{option}" of {asked} stands twice.': "{asked}的选项“{option}”出现了两次。",
    'the field "{field}" of {asked} is no list of options.': "{asked}的字段“{field}”不是选项的列表。",
    "{asked} has no options: no list, no columns A, B ..., none in its text.": (
        "{asked}没有选项：没有列表，没有 A、B…… 列，文本中也没有。"
    ),
    "the numbers of the right options may count from 0 or 1; say task.counts_from=.": (
        "正确选项的编号可能从 0 或从 1 数起；请用 task.counts_from= 说明。"
    ),
    # passages
    'the answer of {asked} is "{value}", not a text.': "{asked}的答案是“{value}”，不是文本。",
    'the answer of {asked} begins at "{start}", not at a whole number.': "{asked}的答案起点是“{start}”，应为整数。",
    '{asked} has no field "{field}"; an empty list says: no answer.': (
        "{asked}没有字段“{field}”；没有答案请写空列表。"
    ),
    "{asked} has {count} answers, but {places} places.": "{asked}有 {count} 个答案，却有 {places} 个位置。",
    'a paragraph has no text in "{context}", or no list in "{questions}".': (
        "有一个段落在“{context}”中没有文本，或在“{questions}”中没有列表。"
    ),
    'a question is "{question}", not an object with question and answers.': (
        "有一个问题是“{question}”，应为含有 question 和 answers 的对象。"
    ),
    # spans and tags
    'the span "{span}" has no label.': "片段“{span}”没有标签。",
    'the span "{span}" needs whole numbers 0 <= start < end.': "片段“{span}”的起止应为整数，且 0 <= start < end。",
    'the field "{field}" is not a list of tokens that are texts.': "字段“{field}”不是文本词元的列表。",
    'the field "{field}" is not a list of tags such as B-PER and O.': "字段“{field}”不是 B-PER、O 这类标记的列表。",
    'the span {start} to {end} of "{label}" ends past the text, which has {size} characters.': (
        "“{label}”的片段 {start} 到 {end} 超出了文本，文本只有 {size} 个字符。"
    ),
    # fields
    'the field "{field}" is {kind}, not text.': "字段“{field}”是{kind}，不是文本。",
    'Unknown format "{format}". {hint}': "没有格式“{format}”。{hint}",
    # turns
    "{place} must begin and end with an assistant's message.": "{place} 应以 assistant 的消息开始和结束。",
    "{place} must follow a message of the user.": "{place} 前面应是 user 的消息。",
    '{place} has roles out of order: message {number} is of "{role}" after "{before}".': (
        "{place} 的角色顺序不对：第 {number} 条是“{role}”，前一条是“{before}”。"
    ),
    "{place} has an empty answer; fill it in, or remove the row.": "{place} 有空的回答；请补上，或删去这一行。",
    "An encoder-decoder reads a prompt and writes an answer, no conversation: give both as texts, in fields such as "
    "prompt, chosen and rejected.": (
        "编码器-解码器读提示、写回答，不处理对话；请都写成文本，例如放在 prompt、chosen 和 rejected 字段。"
    ),
    "task.choose: of this data there is no {chosen}; take {choices}.": (
        "task.choose：这份数据没有指标 {chosen}；可用的有 {choices}。"
    ),
    # several tasks
    "The files of this model do not say with which id its decoder begins; set decoder_start_token_id in its "
    "config.json.": ("模型文件没有写明解码器的起始编号；请在 config.json 中设置 decoder_start_token_id。"),
    "The text is empty: there is nothing to look at.": "文本是空的，没有可看的内容。",
    "The matrix is {rows} x {columns}; a picture shows at most {most} tokens on a side.": (
        "矩阵为 {rows} x {columns}；图的每边最多画 {most} 个词元。"
    ),
    "None of the general texts can be read by this model: they are empty, or unknown to it.": (
        "该模型读不了任何一段通用文本：它们是空的，或全是它不认识的。"
    ),
    "There are no general texts in the language {language}; there are some in {languages}.": (
        "没有语言为 {language} 的通用文本；有的语言是 {languages}。"
    ),
    "weights: their sum is {total}, but label heads are averaged, for which it must be above 0.": (
        "weights：总和为 {total}，而分类头要取平均，总和必须大于 0。"
    ),
    "rank: {rank} is more than the {most} that {role} can have; take svd with a lower rank.": (
        "rank：{rank} 超过了 {role} 的上限 {most}；请用 svd 并取较小的秩。"
    ),
    "{word} stands where a number should; a vector has {width}.": (
        "这里应是数字，却是 {word}；每个词向量有 {width} 个数字。"
    ),
    "count: {count}, but at least one word has to be asked for.": "count 为 {count}；至少要查一个词。",
    "draft: a recurrent network cannot take a token back; guessing ahead is for Transformers.": (
        "draft：循环网络不能撤回词元；预先猜测只用于 Transformer。"
    ),
}
