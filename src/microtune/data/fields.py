"""Which field of the rows plays which role: the text, the label, the prompt ...

First the names decide (`names.NAMES`). In a table without a header, where there are none, the columns do: the text is
the one that is clearly the longest, the label the one of few values that come back. A tie is not broken by chance:
the error names the candidates and the flag that settles it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from microtune.data.decode import refuse, shown
from microtune.data.names import NAMES, ends_in, parts, plain
from microtune.data.sources import ENDINGS, Row
from microtune.errors import InputError, suggest

SAMPLE = 1000
ENOUGH = 10  # rows from which on a field that hardly changes is not the text, where another one can be
OFTEN = 20  # how often its values come back, on average
SECONDS = {name for tier in NAMES["pair"] for name in tier}
_CLEARLY = 1.5  # the longest column must be this much longer than the next one


def find_field(
    rows: Sequence[Row],
    role: str,
    wanted: str | None = None,
    *,
    exclude: Sequence[str] = (),
    flag: str | None = None,
) -> str:
    """The name of the field that plays `role` in `rows`.

    wanted: the field the user named; it must exist. exclude: fields that play other roles already. flag: the option
    that names the field (default: --<role>-field). Raises InputError where the field is missing, cannot be told, or
    several come into question.
    """
    if role not in NAMES:
        raise InputError(f"Unknown role {shown(role)}. {suggest(role, NAMES)}")
    if not rows:
        raise InputError(f"There are no rows to find the {role} field in.")
    sample = list(rows[:: max(1, len(rows) // SAMPLE)])  # spread out: files are often sorted by class
    fields = list(dict.fromkeys(name for row in sample for name in row.data))
    if wanted is not None and wanted in exclude:
        raise refuse(rows[0].path, None, f"the field {shown(wanted)} cannot also be the {role}; name another field")
    if wanted is not None:
        return _wanted(rows, fields, wanted, role)
    free = [name for name in fields if name not in exclude]
    varied = [name for name in free if role != "text" or not _comes_back(sample, name)]
    if len(varied) < len(free):  # the second text of a pair does not take the place of the first
        varied = [name for name in varied if plain(name) not in SECONDS]
    candidates = _by_name(varied, role) or _by_name(free, role) or _by_structure(sample, free, role)
    if len(candidates) == 1:
        return candidates[0]
    if not candidates and len(fields) == 1 and ENDINGS.get(Path(rows[0].path).suffix.lower()) == "text":
        folders = ", or put the texts of each class into a folder of its own" if role == "label" else ""
        what = f"plain text has no field for the {role}; make a table (.csv) or JSON lines with one{folders}"
        raise refuse(rows[0].path, None, what)
    few = _by_values(sample, free) if role == "label" and not candidates else []
    raise _unsettled(rows[0], role, candidates, free, flag or f"--{role}-field", few)


def named(rows: Sequence[Row], role: str, *, exclude: Sequence[str] = ()) -> list[str]:
    """The fields whose whole name says that they play `role`, the surest first."""
    names = [n for n in dict.fromkeys(n for row in rows[:SAMPLE] for n in row.data) if n not in exclude]
    return [name for tier in NAMES[role] for name in names if plain(name) in tier]


def find_pair(rows: Sequence[Row], *, exclude: Sequence[str]) -> str | None:
    """The field with the second text of a pair: one whose whole name says so and which every row fills; or None."""
    sample = rows[:: max(1, len(rows) // SAMPLE)]
    fields = [name for name in dict.fromkeys(n for row in sample for n in row.data) if name not in exclude]
    for tier in NAMES["pair"]:
        found = [name for name in fields if plain(name) in tier and all(_is_text(row.data.get(name)) for row in rows)]
        if len(found) == 1:
            return found[0]
    return None


def instruction_field(rows: Sequence[Row], *, exclude: Sequence[str]) -> str | None:
    """The field that says what is to be done with another text, as Alpaca's `instruction`; None without one."""
    asking = {name for tier in NAMES["prompt"][:2] for name in tier}
    found = [name for name in named(rows, "prompt", exclude=exclude) if plain(name) in asking]
    return next((name for name in found if any(_is_text(row.data.get(name)) for row in rows)), None)


def second_part(rows: Sequence[Row], *, exclude: Sequence[str]) -> str | None:
    """The field with the second part of a prompt, as `input` or `context` beside an instruction; None without one.

    Few rows may have it, so all are asked; a field of lists or objects is none.
    """
    names = dict.fromkeys(name for row in rows for name in row.data if name not in exclude)
    for name in (name for tier in NAMES["input"] for name in names if plain(name) in tier):
        if not any(isinstance(row.data.get(name), (bool, dict, list)) for row in rows):
            return name
    return None


