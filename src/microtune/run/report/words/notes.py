"""Notes of a run said again in Chinese, for its page and for the terminal."""

from __future__ import annotations

import re
from collections.abc import Callable

from microtune.forms import SPLITS, Forms, places
from microtune.run.report.words.compare_notes_zh import COMPARE_NOTES
from microtune.run.report.words.export_notes_zh import EXPORT_NOTES
from microtune.run.report.words.notes_zh import DATA_NOTES
from microtune.run.report.words.run_notes_zh import RUN_NOTES

NOTES = {**DATA_NOTES, **RUN_NOTES, **COMPARE_NOTES, **EXPORT_NOTES}
FAULTS = {  # kinds of findings that the look at the data before a run can have
    "contradictory-labels": "标签矛盾",
    "exact-copies": "完全重复",
    "label-spelling": "类别写法不一",
    "replacement": "字符丢失",
    "mojibake": "乱码",
    "control": "控制字符",
    "invisible": "不可见字符",
    "email": "电子邮件地址",
    "phone": "电话号码",
    "identity-number": "身份证号码",
    "bank-card": "银行卡号",
    "ip-address": "IP 地址",
    "secret-url": "带密钥的网址",
}
WORDS = {
    "the fewest that say anything": "能看出结果的最少步数",
    "the question": "问题里",
    "its files cannot be read": "其中的文件无法读取",
    "a Transformer reads whole sentences, and without words such as not, of or 不 they mean something else; the step "
    "is for models that count words": (
        "Transformer 读的是整句，去掉 not、of、不 这样的词，意思就变了；这一步用于按词计数的模型"
    ),
    "a model whose tokenizer tells cases apart has learnt from texts in both; lower case makes them unlike those": (
        "分词器区分大小写的模型学过两种写法；全部小写后，文本就与它学过的不一样了"
    ),
}


RULES = {"diverging": "发散", "not learning": "没有学到", "overfitting": "过拟合", "held back": "受到抑制"}


def in_chinese(note: str) -> str:
    """The note in Chinese, or as it is; the name of a check in brackets before it stays."""
    check = re.match(r"\[[a-z-]+\] ", note)
    begin = check[0] if check else ""
    part = re.match(r"Of the (train|validation|test|given) split ", note)  # before a remark of the task about one split
    if part is not None:
        said = _BOOK.said(note[part.end() :])
        return note if said is None else f"{SPLITS[part[1]]}：{said}"
    return begin + (_BOOK.said(note[len(begin) :]) or note[len(begin) :])


def _faults(value: str) -> str:
    """`exact-copies in 9 (first: a.csv, line 11); email in 2 (first: a.csv, line 3)`."""
    value = re.sub(r"(^|; )([a-z-]+) in ([0-9,]+)", lambda m: f"{m[1]}{FAULTS.get(m[2], m[2])} {m[3]} 行", value)
    return re.sub(r" \(first: (.+?), (?:line|row) ([0-9,]+)\)(?=;|$)", r"（首先是 \1，第 \2 行）", value).replace(
        "; ", "；"
    )


def _asked(value: str) -> str:
    """`a.jsonl, line 3, the question "who?": "wolf"; a.jsonl, line 5, the question "when?": "never"`."""
    value = re.sub(r', (?:line|row) ([0-9,]+), the question "(.*?)": ', r"，第 \1 行，问题“\2”：", value)
    return value.replace('"; ', '"；')


def _reach(value: str) -> str:
    """`train 2020 to 2021 (30 rows), test 2022 to 2023 (8 rows)`."""
    value = re.sub(r" to (.+?) \(([0-9]+) rows\)", r" 到 \1（\2 行）", value).replace("）, ", "）；")
    return re.sub(r"(^|；)(train|validation|test) ", lambda m: f"{m[1]}{SPLITS[m[2]]}从 ", value)


def _shares(value: str) -> str:
    """`one 30 rows (60%), two 20 rows (40%, of 90)`."""
    value = re.sub(r" ([0-9,]+) rows \(([0-9]+%), of ([0-9,]+)\)", r" \1 行（\2，原有 \3 行）", value)
    return re.sub(r" ([0-9,]+) rows \(([0-9]+%)\)", r" \1 行（\2）", value).replace("）, ", "）；")


def _done(value: str) -> str:
    """`3 of 40 rows changed, 2 dropped, 12 characters removed`."""
    for english, chinese in (
        (r"([0-9,]*[0-9]) of ([0-9,]*[0-9]) rows changed", r"\2 行中改动 \1 行"),
        (r"\b([0-9,]*[0-9]) dropped", r"删去 \1 行"),
        (r"\b([0-9,]*[0-9]) added", r"增加 \1 行"),
        (r"\b([0-9,]*[0-9]) characters removed", r"减少 \1 个字符"),
        (r"\b([0-9,]*[0-9]) characters more", r"增加 \1 个字符"),
    ):
        value = re.sub(english, chinese, value)
    return value.replace(" 行, ", " 行，").replace(" 个字符, ", " 个字符，")


def _unused(value: str) -> str:
    """`"a" (3 of 40 test rows), "b" (2 of 40 test rows) and 4 more labels`."""
    value = re.sub(r" and ([0-9]+) more labels$", r"，另有 \1 个标签", value)
    value = re.sub(r" \(([0-9]+) of ([0-9]+) (?:train|validation|test) rows\)", r"（\2 行中有 \1 行）", value)
    return value.replace("）, ", "）、")


def _unread(value: str) -> str:
    """`"title", "notes" and 2 more`."""
    value = re.sub(r" and ([0-9]+) more$", r"，另有 \1 个字段", value)
    return re.sub(r'"(.*?)"(?:, )?', r"“\1”、", value).replace("、，", "，").removesuffix("、")


def _cost(value: str) -> str:
    """`bert-base-uncased read 3,000 tokens in 2.1 s`."""
    return re.sub(r" read ([0-9,]+) tokens in ([0-9.]+) s$", r" 读了 \1 个词元，用时 \2 秒", value)


def _damage(value: str) -> str:
    for english, chinese in ((" has changed", " 已改变"), (" is damaged", " 已损坏"), (" is not a file", " 不是文件")):
        value = value.replace(english, chinese)
    return re.sub("^(.+) is missing$", r"缺少 \1", WORDS.get(value, value))


def _parts(value: str) -> str:
    """What a decision is made of: its reason, or its changes with semicolons between."""
    return "；".join(_BOOK.said(part) or part for part in value.split("; "))


SAID: dict[str, Callable[[str], str]] = {
    "split": lambda value: SPLITS.get(value, value),
    **dict.fromkeys(("places", "place", "twin"), places),
    **dict.fromkeys(("where", "why"), lambda value: WORDS.get(value, value)),
    "rule": lambda value: RULES.get(value, value),
    **dict.fromkeys(("reason", "changes", "cause"), _parts),
    "faults": _faults,
    "asked": _asked,
    "reach": _reach,
    "shares": _shares,
    "done": _done,
    "unused": _unused,
    "cost": _cost,
    "unread": _unread,
    "damage": _damage,
    "names": lambda value: value.replace(" and ", "、"),
    "share": lambda value: WORDS.get(value, value),
}


def _value(name: str, value: str) -> str:
    return SAID[name](value) if name in SAID else value


_BOOK = Forms(NOTES, _value)


__all__ = ["NOTES", "in_chinese"]
