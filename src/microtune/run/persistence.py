"""Beside the score of a run whose rows are parted in an order: the answer of the time before, said again.

Prices, demand and weather have one forecast that needs no model: tomorrow is as today (the "no change" forecast of
Theil, 1966). A model that does not beat it, and the most frequent answer, has found nothing that could be used; of the
movements of a market that is what one has to expect. Only answers that were known at the time are used: those of rows
at the last moment before a row's own.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from microtune.data.ordered_split import values_of
from microtune.data.splits import PARTS
from microtune.run.evaluate import Score
from microtune.run.prepare import Splits
from microtune.tasks.base import Task
from microtune.tasks.classification import Classification
from microtune.tasks.labels import label_of
from microtune.tasks.regression import Regression, number_of


def beside_the_one_before(task: Task, scores: Mapping[str, Score], splits: Splits) -> list[str]:
    """A note on the final score, of a task with one answer a row whose rows are parted in an order; else none."""
    split = "test" if "test" in scores else "validation"
    if not splits.order or split not in scores:
        return []
    if isinstance(task, Regression):
        return [_of_numbers(task, scores[split], split, splits)]
    if isinstance(task, Classification) and task.form != "multi":
        return [_of_labels(task, scores[split], split, splits)]
    return []


def _of_labels(task: Classification, score: Score, split: str, splits: Splits) -> str:
    field = task.label_field or "label"
    given = [label_of(row, field) for row in splits.rows[split]]
    most = _most_frequent([label_of(row, field) for row in splits.rows["train"]])
    before = before_each(splits, split, lambda row: label_of(row, field), _most_frequent)
    one = given.count(most) / len(given)
    last = sum(a == b for a, b in zip(given, before, strict=True)) / len(given)
    low, high = score.intervals.get("accuracy", (0.0, 1.0))
    clear = "clearly better than both" if low > max(one, last) else "not clearly better than the better of the two"
    return (
        f'On {split} ({len(given)} rows), always answering "{most}" is right in {one:.3f}, and the answer of '
        f'the moment before (by "{splits.order}") in {last:.3f}; the model in {score.values["accuracy"]:.3f} '
        f"(95 % interval {low:.3f} to {high:.3f}), {clear}."
    )


def _of_numbers(task: Regression, score: Score, split: str, splits: Splits) -> str:
    field = task.label_field or "score"
    before = before_each(splits, split, lambda row: number_of(row, field), lambda found: sum(found) / len(found))
    gaps = [(number_of(row, field) - last) ** 2 for row, last in zip(splits.rows[split], before, strict=True)]
    rmse = math.sqrt(sum(gaps) / len(gaps))
    high = score.intervals.get("rmse", (0.0, math.inf))[1]
    return (
        f'On {split}, answering what stood at the moment before (by "{splits.order}") gives RMSE {rmse:.4g}; the model '
        f"{score.values['rmse']:.4g} ({'clearly' if high < rmse else 'not clearly'} better)."
    )


def before_each(splits: Splits, split: str, answer: Any, one: Any) -> list[Any]:
    """For each row of a part what `one` makes of the answers of all rows at the last moment before its own."""
    at: dict[float, list[Any]] = defaultdict(list)
    moments: dict[str, list[float]] = {}
    for part in (name for name in PARTS if name in splits.rows):
        rows = splits.rows[part]
        moments[part] = values_of(rows, splits.order)
        for row, moment in zip(rows, moments[part], strict=True):
            at[moment].append(answer(row))
    known = sorted(at)
    said = {moment: one(at[known[bisect_left(known, moment) - 1]]) for moment in set(moments[split])}
    return [said[moment] for moment in moments[split]]


def _most_frequent(found: Sequence[Any]) -> Any:
    counts = Counter(found)
    return max(sorted(counts, key=str), key=lambda label: counts[label])


__all__ = ["before_each", "beside_the_one_before"]
