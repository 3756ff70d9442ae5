"""Texts made of several fields: `task: {name: classification, text: "{subject}\\n{body}"}`.

A template names fields of a row in braces; `{{` and `}}` are braces themselves. What it makes becomes a field of the
row whose name is the option in brackets, such as "(text)", so everything behind it sees one field like any other, and
bare texts at prediction time stand for what the template would have made. This is not the language of chat templates
(data/templates.py): no conditions, no code, so nothing in it can run.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from string import Formatter
from typing import Any

from microtune.data.sources import Row
from microtune.errors import InputError, at, suggest
from microtune.recipe import Limits

LONGEST = 10_000  # characters of a template
ANSWERS = ("answer", "target")  # templates of what is learnt: at prediction time a row need not have their fields


def parsed(template: str) -> list[tuple[str, str | None]]:
    """Pieces of (text, field behind it); ValueError where it is no template."""
    if len(template) > LONGEST:
        raise ValueError(f"a template has at most {LONGEST} characters")
    try:
        found = list(Formatter().parse(template))
    except ValueError as error:
        raise ValueError(f"not a template ({error}); a brace of the text itself is written twice") from error
    pieces = []
    for text, field, form, conversion in found:
        if field is not None and (not field.strip() or form or conversion):
            raise ValueError("a template names fields in braces, as in {title}; nothing else may stand in them")
        pieces.append((text, field))
    if all(field is None for _, field in pieces):
        raise ValueError("a template names at least one field in braces, as in {title}; this one is the same for all")
    return pieces


def is_template(text: str | None) -> str | None:
    """A validator: the template as it is, or ValueError."""
    if text is not None:
        parsed(text)
    return text


def name_of(option: str) -> str:
    """The field that the template of an option makes."""
    return f"({option})"


def rendered(option: str, template: str, row: Row, limits: Limits | None = None) -> str:
    """What a template makes of a row; InputError with the place where a field is missing or nothing comes out."""
    where = f"{at(row.path, row.line)}: task.{option}"
    parts, values = [], []
    for text, field in parsed(template):
        parts.append(text)
        if field is None:
            continue
        if field not in row.data:
            known = suggest(field, [str(name) for name in row.data])
            raise InputError(f'{where} asks for the field "{field}", which this row does not have. {known}')
        values.append(_text(row.data[field], f'{where}: the field "{field}"'))
        parts.append(values[-1])
    made = "".join(parts)
    most = (limits or Limits()).field_characters
    if len(made) > most:
        raise InputError(f"{where} makes {len(made)} characters, more than limits.field_characters ({most}).")
    if not "".join(values).strip():
        raise InputError(f"{where} makes an empty text: all its fields are empty; fill one in, or remove the row.")
    return made


def _text(value: Any, where: str) -> str:
    if value is None:
        return ""
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        return "\n".join(value)
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        kind = {dict: "an object", list: "a list", bool: "true or false"}.get(type(value), type(value).__name__)
        raise InputError(f"{where} is {kind}, not a text.")
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{where} is {value}, not a text.")
    return str(value)


def worded(rows: Sequence[Row], templates: Iterable[tuple[str, str]], *, answers: bool) -> list[Row]:
    """Rows with a further field for each (option, template); a row that has the field already keeps it.

    answers: whether templates of what is learnt are filled in too; where not, they are where their fields are there.
    """
    used = [pair for pair in templates if answers or pair[0] not in ANSWERS]
    if not used:
        return list(rows)
    made = []
    for row in rows:
        new = {name_of(o): rendered(o, text, row) for o, text in used if name_of(o) not in row.data}
        made.append(Row({**row.data, **new}, row.path, row.line) if new else row)
    return made


def parts_remark(what: str, first: str | None, second: str | None) -> list[str]:
    """That the source, or the prompt, is made of two fields, where it is."""
    if not second:
        return []
    return [
        f'Each {what} is "{first}" with "{second}" behind it where a row has one (task.input_field="" leaves it out).'
    ]
