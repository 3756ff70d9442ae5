"""What a guess is made of: the shapes of a file's fields, which are texts and which are classes, how two texts are
related. Used by guess.py, which decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import correlation
from typing import Any, Literal

from microtune.data.languages import differ, language
from microtune.data.names import NAMES, parts, plain
from microtune.data.shapes import Shape, flat, overlap, weight
from microtune.data.sources import Row

RELATED = 60  # rows by which the relation of two texts is judged
PAIRS = (
    ("sentence1", "sentence2"),
    ("text1", "text2"),
    ("text_a", "text_b"),
    ("sentence_a", "sentence_b"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
    ("句子1", "句子2"),
    ("文本1", "文本2"),
    ("前提", "假设"),
)
COPIES = 0.85  # shared words from which on two texts say the same thing

Relation = Literal["answer", "asks", "shorter", "translated", "alike", "same", "other"]


@dataclass(frozen=True)
class Guess:
    """A proposal. fields: role -> field name (or names). form: how the task's rows stand in this file. why: a key of
    the table of words. options: the task's section of a recipe; None where the rows must be rewritten first."""

    task: str
    form: str
    fields: dict[str, Any]
    why: str
    options: dict[str, Any] | None = None
    others: tuple[str, ...] = ()


@dataclass
class File:
    """What the decisions look at."""

    rows: Sequence[Row]
    shapes: list[Shape] = field(default_factory=list)
    texts: list[Shape] = field(default_factory=list)
    labels: list[Shape] = field(default_factory=list)

    def called(self, role: str, among: Sequence[Shape]) -> Shape | None:
        """The field that is named like a role; None where there is none, or several (of labels the first counts)."""
        for tier in NAMES[role]:
            whole = [shape for shape in among if plain(shape.name) in tier]
            for found in (whole, [shape for shape in among if set(tier) & set(parts(shape.name))]):
                if found:
                    return found[0] if len(found) == 1 or role == "label" else None
        return None

    def relation(self, one: Shape, other: Shape) -> Relation:
        """What the second of two texts is to the first."""
        return relation(self.rows, one, other)


def named_pair(shapes: Sequence[Shape]) -> list[Shape]:
    """Two texts that are named as the first and the second of a pair: texts, however often the same ones come back."""
    found = [shape for shape in shapes if shape.kind == "text" and shape.prose >= 0.5]
    for first, second in PAIRS:
        pair = [next((s for s in found if plain(s.name) == name), None) for name in (first, second)]
        if pair[0] is not None and pair[1] is not None:
            return [s for s in pair if s is not None]
    return []


def stands_in(rows: Sequence[Row], part: Shape, whole: Shape) -> float:
    values = [(flat(row.data.get(part.name)), flat(row.data.get(whole.name))) for row in rows]
    said = [(a.strip().casefold(), b.casefold()) for a, b in values if a.strip() and b]
    return sum(a in b for a, b in said) / max(1, len(said))


def better(one: str, other: str) -> tuple[str, str]:
    """(chosen, rejected): by their names where these say so, else the first is the better one."""
    worse = {name for tier in NAMES["rejected"] for name in tier}
    return (other, one) if plain(one) in worse else (one, other)


def main_two(texts: Sequence[Shape]) -> tuple[Shape, Shape]:
    """The two texts that rows share least, in the order of the file; of more than two the longest."""
    best = sorted(texts, key=lambda s: (s.repeated > 0.5, -s.length))[:2]
    return (best[0], best[1]) if texts.index(best[0]) < texts.index(best[1]) else (best[1], best[0])


def label_of(file: File) -> Shape | None:
    """The label: the field named so, else the first of the fewest classes that every row has."""
    several = [s for s in file.shapes if is_label_list(s, file.rows)]
    candidates = [*file.labels, *several]
    return file.called("label", candidates) or min(candidates, key=lambda s: (-s.filled, s.distinct), default=None)


def is_label_list(shape: Shape, rows: Sequence[Row]) -> bool:
    """Lists of few short texts that come back, in which some rows have none or several."""
    if shape.kind != "texts" or shape.prose > 0.3:
        return False
    found = [part for row in rows for part in row.data.get(shape.name) or []]
    return len(set(found)) <= max(3, 0.3 * len(found)) and max(map(len, found)) <= 60


def number_of(file: File) -> Shape | None:
    """The number to predict: the field named so, else the only one of numbers that are no classes."""
    found = [s for s in file.shapes if s.is_quantity and (not s.whole or s.distinct > 20)]
    return file.called("score", found) or (found[0] if len(found) == 1 else None)


def relation(rows: Sequence[Row], one: Shape, other: Shape) -> Relation:
    """What the second of two texts is to the first, by questions, script, length and the words they share."""
    step = max(1, len(rows) // RELATED)
    pairs = [(flat(row.data.get(one.name)), flat(row.data.get(other.name))) for row in rows[::step]]
    pairs = [(a, b) for a, b in pairs if a.strip() and b.strip()]
    spoken = [(language(a), language(b)) for a, b in pairs]
    sure = [(a, b) for a, b in spoken if a and b and (differ(a, b) or "latin" not in (a, b))]
    if len(sure) >= max(3, 0.1 * len(pairs)) and sum(differ(a, b) for a, b in sure) >= 0.8 * len(sure):
        return "translated"
    if one.questions >= 0.5 and other.questions < 0.6 * one.questions:
        return "answer"
    if other.questions >= 0.7 and one.questions < 0.3:
        return "asks"
    shared = sum(overlap(a, b) for a, b in pairs) / max(1, len(pairs))
    ratio = one.length / max(other.length, 1.0)
    if shared >= 0.35 and (ratio >= 2.5 or ratio <= 0.4):
        return "shorter"
    return "same" if shared >= COPIES else "alike" if shared >= 0.5 else "other"


def lengths_together(rows: Sequence[Row], one: Shape, other: Shape) -> float:
    """Correlation of the lengths of two texts (Gale and Church, 1993, aligned translations by it)."""
    sizes = [(weight(flat(row.data.get(one.name))), weight(flat(row.data.get(other.name)))) for row in rows]
    first, second = zip(*sizes, strict=True)
    return correlation(first, second) if len(set(first)) > 1 < len(set(second)) else 0.0
