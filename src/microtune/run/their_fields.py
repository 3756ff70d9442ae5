"""Rows of another file for a model that exists: its columns may be called otherwise than those of the training data.

`predict` and `evaluate` look for the names that the model learnt from. Where no row has one of them, nothing could be
answered, and the reader is told which fields there are and the option that says which one stands for it.
"""

from __future__ import annotations

from collections.abc import Sequence

from microtune.data.decode import refuse, shown
from microtune.data.fields import find_field
from microtune.data.sources import Row
from microtune.errors import InputError
from microtune.tasks.base import Task

TEXTS = ("text_field", "prompt_field", "source_field", "question_field")
LABELS = ("label_field", "completion_field", "target_field")


def called_otherwise(
    task: Task, rows: Sequence[Row], text_field: str | None = None, label_field: str | None = None
) -> Sequence[Row]:
    """The rows with the fields that the user names under the names that the task knows; all others stay."""
    for role, options, wanted in (("text", TEXTS, text_field), ("label", LABELS, label_field)):
        own = _own(task, options)
        if wanted is None or not rows:
            continue
        theirs = find_field(rows, role, wanted)
        if own is None:
            raise InputError(f"The task {task.name} reads no single field that --{role}-field could name.")
        rows = [Row({**row.data, own: row.data.get(theirs)}, row.path, row.line) for row in rows]
    return rows


def check_fields(task: Task, rows: Sequence[Row], *, answers: bool) -> None:
    """Refuse a file in which no row has the field that the model reads, or, with `answers`, the one with the answer."""
    text, label = _own(task, TEXTS), _own(task, LABELS)
    if _nowhere(rows, text):
        raise refuse(
            rows[0].path,
            None,
            f"no row has the field {shown(text)}, whose text this model reads; the fields are {_names(rows)}; name the "
            "one that stands for it with --text-field",
        )
    unanswered = any("is_impossible" in row.data for row in rows)  # questions, none of which has an answer
    if answers and not unanswered and _nowhere(rows, label):
        raise refuse(
            rows[0].path,
            None,
            f"no row has the field {shown(label)}, whose answer this model learnt; the fields are {_names(rows)}; name "
            "the one that stands for it with --label-field",
        )


def _nowhere(rows: Sequence[Row], field: str | None) -> bool:
    return field is not None and bool(rows) and not any(field in row.data for row in rows)


def _names(rows: Sequence[Row]) -> str:
    found = dict.fromkeys(name for row in rows[:1000] for name in row.data)
    return ", ".join(shown(name) for name in list(found)[:12])


def _own(task: Task, options: Sequence[str]) -> str | None:
    known = task.known_fields
    return next((known[role] for option in options if (role := option.removesuffix("_field")) in known), None)
