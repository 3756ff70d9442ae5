"""Words of a text with their places: what can be a span begins and ends at them.

A word is a run of letters, a run of digits, one Chinese or Japanese character, or one other sign; blanks are no words.
Finer than what people call words, so that "7pm" or "¥300" can be parted. Places count characters (code points), never
bytes.
"""

from __future__ import annotations

import re

CLOSE = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Chinese, Japanese: without blanks
IS_CLOSE = re.compile(f"[{CLOSE}]")
_MARKS = "\u0300-\u036f\u064b-\u065f"  # accents of their own, which tokenizers may fold into the letter before
_WORD = re.compile(f"[{CLOSE}]|(?:[^\\W\\d_{CLOSE}][{_MARKS}]*)+|\\d+|[^\\w\\s]|_")
_CLOSE = re.compile(f"[{CLOSE}\u3000-\u303f\uff01-\uff5e]")  # with their punctuation


def word_places(text: str) -> list[tuple[int, int]]:
    """(start, end) of every word, ascending."""
    return [match.span() for match in _WORD.finditer(text)]


def joined(tokens: list[str]) -> tuple[str, list[tuple[int, int]]]:
    """Tokens as one text, and the place of each in it: blanks between, except beside a Chinese or Japanese sign."""
    text, places = "", []
    for token in tokens:
        if text and token and not (_CLOSE.match(text[-1]) or _CLOSE.match(token[0])):
            text += " "
        places.append((len(text), len(text) + len(token)))
        text += token
    return text, places
