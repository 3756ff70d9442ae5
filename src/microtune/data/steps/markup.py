"""Steps that take markup away: HTML by Python's own parser, Markdown by markdown-it-py, which rich brings along.

Only the text that a reader would see stays; scripts, styles and comments go. A text without markup is left as it is.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any, Literal

from microtune.data.steps.base import TextStep, steps

_MARKED = re.compile(r"<[a-zA-Z/!?]|&[a-zA-Z#]")
_BLOCKS = frozenset(
    (
        *("p", "div", "br", "li", "ul", "ol", "tr", "table", "section", "article", "header", "footer", "blockquote"),
        *("h1", "h2", "h3", "h4", "h5", "h6", "hr", "td", "th", "dt", "dd", "option", "pre"),
    )
)
_UNSEEN = frozenset(["script", "style", "head", "template", "noscript"])


class Html(TextStep):
    """Tags, comments, scripts and entities of HTML."""

    name: Literal["html"] = "html"

    def change(self, text: str) -> str:
        if not _MARKED.search(text):
            return text
        reader = _Reader()
        reader.feed(text)
        reader.close()
        return tidy("".join(reader.found))


class Markdown(TextStep):
    """Emphasis, links, headings, lists and code marks of Markdown; the words of links and code stay."""

    name: Literal["markdown"] = "markdown"

    def change(self, text: str) -> str:
        pieces: list[str] = []
        for token in _parser().parse(text):
            if token.type == "inline":
                pieces += [_seen(child) for child in token.children or ()] + ["\n"]
            elif token.type in ("fence", "code_block"):
                pieces.append(token.content)
        return tidy("".join(pieces))


def tidy(text: str) -> str:
    """Without the empty lines and outer blanks that markup leaves."""
    lines = [line.strip() for line in text.split("\n")]
    return re.sub(r"\n{2,}", "\n", "\n".join(lines)).strip()


class _Reader(HTMLParser):
    """Collects what is seen."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[str] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag == "body":  # ends a head that nobody closed, which HTML allows
            self._hidden = 0
        if tag in _UNSEEN:
            self._hidden += 1
        elif tag in _BLOCKS:
            self.found.append("\n")

    def handle_endtag(self, tag: str) -> None:
        if tag in _UNSEEN:
            self._hidden = max(0, self._hidden - 1)
        elif tag in _BLOCKS:
            self.found.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.found.append(data)


def _parser() -> Any:
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])


def _seen(token: Any) -> str:
    if token.type in ("text", "code_inline"):
        return str(token.content)
    if token.type == "image":
        return str(token.content)
    return "\n" if token.type in ("softbreak", "hardbreak") else ""


steps.add("html", Html)
steps.add("markdown", Markdown)
