"""Damage from wrong encodings and rough conversions: replacement characters, mojibake, control and invisible
characters, leftovers of HTML."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from microtune.data.invisible import TURNING, WIDTHLESS
from microtune.data.lint.base import Base, Finding, Seen, Tally

# UTF-8 read as Latin-1 or Windows-1252, UTF-8 read as GBK ("锟斤拷"), memory of a debugger read as GBK ("烫烫烫").
MOJIBAKE = re.compile(
    r"Ã[\u0080-\u00bf\u0152-\u02dc\u2013-\u2122]|â€[\u0090-\u02dc\u2013-\u2122]|Â[\u00a0-\u00bf]|ï»¿|ï¼[\u0080-\u00bf]"
    r"|锟斤拷|烫烫烫|[\u00e4-\u00e9][\u0080-\u00bf\u2013-\u2122]{2}"
)
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u0080-\u009f]")
INVISIBLE = re.compile(f"[{WIDTHLESS}{TURNING}]")
MARKUP = re.compile(
    r"&(?:amp|lt|gt|quot|nbsp|#\d{2,5});|</?(?:br|p|div|span|b|i|a|td|tr|li|ul|strong|em)\b[^<>]{0,200}>| #\d{2,3};"
)


class Encoding(Base):
    """Rows with each kind of damage, in what is read or learnt."""

    def __init__(self) -> None:
        self.rows = 0
        self._found: dict[str, Tally] = {}

    def add(self, seen: Seen) -> None:
        """Look at one row."""
        self.rows += 1
        here: dict[str, str] = {}  # a row counts once, whether text or target is damaged, or both
        for text in (seen.text, seen.target):
            for kind, start in _damage(text):
                here.setdefault(kind, text[max(0, start - 30) :])
        for kind, excerpt in here.items():
            self._found.setdefault(kind, Tally()).add(seen.row, excerpt)

    def findings(self) -> Sequence[Finding]:
        """Lost or garbled characters are warnings; markup and invisible characters are notes."""
        notes = {"markup", "invisible"}
        return [
            Finding(kind, "note" if kind in notes else "warning", tally.count, self.rows, tally.places)
            for kind, tally in self._found.items()
        ]


def _damage(text: str) -> Iterator[tuple[str, int]]:
    """Each kind of damage in a text, and where it begins."""
    if not text.isascii():
        if "\ufffd" in text:
            yield "replacement", text.index("\ufffd")
        if match := MOJIBAKE.search(text):
            yield "mojibake", match.start()
        if match := INVISIBLE.search(text):
            yield "invisible", match.start()
    if not text.isprintable() and (match := CONTROL.search(text)):
        yield "control", match.start()
    if (";" in text or ">" in text) and (match := MARKUP.search(text)):
        yield "markup", match.start()
