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
from microtune.cli.chinese.exported import EXPORTED
from microtune.cli.chinese.files import FILES
from microtune.cli.chinese.folders import FOLDERS
from microtune.cli.chinese.foreign import FOREIGN
from microtune.cli.chinese.methods import METHODS
from microtune.cli.chinese.models import MODELS
from microtune.cli.chinese.networks import NETWORKS
from microtune.cli.chinese.peft import PEFT
from microtune.cli.chinese.pretraining import PRETRAINING
from microtune.cli.chinese.reasons import MEMORY, REASONS
from microtune.cli.chinese.recipes import RECIPES
from microtune.cli.chinese.runs import RUNS
from microtune.cli.chinese.tasks import TASKS
from microtune.cli.chinese.values import PHRASES, SPLITS, VALUES

NESTED = {
    "hint",
    "reason",
    "differences",
    "asked",
    "header",
    "then",
    "means",
    "whose",
    "owner",
    "what",
    "lack",
    "limit",
}  # such a group is looked up by itself, and stays where that fails
OURS = {
    "kind",
    "known",
    "missing",
    "unknown",
    "there",
    "wanted",
    "base",
}  # groups that hold words of the program, none of the user's
FRAGMENTS = {
    'Did you mean "{name}"? Known: {known}.': "是不是“{name}”？可用的有：{known}。",
    "Known: {known}.": "可用的有：{known}。",
}
THEMES = (DATA, FILES, TASKS, ANSWERS, RECIPES, METHODS, MODELS, PEFT, PRETRAINING, RUNS, CHECKS, EXPORT)
MORE = (NETWORKS, FOLDERS, EXPORTED, FOREIGN, REASONS)
SIZE = re.compile(r"(.+?) ([0-9.e+]+ (?:[kMG]B|bytes))(?:, |$)")
FORMS: dict[str, str] = {
    english: chinese for theme in (*THEMES, *MORE, COMPOSED, PHRASES, FRAGMENTS) for english, chinese in theme.items()
}
PLACE = re.compile(r", line ([0-9,]+)$")


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
    """The whole text, or what stands behind the last colon after which it is known; before it stands a place."""
    found = _formed(text)
    for colon in reversed([*re.finditer(": ", text)]) if found is None else ():
        inner = _formed(text[colon.end() :])
        if inner is not None:
            place = PLACE.sub(r"，第 \1 行", text[: colon.start()])
            return f"{place}：{inner}"
    return found


def _formed(text: str) -> str | None:
    for form, chinese in _forms():
        if (match := form.fullmatch(text)) is not None:
            return chinese.format(**{name: _value(name, value) for name, value in match.groupdict().items()})
    return None


def _value(name: str, value: str) -> str:
    """What stands in a sentence: what the user named stays as it is, what the program says is said in Chinese."""
    if name in {"split", "earlier"}:
        return SPLITS.get(value, value)
    if name == "places":
        return re.sub(
            " and ([0-9]+) more$", r" 等另外 \1 处", re.sub(r", line ([0-9,]+)(?=;|$| and )", r"，第 \1 行", value)
        )
    if name in NESTED:
        parts = value.split("; ") if name == "differences" else [value]
        return "；".join(VALUES.get(part) or _said(part) or part for part in parts)
    if name == "taken":
        return "，".join(f"{MEMORY.get(what) or _said(what) or what} {size}" for what, size in SIZE.findall(value))
    if name == "both":
        return re.sub(" and (?:as )?", "、", value)
    return VALUES.get(value) or REASONS.get(value, value) if name in OURS else value


@cache
def _forms() -> list[tuple[re.Pattern[str], str]]:
    """The forms with the most words first: a special one before a general one."""
    order = sorted(FORMS, key=lambda english: -len(re.sub(r"\{[a-z_]+\}", "", english)))
    return [(_form(english), FORMS[english]) for english in order]


def _form(english: str) -> re.Pattern[str]:
    """A value at the very beginning holds no `: `, or it would swallow the place that stands before the sentence."""
    parts = re.split(r"\{([a-z_]+)\}", english)
    text = "".join(f"(?P<{part}>.+?)" if place % 2 else re.escape(part) for place, part in enumerate(parts))
    if not parts[0]:
        text = text.replace(".+?", "(?:(?!: ).)+?", 1)
    return re.compile(text, re.DOTALL)


__all__ = ["FORMS", "asked_for", "translated"]
