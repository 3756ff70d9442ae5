"""Rows of a file, each of which names its adapter: read with the fields of that adapter's task, answered in one pass.

After S-LoRA and Punica (Sheng et al., 2023; Chen et al., 2023), which serve rows of many adapters as one batch; the
products are in nn/grouped.py, here is only who owns which row.
"""

from __future__ import annotations

from collections.abc import Sequence

from microtune.data.sources import Row
from microtune.errors import InputError, at, suggest
from microtune.run.adapters import Adapters
from microtune.run.predict import text_rows
from microtune.tasks.base import Prediction, Task


def predict_rows(
    many: Adapters, rows: Sequence[Row], field: str, *, min_confidence: float = 0.0, max_new_tokens: int = 128
) -> list[Prediction]:
    """One Prediction per row in their order; `field` of a row is the name of its adapter."""
    fields = {name: text_field(name, many.task(name)) for name in many.names}
    names = [_owner(row, field, many.names) for row in rows]
    texts = [_text(row, fields[name]) for row, name in zip(rows, names, strict=True)]
    return many.predict(texts, names, min_confidence=min_confidence, max_new_tokens=max_new_tokens)


def text_field(name: str, task: Task) -> str:
    """The one field that a task reads; InputError where it reads several, or turns of a conversation."""
    try:
        found = text_rows(task, [""])[0].data if task.text_rows([""]) is None else {}
    except InputError:  # it reads pairs
        found = {}
    if len(found) == 1 and all(isinstance(value, str) for value in found.values()):
        return next(iter(found))
    raise InputError(
        f'--adapter: "{name}" answers {task.name}, whose rows hold more than one text; here each row is one text. '
        "Answer its rows with the run alone."
    )


def _owner(row: Row, field: str, names: Sequence[str]) -> str:
    value = row.data.get(field)
    place = at(row.path, row.line)
    if value is None or not str(value).strip():
        raise InputError(
            f'{place}: the field "{field}" is missing; each row names its adapter there: {", ".join(names)}.'
        )
    if str(value) not in names:
        raise InputError(f'{place}: there is no adapter "{value}". {suggest(str(value), names)}')
    return str(value)


def _text(row: Row, field: str) -> str:
    value = row.data.get(field)
    if not isinstance(value, str):
        raise InputError(f'{at(row.path, row.line)}: the field "{field}" holds no text.')
    return value
