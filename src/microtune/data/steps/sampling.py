"""Steps that change how often rows are seen: balanced labels, sources mixed with rates, augmented copies.

Under- and over-sampling are the oldest remedies against rare labels (Kubat and Matwin, 1997); weights in the loss are
another (`task.balance: weights`), which costs no row. Random swap and deletion of words are two of the four operations
of EDA (Wei and Zou, 2019); they help small sets a little and are never on unless asked for.
"""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import PurePath
from typing import Any, ClassVar, Literal

from pydantic import Field

from microtune.data.sources import Row
from microtune.data.steps.base import RowStep, View, changed, steps
from microtune.errors import InputError

_PIECES = re.compile(r"[\u3400-\u9fff]|[^\s\u3400-\u9fff]+|\s+")
MOST_TIMES = 100  # that a row is repeated


class Balance(RowStep):
    """As many rows of each label: of frequent ones fewer, or rare ones again."""

    name: Literal["balance"] = "balance"
    how: Literal["under", "over"] = Field(
        default="over", description="drop rows of frequent labels, or repeat rare ones"
    )
    most: float = Field(default=10.0, ge=1, le=MOST_TIMES, description="times that a row may stand there (over)")

    def choose(self, rows: Sequence[Row], view: View) -> list[Row]:
        if view.label is None:
            raise InputError("The step balance needs labels; this task has none.")
        groups: dict[str, list[int]] = defaultdict(list)
        for place, row in enumerate(rows):
            groups[repr(view.label(row))].append(place)
        sizes = [len(places) for places in groups.values()]
        aim = min(sizes, default=0) if self.how == "under" else max(sizes, default=0)
        chosen: list[int] = []
        for name in sorted(groups):
            places = groups[name]
            wanted = aim if self.how == "under" else min(aim, int(self.most * len(places)))
            chosen += drawn(places, wanted, view.random)
        return [rows[place] for place in sorted(chosen)]


class Mix(RowStep):
    """Rows of several sources, each with a rate: 0.5 keeps half of them, 2 repeats each."""

    name: Literal["mix"] = "mix"
    rates: dict[str, float] = Field(description="file name (or pattern), or value of `field` -> rate")
    field: str | None = Field(default=None, description="field that names the source; default: the file")

    def choose(self, rows: Sequence[Row], view: View) -> list[Row]:
        wrong = next((rate for rate in self.rates.values() if not 0 <= rate <= MOST_TIMES), None)
        if wrong is not None:
            raise InputError(f"data.steps, mix: a rate is a number from 0 to {MOST_TIMES}, not {wrong:g}.")
        groups: dict[str, list[int]] = defaultdict(list)
        for place, row in enumerate(rows):
            groups[self._source(row)].append(place)
        unused = [pattern for pattern in self.rates if not any(fnmatch(name, pattern) for name in groups)]
        if unused:
            known = ", ".join(sorted(groups)[:12])
            raise InputError(f'data.steps, mix: no row is of the source "{unused[0]}"; there are {known}.')
        chosen: list[int] = []
        for name in sorted(groups):
            rate = next((rate for pattern, rate in self.rates.items() if fnmatch(name, pattern)), 1.0)
            chosen += drawn(groups[name], round(rate * len(groups[name])), view.random)
        return [rows[place] for place in sorted(chosen)]

    def _source(self, row: Row) -> str:
        return PurePath(row.path).name if self.field is None else str(row.data.get(self.field))


class Augment(RowStep):
    """Further copies of rows with some neighbouring words swapped, or some words dropped."""

    name: Literal["augment"] = "augment"
    how: Literal["swap", "drop"] = Field(default="swap", description="what is done to words (of Chinese: characters)")
    rate: float = Field(default=0.1, gt=0, le=0.5, description="share of the words")
    copies: int = Field(default=1, ge=1, le=10, description="of each row")

    writes: ClassVar[bool] = True

    def choose(self, rows: Sequence[Row], view: View) -> list[Row]:
        found = list(rows)
        for row in rows:
            for _ in range(self.copies):
                new: dict[str, Any] = {
                    name: changed(row.data[name], lambda text: self._copy(text, view.random))
                    for name in view.fields
                    if name in row.data
                }
                if any(new[name] != row.data[name] for name in new):
                    found.append(Row({**row.data, **new}, row.path, row.line))
        return found

    def _copy(self, text: str, rng: random.Random) -> str:
        pieces = _PIECES.findall(text)
        words = [i for i, piece in enumerate(pieces) if not piece.isspace()]
        times = max(1, round(self.rate * len(words)))
        if len(words) < 3:
            return text
        if self.how == "drop":
            gone = set(rng.sample(words, min(times, len(words) - 2)))
            kept = "".join("" if i in gone else piece for i, piece in enumerate(pieces))
            return re.sub(r"[^\S\n]{2,}", " ", kept).strip()
        for _ in range(times):
            first = rng.randrange(len(words) - 1)
            a, b = words[first], words[first + 1]
            pieces[a], pieces[b] = pieces[b], pieces[a]
        return "".join(pieces)


def drawn(places: Sequence[int], wanted: int, rng: random.Random) -> list[int]:
    """So many of the places: each as often as the others, the rest by chance."""
    whole, rest = divmod(wanted, len(places))
    return [place for place in places for _ in range(whole)] + rng.sample(list(places), rest)


steps.add("balance", Balance)
steps.add("mix", Mix)
steps.add("augment", Augment)