def _comes_back(sample: Sequence[Row], field: str) -> bool:
    """Whether a field says the same in every row or one of a few things, as questions do above the answers to them."""
    values = [row.data.get(field) for row in sample]
    return len(values) >= ENOUGH and len({repr(value) for value in values}) <= max(1, len(values) // OFTEN)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def find_number(rows: Sequence[Row], wanted: str | None = None, *, exclude: Sequence[str] = ()) -> str:
    """The name of the field with the number to predict: `wanted`, one named so, or the only one of numbers."""
    if wanted is not None or not rows:
        return find_field(rows, "score", wanted)
    sample = list(rows[:: max(1, len(rows) // SAMPLE)])
    fields = [name for name in dict.fromkeys(n for row in sample for n in row.data) if name not in exclude]
    numeric = [name for name in fields if all(number_in(row.data.get(name)) is not None for row in sample)]
    found = _by_name(numeric, "score")
    if not found:  # nothing is named like a score: without names, the only column of numbers is one
        found = [name for name in numeric if re.fullmatch(r"column_\d+", name)]
    if len(found) == 1:
        return found[0]
    names = ", ".join(shown(name) for name in (found or fields)[:12])
    what = f"several fields could be the number ({names})" if found else "no field of numbers is named like a score"
    have = "" if found else f"; the fields are {names}"
    raise refuse(rows[0].path, None, f"{what}{have}; name it with --label-field")


def number_in(value: Any) -> float | None:
    """The finite number that a value is or spells, or None."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _wanted(rows: Sequence[Row], fields: list[str], wanted: str, role: str) -> str:
    if wanted in fields or any(wanted in row.data for row in rows):
        return wanted
    close = get_close_matches(plain(wanted), [plain(name) for name in fields], n=1, cutoff=0.5)
    near = [name for name in fields if close and plain(name) == close[0]]
    hint = f"did you mean {shown(near[0])}? It has" if near else "it has"
    known = ", ".join(shown(name) for name in fields[:12])
    raise refuse(rows[0].path, None, f"there is no field {shown(wanted)} for the {role}; {hint} {known}")


def _by_name(fields: list[str], role: str) -> list[str]:
    """The fields whose names the best tier of the table holds; then those of which one word, or the end, is one."""
    for tier in NAMES[role]:
        if found := [name for name in fields if plain(name) in tier]:
            return found
    for tier in NAMES[role]:
        words = {name for name in tier if len(name) > 1}
        if found := [name for name in fields if words.intersection(parts(name)) or ends_in(name, words)]:
            return found
    return []


def _by_structure(sample: list[Row], fields: list[str], role: str) -> list[str]:
    """The fields without names that look like the role; only texts and labels have a look of their own."""
    fields = [name for name in fields if re.fullmatch(r"column_\d+", name)]
    if role == "text":
        return _longest(sample, fields)
    if role == "label":
        return [name for name in fields if _is_categorical([row.data.get(name) for row in sample])]
    return []


def _longest(sample: list[Row], fields: list[str]) -> list[str]:
    lengths = {}
    for name in fields:
        values = [row.data[name] for row in sample if isinstance(row.data.get(name), str)]
        if values and not all(_is_numeral(value) for value in values):
            lengths[name] = sum(map(len, values)) / len(sample)
    if not lengths:
        return []
    most = max(lengths.values())
    return [name for name, length in lengths.items() if length * _CLEARLY > most]


def _is_numeral(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _is_categorical(values: list[Any]) -> bool:
    """Few short values that come back: at least two, and not more than half as many as there are rows."""
    if any(value is not None and not isinstance(value, (str, int, float)) for value in values):
        return False
    texts = ["" if value is None else str(value) for value in values]
    distinct = set(texts) - {""}
    return 2 <= len(distinct) <= max(2, len(texts) // 2) and sum(map(len, distinct)) <= 60 * len(distinct)


def _by_values(sample: list[Row], fields: list[str]) -> list[str]:
    """The fields whose few values come back, as labels do: a hint, for other fields have few values too."""
    columns = {name: [_joined(row.data.get(name)) for row in sample] for name in fields}
    return [name for name, values in columns.items() if len(values) >= ENOUGH and _is_categorical(values)]


def _joined(value: Any) -> Any:
    """A list of texts as one: of several labels the same ones come back together, too."""
    return " ".join(value) if isinstance(value, list) and all(isinstance(part, str) for part in value) else value


def _unsettled(row: Row, role: str, candidates: list[str], fields: list[str], flag: str, few: list[str]) -> InputError:
    """None or several: the error with the fields and the flag; `few`: those that look like labels by their values."""
    names = ", ".join(shown(name) for name in (candidates or fields)[:12])
    what = f"several fields could be the {role} ({names})" if candidates else f"no field looks like the {role}"
    have = "" if candidates else (f"; the fields are {names}" if fields else "; all fields are taken")
    hint = f" (perhaps {shown(few[0])}, whose few values come back)" if len(few) == 1 else ""
    if len(few) == 2:  # naming more is no help
        hint = f" (perhaps {shown(few[0])} or {shown(few[1])}, whose few values come back)"
    return refuse(row.path, None, f"{what}{have}; name it with {flag}{hint}")


def text_of(row: Row, field: str) -> str:
    """The text in a field of a row, unchanged; numbers are written out, everything else is an InputError."""
    if field not in row.data:
        names = ", ".join(shown(name) for name in list(row.data)[:12]) or "none"
        raise refuse(row.path, row.line, f"the field {shown(field)} is missing; the row has {names}")
    value = row.data[field]
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, float) or (isinstance(value, str) and not value.strip()):
        raise refuse(row.path, row.line, f"the field {shown(field)} is empty; fill it in, or remove the row")
    if not isinstance(value, str):
        kind = {dict: "an object", list: "a list", bool: "true or false"}.get(type(value), type(value).__name__)
        raise refuse(row.path, row.line, f"the field {shown(field)} is {kind}, not text")
    return value


def text_of_parts(row: Row, first: str, second: str | None, separator: str) -> str:
    """The text of a field and, behind it, that of a second one where the row fills it."""
    text = text_of(row, first)
    value = row.data.get(second) if second else None
    empty = value is None or (isinstance(value, str) and not value.strip())
    return text if empty or not second else f"{text}{separator}{text_of(row, second)}"
