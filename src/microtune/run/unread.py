"""Text in the training rows that the task does not read: named once, so that nothing is left out in silence."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from microtune.data.names import NAMES, plain
from microtune.data.shapes import Shape, flat, sample_of, shapes_of
from microtune.data.sources import Row
from microtune.tasks.base import Task
from microtune.tasks.wording import ANSWERS

LONG = 30  # mean characters from which on running text is more than a name or a date
FILLED = 0.1  # share of rows that say something
SHOWN = 5
_TEXTS = {name for role in ("text", "source", "context", "positive") for tier in NAMES[role] for name in tier}
# What is asked and what stands before it is meant to be read, however short it is and however often it comes back.
_FIRST = {"system", "system_prompt", "系统", "系统提示"}
_ASKED = {name for tier in (*NAMES["prompt"][:2], *NAMES["input"]) for name in tier} | _FIRST | {"history", "历史"}


def unread(rows: Sequence[Row], used: Collection[str]) -> list[str]:
    """The fields with text, in the order of the file, that are not among those that are used."""
    sample = sample_of(rows)
    return [shape.name for shape in shapes_of(sample) if shape.name not in used and _holds_text(shape, sample)]


def _holds_text(shape: Shape, sample: Sequence[Row]) -> bool:
    if shape.filled < FILLED or shape.kind in ("number", "numbers", "flag", "object", "objects"):
        return False
    if plain(shape.name) in _ASKED:
        return True
    own = plain(shape.name) in _TEXTS or (shape.length >= LONG and shape.repeated < 0.8)
    return own and shape.prose >= 0.5 and _is_worded(shape, sample)


def _is_worded(shape: Shape, sample: Sequence[Row]) -> bool:
    """Whether letters are clearly more than digits, of which dates and numbers are made."""
    text = "".join(flat(row.data.get(shape.name))[:200] for row in sample[:50])
    return sum(map(str.isalpha, text)) > 2 * sum(map(str.isdigit, text))


def unread_note(task: Task, rows: Sequence[Row]) -> list[str]:
    """The sentence about them; none where templates of the user say what is read."""
    if task.wordings or getattr(task, "mixture", None):
        return []
    used = used_fields(task)
    found = unread(rows, used)
    if not found:
        return []
    names = ", ".join(f'"{name}"' for name in found[:SHOWN])
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    template = _template(task, rows, found[:SHOWN])
    return [f"Text that is not read stands in {names}{more}{f'; {template} reads it too' if template else ''}."]


def used_fields(task: Task) -> set[str]:
    """The fields that the options of a task name, and the one that conversations read beside their messages."""
    columns = [getattr(task, option) or () for option in type(task).model_fields if option.endswith("_columns")]
    return {"tools", *task.known_fields.values(), *(name for names in columns for name in names)}


def _template(task: Task, rows: Sequence[Row], found: Sequence[str]) -> str:
    """The option by which a task of one text would read these fields too."""
    option = next((name for name in task.templates if name not in ANSWERS), None)
    field = getattr(task, task.templates[option]) if option else None
    if not field or getattr(task, "pair_field", None) or getattr(task, "form", "") == "messages":
        return ""
    wanted = {field, getattr(task, "input_field", None), *found}
    names = [name for name in dict.fromkeys(name for row in rows[:100] for name in row.data) if name in wanted]
    values = [row.data.get(name) for row in sample_of(rows) for name in names]
    plain_text = all(value is None or isinstance(value, (str, int, float)) for value in values)
    if not plain_text or any(set(name) & set("{}!:'\"$`\\") for name in names):
        return ""
    names.sort(key=lambda name: plain(name) not in _FIRST)
    return f'task.{option}="{" ".join(f"{{{name}}}" for name in names)}"'
