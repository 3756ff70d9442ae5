"""Scores of answers with 95 % intervals over rows, in the way of the package: Wilson's of shares, else a bootstrap."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Result = dict[str, Any]
RESAMPLES = 500
SHARES = ("accuracy", "number_match")


def judged(metrics: Callable[[Array], dict[str, float]], count: int) -> Result:
    """Values and intervals of `metrics`, which takes the indices of the rows that count (some of them twice)."""
    from microtune.run.evaluate import wilson

    values = metrics(np.arange(count))
    generator = np.random.default_rng(0)
    draws = [metrics(generator.integers(count, size=count)) for _ in range(RESAMPLES)]
    intervals = {}
    for name, value in values.items():
        low, high = np.percentile([draw[name] for draw in draws], [2.5, 97.5])
        intervals[name] = wilson(value, count) if name in SHARES else (float(low), float(high))
    return {"values": values, "intervals": intervals}


def fixed(**values: float) -> Result:
    """Values that are computed, not measured: no interval."""
    return {"values": values, "intervals": {}}


def of_shares(right: Sequence[bool], name: str = "accuracy") -> Result:
    """The share of rows that are right."""
    column = np.array(right, dtype=np.float64)
    return judged(lambda rows: {name: float(column[rows].mean())}, len(column))


def of_labels(given: Sequence[str], answers: Sequence[str]) -> Result:
    """Accuracy, and the mean distance in steps where all labels are numbers."""
    right = np.array([a == b for a, b in zip(given, answers, strict=True)], dtype=np.float64)
    steps = None
    if all(label.lstrip("-").isdecimal() for label in [*given, *answers]):
        steps = np.abs(np.array(given, dtype=np.float64) - np.array(answers, dtype=np.float64))

    def metrics(rows: Array) -> dict[str, float]:
        values = {"accuracy": float(right[rows].mean())}
        return values if steps is None else values | {"mae_steps": float(steps[rows].mean())}

    return judged(metrics, len(right))


def of_many_labels(given: Array, answers: Array) -> Result:
    """Micro F1, and macro F1 over the labels that are given or answered; `[rows, labels]` of 0 and 1."""
    hit, both = given * answers, given + answers

    def metrics(rows: Array) -> dict[str, float]:
        hits, total = hit[rows].sum(0), both[rows].sum(0)
        seen = total > 0
        each = 2 * hits[seen] / total[seen]
        return {
            "micro_f1": float(2 * hits.sum() / max(total.sum(), 1)),
            "macro_f1": float(each.mean() if len(each) else 0),
        }

    return judged(metrics, len(given))


def of_numbers(given: Array, answers: Array) -> Result:
    """RMSE, and Spearman where the answers are not all the same."""
    from scipy.stats import spearmanr

    varied = len(np.unique(answers)) > 1

    def metrics(rows: Array) -> dict[str, float]:
        gap = given[rows] - answers[rows]
        values = {"rmse": float(np.sqrt(np.mean(gap * gap)))}
        return values | {"spearman": float(spearmanr(given[rows], answers[rows]).statistic)} if varied else values

    return judged(metrics, len(given))


def of_spans(given: Sequence[set[Any]], answers: Sequence[set[Any]]) -> Result:
    """Strict precision, recall and F1 of spans."""
    counts = np.array([(len(g & a), len(g), len(a)) for g, a in zip(given, answers, strict=True)], dtype=np.float64)

    def metrics(rows: Array) -> dict[str, float]:
        hit, there, said = counts[rows].sum(0)
        return {"f1": 2 * hit / max(there + said, 1), "precision": hit / max(said, 1), "recall": hit / max(there, 1)}

    return judged(metrics, len(counts))


def of_columns(**columns: Sequence[float]) -> Result:
    """The mean of each column."""
    found = {name.replace("_at_", "@"): np.array(column, dtype=np.float64) for name, column in columns.items()}
    return judged(lambda rows: {n: float(c[rows].mean()) for n, c in found.items()}, len(next(iter(found.values()))))
