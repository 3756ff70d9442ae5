"""Where the sentences of a text end, in English and Chinese.

A full stop is also a decimal point, an abbreviation, an initial or the number of a list (Palmer and Hearst, 1997; Kiss
and Strunk, 2006, learn abbreviations from a corpus; here the common ones stand in three lists). A line break always
ends a sentence. What stands in quotation marks or brackets of at most `INSIDE` characters is not parted, so that a
quotation of two sentences stays with who said it.
"""

from __future__ import annotations

import re

INSIDE = 300  # characters in quotation marks or brackets that stay together

_END = re.compile(r"[。！？｡!?.…]+[”’」』》）)\]\"']*|\n+")
_PAIRS = re.compile(
    rf"“[^“”\n]{{1,{INSIDE}}}”|「[^「」\n]{{1,{INSIDE}}}」|『[^『』\n]{{1,{INSIDE}}}』|（[^（）\n]{{1,{INSIDE}}}）"
    rf"|\([^()\n]{{1,{INSIDE}}}\)"
    rf"|(?<![A-Za-z0-9.!?,])\"(?=\S)[^\"\n]{{1,{INSIDE}}}(?<=\S)\"(?![A-Za-z0-9])"
)
_NEXT = re.compile(r"(\s*)[\"'“‘「『（(\[]*([^\W_]{0,20})")
_WORD = re.compile(r"[A-Za-z][A-Za-z.&'-]*$|\d+$")
_WIDE = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
_SAID = re.compile(r"[^。！？!?，,“\n]{0,6}[说道问喊答叫笑]")  # “你好！”他说
_DOTTED = re.compile(r"(?:[A-Za-z]\.)+[A-Za-z]$")
_MARKER = re.compile(r"\s*(?:\d{1,3}|[A-Za-z])$")

_BEFORE_NAMES = "Mr Mrs Ms Dr Prof Gen Rep Sen Gov Capt Lt Col Sgt Rev Hon Pres Mt"
_NOT_LAST = "vs viz e.g i.e eg ie cf approx al dept univ esp incl"
_BEFORE_DIGITS = """
no nos fig figs eq eqs sec secs ch chap vol vols p pp art para arts tab ref refs jan feb mar apr jun jul aug sep sept
oct nov dec
"""
_LAST_OR_NOT = "etc inc ltd co corp jr sr st ave blvd phd"  # and what has points inside, such as p.m.
_FIRST = """
A An And As At But By For From He Her His How However I If In It Its My No Not Of On Or Our She So That The Their Then
There These They This Those To We What When Where Which While Who Why With You Your
"""
TITLES, NEVER, NUMBERED = (frozenset(words.split()) for words in (_BEFORE_NAMES, _NOT_LAST, _BEFORE_DIGITS))
SOMETIMES, STARTERS = (frozenset(words.split()) for words in (_LAST_OR_NOT, _FIRST))


def sentence_places(text: str) -> list[tuple[int, int]]:
    """(start, end) of every sentence in characters, without the blanks around it; what is blank alone is none."""
    inside = [found.span() for found in _PAIRS.finditer(text)]
    openings = {begin for begin, _ in inside}
    cased = text != text.lower()
    places: list[tuple[int, int]] = []
    start = pair = 0
    for found in _END.finditer(text):
        begin, end = found.span()
        while pair < len(inside) and inside[pair][1] < end:
            pair += 1
        within = pair < len(inside) and inside[pair][0] < begin and end < inside[pair][1]
        while end - 1 in openings:  # 你好。"他说" - a mark that opens what follows
            end -= 1
        if within or not _ends(text, start, begin, end, cased):
            continue
        _add(places, text, start, end)
        start = end
    _add(places, text, start, len(text))
    return places


def sentences_of(text: str) -> list[str]:
    """The sentences of a text."""
    return [text[start:end] for start, end in sentence_places(text)]


def _add(places: list[tuple[int, int]], text: str, start: int, end: int) -> None:
    piece = text[start:end]
    left = len(piece) - len(piece.lstrip())
    if left < len(piece):
        places.append((start + left, start + len(piece.rstrip())))


def _ends(text: str, start: int, begin: int, end: int, cased: bool) -> bool:
    """Whether the marks at [begin, end) end the sentence that began at `start`; cased: the text has capitals."""
    marks = text[begin:end]
    if marks[0] == "\n" or end == len(text):
        return True
    following = _NEXT.match(text, end)
    assert following is not None
    blank, word = following.groups()
    if "\n" in blank:
        return True
    if any(mark in marks for mark in "。！？｡"):
        goes_on = text[end] in "，、；：,;:" or (marks[-1] in "）)" and not blank)
        return not goes_on and not (marks[-1] in "”」』" and _SAID.match(text, end))
    apart = bool(blank) and not (cased and word[:1].islower())
    if not cased:
        word = word.capitalize()
    wide, wide_before = bool(_WIDE.match(text, end)), bool(begin and _WIDE.match(text, begin - 1))
    if any(mark in marks for mark in "!?"):
        return apart or wide or wide_before
    if "…" in marks or ".." in marks:
        return apart
    if wide and wide_before:
        return True
    return apart and _is_full_stop(text[max(start, begin - 30) : begin], begin - start <= 8, word, cased)


def _is_full_stop(before: str, short: bool, following: str, cased: bool) -> bool:
    """Whether a point after `before` is more than that of an abbreviation, an initial or a number in a list.

    short: `before` is all that there is of the sentence.
    """
    found = _WORD.search(before)
    word = found[0] if found else ""
    lower = word.lower()
    word = word if cased else word.capitalize()
    if word in TITLES or lower in NEVER or (short and _MARKER.fullmatch(before)):
        return False
    if lower in NUMBERED:
        return not following[:1].isdigit()
    initial = len(word) == 1 and word.isupper()
    if initial or lower in SOMETIMES or _DOTTED.fullmatch(word):
        return following in STARTERS and len(following) > initial
    return True
