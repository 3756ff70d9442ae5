"""The language of what is said: `--lang` where it stands on the command line, else `MICROTUNE_LANG`, else English."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise

VARIABLE = "MICROTUNE_LANG"
KNOWN = ("en", "zh")  # zh_CN, zh-Hans, English ... are known by how they begin


def asked_for(arguments: Sequence[str] | None = None) -> bool:
    """Whether the user wants Chinese; without arguments, those of the process."""
    return _wanted(arguments).startswith("zh")


def named() -> str | None:
    """en or zh where the user has said one, None where the program may choose."""
    wanted = _wanted(None)
    return next((lang for lang in KNOWN if wanted.startswith(lang)), None)


def _wanted(arguments: Sequence[str] | None) -> str:
    arguments = sys.argv[1:] if arguments is None else arguments
    said = [b for a, b in pairwise(arguments) if a == "--lang"]
    said += [a.partition("=")[2] for a in arguments if a.startswith("--lang=")]
    known = [lang for lang in said if lang.lower().startswith(KNOWN)]
    return (known[-1] if known else os.environ.get(VARIABLE, "")).lower()


def word(text: str) -> str:
    """A word of the program, such as the heading of a column; what has no Chinese stays."""
    return _words().get(text, text)


def said(form: str, **values: object) -> str:
    """A line of the program, `written: {path}`, with its values."""
    return word(form).format(**values)


def _words() -> Mapping[str, str]:
    if not asked_for():
        return {}
    from microtune.cli.chinese.terminal import TERMINAL

    return TERMINAL


def language(given: str | None) -> str:
    """en or zh for the value of an option `--lang`, None where it was not given; an unknown one comes back as it is."""
    if given is None:
        return "zh" if asked_for() else "en"
    return next((lang for lang in KNOWN if given.lower().startswith(lang)), given)
