"""Refusals in Chinese: `MICROTUNE_LANG=zh`, or `--lang zh` where a command has it.

The library says everything in English; here a finished sentence is looked up by its form, with the names, numbers and
paths that stand in it, and said again. `path, line 12: ` before a sentence and `Did you mean ...` behind it are forms
of their own, and words that the program itself puts into a sentence (`an object`, `Permission denied`) are said again
by `VALUES`. A sentence that no form fits stays English, whole: half a translation helps nobody. A test holds the
English side against the source, so a reworded message cannot lose its Chinese unnoticed.
"""

from __future__ import annotations

import re

from microtune.cli.chinese.answers import ANSWERS
from microtune.cli.chinese.checks import CHECKS
from microtune.cli.chinese.composed import COMPOSED
from microtune.cli.chinese.data import DATA
from microtune.cli.chinese.export import EXPORT
from microtune.cli.chinese.exported import EXPORTED
from microtune.cli.chinese.files import FILES
from microtune.cli.chinese.folders import FOLDERS
from microtune.cli.chinese.foreign import FOREIGN
from microtune.cli.chinese.lists import CHANGED
from microtune.cli.chinese.memory import JOINED
from microtune.cli.chinese.methods import METHODS
from microtune.cli.chinese.models import MODELS
from microtune.cli.chinese.networks import NETWORKS
from microtune.cli.chinese.peft import PEFT
from microtune.cli.chinese.pretraining import PRETRAINING
from microtune.cli.chinese.reasons import REASONS
from microtune.cli.chinese.recipes import RECIPES
from microtune.cli.chinese.runs import RUNS
from microtune.cli.chinese.schema import SCHEMA
from microtune.cli.chinese.system import SYSTEM
from microtune.cli.chinese.task_files import TASK_FILES
from microtune.cli.chinese.tasks import TASKS
from microtune.cli.chinese.token_files import TOKEN_FILES
from microtune.cli.chinese.usage import ENDINGS, USAGE
from microtune.cli.chinese.values import PHRASES, VALUES
from microtune.cli.language import asked_for
from microtune.forms import Forms

NESTED = {
    "hint",
    "reason",
    "differences",
    "asked",
    "header",
    "error",
    "damage",
    "then",
    "means",
    "whose",
    "owner",
    "what",
    "lack",
    "limit",
    "cause",
    "needs",
}  # such a group is looked up by itself, and stays where that fails
OURS = {
    "kind",
    "known",
    "missing",
    "unknown",
    "why",
    "inside",
    "there",
    "wanted",
    "base",
    "norms",
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
    NETWORKS,
    FOLDERS,
    EXPORTED,
    FOREIGN,
    REASONS,
)
FORMS: dict[str, str] = {
    english: chinese for theme in (*THEMES, COMPOSED, PHRASES, FRAGMENTS) for english, chinese in theme.items()
}
PLACE = re.compile(r", (?:line|row) ([0-9,]+)$")


def translated(message: str) -> str:
    """The message in Chinese, or as it is."""
    check = re.match(r"\[[a-z-]+\] ", message)
    begin = check[0] if check else ""
    found = _said(message[len(begin) :])
    return message if found is None else begin + found


def _said(text: str) -> str | None:
    """The whole text, or what stands behind the first colon after which it is known; before it stands a place."""
    found = _BOOK.said(text)
    for colon in re.finditer(": ", text) if found is None else ():
        inner = _BOOK.said(text[colon.end() :])
        if inner is not None:
            place = PLACE.sub(r"，第 \1 行", text[: colon.start()])
            place = re.sub("^recipe(: |$)", lambda found: "配方：" if found[1] else "配方", place)
            return f"{place}：{inner}"
    return found


def _inside(text: str) -> str:
    """A sentence that stands in parentheses of another one, without its full stop."""
    found = _said(f"{text}.")
    return text if found is None else found.removesuffix("。")


def _value(name: str, value: str) -> str:
    """What stands in a sentence: what the user named stays as it is, what the program says is said in Chinese."""
    if name in CHANGED or name in JOINED:
        return {**CHANGED, **JOINED}[name](value)
    if name in NESTED:
        parts = value.split("; ") if name == "differences" else [value]
        return "；".join(VALUES.get(part) or _said(part) or _inside(part) for part in parts)
    if name not in OURS:
        return value
    return VALUES.get(value) or REASONS.get(value) or VALUES.get(re.sub("^an? ", "", value)) or value


_BOOK = Forms({**SYSTEM, **SCHEMA, **USAGE, **FORMS}, _value)


__all__ = ["FORMS", "asked_for", "translated"]
