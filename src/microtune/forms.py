"""Sentences said again in another language, by their form: `"no such file; did you mean \"{name}\"?"` -> its Chinese.

A sentence that was made in English is looked up with what stands in it, and comes back with the same names, numbers
and places. One that no form fits is not known: half a translation helps nobody.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cached_property

SPLITS = {"train": "训练集", "validation": "验证集", "test": "测试集", "given": "所给数据"}
HAN = "[\u4e00-\u9fff]"
SAME, OTHER = "\0", "\1"  # marks around a value while its sentence is made; no message holds one


class Forms:
    """Form -> the same in Chinese, with the same `{groups}`.

    value: (group, what stands there) -> what is said there; what the user named has to stay as it is.
    """

    def __init__(self, forms: Mapping[str, str], value: Callable[[str, str], str]) -> None:
        self._known = forms
        self._value = value

    def said(self, text: str) -> str | None:
        """A whole sentence again, or None where no form fits."""
        for form, chinese in self._patterns:
            if (match := form.fullmatch(text)) is not None:
                return self._filled(chinese, match.groupdict())
        return None

    @cached_property
    def _patterns(self) -> list[tuple[re.Pattern[str], str]]:
        """The forms with the most words first: a special one before a general one."""
        order = sorted(self._known, key=lambda english: -len(re.sub(r"\{[a-z_]+\}", "", english)))
        return [(_pattern(english), self._known[english]) for english in order]

    def _filled(self, chinese: str, values: Mapping[str, str]) -> str:
        """The values in their places: a space between Chinese and Latin letters, none between Chinese and Chinese."""
        marked = {}
        for name, value in values.items():
            said = self._value(name, value)
            mark = SAME if said == value else OTHER
            marked[name] = f"{mark}{said}{mark}"
        text = chinese.format(**marked)
        text = re.sub(f"(?<={HAN}) {OTHER}(?={HAN})|(?<={HAN}){OTHER} (?={HAN})", "", text)
        either = f"[{SAME}{OTHER}]"
        text = re.sub(f"(?<={HAN}){either}(?=[A-Za-z0-9])|(?<=[A-Za-z0-9]){either}(?={HAN})", " ", text)
        return re.sub(either, "", text)


def _pattern(english: str) -> re.Pattern[str]:
    """A value at the very beginning holds no `: `, or it would swallow the place that stands before the sentence.

    Only between quotation marks may a value be empty.
    """
    parts = re.split(r"\{([a-z_]+)\}", english)
    quoted = {place for place in range(1, len(parts), 2) if parts[place - 1][-1:] == parts[place + 1][:1] == '"'}
    any_of = {place: ".*?" if place in quoted else ".+?" for place in range(1, len(parts), 2)}
    text = "".join(f"(?P<{part}>{any_of[place]})" if place % 2 else re.escape(part) for place, part in enumerate(parts))
    if not parts[0]:
        text = text.replace(".+?", "(?:(?!: ).)+?", 1)
    return re.compile(text, re.DOTALL)


def places(value: str) -> str:
    """`a.csv, line 3; b.csv, line 8 and 2 more`, in Chinese."""
    value = re.sub(r", (?:line|row) ([0-9,]+)(?=;|$|\)|, | and )", r"，第 \1 行", value)
    value = re.sub(" and ([0-9,]+) more$", r"，另有 \1 处", value)
    return value.replace(" 行; ", " 行；").replace(" 行, ", " 行，")


__all__ = ["Forms", "places"]
