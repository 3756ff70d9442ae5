"""What is said about the files of a tokenizer, tokens that are added to it, chat templates, and word vectors."""

from __future__ import annotations

TOKEN_FILES: dict[str, str] = {
    # JSON files of a model
    "there is no such file; copy or download the folder again.": "没有这个文件；请重新复制或下载文件夹。",
    "holds a {kind}, but must hold a JSON object.": "内容是{kind}，应为 JSON 对象。",
    "{bytes} bytes are too many for this file (at most {most}).": "有 {bytes} 字节，超过这种文件的上限 {most}。",
    "holds more than {most} values, which is too many for this file.": "含有超过 {most} 个值，作为这种文件太多了。",
    "not readable as JSON ({reason}); copy or download the folder again.": (
        "无法作为 JSON 读取（{reason}）；请重新复制或下载文件夹。"
    ),
    # tokens that are added
    "{key}: this model reads with one tokenizer and writes with another; tokens cannot be added to it.": (
        "{key}：该模型读和写用不同的分词器，不能添加词元。"
    ),
    "{key}: the ids of this tokenizer have gaps, and new ones would fall among them ({id} is taken already); tokens "
    "cannot be added to it.": ("{key}：该分词器的编号有空缺，新编号会落在其中（{id} 已被占用）；不能添加词元。"),
    "{count} added tokens are more than any tokenizer has.": "有 {count} 个添加的词元，没有分词器有这么多。",
    "{count} special tokens are more than any tokenizer has.": "有 {count} 个特殊词元，没有分词器有这么多。",
    'the added token "{token}" needs a text and a whole number as its id.': (
        "添加的词元“{token}”需要文本，并以整数作编号。"
    ),
    'the added token "{token}" is to have the id {id}, but it gets {own}; the files do not belong together.': (
        "添加的词元“{token}”应得编号 {id}，实际得到 {own}；这些文件不属于同一个分词器。"
    ),
    # tokenizer.json
    "its table makes more than {most} bytes of one character.": "字符表会把一个字符变成超过 {most} 字节。",
    "its normalizers make more than {most} characters of one.": "规范化步骤会把一个字符变成超过 {most} 个字符。",
    "its table of characters is not UTF-8; copy or download the file again.": (
        "字符表不是 UTF-8；请重新复制或下载文件。"
    ),
    "its table of characters is not base64 ({reason}).": "字符表不是 base64（{reason}）。",
    "more than {most} steps of normalising and splitting; no tokenizer needs so many.": (
        "规范化和切分超过 {most} 步；没有分词器需要这么多。"
    ),
    "a decoder that strips more than 100 characters cannot be used.": "解码器要去掉超过 100 个字符，无法使用。",
    'the post-processor names the token "{token}" and does not say its id.': (
        "后处理步骤用到词元“{token}”，却没有写明它的编号。"
    ),
    'the class "{name}" of tokenizers is not known for such a file; write a tokenizer.json once with transformers: '
    "`AutoTokenizer.from_pretrained(folder).save_pretrained(folder)`.": (
        "不认识这种文件的分词器类“{name}”；请用 transformers 生成一次 tokenizer.json："
        "`AutoTokenizer.from_pretrained(folder).save_pretrained(folder)`。"
    ),
    # SentencePiece and other vocabularies
    "{bytes} bytes are too many for a SentencePiece model.": "有 {bytes} 字节，作为 SentencePiece 模型太大了。",
    "its first three pieces are not <unk>, <s> and </s>, as fairseq's models have them.": (
        "开头三个子词不是 <unk>、<s> 和 </s>，而 fairseq 的模型应当如此。"
    ),
    'there is no piece "{token}", which stands around every text of this family.': (
        "没有子词“{token}”，而这一系列的模型在每段文本前后都要用它。"
    ),
    "there is no piece for the unknown, which every SentencePiece model has.": (
        "没有表示未知词的子词，而每个 SentencePiece 模型都应当有。"
    ),
    '"src_lang" is "{language}", which is no language of this model.': (
        "“src_lang”为“{language}”，该模型没有这种语言。"
    ),
    "Marian's tokenizer needs source.spm, target.spm and {file}.": (
        "Marian 的分词器需要 source.spm、target.spm 和 {file}。"
    ),
    'there is no "{token}", which stands around every text.': "没有“{token}”，而每段文本前后都要用它。",
    'there is no "{token}", which is to stand around every text.': "没有“{token}”，而每段文本前后都要用它。",
    'the id of "{token}" is {value}, but must be a whole number from 0.': (
        "“{token}”的编号为 {value}，应为不小于 0 的整数。"
    ),
    "ids up to {last} for {count} tokens; most are missing.": "编号排到 {last}，却只有 {count} 个词元；大部分缺失。",
    "a merge is two pieces with a space between them.": "一条合并规则应为两个子词，中间隔一个空格。",
    "{bytes} bytes are too many for a vocabulary.": "有 {bytes} 字节，作为词表太大了。",
    # chat templates
    "more than {most} chat templates.": "对话模板超过 {most} 个。",
    "every entry of chat_template needs a name and a template.": "chat_template 的每一项都需要 name 和 template。",
    '"{name}" is no name for a chat template.': "“{name}”不能作对话模板的名称。",
    "too long; a chat template has at most {most} characters.": "太长；对话模板最多 {most} 个字符。",
    "The chat template takes more than {most} steps; mend it or raise limits.template_steps.": (
        "对话模板要执行超过 {most} 步；请修改模板，或提高 limits.template_steps。"
    ),
    "The chat template takes more than {seconds} seconds of processor time; mend it.": (
        "对话模板耗用处理器超过 {seconds} 秒；请修改模板。"
    ),
    "The chat template counts beyond {most} in one range.": "对话模板的一个 range 超过 {most}。",
    "The chat template produces more than {most} characters; mend it or raise limits.template_characters.": (
        "对话模板生成超过 {most} 个字符；请修改模板，或提高 limits.template_characters。"
    ),
    # word vectors
    "{line}, but a file of word vectors begins with their number and their width, such as 10000 100.": (
        "开头是 {line}；词向量文件应以个数和维数开头，例如 10000 100。"
    ),
    "{count} vectors of width {width}; at most {most} of width {widest}.": (
        "有 {count} 个 {width} 维的词向量；最多 {most} 个，{widest} 维。"
    ),
    '"{word}" stands there twice; keep one of its lines.': "“{word}”出现了两次；请只留一行。",
    "a number that is not finite.": "有一个数字不是有限的。",
}
