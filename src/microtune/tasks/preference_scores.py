"""What a preference is scored by: how far answers have moved from the base, in log-probabilities.

The drift is the estimate of the Kullback-Leibler divergence whose terms are never negative (Schulman, 2020):
exp(d) - 1 - d with d = log p of the base - log p of the model, per token of the good answers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from microtune.data.batches import Batch
from microtune.errors import InputError
from microtune.tasks.outcomes import Column, Columns


@dataclass(frozen=True)
class Judged:
    """What a preference knows of an item: whether its (first) answer is good, and tokens of each answer.

    reference: log-probability that the base gives each target token, float32.
    """

    good: bool
    counts: tuple[int, ...]
    reference: Column | None = None

    def reference_sums(self) -> list[float]:
        """The base's log-probability of each answer."""
        if self.reference is None:
            raise InputError("The base was not asked about these answers; score them with microtune evaluate.")
        ends = np.cumsum(self.counts)[:-1]
        return [float(part.sum(dtype=np.float64)) for part in np.split(self.reference, ends)]


class Settings(Protocol):
    """What of the task is needed here."""

    @property
    def objective(self) -> str: ...
    @property
    def beta(self) -> float: ...
    @property
    def label_smoothing(self) -> float: ...
    @property
    def good_weight(self) -> float: ...
    @property
    def bad_weight(self) -> float: ...


def measured(logs: Column, batch: Batch) -> dict[str, Column]:
    """`first`, `second`: by how much the answers of each row have moved; the drift of the first and its tokens."""
    found: dict[str, list[Any]] = {name: [] for name in ("first", "second", "good", "drift", "tokens")}
    start = 0
    for item in batch.items:
        judged: Judged = item.extra
        sums, counts = judged.reference_sums(), judged.counts
        ends = np.cumsum([start, *counts])
        moved = [float(logs[a:b].sum()) - sum_ for a, b, sum_ in zip(ends[:-1], ends[1:], sums, strict=True)]
        assert judged.reference is not None
        gap = judged.reference[: counts[0]].astype(np.float64) - logs[start : start + counts[0]]
        found["first"].append(moved[0])
        found["second"].append(moved[1] if len(moved) > 1 else math.nan)
        found["good"].append(float(judged.good))
        found["drift"].append(float((np.exp(np.minimum(gap, 50.0)) - 1 - gap).sum()))
        found["tokens"].append(float(counts[0]))
        start = int(ends[-1])
    return {name: np.array(values, dtype=np.float64) for name, values in found.items()}


def scores_of(task: Settings, columns: Columns, weights: Column | None) -> dict[str, float]:
    """loss, preference_accuracy, margin (in units of beta), drift (nats per token of good answers)."""
    first, second, good = columns["first"], columns["second"], columns["good"] > 0
    times = np.ones(len(first)) if weights is None else weights
    if task.objective == "dpo":
        margin = task.beta * (first - second)
        share = task.label_smoothing
        loss = (1 - share) * np.logaddexp(0, -margin) + share * np.logaddexp(0, margin)
        found = {"loss": loss, "preference_accuracy": (margin > 0) + 0.5 * (margin == 0), "margin": margin}
        values = {name: float(np.average(value, weights=times)) for name, value in found.items()}
    else:
        values = _single(task, first, second, good, times)
    tokens = (columns["tokens"] * times)[good].sum()
    return values | ({"drift": float((columns["drift"] * times)[good].sum() / tokens)} if tokens else {})


def _single(task: Settings, first: Column, second: Column, good: Column, times: Column) -> dict[str, float]:
    """Of answers that stand alone: the split takes the place of the batch."""
    known = ~np.isnan(second)
    other = float(np.average(second[known], weights=times[known])) if times[known].sum() else 0.0
    gain = task.beta * (first - max(other, 0.0)) * np.where(good, 1, -1)
    loss = np.where(good, task.good_weight, task.bad_weight) / (1 + np.exp(np.clip(gain, -500, 500)))
    values = {
        "loss": float(np.average(loss, weights=times)),
        "preference_accuracy": float(np.average((gain > 0) + 0.5 * (gain == 0), weights=times)),
    }
    if times[good].sum() and times[~good].sum():
        means = [float(np.average(first[part], weights=times[part])) for part in (good, ~good)]
        values["margin"] = task.beta * (means[0] - means[1])
    return values
