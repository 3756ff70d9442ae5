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
_ALONE = re.compile(r"(?<![A-Za-z])([A-H])(?![A-Za-z])")


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
    question = str(row.data.get(fields.question) or "").strip()
    labels: Sequence[str] = ()
    if fields.choices:
        options, labels = _listed(row, fields.choices)
    elif fields.columns:
        values = [row.data.get(name) for name in fields.columns]
        options = [str(value).strip() for value in values if value is not None and str(value).strip()]
    else:
        question, options = _inside(row, question)
    if len(options) < 2 or not all(options):
        raise refuse(row.path, row.line, f"{asked(row)} has {len(options)} options that are texts; two are needed")
    if len(set(options)) < len(options):
        twice = next(option for option in options if options.count(option) > 1)
        raise refuse(row.path, row.line, f"the option {shown(twice)} of {asked(row)} stands twice")
    right = None if fields.answer is None else _right(row, row.data.get(fields.answer), options, labels, fields)
    return Options(question, tuple(options), right)


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


def _right(row: Row, value: Any, options: Sequence[str], labels: Sequence[str], fields: Fields) -> int:
    """The number of the right option, from 0."""
    value = value[0] if isinstance(value, list) and len(value) == 1 else value
    found = None
    if isinstance(value, str):
        found = _named(value.strip(), options, labels, inside=not fields.choices and not fields.columns)
    number = _number(value)
    if found is None and number is not None:
        found = number - (fields.counts_from or 0)
    if found is None or not 0 <= found < len(options):
        what = "is missing" if value is None or value == "" else f"is {shown(value)}"
        known = ", ".join(shown(option) for option in options[:4])
        raise refuse(row.path, row.line, f"the answer of {asked(row)} {what}, which is none of its options ({known})")
    return found


def _named(value: str, options: Sequence[str], labels: Sequence[str], *, inside: bool) -> int | None:
    """The option with this text, label or letter."""
    if value in options:
        return options.index(value)
    if value in labels:
        return labels.index(value)
    match = _LETTER.fullmatch(value) or (_ALONE.search(value) if inside else None)
    return None if match is None else ord(match[1].upper()) - ord("A")


def _number(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, str) and value.strip().isdecimal() and len(value) < 4:
        return int(value)
    return value if isinstance(value, int) else None


def first_number(rows: Sequence[Row], fields: Fields) -> int | None:
    """What the number of the first option is, 0 or 1, where answers are numbers; InputError where rows do not say."""
    numbers = []
    for row in rows:
        value = row.data.get(fields.answer or "")
        value = value[0] if isinstance(value, list) and len(value) == 1 else value
        number = _number(value)
        if number is None:
            return None
        read = read_options(row, Fields(fields.question, fields.choices, fields.columns))
        if str(value) not in read.options:
            numbers.append((number, len(read.options)))
    if not numbers or any(number == 0 for number, _ in numbers):
        return 0
    if any(number == count for number, count in numbers):
        return 1
    raise refuse(rows[0].path, None, "the numbers of the right options may count from 0 or 1; say task.counts_from=")
