"""Questions with options, read from the forms in which they come, and the option that is right.

Options are a list (`choices`, `options`, `endings`, 选项), a text whose parts are joined by "|", {text: [...], label:
[...]}, columns (A, B, C ...; option_1, option_2 ...), or stand in the question itself ("... A: one; B: two"). The right
one is named by its text, its letter, its label or its number.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from microtune.data.decode import refuse, shown
from microtune.data.fields import named
from microtune.data.names import plain
from microtune.data.sources import Row
from microtune.tasks.passages import asked

_COLUMN = re.compile(r"(?:(?:option|choice|ending|answer|sol|opt|选项)_?)?([a-h]|\d)")
_INSIDE = re.compile(r"(?:^|(?<=[^A-Za-z0-9]))([A-H])\s*[:：.．、)）]\s*")
_LETTER = re.compile(r"[(（]?([A-Ha-h])[)）.。:：]?")
_ALONE = re.compile(r"(?<![A-Za-z])((?!A\s+[a-z])[A-H])(?![A-Za-z])")  # "A dog" begins with a word


@dataclass(frozen=True)
class Options:
    """A question, its options, and the number of the right one (None: nobody says)."""

    question: str
    options: tuple[str, ...]
    right: int | None


@dataclass(frozen=True)
class Fields:
    """Where question, options and answer stand; neither list nor columns: the options stand in the question."""

    question: str
    choices: str = ""
    columns: tuple[str, ...] = ()
    answer: str | None = None
    counts_from: int | None = None  # what the number of the first option is


def list_field(rows: Sequence[Row]) -> str:
    """The field with the list of options, by its name; "" where there is none."""
    return next(iter(named(rows, "choices")), "")


def option_columns(rows: Sequence[Row]) -> tuple[str, ...]:
    """The columns that hold one option each, in their order; () where there are not two."""
    names = dict.fromkeys(name for row in rows[:1000] for name in row.data)
    found = {name: match[1] for name in names if (match := _COLUMN.fullmatch(plain(name)))}
    return tuple(sorted(found, key=lambda name: found[name])) if len(found) > 1 else ()


def read_options(row: Row, fields: Fields) -> Options:
    """The question of a row with its options; InputError where they are no options, or none of them is right."""
    question, options, labels, places = _parted(row, fields)
    if len(options) < 2 or not all(options):
        raise refuse(row.path, row.line, f"{asked(row)} has {len(options)} options that are texts; two are needed")
    if len(set(options)) < len(options):
        twice = next(option for option in options if options.count(option) > 1)
        raise refuse(row.path, row.line, f"the option {shown(twice)} of {asked(row)} stands twice")
    right = None if fields.answer is None else _right(row, options, labels, places, fields)
    return Options(question, tuple(options), right)


def _parted(row: Row, fields: Fields) -> tuple[str, list[str], Sequence[str], Sequence[int]]:
    """The question, its options, their labels where they have any, and the place of each among all columns."""
    question = str(row.data.get(fields.question) or "").strip()
    if fields.choices:
        options, labels = _listed(row, fields.choices)
        return question, options, labels, range(len(options))
    if fields.columns:
        texts = ["" if (v := row.data.get(name)) is None else str(v).strip() for name in fields.columns]
        places = [place for place, text in enumerate(texts) if text]  # an empty column keeps its letter and its number
        return question, [texts[place] for place in places], (), places
    question, options = _inside(row, question)
    return question, options, (), range(len(options))


def _listed(row: Row, field: str) -> tuple[list[str], list[str]]:
    """Options and their labels from one field."""
    value, labels = row.data.get(field), []
    if isinstance(value, str):
        value = _parts(value)
    if isinstance(value, Mapping):
        labels = [str(label) for label in value.get("label", [])] if isinstance(value.get("label"), list) else []
        value = value.get("text", list(value.values()))
    if not isinstance(value, list):
        raise refuse(row.path, row.line, f"the field {shown(field)} of {asked(row)} is no list of options")
    texts = [one.get("text") if isinstance(one, Mapping) else one for one in value]
    if isinstance(value[0] if value else None, Mapping):
        labels = [str(one.get("label", "")) for one in value]
    return ["" if isinstance(t, (list, dict)) or t is None else str(t).strip() for t in texts], labels


def _parts(text: str) -> list[str]:
    if text.lstrip().startswith("["):
        try:
            found = json.loads(text)
        except ValueError:
            found = None
        if isinstance(found, list):
            return found
    sign = next((sign for sign in ("|", "\n", ";", "；") if sign in text), "|")
    return [part for part in text.split(sign) if part.strip()]


def _inside(row: Row, question: str) -> tuple[str, list[str]]:
    """The options that stand in a question behind A, B, C ..., and what stands before them."""
    marks, wanted = [], iter("ABCDEFGH")
    letter = next(wanted)
    for match in _INSIDE.finditer(question):
        if match[1] == letter:
            marks.append(match)
            letter = next(wanted, "")
    if len(marks) < 2:
        raise refuse(row.path, row.line, f"{asked(row)} has no options: no list, no columns A, B ..., none in its text")
    ends = [mark.start() for mark in marks[1:]] + [len(question)]
    options = [question[m.end() : end].strip().rstrip(";；,，").strip() for m, end in zip(marks, ends, strict=True)]
    return question[: marks[0].start()].strip(), options


def _right(row: Row, options: Sequence[str], labels: Sequence[str], places: Sequence[int], fields: Fields) -> int:
    """The number of the right option, from 0."""
    value = _answer(row, fields)
    text = "" if isinstance(value, (bool, list, dict)) or value is None else str(value).strip()
    number, place = _number(value), None
    if text in labels:
        return labels.index(text)
    if number is not None and fields.counts_from is not None:
        place = number - fields.counts_from
    elif text in options:
        return options.index(text)
    elif number is None:
        place = _lettered(text, inside=not fields.choices and not fields.columns)
    if place is None or place not in places:
        what = "is missing" if value is None or value == "" else f"is {shown(value)}"
        known = ", ".join(shown(option) for option in options[:4])
        raise refuse(row.path, row.line, f"the answer of {asked(row)} {what}, which is none of its options ({known})")
    return places.index(place)


def _answer(row: Row, fields: Fields) -> Any:
    value = row.data.get(fields.answer or "")
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _lettered(value: str, *, inside: bool) -> int | None:
    """The place that a letter stands for."""
    match = _LETTER.fullmatch(value) or (_ALONE.search(value) if inside else None)
    return None if match is None else ord(match[1].upper()) - ord("A")


def _number(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, str) and value.strip().isdecimal() and len(value) < 4:
        return int(value)
    return value if isinstance(value, int) else None


def first_number(rows: Sequence[Row], fields: Fields) -> int | None:
    """What the number of the first option is, 0 or 1, where answers are numbers of options; None where they are texts,
    letters or labels; InputError where rows do not say.

    One rule for all rows: in a row whose options are numbers, "2" would else be another answer than in the others.
    """
    numbers: list[tuple[int, int]] = []
    texts = 0
    unknown: Row | None = None
    for row in rows:
        value = _answer(row, fields)
        number = _number(value)
        if number is None:
            return None
        _, options, labels, places = _parted(row, fields)
        if str(value).strip() in labels:
            continue
        numbers.append((number, 1 + max(places, default=0)))
        named_by_text = str(value).strip() in options
        texts += named_by_text
        unknown = unknown or (None if named_by_text else row)
    if not numbers or unknown is None:
        return None
    if texts > len(numbers) / 2:
        what = f"the answer of {asked(unknown)} is {shown(_answer(unknown, fields))}, which is none of its options"
        more = "other rows name theirs by its text; if all answers are numbers of options, say task.counts_from="
        raise refuse(unknown.path, unknown.line, f"{what}, but {more}")
    if any(number == 0 for number, _ in numbers):
        return 0
    if any(number == count for number, count in numbers):
        return 1
    raise refuse(rows[0].path, None, "the numbers of the right options may count from 0 or 1; say task.counts_from=")
