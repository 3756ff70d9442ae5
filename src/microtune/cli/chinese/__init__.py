"""Refusals in Chinese: `MICROTUNE_LANG=zh`, or `--lang zh` where a command has it.

The library says everything in English; here a finished sentence is looked up by its form, with the names, numbers and
paths that stand in it, and said again. `path, line 12: ` before a sentence and `Did you mean ...` behind it are forms
of their own, and words that the program itself puts into a sentence (`an object`, `Permission denied`) are said again
by `VALUES`. A sentence that no form fits stays English, whole: half a translation helps nobody. A test holds the
English side against the source, so a reworded message cannot lose its Chinese unnoticed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from functools import cache
from itertools import pairwise

from microtune.cli.chinese.answers import ANSWERS
from microtune.cli.chinese.checks import CHECKS
from microtune.cli.chinese.composed import COMPOSED
from microtune.cli.chinese.data import DATA
from microtune.cli.chinese.export import EXPORT
from microtune.cli.chinese.files import FILES
from microtune.cli.chinese.lists import CHANGED
from microtune.cli.chinese.methods import METHODS
from microtune.cli.chinese.models import MODELS
from microtune.cli.chinese.peft import PEFT
from microtune.cli.chinese.pretraining import PRETRAINING
from microtune.cli.chinese.recipes import RECIPES
from microtune.cli.chinese.runs import RUNS
from microtune.cli.chinese.system import SYSTEM
from microtune.cli.chinese.task_files import TASK_FILES
from microtune.cli.chinese.tasks import TASKS
from microtune.cli.chinese.token_files import TOKEN_FILES
from microtune.cli.chinese.usage import ENDINGS, USAGE
from microtune.cli.chinese.values import PHRASES, VALUES

NESTED = {
    "hint",
    "reason",
    "differences",
    "asked",
    "header",
    "error",
    "damage",
}  # such a group is looked up by itself, and stays where that fails
OURS = {
    "kind",
    "known",
    "missing",
    "unknown",
    "why",
    "inside",
}  # groups that hold words of the program, none of the user's
FRAGMENTS = {
    'Did you mean "{name}"? Known: {known}.': "是不是“{name}”？可用的有：{known}。",
    "Known: {known}.": "可用的有：{known}。",
}
THEMES = (
    DATA,
    FILES,
    TASKS,
    ANSWERS,
    RECIPES,
    METHODS,
    MODELS,
    PEFT,
    PRETRAINING,
    RUNS,
    CHECKS,
    EXPORT,
    ENDINGS,
    TOKEN_FILES,
    TASK_FILES,
)
FORMS: dict[str, str] = {
    english: chinese for theme in (*THEMES, COMPOSED, PHRASES, FRAGMENTS) for english, chinese in theme.items()
}
PLACE = re.compile(r", line ([0-9,]+)$")
HAN = "[\u4e00-\u9fff]"
UNCHANGED, CHANGED_BY_US = "\0", "\1"  # marks around a value while its sentence is made; no message holds one


def asked_for(arguments: Sequence[str]) -> bool:
    """Whether the user wants Chinese."""
    said = [b for a, b in pairwise(arguments) if a == "--lang"]
    said += [a.partition("=")[2] for a in arguments if a.startswith("--lang=")]
    return (said[-1] if said else os.environ.get("MICROTUNE_LANG", "")).lower().startswith("zh")


def translated(message: str) -> str:
    """The message in Chinese, or as it is."""
    check = re.match(r"\[[a-z-]+\] ", message)
    begin = check[0] if check else ""
    found = _said(message[len(begin) :])
    return message if found is None else begin + found


def _said(text: str) -> str | None:
    """The whole text, or what stands behind the first colon after which it is known; before it stands a place."""
    found = _formed(text)
    for colon in re.finditer(": ", text) if found is None else ():
        inner = _formed(text[colon.end() :])
        if inner is not None:
            place = PLACE.sub(r"，第 \1 行", text[: colon.start()])
            place = re.sub("^recipe(: |$)", lambda found: "配方：" if found[1] else "配方", place)
            return f"{place}：{inner}"
    return found


def _formed(text: str) -> str | None:
    for form, chinese in _forms():
        if (match := form.fullmatch(text)) is not None:
            return _filled(chinese, match.groupdict())
    return None


def _filled(chinese: str, values: dict[str, str]) -> str:
    """The values in their places: a space between Chinese and Latin letters, none between Chinese and Chinese."""
    marked = {}
    for name, value in values.items():
        said = _value(name, value)
        mark = UNCHANGED if said == value else CHANGED_BY_US
        marked[name] = f"{mark}{said}{mark}"
    text = re.sub(
        f"(?<={HAN}) {CHANGED_BY_US}(?={HAN})|(?<={HAN}){CHANGED_BY_US} (?={HAN})", "", chinese.format(**marked)
    )
    any_mark = f"[{UNCHANGED}{CHANGED_BY_US}]"
    text = re.sub(f"(?<={HAN}){any_mark}(?=[A-Za-z0-9])|(?<=[A-Za-z0-9]){any_mark}(?={HAN})", " ", text)
    return re.sub(any_mark, "", text)


def _value(name: str, value: str) -> str:
    """What stands in a sentence: what the user named stays as it is, what the program says is said in Chinese."""
    if name in CHANGED:
        return CHANGED[name](value)
    if name in NESTED:
        parts = value.split("; ") if name == "differences" else [value]
        return "；".join(VALUES.get(part) or _said(part) or part for part in parts)
    if name not in OURS:
        return value
    return VALUES.get(value) or VALUES.get(re.sub("^an? ", "", value)) or value


@cache
def _forms() -> list[tuple[re.Pattern[str], str]]:
    """The forms with the most words first: a special one before a general one."""
    known = {**SYSTEM, **USAGE, **FORMS}
    order = sorted(known, key=lambda english: -len(re.sub(r"\{[a-z_]+\}", "", english)))
    return [(_form(english), known[english]) for english in order]


def _form(english: str) -> re.Pattern[str]:
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


__all__ = ["FORMS", "asked_for", "translated"]
