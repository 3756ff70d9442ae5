"""The language of a text by its script, and within the Latin script by its most frequent words.

A measurement for reports (language mix, pairs of a translation, the card of a model) and for the step that leaves
rows out, not a classifier: a text too short to tell has no language, and six languages of the Latin script are known.
Frequent words as evidence are as old as Ingle (1976).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Literal, get_args

Language = Literal["en", "zh", "ja", "ko", "de", "fr", "es", "it", "pt", "ru", "ar", "hi", "th", "el", "he"]
KNOWN = frozenset(get_args(Language))
SHARE = 0.1  # of the texts: a language that fewer are in is not named
CUT = 2000  # characters of a text that are looked at
LATIN = {
    "en": "the and of to is in that it for was on with are this you be at have from not by he his what i my can how do "
    "as no me so an we they or but if will your there which when does did has a",
    "de": "der die und das ist nicht ein eine den mit von zu im auf für dem sich auch es an werden ich einen wie bei",
    "fr": "le la les et des est une un du que en dans qui pour pas sur au avec il elle ce je vous sont par nous d l",
    "es": "el los las que y es una por con para del se no lo como más su al pero está son mi qué yo muy también",
    "it": "il di che è e per una non sono con del della gli nel si alla anche più come ma dei lo questo al ho",
    "pt": "o os que e é do da em um uma para com não por mais as dos como no na se eu você está são foi também",
}
_OF = {
    word: {lang for lang, words in LATIN.items() if word in words.split()} for w in LATIN.values() for word in w.split()
}
_WORD = re.compile(r"[^\W\d_]+")
_SCRIPTS = {
    "zh": re.compile(r"[\u3400-\u9fff\uf900-\ufaff]"),
    "ja": re.compile(r"[\u3040-\u30ff]"),
    "ko": re.compile(r"[\uac00-\ud7af]"),
    "ru": re.compile(r"[\u0400-\u04ff]"),
    "ar": re.compile(r"[\u0600-\u06ff]"),
    "hi": re.compile(r"[\u0900-\u097f]"),
    "th": re.compile(r"[\u0e00-\u0e7f]"),
    "el": re.compile(r"[\u0370-\u03ff]"),
    "he": re.compile(r"[\u0590-\u05ff]"),
}
_LETTER = re.compile(r"[A-Za-z\u00c0-\u024f]")
DENSE = 3  # a Chinese character says about as much as three letters


def language(text: str) -> str:
    """Two letters for the language of a text; "latin" where only the script is sure, "" where there are no letters."""
    text = text[:CUT]
    latin = 0 if text.isascii() and not text.strip() else len(_LETTER.findall(text))
    if not text.isascii():
        counts = {name: len(pattern.findall(text)) for name, pattern in _SCRIPTS.items()}
        if counts["ja"] and counts["ja"] >= 0.1 * (counts["zh"] + counts["ja"]):
            counts["ja"] += counts["zh"]
        best = max(counts, key=lambda name: counts[name])
        if counts[best] * DENSE >= latin and counts[best]:
            return best
    return _latin(text) if latin else ""


def _latin(text: str) -> str:
    """The Latin language whose frequent words stand clearly most often in a text."""
    points = dict.fromkeys(LATIN, 0.0)
    for word in _WORD.findall(text.casefold()):
        for lang in (found := _OF.get(word, ())):
            points[lang] += 1 / len(found)
    first, second = sorted(points, key=lambda name: points[name])[:-3:-1]
    return first if points[first] >= 1.5 and points[first] > 1.5 * points[second] else "latin"


def differ(one: str, other: str) -> bool:
    """Whether two languages are surely two: a text of unknown Latin language may be in any of them."""
    latin = {"latin", *LATIN}
    return bool(one and other) and one != other and not ("latin" in (one, other) and {one, other} <= latin)


def languages_of(texts: Iterable[str]) -> list[str]:
    """Languages that at least a tenth of the texts are surely in, the commonest first."""
    found = Counter(map(language, texts))
    return [name for name, times in found.most_common() if name in KNOWN and times >= SHARE * found.total()]
