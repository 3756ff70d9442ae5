"""Answers that stand in a passage: read from rows in the forms in which they come, and found in the text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from microtune.data.decode import refuse, shown
from microtune.data.sentences import sentences_of
from microtune.data.sources import Row

SENTENCES = 6  # of a passage that are tried as answers
YES = ("true", "yes", "1", "1.0")  # a CSV file has no truth values
NONE = ("is_impossible", "unanswerable", "no_answer")  # fields that say that there is no answer


class Answer(NamedTuple):
    """A right answer, and where it is said to begin (None: nobody says)."""

    text: str
    start: int | None


def answers_of(row: Row, field: str) -> list[Answer]:
    """The right answers of a row; [] where the passage has none. What cannot be read is an InputError.

    A text, a list of texts, {text, answer_start} or a list of them (SQuAD), or {text: [...], answer_start: [...]}.
    """
    if any(str(row.data.get(name)).strip().lower() in YES for name in NONE):
        return []
    if field not in row.data:
        raise refuse(row.path, row.line, f"{asked(row)} has no field {shown(field)}; an empty list says: no answer")
    value = row.data[field]
    if isinstance(value, Mapping) and isinstance(value.get("text"), list):
        starts = value.get("answer_start", value.get("start"))
        starts = starts if isinstance(starts, list) else [None] * len(value["text"])
        if len(starts) != len(value["text"]):
            raise refuse(row.path, row.line, f"{asked(row)} has {len(value['text'])} answers, but {len(starts)} places")
        value = [{"text": text, "answer_start": start} for text, start in zip(value["text"], starts, strict=True)]
    if value is None or value == "":
        return []
    if isinstance(value, str):
        value = [{"text": value, "answer_start": row.data.get("answer_start")}]
    found = [_answer(row, one) for one in (value if isinstance(value, list) else [value])]
    return [one for one in found if one.text]


def _answer(row: Row, value: Any) -> Answer:
    text, start = value, None
    if isinstance(value, Mapping):
        text, start = value.get("text"), value.get("answer_start", value.get("start"))
    if isinstance(start, str) and start.isdecimal():  # of a CSV file
        start = int(start)
    if not isinstance(text, str):
        raise refuse(row.path, row.line, f"the answer of {asked(row)} is {shown(value)}, not a text")
    if start is not None and type(start) is not int:
        raise refuse(row.path, row.line, f"the answer of {asked(row)} begins at {shown(start)}, not at a whole number")
    lead = len(text) - len(text.lstrip())
    return Answer(text.strip(), None if start is None or start < 0 else start + lead)


def asked(row: Row) -> str:
    """A row by its question: of a nested file the line alone says little."""
    known = next((row.data[name] for name in ("question", "query", "问题") if name in row.data), "")
    return f"the question {shown(known)}"


def locate(context: str, answer: Answer) -> tuple[int, int] | None:
    """(start, end) of an answer in its passage: as said, or the place nearest to it; None where it does not stand."""
    if answer.start is not None and context.startswith(answer.text, answer.start):
        return answer.start, answer.start + len(answer.text)
    wanted, best, place = answer.start or 0, None, context.find(answer.text)
    while place >= 0:
        if best is None or abs(place - wanted) < abs(best - wanted):
            best = place
        place = context.find(answer.text, place + 1)
    return None if best is None else (best, best + len(answer.text))


def guesses(context: str) -> list[str]:
    """Answers that need no model: the whole passage, and each of its first sentences ("" where there is none)."""
    found = sentences_of(context)[:SENTENCES]
    return [context, *found, *[""] * (SENTENCES - len(found))]
