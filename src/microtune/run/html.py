"""HTML out of plain functions: what is text is escaped, what is markup was made here.

`el("td", text, class_="n")` makes an element; a child that is not `Markup` is text, and text of users becomes entities
with control, bidirectional and other invisible characters written out. So no part of a page can forget to escape.
"""

from __future__ import annotations

import base64
import hashlib
import html
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

HIDDEN = ("Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp")
KEPT = "\n\t\u200c\u200d"  # line breaks, and what joins and parts letters: emoji, Persian, Indic scripts
VOID = frozenset(["meta", "br", "line", "rect", "circle", "polyline", "polygon"])


class Markup(str):
    """A piece of HTML that is safe as it stands."""

    __slots__ = ()


def visible(text: Any) -> str:
    """Text with invisible characters as escapes, such as \\x1b or \\u202e."""
    text = str(text)
    if text.isprintable():  # most texts are: none of `HIDDEN` counts as printable
        return text
    return "".join(
        c if c in KEPT or unicodedata.category(c) not in HIDDEN else c.encode("unicode_escape").decode("ascii")
        for c in text
    )


def escaped(value: Any) -> Markup:
    """What a child of an element becomes: nothing for None, itself for Markup, entities for text."""
    if isinstance(value, Markup):
        return value
    return Markup("" if value is None else html.escape(visible(value), quote=True))


def joined(pieces: Iterable[Any], between: str = "") -> Markup:
    """Pieces one after the other."""
    return Markup(between.join([piece if type(piece) is Markup else escaped(piece) for piece in pieces]))


def el(name: str, *children: Any, **attributes: Any) -> Markup:
    """An element; `class_` is the attribute class, an underscore in a name a hyphen; None leaves an attribute out."""
    inside = ""
    if attributes:
        named = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items() if value is not None}
        inside = "".join([f' {key}="{escaped(value)}"' for key, value in named.items()])
    return Markup(f"<{name}{inside}/>" if name in VOID else f"<{name}{inside}>{joined(children)}</{name}>")


def table(heads: Sequence[Any], rows: Iterable[Sequence[Any]], *, numbers: Sequence[int] = ()) -> Markup:
    """A table that scrolls by itself where the page is narrow; numbers: the columns that stand to the right."""

    def cells(name: str, row: Sequence[Any]) -> Markup:
        return el("tr", *(el(name, value, class_="n" if i in numbers else None) for i, value in enumerate(row)))

    body = el("tbody", *(cells("td", row) for row in rows))
    return el("div", el("table", el("thead", cells("th", heads)), body), class_="wide")


def section(title: str, *children: Any, name: str) -> Markup:
    """One part of a page, which a link can point at."""
    return el("section", el("h2", title), *children, id=name)


def folded(title: str, *children: Any) -> Markup:
    """Something that opens when a reader asks; on paper it is open."""
    return el("details", el("summary", title), *children)


def document(lang: str, title: str, sheet: str, *body: Any) -> str:
    """A whole page. Nothing is loaded and no script runs: its policy lets in the one style sheet, known by its hash.

    So a text that got past the escaping could still do nothing.
    """
    digest = base64.b64encode(hashlib.sha256(sheet.encode("utf-8")).digest()).decode("ascii")
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    top = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content=policy),
        el("meta", name_="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name_="referrer", content="no-referrer"),
        el("title", title),
        el("style", Markup(sheet)),
    )
    language = {"zh": "zh-CN"}.get(lang, lang)
    return f"<!doctype html>\n{el('html', top, el('body', *body), lang=language)}\n"
