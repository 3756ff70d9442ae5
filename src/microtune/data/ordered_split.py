"""Train, validation and test in the order of a field, such as a date: what is tested lies after all that was learnt.

Where rows come out of a stream (prices, news, the tickets of a year), a split at random lets a model learn from
tomorrow and tests it on yesterday: the score then says nothing about the use that it is meant for (Tashman, 2000, on
out-of-sample tests of forecasts). Rows with the same value stay in one part, so every test row is strictly later.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, time
from itertools import accumulate
from typing import Literal, NamedTuple

from microtune.data.decode import refuse, shown
from microtune.data.fields import number_in
from microtune.data.sources import Row
from microtune.data.splits import PARTS, fractions_of
from microtune.errors import InputError, at

Kind = Literal["a number", "a date", "a time with its zone"]
_DATE = re.compile(r"(\d{4})[-/.年](\d{1,2})(?:[-/.月](\d{1,2})日?)?(?:[T\s]+(\S.*))?")
FORMS = "a number or a date such as 2024-01-31, 2024/1/31 09:30 or 2024年1月31日"


class Moment(NamedTuple):
    """A place in the order: seconds since 1970, or the number itself."""

    value: float
    kind: Kind


def split_in_order(rows: Sequence[Row], *, split: dict[str, float], field: str) -> dict[str, list[Row]]:
    """Part `rows` by `split`, such as {"validation": 0.1, "test": 0.1}, the earliest of them train, the latest test.

    A border stands where the shares come nearest to those asked for; equal values are not parted. Each part keeps the
    order of the file. Raises InputError where a row has no value, or there are too few different ones.
    """
    wanted = fractions_of(split)
    values = values_of(rows, field)
    counts = Counter(values)
    steps = sorted(counts)
    if len(steps) < len(wanted):
        many = "one value" if len(steps) == 1 else f"{len(steps)} different values"
        raise InputError(
            f"{at(rows[0].path)}: the field {shown(field)} has {many}, too few to part the rows in its order into "
            f"{', '.join(wanted)}."
        )
    borders = _borders([0, *accumulate(counts[step] for step in steps)], list(wanted.values()), len(rows))
    first = [steps[border] for border in borders]  # of each part but train
    parts: dict[str, list[Row]] = {part: [] for part in wanted}
    names = list(wanted)
    for row, value in zip(rows, values, strict=True):
        parts[names[bisect_right(first, value)]].append(row)
    return parts


def _borders(before: Sequence[int], shares: Sequence[float], count: int) -> list[int]:
    """The step at which each part but the first begins; before: rows before each step."""
    found: list[int] = []
    goals = [total * count for total in accumulate(shares[:-1])]
    for number, goal in enumerate(goals, 1):
        least = found[-1] + 1 if found else 1
        most = len(before) - 1 - (len(shares) - number)  # a step at least is left to each part behind
        place = min(max(bisect_right(before, goal) - 1, least), most)
        nearer = place < most and abs(before[place + 1] - goal) < abs(before[place] - goal)
        found.append(place + 1 if nearer else place)
    return found


def check_order(parts: Mapping[str, Sequence[Row]], field: str) -> None:
    """Refuse parts of which a later one (train, validation, test) does not begin after the ones before have ended."""
    last: tuple[float, Row, str] | None = None
    kind: Kind | None = None
    for part in (name for name in PARTS if parts.get(name)):
        moments = [moment_of(row, field) for row in parts[part]]
        for row, moment in zip(parts[part], moments, strict=True):
            kind = kind or moment.kind
            _same_kind(row, field, moment, kind)
        values = [moment.value for moment in moments]
        first = min(range(len(values)), key=values.__getitem__)
        if last is not None and values[first] <= last[0]:
            row, other = parts[part][first], last[1]
            raise refuse(
                row.path,
                row.line,
                f"data.split_by: this row is of the {part} split, but {_said(row, field)}, which is not later than "
                f"{shown(other.data.get(field))} of the {last[2]} split ({at(other.path, other.line)})",
            )
        end = max(range(len(values)), key=values.__getitem__)
        last = (values[end], parts[part][end], part)


def order_note(parts: Mapping[str, Sequence[Row]], field: str) -> str:
    """From where to where each part reaches."""
    reach = []
    for part in (name for name in PARTS if parts.get(name)):
        ordered = sorted(parts[part], key=lambda row: moment_of(row, field).value)
        first, last = (str(row.data[field])[:40] for row in (ordered[0], ordered[-1]))
        reach.append(f"{part} {first} to {last} ({len(ordered)} rows)")
    return f"Rows are parted in the order of {shown(field)}: {', '.join(reach)}."


def values_of(rows: Sequence[Row], field: str) -> list[float]:
    """Where each row stands in the order; all by number or all by date."""
    found: list[float] = []
    kind: Kind | None = None
    for row in rows:
        moment = moment_of(row, field)
        kind = kind or moment.kind
        _same_kind(row, field, moment, kind)
        found.append(moment.value)
    return found


def _same_kind(row: Row, field: str, moment: Moment, kind: Kind) -> None:
    if moment.kind != kind:
        what = f"{_said(row, field)}, {moment.kind}, where the rows before have {kind}; write all in one form"
        raise refuse(row.path, row.line, f"data.split_by: {what}")


def moment_of(row: Row, field: str) -> Moment:
    """The number or date in a field of a row; InputError with its place where there is none."""
    value = row.data.get(field)
    number = number_in(value)
    if number is not None:
        return Moment(number, "a number")
    if field not in row.data:
        names = ", ".join(shown(name) for name in list(row.data)[:12]) or "none"
        raise refuse(row.path, row.line, f"data.split_by: there is no field {shown(field)}; the row has {names}")
    if value is None or value == "":
        raise refuse(row.path, row.line, f"data.split_by: the field {shown(field)} is empty; give every row {FORMS}")
    moment = _date(str(value).strip())
    if moment is None:
        what = f"{_said(row, field)}, which is neither a number nor a date; write {FORMS}"
        raise refuse(row.path, row.line, f"data.split_by: {what}")
    return moment


def _date(text: str) -> Moment | None:
    match = _DATE.fullmatch(text)
    if match is None:
        return None
    year, month, day, clock = match.groups()
    try:
        whole = time() if clock is None else time.fromisoformat(clock)
        found = datetime.combine(datetime(int(year), int(month), int(day or 1)), whole)
    except ValueError:
        return None
    if found.tzinfo is None:
        return Moment(found.replace(tzinfo=UTC).timestamp(), "a date")
    return Moment(found.timestamp(), "a time with its zone")


def _said(row: Row, field: str) -> str:
    return f"the field {shown(field)} says {shown(row.data.get(field))}"


__all__ = ["check_order", "moment_of", "order_note", "split_in_order", "values_of"]
