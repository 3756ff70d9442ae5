"""Labels as they stand in rows: one, several in a list or joined by a sign, or steps of a scale.

Which of these a field holds is found from its values alone; a label set that the user declares is kept in its order,
and a row with any other label is refused by name.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from microtune.data.sources import Row
from microtune.errors import InputError, at, suggest

Label = str | int
Form = Literal["single", "multi", "ordinal"]
SIGNS = ("|", ";", ",", "、", "；", "，")  # that may join several labels in one text, the surest first
LONGEST_LABEL = 60  # characters: beyond them a text with commas is a sentence, not a list of labels
MOST_LABELS = 600  # of a multi-label task: what scoring keeps of a row stays below 200 bytes
MOST_WEIGHT = 100.0  # of a rare label in a multi-label loss: one row in a million must not be the whole gradient


@dataclass(frozen=True)
class Reader:
    """How the label field of a row is read: `sign` joins several labels in one text, where there is such a sign."""

    field: str
    many: bool = False
    sign: str = ""
    kind: type[Label] | None = None  # of the labels of a model: a CSV file holds "1" where JSON has 1

    def labels(self, row: Row) -> list[Label]:
        """The labels of a row: exactly one, or any number where rows may have several."""
        found = labels_of(row, self.field, self.sign) if self.many else [label_of(row, self.field)]
        return found if self.kind is None else [as_kind(label, self.kind) for label in found]


def as_kind(label: Label, kind: type[Label]) -> Label:
    """A label of this kind where it is written alike, else as it is: "1" and 1, but not "01" and 1."""
    if kind is str:
        return str(label)
    whole = isinstance(label, str) and label.isascii() and label.removeprefix("-").isdigit()
    return int(label) if whole and str(int(label)) == label else label


def label_of(row: Row, field: str) -> Label:
    """The label in a field of a row: a string or an integer."""
    return _label(row.data.get(field), row, field)


def labels_of(row: Row, field: str, sign: str = "") -> list[Label]:
    """All labels in a field of a row, each once: a list, a text in which `sign` joins them, or nothing ("" or [])."""
    value = row.data.get(field)
    if value is None:
        raise InputError(
            f'{at(row.path, row.line)}: the labels in "{field}" are missing; write an empty list for a row of none.'
        )
    if isinstance(value, str) and not value.strip():
        return []
    if isinstance(value, str) and sign:
        value = [part for part in value.split(sign) if part.strip()]
    parts = value if isinstance(value, list) else [value]
    return list(dict.fromkeys(_label(part, row, field) for part in parts))


def _label(value: Any, row: Row, field: str) -> Label:
    if isinstance(value, str) and value.strip():
        return value.strip()
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    kind = (
        "is missing" if value is None or value == "" else f"is {type(value).__name__}, not a string or a whole number"
    )
    raise InputError(f'{at(row.path, row.line)}: the label in "{field}" {kind}.')


def guess_form(rows: Sequence[Row], field: str) -> tuple[Form, str]:
    """Whether rows have one label or several, and the sign that joins several in one text.

    Several: lists in all rows that say anything, or a sign whose parts are fewer than the texts it joins and
    come back in more than one of them.
    """
    values = [row.data.get(field) for row in rows]
    said = [value for value in values if value is not None and value != ""]
    if said and all(isinstance(value, list) for value in said):
        return "multi", ""
    texts = Counter(value.strip() for value in values if isinstance(value, str) and value.strip())
    sign = joining_sign(texts)
    return ("multi", sign) if sign else ("single", "")


def joining_sign(texts: Mapping[str, int]) -> str:
    """The sign by which these texts are made of few labels, or "" where each is a label of its own."""
    if not any(sign in text for text in texts for sign in SIGNS):
        return ""
    for sign in SIGNS:
        split = {text: [part.strip() for part in text.split(sign) if part.strip()] for text in texts}
        joined = [parts for parts in split.values() if len(parts) > 1]
        parts = Counter(part for found in split.values() for part in set(found))
        again = {part for part, count in parts.items() if count > 1}
        if joined and len(parts) < len(texts) and max(map(len, parts)) <= LONGEST_LABEL:
            shared = sum(part in again for found in joined for part in found)
            if shared > sum(map(len, joined)) / 2:
                return sign
    return ""


def ordered(found: Iterable[Label]) -> tuple[Label, ...]:
    """Labels by value."""
    return tuple(sorted(found, key=lambda v: (isinstance(v, str), v)))


def scale(found: Iterable[Label], field: str, where: str) -> tuple[Label, ...]:
    """Labels as the steps of a scale, by their numbers; InputError where they are words."""
    labels = list(found)
    try:
        return tuple(sorted(labels, key=_number))
    except ValueError:
        words = ", ".join(f'"{label}"' for label in labels[:6])
        raise InputError(
            f'{where}: the steps in "{field}" are words ({words}), whose order nobody can know; '
            "declare it from low to high with task.labels=[...]."
        ) from None


def _number(label: Label) -> float:
    value = float(label)
    if not math.isfinite(value):
        raise ValueError(label)
    return value


def declared(labels: Sequence[Label], found: Mapping[Label, Row]) -> tuple[Label, ...]:
    """The declared labels, in their order, in the type that the rows use; InputError for a label that is not among
    them, with its row."""
    if len({str(label).strip() for label in labels}) < len(labels):
        raise InputError("task.labels: a label is declared twice.")
    known = {str(label).strip(): label for label in labels}
    for label, row in found.items():
        if str(label) not in known:
            raise InputError(
                f'{at(row.path, row.line)}: the label "{label}" is not among the declared ones. '
                f"{suggest(str(label), list(known))}"
            )
    if all(isinstance(label, str) for label in found):
        return tuple(known)
    numbers = {str(label): label for label in found}
    return tuple(numbers.get(name, label) for name, label in known.items())


def one_type(found: Mapping[Label, Row]) -> None:
    """Refuse labels of which some are texts and some are numbers."""
    kinds = {type(label): row for label, row in found.items()}
    if len(kinds) > 1:
        places = " and ".join(f"{kind.__name__} ({at(row.path, row.line)})" for kind, row in kinds.items())
        raise InputError(f"The labels are of mixed types: {places}; make them all strings or all whole numbers.")


def inverse_frequency(counts: Sequence[int], rows: int, *, many: bool) -> tuple[float, ...]:
    """What a label weighs in the loss: of one label per row, rows / (labels * count), 1 on average over the rows.

    Of several labels (`many`), how much more a row that has the label weighs than one that has not: rows without / rows
    with, at most `MOST_WEIGHT`. A label without rows weighs 1.
    """
    if many:
        return tuple(min(max(rows - n, 1) / n, MOST_WEIGHT) if n else 1.0 for n in counts)
    return tuple(rows / (len(counts) * n) if n else 1.0 for n in counts)
