"""Refusals in Chinese: `MICROTUNE_LANG=zh`, or `--lang zh` where a command has it.

The library says everything in English; here a finished sentence is looked up by its form, with the names, numbers and
paths that stand in it, and said again. `path, line 12: ` before a sentence and `Did you mean ...` behind it are forms
of their own. A sentence that no form fits stays English, whole: half a translation helps nobody. A test holds the
English side against the source, so a reworded message cannot lose its Chinese unnoticed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from functools import cache
from itertools import pairwise

from microtune.cli.chinese.data import DATA
from microtune.cli.chinese.runs import RUNS

HINT = "hint"  # a group of this name is looked up by itself, and stays as it is where that fails
FRAGMENTS = {
    'Did you mean "{name}"? Known: {known}.': "是不是“{name}”？可用的有：{known}。",
    "Known: {known}.": "可用的有：{known}。",
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
            values = match.groupdict()
            if HINT in values:
                values[HINT] = _said(values[HINT]) or values[HINT]
            return chinese.format(**values)
    return None


@cache
def _forms() -> list[tuple[re.Pattern[str], str]]:
    """The forms with the most words first: a special one before a general one."""
    known = {**DATA, **RUNS, **FRAGMENTS}
    order = sorted(known, key=lambda english: -len(re.sub(r"\{[a-z_]+\}", "", english)))
    return [(_form(english), known[english]) for english in order]


def _form(english: str) -> re.Pattern[str]:
    parts = re.split(r"\{([a-z_]+)\}", english)
    text = "".join(f"(?P<{part}>.+?)" if place % 2 else re.escape(part) for place, part in enumerate(parts))
    return re.compile(text, re.DOTALL)


__all__ = ["asked_for", "translated"]
