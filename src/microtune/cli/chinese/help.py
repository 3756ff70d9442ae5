"""`--help` in Chinese: the verbs and options say it, and the parser's own words, in columns that stay straight.

The parser counts characters and breaks lines at spaces; a Chinese character is two columns wide and stands without
spaces, so the pages are laid out here. Breaking follows the usual rule of Chinese typesetting: anywhere between two
characters, but no line begins with a closing mark or ends with an opening one.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Any

import typer

from microtune.cli.chinese.options import OPTIONS
from microtune.cli.chinese.verbs import VERBS

HEADINGS = {"Options": "选项", "Arguments": "参数", "Commands": "命令"}
USAGE = {"[OPTIONS]": "[选项]", "COMMAND [ARGS]...": "命令 [参数]..."}
WORDS = {"Show this message and exit.": "显示本帮助"}
TYPES = {  # typer 0.29 and after writes <str>, before it wrote TEXT
    "<str>": "<文本>",
    "<int>": "<整数>",
    "<float>": "<数字>",
    "<list[str]>": "<文本...>",
    "TEXT": "<文本>",
    "INTEGER": "<整数>",
    "FLOAT": "<数字>",
}
WIDE = "\u2e80-\u9fff\uff01-\uff60"
OPENING, CLOSING = "（《[(", "，。；：、！？）》\\])"
DEFAULT = r"\[默认：[^\[\]，]{1,33}\]"  # stays whole
PIECE = re.compile(rf"{DEFAULT}|[{re.escape(OPENING)}]*(?:[{WIDE}]|[^\s{WIDE}]+)[{CLOSING}]*")
_Page: Any = typer.Context.formatter_class  # click's, or the copy of it that typer brings


def speak(group: Any) -> None:
    """Give a group of commands its Chinese, once."""
    if issubclass(group.context_class.formatter_class, ChineseHelp):
        return
    for command in (group, *group.commands.values()):
        command.context_class = type("Context", (command.context_class,), {"formatter_class": ChineseHelp})
        command.help = VERBS.get(command.help, command.help)
        command.short_help = (command.help or "").partition("。")[0]
        for parameter in command.params:
            if getattr(parameter, "help", None):
                parameter.help = OPTIONS.get(parameter.help, parameter.help)


def columns(text: str) -> int:
    """How wide a text is in a terminal."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def wrapped(text: str, width: int) -> list[str]:
    """Lines of at most `width` columns; a word that is longer stands alone."""
    lines = [""]
    end = 0
    for piece in PIECE.finditer(text):
        space = " " if piece.start() > end else ""
        end = piece.end()
        if not lines[-1] or columns(lines[-1] + space + piece[0]) <= width:
            lines[-1] += (space if lines[-1] else "") + piece[0]
        else:
            lines.append(piece[0])
    return lines


class ChineseHelp(_Page):  # type: ignore[misc]
    """The page of a command."""

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        """`用法：microtune tune [选项] ...`."""
        for english, chinese in USAGE.items():
            args = args.replace(english, chinese)
        begin = f"用法：{prog} "
        first, *more = wrapped(args, max(self.width - columns(begin), 20))
        self.write(f"{begin}{first}\n")
        for line in more:
            self.write(f"{' ' * columns(begin)}{line}\n")

    def write_heading(self, heading: str) -> None:
        """`选项：`."""
        self.write(f"{' ' * self.current_indent}{HEADINGS.get(heading, heading)}：\n")

    def write_text(self, text: str) -> None:
        """A paragraph."""
        for line in wrapped(text, self.width - self.current_indent):
            self.write(f"{' ' * self.current_indent}{line}\n")

    def write_dl(self, rows: Sequence[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        """Options or commands on the left, what they are on the right; a wide left side has a line of its own."""
        named = [(_typed(name), _said(text)) for name, text in rows]
        first = min(max(columns(name) for name, _ in named), col_max) + col_spacing
        for name, text in named:
            begin, *more = wrapped(text, max(self.width - first - 2, 10))
            margin = " " * (first + self.current_indent)
            fits = columns(name) <= first - col_spacing
            gap = " " * (first - columns(name)) if fits else f"\n{margin}"
            self.write(f"{' ' * self.current_indent}{name}{gap}{begin}\n")
            for line in more:
                self.write(f"{margin}{line}\n")


def _typed(name: str) -> str:
    """`--seed <int>` -> `--seed <整数>`."""
    begin, space, kind = name.rpartition(" ")
    return f"{begin}{space}{TYPES.get(kind, kind)}"


def _said(text: str) -> str:
    """A help with what the parser puts behind it: `[default: 3]`, `[required]`."""
    text, *extra = re.split(r"  \\?\[", text, maxsplit=1)  # some versions of typer leave a backslash
    text = WORDS.get(text, text)
    if not extra:
        return text
    parts = [re.sub("^default: ", "默认：", part) for part in extra[0].removesuffix("]").split("; ")]
    return f"{text} [{'；'.join('必填' if part == 'required' else part for part in parts)}]"


__all__ = ["ChineseHelp", "columns", "speak", "wrapped"]
