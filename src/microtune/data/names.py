"""The names that people give to the fields of their data, in English and Chinese, by role.

Two modules read this table: `tables` (a first line that holds such names is a header) and `fields` (which field is the
text, which the label). A role's names stand in tiers: a name of an earlier tier beats one of a later tier, two names of
the same tier are an ambiguity that the user settles. Imports nothing.
"""

from __future__ import annotations

import re
from collections.abc import Collection

# Role -> tiers of names, in the form that `plain` gives them.
NAMES: dict[str, tuple[tuple[str, ...], ...]] = {
    "text": (
        ("text", "文本", "正文"),
        ("sentence", "content", "review", "utterance", "comment", "tweet", "内容", "句子", "评论", "语句"),
        ("sentence1", "text1", "text_a", "sentence_a", "premise", "question1", "query", "句子1", "文本1", "前提"),
        ("title", "question", "description", "abstract", "body", "document", "article", "message", "标题", "问题"),
        ("headline", "phrase", "摘要", "文章", "描述", "题目"),
        (
            "answer",
            "response",
            "reply",
            "feedback",
            "complaint",
            "clause",
            "答案",
            "回答",
            "作答",
            "反馈",
            "留言",
            "条款",
        ),
    ),
    "label": (
        ("label", "labels", "标签"),
        ("intent", "category", "class", "sentiment", "target", "类别", "分类", "意图", "情感", "类型"),
        (
            "topic",
            "topics",
            "tag",
            "tags",
            "categories",
            "rating",
            "stars",
            "polarity",
            "emotion",
            "emotions",
            "y",
            "主题",
            "评分",
            "星级",
        ),
        ("grade", "level", "outcome", "type", "等级", "级别", "档次", "结果"),
    ),
    "pair": (
        (
            "text2",
            "sentence2",
            "text_b",
            "sentence_b",
            "text_pair",
            "hypothesis",
            "question2",
            "句子2",
            "文本2",
            "假设",
        ),
        ("passage", "paraphrase", "段落"),
    ),
    "score": (
        ("score", "similarity", "value", "分数", "得分"),
        ("rating", "label", "target", "y", "评分"),
        ("stars", "labels", "grade", "points", "relevance", "星级", "标签", "等级"),
    ),
    "prompt": (("prompt", "提示"), ("instruction", "指令"), ("question", "query", "问题", "问")),
    "input": (("input", "输入"), ("context", "上下文")),
    "completion": (("completion", "回答"), ("response", "output", "输出", "回复"), ("answer", "答案", "答")),
    "messages": (("messages", "消息"), ("conversations", "conversation", "dialogue", "dialog", "turns", "对话")),
    "chosen": (("chosen", "preferred", "优选"),),
    "rejected": (("rejected", "dispreferred", "劣选"),),
    "question": (("question", "问题"), ("query", "prompt", "问")),
    "context": (("context", "上下文"), ("passage", "paragraph", "document", "article", "段落", "文章")),
    "answer": (("answer", "answers", "答案"), ("output", "response", "回答", "答")),
    "choices": (("choices", "options", "选项"), ("choice", "endings")),
    "key": (
        ("answer", "答案"),
        ("answerkey", "answer_key", "correct_answer", "correct", "gold", "正确答案"),
        ("label", "target", "answers", "answer_idx", "标签"),
    ),
    "anchor": (
        ("anchor", "query", "查询"),
        ("question", "sentence1", "text1", "text_a", "sentence_a", "premise", "question1", "问题", "句子1", "文本1"),
        ("prompt", "text", "title", "标题", "文本"),
    ),
    "positive": (
        ("positive", "pos", "正例"),
        ("passage", "context", "document", "sentence2", "text2", "text_b", "sentence_b", "question2", "段落", "上下文"),
        ("answer", "response", "hypothesis", "paraphrase", "答案", "回答", "句子2", "文本2"),
        ("abstract", "body", "content", "text", "正文", "内容", "文章"),
    ),
    "negative": (("negative", "neg", "hard_negative", "negative_passage", "负例"),),
    "source": (
        ("source", "src", "原文"),
        ("input", "text", "document", "article", "输入", "文本"),
        ("abstract", "content", "description", "dialogue", "body", "sentence", "正文", "内容", "描述", "句子"),
    ),
    "target": (
        ("target", "tgt", "译文"),
        ("summary", "output", "title", "translation", "摘要", "输出", "标题"),
        ("headline", "highlights", "question", "题目", "问题"),
    ),
    "tokens": (("tokens", "词"), ("words",)),
    "tags": (("tags", "ner_tags", "标注"), ("labels", "pos_tags", "标签")),
    "spans": (("spans", "entities", "slots", "实体"), ("ner", "annotations", "labels", "标注"), ("label", "标签")),
    "split": (("split", "划分"), ("subset", "part", "fold")),
    "id": (("id", "编号"), ("guid", "uid", "index", "序号")),
}

_TEXTS_TOO = ("positive", "negative", "key")  # names that are labels and words of texts as often as fields
_ORDINARY = {
    name for role, tiers in NAMES.items() if role not in _TEXTS_TOO for tier in tiers for name in tier if len(name) > 1
}


def plain(name: str) -> str:
    """A field name without case, outer blanks and the choice between blank, dot, hyphen and underscore."""
    return re.sub(r"[\s\-_.]+", "_", name.strip()).casefold()


def parts(name: str) -> list[str]:
    """The words of a field name: `labelGold`, `label_gold` and `Label gold` all give label, gold."""
    return plain(re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)).strip("_").split("_")


def ends_in(name: str, names: Collection[str]) -> bool:
    """Whether a Chinese field name ends in one of these: its last word says what it is (`学生答案`, `情感标签`)."""
    name = plain(name)
    return any(len(end) > 1 and not end.isascii() and name.endswith(end) for end in names)


def is_common(name: str) -> bool:
    """Whether the whole name is one that people give to fields."""
    return plain(name) in _ORDINARY


def holds_common(name: str) -> bool:
    """Whether one word of the name is (`condition_label`, `review_text`)."""
    return any(word in _ORDINARY for word in parts(name))
