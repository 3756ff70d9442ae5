"""Which languages texts are in, as far as their script and a few small words show: for the card of a model.

A guess over a sample, and only where it is clear: Chinese, Japanese and Korean by their letters, English by words that
stand in every English sentence. Other languages stay unnamed rather than wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

SHARE = 0.1  # of the texts: what fewer are in is not named
ENGLISH = frozenset(
    (
        *("the", "of", "and", "to", "a", "in", "is", "it", "you", "that", "i", "for", "was", "on", "are", "with"),
        *("my", "as", "be", "this", "have", "not", "but", "they", "at", "by", "from"),
    )
)
_HAN, _KANA, _HANGUL = (re.compile(p) for p in ("[\u3400-\u9fff]", "[\u3040-\u30ff]", "[\uac00-\ud7af]"))
_WORDS = re.compile("[a-z]+")
WORDS = 0.12  # share of a text's words


def language_of(text: str) -> str | None:
    """zh, ja, ko or en; None where nothing is clear."""
    letters = sum(map(str.isalpha, text)) or 1
    han, kana, hangul = (len(found.findall(text)) / letters for found in (_HAN, _KANA, _HANGUL))
    if kana > 0.1:
        return "ja"
    if hangul > 0.3:
        return "ko"
    if han > 0.3:
        return "zh"
    words = _WORDS.findall(text.lower())
    return "en" if words and sum(word in ENGLISH for word in words) >= WORDS * len(words) else None


def languages_of(texts: Iterable[str]) -> list[str]:
    """Languages that at least a tenth of the texts are in, the commonest first."""
    found: dict[str, int] = {}
    count = 0
    for text in texts:
        count += 1
        name = language_of(text)
        if name is not None:
            found[name] = found.get(name, 0) + 1
    return [name for name, times in sorted(found.items(), key=lambda pair: -pair[1]) if times >= SHARE * count]
