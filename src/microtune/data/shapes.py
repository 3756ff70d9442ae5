"""What the values of a field look like: the shape by which a field is recognised, whatever it is called.

A sample of rows gives every field a `Shape`: text, number, list or object, how long, how often the same value comes
back, how many of its texts are questions. `overlap` says how two texts are related.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from microtune.data.fields import number_in
from microtune.data.sources import Row
from microtune.data.splits import part_name

Kind = Literal["text", "number", "flag", "texts", "numbers", "objects", "object", "mixed", "empty"]

LOOKED_AT = 5000  # rows from which the sample is drawn: files are often sorted by class
KEPT = 500
FIRST = 100  # rows at the beginning that the sample always holds
CHARACTERS = 10_000_000  # a library of books need not be read to see that it is one
CUT = 4000  # characters of a text that are looked at
_WORD = re.compile(r"[^\W_]+")
_WIDE = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]")


def sample_of(rows: Iterable[Row]) -> list[Row]:
    """At most `KEPT` of the first `LOOKED_AT` rows: the first `FIRST`, and the others spread over the rest."""
    step, held = 1, []
    seen = 0
    for number, row in enumerate(rows):
        seen += sum(len(v) for v in row.data.values() if isinstance(v, str))
        if number < FIRST or number % step == 0:
            held.append(row)
        if len(held) >= 2 * KEPT:  # thin out: every second of the rows after the first ones
            held = held[:FIRST] + held[FIRST::2]
            step *= 2
        if number + 1 >= LOOKED_AT or seen > CHARACTERS:
            break
    return held if len(held) <= KEPT else held[:FIRST] + held[FIRST :: -(-len(held) // (KEPT - FIRST))]


@dataclass(frozen=True)
class Shape:
    """How the values of one field look in a sample.

    filled: share of rows that say something. repeated: share of the filled rows whose value stands in another row too.
    length: mean characters of a value (of a list of texts: joined). questions: share of texts with a question mark.
    prose: share of values that are running text. parts: mean number of elements of a list. low, high: of numbers.
    """

    name: str
    kind: Kind
    filled: float
    distinct: int
    repeated: float
    length: float
    questions: float = 0.0
    prose: float = 0.0
    parts: float = 0.0
    whole: bool = False
    low: float = 0.0
    high: float = 0.0
    split: bool = False

    @property
    def is_text(self) -> bool:
        """Running text of which most rows have their own."""
        return self.kind in ("text", "texts") and self.prose >= 0.5 and self.repeated < 0.8

    @property
    def is_category(self) -> bool:
        """Few short values that come back."""
        few = self.distinct >= 2 and self.repeated >= 0.6 and self.length <= 60 and self.filled >= 0.9
        plain = self.kind in ("text", "flag") or (self.kind == "number" and self.whole)
        return few and plain and not self.split and self.prose < 0.9

    @property
    def is_quantity(self) -> bool:
        """Numbers that are neither a few classes nor a count of rows."""
        return self.kind == "number" and self.filled >= 0.9 and self.distinct > 2


def shape_of(name: str, values: Sequence[Any]) -> Shape:
    """The shape of the values of one field, None or "" where a row says nothing."""
    said = [v for v in values if v is not None and v not in ("", [], {}) and not (isinstance(v, str) and v.isspace())]
    if not said:
        return Shape(name, "empty", 0.0, 0, 0.0, 0.0)
    kind = _kind(said)
    texts = [flat(v)[:CUT] for v in said]
    counts = Counter(texts)
    numbers = [number_in(v) for v in said] if kind == "number" else []
    found = [n for n in numbers if n is not None]
    return Shape(
        name,
        kind,
        filled=len(said) / len(values),
        distinct=len(counts),
        repeated=sum(n for n in counts.values() if n > 1) / len(said),
        length=sum(len(flat(v)) for v in said) / len(said),
        questions=sum("?" in t or "？" in t for t in texts) / len(texts),
        prose=sum(map(is_prose, texts)) / len(texts),
        parts=sum(len(v) for v in said if isinstance(v, list)) / len(said),
        whole=bool(found) and all(n.is_integer() for n in found) and not any("." in t for t in texts),
        low=min(found, default=0.0),
        high=max(found, default=0.0),
        split=all(part_name(t) for t in counts),
    )


def _kind(said: Sequence[Any]) -> Kind:
    if all(isinstance(v, bool) for v in said):
        return "flag"
    if all(isinstance(v, str) and v.strip().casefold() in ("true", "false") for v in said):
        return "flag"
    if all(number_in(v) is not None for v in said):
        return "number"
    if all(isinstance(v, (str, int, float)) for v in said):
        return "text"
    if all(isinstance(v, dict) for v in said):
        return "object"
    if not all(isinstance(v, list) for v in said):
        return "mixed"
    inner = [part for v in said for part in v[:50]]
    if all(isinstance(part, str) for part in inner):
        return "texts"
    if all(isinstance(part, dict) for part in inner):
        return "objects"
    return "numbers" if all(isinstance(part, (int, float)) for part in inner) else "mixed"


def shapes_of(rows: Sequence[Row]) -> list[Shape]:
    """The shape of every field, in the order of the file; the number of each row (an id) is left out."""
    names = list(dict.fromkeys(name for row in rows for name in row.data))
    shapes = [shape_of(name, [row.data.get(name) for row in rows]) for name in names]
    return [shape for shape in shapes if not _is_counter(shape, rows)]


def _is_counter(shape: Shape, rows: Sequence[Row]) -> bool:
    """Whole numbers that only rise, one for each row."""
    if shape.kind != "number" or not shape.whole or shape.distinct < max(3, 0.99 * len(rows)):
        return False
    values = [number_in(row.data.get(shape.name)) or 0.0 for row in rows]
    return all(a < b for a, b in pairwise(values))


def flat(value: Any) -> str:
    """A value as one text: the strings in a list or an object, a line each."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "\n".join(flat(part) for part in value)
    if isinstance(value, dict):
        return "\n".join(flat(part) for part in value.values())
    return "" if value is None else str(value)


def is_prose(text: str) -> bool:
    """Whether a text has at least three words of letters, or five Chinese characters."""
    if len(_WIDE.findall(text[:200])) >= 5:
        return True
    words = [word for word in _WORD.findall(text[:200]) if not word.isdigit()]
    return len(words) >= 3 and " " in text


def units(text: str) -> list[str]:
    """The words of a text, and pairs of neighbouring characters where it is Chinese."""
    text = text[:CUT].casefold()
    words = [w for w in _WORD.findall(text) if not _WIDE.search(w)]
    wide = _WIDE.findall(text)
    return words + [a + b for a, b in pairwise(wide)]


def overlap(one: str, other: str) -> float:
    """Share of the units of the text with fewer of them that stand in the other one too."""
    a, b = set(units(one)), set(units(other))
    return len(a & b) / max(1, min(len(a), len(b)))


def weight(text: str) -> int:
    """How much there is to read: letters, of which a Chinese character counts as two."""
    return len(text) + len(_WIDE.findall(text))
