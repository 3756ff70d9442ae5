"""Model cards and the page of a comparison in the other language, line by line.

What users named, numbers, code and the header that model hubs read stay as they are. A line that no form fits stays
too, so a page that is Chinese already is not changed, and neither is what somebody has added to it.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from microtune.forms import SPLITS, Forms
from microtune.run.card import plain
from microtune.run.report.parts.diagnosis import sentence
from microtune.run.report.read import RunFiles
from microtune.run.report.words import Words
from microtune.run.report.words.notes import in_chinese
from microtune.run.report.words.pages_zh import COLUMNS, LINES

CHINESE = {line for english, line in LINES.items() if "{" not in english}


def in_language(lang: str, present: str | None, english: str | None, sentence: tuple[str, str] | None = None) -> str:
    """A page in the language `lang`, "en" or "zh".

    present: as it stands there; english: as the program writes it, where that can be told; sentence: the one about the
    training, in both languages. Lines of `present` that the program did not write stay as they are.
    """
    if english is None:
        text = present or ""
        return page_in_chinese(text) if lang == "zh" else text
    chinese = page_in_chinese(english.replace(*sentence) if sentence is not None else english)
    wanted, other = (chinese, english) if lang == "zh" else (english, chinese)
    if present is None or not {*present.split("\n")} - {*wanted.split("\n"), *other.split("\n")}:
        return wanted
    again = dict(zip(other.split("\n"), wanted.split("\n"), strict=True))
    text = "\n".join(again.get(line, line) for line in present.split("\n"))
    return page_in_chinese(text) if lang == "zh" else text


def language_of(page: str) -> str:
    """The language in which the program wrote a page."""
    return "zh" if CHINESE.intersection(page.split("\n")) else "en"


def diagnosis_in_both(run: RunFiles) -> tuple[str, str] | None:
    """The line about the training as the run wrote it, and said in Chinese from its numbers, as in the report."""
    found = run.record.diagnosis
    if not found.sentence:
        return None
    said = plain(sentence(found, Words("zh")))
    return f"How the training went: {plain(found.sentence)}", f"训练情况：{said}"


def page_in_chinese(text: str) -> str:
    """A page in Markdown, with its code and its YAML header as they are."""
    head, rest = _parted(text)
    lines: list[str] = []
    columns: list[str] | None = None
    code = False
    for line in rest.split("\n"):
        code ^= line.startswith("```")
        if code or not line.startswith("|"):
            columns = None
            lines.append(line if code else _line(line))
            continue
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if columns is None:
            columns = cells
            cells = [COLUMNS.get(cell, cell) for cell in cells]
        elif set(cells) != {"---"}:
            cells = [_cell(column, cell) for column, cell in zip(columns, cells, strict=False)]
        else:
            lines.append(line)
            continue
        lines.append(f"| {' | '.join(cells)} |")
    return head + "\n".join(lines)


def _parted(text: str) -> tuple[str, str]:
    """The header between two lines of ---, and what follows it."""
    end = text.find("\n---\n", 3) if text.startswith("---\n") else -1
    return ("", text) if end < 0 else (text[: end + 5], text[end + 5 :])


def _line(line: str) -> str:
    said = _BOOK.said(line)
    if said is not None:
        return said
    return f"- {_said(line[2:])}" if line.startswith("- ") else line


def _said(text: str) -> str:
    """A note again; its form is that of the text before it was made safe for Markdown."""
    bare = text.replace("\\|", "|").replace("&lt;", "<").replace("&amp;", "&")
    said = in_chinese(bare)
    return text if said == bare else plain(said)


def _cell(column: str, cell: str) -> str:
    """What stands below a heading that the program has chosen; labels, sources and methods are the user's."""
    if column in ("split", "on"):
        return SPLITS.get(cell, cell)
    if column == "how it ended":
        return "：".join(_said(part) for part in cell.split(": ", 1))
    if column == "forgetting":
        return cell.replace("drift ", "漂移 ").replace("bits/byte", "比特/字节")
    if column == "95 % interval" or column.isdecimal():  # a learning curve has numbers of examples above it
        return cell.replace(" to ", " 至 ")
    return cell


SAID: dict[str, Callable[[str], str]] = {
    **dict.fromkeys(("reason", "compared", "cause", "reader"), _said),
    "sentence": _said,
    "epochs": lambda value: re.sub(" epochs?$", " 轮", value),
    "rate": lambda value: "由方法决定" if value == "the method's own" else value,
    "keep": lambda value: {"best": "最好的", "last": "最后的"}.get(value, value),
}
_BOOK = Forms(LINES, lambda name, value: SAID[name](value) if name in SAID else value)


__all__ = ["diagnosis_in_both", "in_language", "language_of", "page_in_chinese"]
