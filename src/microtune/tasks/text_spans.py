"""Spans of a text, exact to the character: read from rows, turned into BIO tags of words, and back.

A span is (start, end, label) in characters. Rows hold them as a list beside the text, or as the tags of their tokens
in one of the usual schemes: IOB2, IOB1 (Ramshaw and Marcus, 1995), BIOES with its spellings BILOU and BMES, or bare
labels. Tags in an order that no scheme allows are refused with their place instead of being repaired in silence.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import numpy as np

from microtune.data.conll import is_conll
from microtune.data.decode import refuse, shown
from microtune.data.sources import Row
from microtune.data.word_places import word_places

LABEL_KEYS = ("label", "slot", "entity", "type", "tag", "entity_group", "labels", "name", "标签", "类型")
Scheme = Literal["iob2", "iob1", "bioes", "bare"]
_TAG = re.compile(r"([BIESLUM])-(.+)")
_SPELLINGS = {"M": "I", "L": "E", "U": "S"}  # of BMES and BILOU


class Span(NamedTuple):
    """A piece of a text with a label; places count characters."""

    start: int
    end: int
    label: str


class Unit(NamedTuple):
    """What gets one tag: a word (or words that share a token), and the first and last of its tokens."""

    start: int
    end: int
    first: int
    last: int


@dataclass(frozen=True)
class Marked:
    """A text with its units (start, end) `[n, 2]`, and the spans that it should have (None: nobody says)."""

    text: str
    units: np.ndarray[Any, Any]
    spans: tuple[Span, ...] | None


def units_of(text: str, places: Sequence[tuple[int, int]]) -> list[Unit]:
    """The words of a text that tokens cover; words of which a token covers parts of both become one unit."""
    found: list[Unit] = []
    token, count = 0, len(places)
    for start, end in word_places(text):
        while token < count and places[token][1] <= start:  # a special token has the place (0, 0)
            token += 1
        last = token
        while last + 1 < count and places[last + 1][0] < end and places[last + 1][1] > start:
            last += 1
        if token >= count or places[token][0] >= end:
            continue  # no token: cut off, or a sign that the tokenizer drops
        if found and found[-1].last >= token:
            found[-1] = Unit(found[-1].start, end, found[-1].first, last)
        else:
            found.append(Unit(start, end, token, last))
    return found


def tags_of(units: Sequence[Unit], spans: Sequence[Span], labels: Sequence[str]) -> tuple[list[int], int]:
    """A tag for every unit (0: outside, 1 + 2k: the beginning of label k, 2 + 2k: inside), and how many spans do not
    begin and end where units do: those are widened to whole units, or lost where none is left."""
    tags, rough, place = [0] * len(units), 0, {label: k for k, label in enumerate(labels)}
    for span in spans:
        inside = [i for i, u in enumerate(units) if u.start < span.end and u.end > span.start]
        free = [i for i in inside if not tags[i]]
        exact = inside and units[inside[0]].start == span.start and units[inside[-1]].end == span.end
        rough += not exact or len(free) < len(inside)
        for number, i in enumerate(free):
            tags[i] = 1 + 2 * place[span.label] + (number > 0)
    return tags, rough


def spans_from(tags: Sequence[int], units: np.ndarray[Any, Any], labels: Sequence[str]) -> list[Span]:
    """The spans that tags say. Inside without a beginning, or of another label, begins a span, as in seqeval."""
    found: list[Span] = []
    last = 0
    for tag, (start, end) in zip(tags, units.tolist(), strict=True):
        if tag:
            label = labels[(tag - 1) // 2]
            goes_on = tag % 2 == 0 and last and (last - 1) // 2 == (tag - 1) // 2
            if goes_on:
                found[-1] = found[-1]._replace(end=end)
            else:
                found.append(Span(start, end, label))
        last = tag
    return found


def best_path(scores: np.ndarray[Any, Any]) -> list[int]:
    """The most probable tags `[n]` for `scores [n, 1 + 2 labels]` among those in BIO order (Viterbi, 1967)."""
    rows, size = scores.shape
    back = np.zeros((rows, size), dtype=np.int64)
    total = scores[0].copy()
    total[2::2] = -np.inf  # nothing goes on at the beginning
    begins, inside = np.arange(1, size, 2), np.arange(2, size, 2)
    for row in range(1, rows):
        best = int(total.argmax())
        following = np.full(size, total[best])
        back[row] = best
        better = total[begins] > total[inside]
        back[row, inside] = np.where(better, begins, inside)
        following[inside] = np.maximum(total[begins], total[inside])
        total = following + scores[row]
    path = [int(total.argmax())]
    for row in range(rows - 1, 0, -1):
        path.append(int(back[row, path[-1]]))
    return path[::-1]


def listed_spans(row: Row, field: str, text: str) -> list[Span]:
    """The spans that stand as a list in a field of a row, in their order; anything wrong is an InputError."""
    value = row.data.get(field)
    if not isinstance(value, list):
        kind = "is missing" if value is None else f"is {shown(value)}"
        raise refuse(row.path, row.line, f'the field {shown(field)} {kind}; a list of {{"label", "start", "end"}}')
    found = sorted(_span(row, entry, text) for entry in value)
    for one, other in pairwise(found):
        if other.start < one.end:
            what = f"{_named(one, text)} and {_named(other, text)} overlap; a token can have one label"
            raise refuse(row.path, row.line, f"{what}, so keep one of them")
    return found


def _span(row: Row, entry: Any, text: str) -> Span:
    if isinstance(entry, list) and len(entry) == 3:
        start, end, label = entry
        wanted = None
    elif isinstance(entry, Mapping):
        start, end, wanted = entry.get("start"), entry.get("end"), entry.get("text")
        label = next((entry[key] for key in LABEL_KEYS if key in entry), None)
    else:
        raise refuse(row.path, row.line, f"a span is {shown(entry)}, not {{label, start, end}} or [start, end, label]")
    if isinstance(label, list) and len(label) == 1:
        label = label[0]
    if not isinstance(label, str) or not label.strip():
        raise refuse(row.path, row.line, f"the span {shown(entry)} has no label")
    if type(start) is not int or type(end) is not int or not 0 <= start < end:
        raise refuse(row.path, row.line, f"the span {shown(entry, 80)} needs whole numbers 0 <= start < end")
    if end > len(text):
        what = f"the span {start} to {end} of {shown(label)} ends past the text, which has {len(text)} characters"
        raise refuse(row.path, row.line, what + _in_bytes(text, start, end, wanted))
    if isinstance(wanted, str) and text[start:end] != wanted:
        what = f"the span {start} to {end} of {shown(label)} says {shown(wanted)}, but there stands"
        raise refuse(row.path, row.line, f"{what} {shown(text[start:end])}{_in_bytes(text, start, end, wanted)}")
    return Span(start, end, label.strip())


def _in_bytes(text: str, start: int, end: int, wanted: Any) -> str:
    """A hint where offsets would be right if they counted bytes."""
    raw = text.encode("utf-8", "replace")
    cut = raw[start:end].decode("utf-8", "replace")
    fits = (
        cut == wanted if isinstance(wanted, str) else len(raw) > len(text) and end <= len(raw) and "\ufffd" not in cut
    )
    return "; the offsets seem to count bytes, but they must count characters" if fits else ""


def _named(span: Span, text: str) -> str:
    return f"{shown(text[span.start : span.end])} ({span.label}, {span.start} to {span.end})"


def tokens_of(row: Row, tokens_field: str) -> list[str]:
    """The tokens of a row."""
    tokens = row.data.get(tokens_field)
    if not isinstance(tokens, list) or not tokens or not all(isinstance(t, str) and t.strip() for t in tokens):
        raise refuse(row.path, row.line, f"the field {shown(tokens_field)} is not a list of tokens that are texts")
    return tokens


def tags_in(row: Row, tokens_field: str, tags_field: str) -> list[str]:
    """The tags of a row, as many as it has tokens."""
    tokens, tags = tokens_of(row, tokens_field), row.data.get(tags_field)
    if not isinstance(tags, list) or not all(isinstance(tag, str) and tag.strip() for tag in tags):
        raise refuse(row.path, row.line, f"the field {shown(tags_field)} is not a list of tags such as B-PER and O")
    if len(tags) != len(tokens):
        raise refuse(row.path, row.line, f"there are {len(tokens)} tokens, but {len(tags)} tags; each token needs one")
    return tags


def scheme_of(rows: Sequence[Row], tokens_field: str, tags_field: str) -> Scheme:
    """In which scheme the rows are tagged."""
    letters: set[str] = set()
    loose = strict = False  # inside without a beginning, which only IOB1 has; a beginning without a span before
    bare: tuple[Row, str] | None = None
    for row in rows:
        last = "O"
        for tag in tags_in(row, tokens_field, tags_field):
            match = _TAG.fullmatch(tag)
            if match:
                letters.add(match[1])
                loose = loose or (match[1] == "I" and last == "O")
                strict = strict or (match[1] == "B" and last.partition("-")[2] != match[2])
            elif tag != "O":
                bare = bare or (row, tag)
            last = tag
    if bare is not None and letters:
        what = f"the tag {shown(bare[1])} has no B- or I- before it, which other tags have; give it one, or write O"
        raise refuse(bare[0].path, bare[0].line, what)
    if bare is not None:
        return "bare"
    if letters & {"E", "S", "L", "U", "M"}:
        return "bioes"
    return "iob1" if loose and not strict else "iob2"


def tagged_spans(row: Row, tags: Sequence[str], places: Sequence[tuple[int, int]], scheme: Scheme) -> list[Span]:
    """The spans that the tags of a row's tokens say; `places`: of the tokens in their text."""
    found: list[Span] = []
    last, kind = "", "O"  # label and letter of the token before
    for number, (tag, (start, end)) in enumerate(zip(tags, places, strict=True)):
        letter, label = _parted(tag, scheme)
        goes_on = letter != "O" and bool(last) and last == label and kind in "BI" and letter in "IE"
        if scheme == "bare":
            goes_on = letter != "O" and last == label
        if not _allowed(letter, label, last, kind, scheme, goes_on=goes_on):
            line = row.line + number if is_conll(row.path) else row.line
            before = "begins the sentence" if not number else f"follows {shown(tags[number - 1])}"
            raise refuse(row.path, line, f"the tag {shown(tag)} {before}, which {_NAMES[scheme]} does not allow")
        if goes_on:
            found[-1] = found[-1]._replace(end=end)
        elif letter != "O":
            found.append(Span(start, end, label))
        last, kind = label, letter
    if scheme == "bioes" and kind in ("B", "I"):
        what = f"the sentence ends after {shown(tags[-1])}, without the end that {_NAMES[scheme]} asks for"
        raise refuse(row.path, row.line + (len(tags) - 1 if is_conll(row.path) else 0), what)
    return found


_NAMES = {"iob2": "B-X, I-X", "iob1": "IOB1 (B-X only between two X)", "bioes": "B-X, I-X, E-X, S-X", "bare": "-"}


def _parted(tag: str, scheme: Scheme) -> tuple[str, str]:
    match = None if scheme == "bare" else _TAG.fullmatch(tag)
    if tag == "O" or (scheme != "bare" and match is None):
        return "O", ""
    if match is None:
        return "I", tag
    return _SPELLINGS.get(match[1], match[1]), match[2]


def _allowed(letter: str, label: str, last: str, kind: str, scheme: Scheme, *, goes_on: bool) -> bool:
    """Whether a tag may stand after one of the letter `kind` and the label `last`."""
    if scheme == "iob1":
        return letter != "B" or last == label
    if scheme == "iob2":
        return letter != "I" or goes_on
    if scheme == "bioes":
        open_span = kind in ("B", "I") and bool(last)
        return goes_on if letter in "IE" else not open_span
    return True
