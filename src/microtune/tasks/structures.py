"""Structures inside rows that give a task away, found by how values fit together and not by what they are called.

Turns: a list of objects of which one value (the speaker) alternates and another is text. Pointers: whole numbers
beside a text that say where it stands in another one (answers in a passage, entities in a sentence). Options: a list
of texts, or several fields, of which the answer is one. Tags: a list of few kinds as long as a list of words.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from microtune.data.fields import number_in
from microtune.data.shapes import Shape, is_prose
from microtune.data.sources import Row

SPEAKERS = {
    "user",
    "assistant",
    "system",
    "human",
    "gpt",
    "bot",
    "agent",
    "usr",
    "sys",
    "customer",
    "tool",
    "用户",
    "助手",
}
LONG = 20  # characters from which on a text can be a passage that something points into
DEEP = 8  # levels of nesting that are looked through
LETTERS = "ABCDEFGH"
_MARK = re.compile(r"(?<![A-Za-z])([A-H])\s*[.:：、)）．]")


@dataclass(frozen=True)
class Turns:
    """A field of turns, and the keys of who speaks and what is said."""

    field: str
    role: str
    content: str


def turns_in(shape: Shape, rows: Sequence[Row]) -> Turns | None:
    """The turns in a field, or None."""
    lists = [v for row in rows if isinstance(v := row.data.get(shape.name), list) and v]
    if shape.kind != "objects" or not lists:
        return None
    keys = Counter(key for v in lists for turn in v for key, part in turn.items() if isinstance(part, str))
    total = sum(map(len, lists))
    said = [key for key, count in keys.items() if count >= 0.9 * total]
    roles = [key for key in said if _is_speaker(lists, key)]
    contents = [key for key in said if key not in roles]
    if len(roles) < 1 or not contents:
        return None
    spoken = {key: [turn.get(key, "") for v in lists for turn in v] for key in contents}
    best = max(contents, key=lambda key: (len(set(spoken[key])), sum(map(len, spoken[key]))))
    prose = sum(is_prose(text) for text in spoken[best]) / total
    return Turns(shape.name, roles[0], best) if prose >= 0.4 else None


def _is_speaker(lists: Sequence[list[dict[str, Any]]], key: str) -> bool:
    """Few short values that change from one turn to the next, or that are words for speakers."""
    names = Counter(str(turn.get(key, "")) for v in lists for turn in v)
    if len(names) > 8 or max(map(len, names)) > 24:
        return False
    if sum(n for name, n in names.items() if name.strip().casefold() in SPEAKERS) >= 0.9 * names.total():
        return True
    steps = [a.get(key) != b.get(key) for v in lists for a, b in pairwise(v)]
    return len(names) >= 2 and len(steps) > 1 and sum(steps) >= 0.6 * len(steps)


def spoken_lists(shape: Shape) -> bool:
    """Whether a list of texts reads as a conversation: two turns, or a few with questions, none a long passage."""
    turns = 2 <= shape.parts <= 2.5 or (shape.parts <= 12 and shape.questions >= 0.3)
    return shape.kind == "texts" and shape.prose >= 0.5 and turns and shape.length < 2000


Pointing = Literal["answer", "span"]


def pointers(rows: Sequence[Row]) -> tuple[Pointing, float] | None:
    """Whether numbers in most rows point into a text: to answers (one number each) or spans (a start and an end)."""
    kinds: Counter[Pointing] = Counter()
    hits = tried = 0
    for row in rows:
        found = list(_pointers(row.data, [], 0))
        tried += len(found)
        for kind, right in found:
            hits += right
            kinds[kind] += right
    if hits < max(3, 0.02 * len(rows)) or hits < 0.8 * tried:
        return None
    return kinds.most_common(1)[0][0], hits / tried


def _pointers(value: Any, passages: list[str], depth: int) -> Iterator[tuple[Pointing, bool]]:
    """(kind, whether it points rightly) of each object with a text and one or two whole numbers."""
    if depth > DEEP:
        return
    if isinstance(value, list):
        for part in value[:50]:
            yield from _pointers(part, passages, depth + 1)
    if not isinstance(value, dict):
        return
    texts = [v for v in value.values() if isinstance(v, str) and v]
    whole = [v for v in value.values() if isinstance(v, int) and not isinstance(v, bool)]
    if depth and passages:
        yield from _pointing(texts, whole, passages)
        lists = [v for v in value.values() if isinstance(v, list) and v]
        words = next((v for v in lists if all(isinstance(p, str) for p in v)), None)
        starts = next((v for v in lists if all(isinstance(p, int) for p in v)), None)
        if words and starts and len(words) == len(starts):
            for word, start in zip(words, starts, strict=True):
                yield from _pointing([word], [start], passages)
    own = [text for text in texts if len(text) >= LONG]
    for part in value.values():
        if isinstance(part, (list, dict)):
            yield from _pointers(part, [*passages, *own], depth + 1)


def _pointing(texts: Sequence[str], whole: Sequence[int], passages: Sequence[str]) -> Iterator[tuple[Pointing, bool]]:
    if len(whole) == 1 and texts:
        yield "answer", any(p[whole[0] : whole[0] + len(t)] == t for p in passages for t in texts if whole[0] >= 0)
    elif len(whole) == 2 and texts:
        start, end = whole
        inside = 0 <= start < end and any(end <= len(p) for p in passages)
        stands = any(p[start:end] in texts for p in passages) if inside else False
        labelled = inside and all(len(t) <= 40 for t in texts) and len(texts) == 1
        yield "span", stands or labelled


def tag_lists(shapes: Sequence[Shape], rows: Sequence[Row]) -> tuple[str, str] | None:
    """(words, tags): two lists of equal length in every row, of which the second has few kinds that come back."""
    lists = [s for s in shapes if s.kind in ("texts", "numbers") and s.filled > 0.9 and s.parts >= 2]
    for words in (s for s in lists if s.kind == "texts"):
        for tags in (s for s in lists if s is not words):
            pairs = [(row.data.get(words.name) or [], row.data.get(tags.name) or []) for row in rows]
            if any(len(a) != len(b) for a, b in pairs):
                continue
            kinds = {str(tag) for _, b in pairs for tag in b}
            vocabulary = {str(word) for a, _ in pairs for word in a}
            short = sum(map(len, vocabulary)) <= 20 * len(vocabulary)  # longer ones are sentences
            if short and len(kinds) <= 100 and len(kinds) * 3 <= len(vocabulary):
                return words.name, tags.name
    return None


@dataclass(frozen=True)
class Options:
    """Where the options of a choice stand (several fields, one list, or inside a text) and where the answer."""

    fields: tuple[str, ...]
    answer: str


def options_in(shapes: Sequence[Shape], rows: Sequence[Row]) -> Options | None:
    """The options of a multiple choice and its answer, or None."""
    for shape in shapes:
        if shape.kind == "texts" and 2 <= shape.parts <= 10:
            found = next((s.name for s in shapes if s is not shape and _chooses(rows, s, [shape.name])), None)
            if found is not None:
                return Options((shape.name,), found)
    if any(_nested_choice(row.data, 0) for row in rows[:50]):
        return Options((), "")
    return _option_fields(shapes, rows) or _options_in_text(shapes, rows)


def _chooses(rows: Sequence[Row], answer: Shape, fields: Sequence[str]) -> bool:
    """Whether an answer names one of the options of its row: by its text, its letter or its number."""
    if answer.kind not in ("text", "number"):
        return False
    right = total = 0
    for row in rows:
        options: list[Any] = [row.data.get(name) for name in fields]
        options = options[0] if len(fields) == 1 and isinstance(options[0], list) else options
        value = row.data.get(answer.name)
        if value is None or value == "" or not options:
            continue
        total += 1
        number = number_in(value)
        letter = str(value).strip().upper()
        right += (
            value in options
            or (number is not None and number.is_integer() and 0 <= number <= len(options))
            or (len(letter) == 1 and letter in LETTERS[: len(options)])
        )
    return total > 0 and right >= 0.95 * total


def _nested_choice(value: Any, depth: int) -> bool:
    """Whether an object inside the row holds a list of texts and, beside it, one of them."""
    if depth > DEEP:
        return False
    parts = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    if depth and isinstance(value, dict):
        lists = [v for v in parts if isinstance(v, list) and 2 <= len(v) <= 10 and all(isinstance(p, str) for p in v)]
        if any(isinstance(v, str) and v in options for v in parts for options in lists):
            return True
    return any(_nested_choice(part, depth + 1) for part in parts[:50])


def _option_fields(shapes: Sequence[Shape], rows: Sequence[Row]) -> Options | None:
    """Neighbouring fields of similar short texts, and a field that names one of them."""
    texts = [s for s in shapes if s.kind in ("text", "number") and s.filled >= 0.9]
    for size in range(min(6, len(texts)), 2, -1):
        runs = [texts[i : i + size] for i in range(len(texts) - size + 1)]
        for run in sorted(runs, key=lambda run: (sum(s.questions >= 0.5 for s in run), sum(s.length for s in run))):
            if max(s.length for s in run) > 4 * max(1.0, min(s.length for s in run)) or run[0].kind != "text":
                continue
            if sum(s.distinct for s in run) < 2 * size or any(s.is_category and s.distinct <= 10 for s in run):
                continue
            names = [s.name for s in run]
            answers = (s for s in shapes if s.name not in names and s.distinct >= 2)
            found = next((s for s in answers if _fits(s, size, rows, names)), None)
            if found is not None:
                return Options(tuple(names), found.name)
    return None


def _fits(answer: Shape, size: int, rows: Sequence[Row], names: Sequence[str]) -> bool:
    """An answer by number or letter must use all of them; one by text must be one of the options."""
    if answer.kind == "number" or answer.length <= 1:
        used = answer.distinct == size and (answer.kind != "number" or (answer.whole and answer.low in (0, 1)))
        return used and _chooses(rows, answer, names)
    values = [row.data.get(answer.name) in [row.data.get(name) for name in names] for row in rows]
    return sum(values) >= 0.95 * len(values)


def _options_in_text(shapes: Sequence[Shape], rows: Sequence[Row]) -> Options | None:
    """Options marked A, B, C inside a text, and an answer that is or ends in a letter."""
    for shape in shapes:
        if shape.kind != "text" or shape.prose < 0.5:
            continue
        marks = [set(_MARK.findall(str(row.data.get(shape.name) or ""))) for row in rows]
        if sum(set("ABC") <= found for found in marks) < 0.7 * len(rows):
            continue
        for other in shapes:
            said = [str(row.data.get(other.name) or "") for row in rows]
            if other is not shape and sum(bool(re.search(r"(?<![A-Za-z])[A-H]", v[:20])) for v in said) >= 0.8 * len(
                said
            ):
                return Options((shape.name,), other.name)
    return None
