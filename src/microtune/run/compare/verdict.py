"""Which method to take, and why, without crowning a winner inside noise.

Candidates answered the same validation rows, so they are compared in pairs: rows are drawn anew many times (bootstrap,
Efron, 1979), and the difference of two candidates' scores on the same draws has an interval of its own, narrower than
what two separate intervals would tell. Who cannot be told from the best is as good as the best here; of these the
cheapest to train is recommended.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from microtune.run.evaluate import RESAMPLES
from microtune.tasks.base import Task
from microtune.tasks.outcomes import Column, Columns, Outcomes

CHEAPER = 1.5  # times: below, two candidates cost the same


@dataclass(frozen=True)
class Contender:
    """A candidate that trained to the end. found: what its runs (one a seed) said about the validation rows."""

    name: str
    score: float  # on validation, mean of its runs
    seconds: float  # of a whole training, as measured before
    trainable: int
    found: Sequence[Columns]


@dataclass(frozen=True)
class Verdict:
    """What is recommended. best: by validation alone; tied: those that cannot be told from it."""

    method: str
    best: str
    tied: tuple[str, ...]
    reason: str


def draws(task: Task, found: Sequence[Columns], metric: str) -> Column:
    """The metric, averaged over `found`, on RESAMPLES draws of rows; the same draws for every call with these rows."""
    rows = found[0]["row"]
    alone = np.where(rows < 0, np.arange(len(rows)) + rows.max(initial=0) + 1, rows)
    _, group = np.unique(alone, return_inverse=True)
    count = int(group.max(initial=-1)) + 1
    outcomes = [Outcomes(columns, task.read) for columns in found]
    generator = np.random.default_rng(0)
    result = np.empty(RESAMPLES)
    for number in range(RESAMPLES):
        times = np.bincount(generator.integers(count, size=count), minlength=count).astype(np.float64)[group]
        result[number] = np.mean([task.metrics(one, times)[metric] for one in outcomes])
    return result


def interval(values: Column) -> tuple[float, float]:
    """The middle 95 %."""
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def decide(task: Task, contenders: Sequence[Contender]) -> Verdict:
    """The recommendation; `contenders` is not empty."""
    metric, greater = task.chosen_by()
    sign = 1 if greater else -1
    order = sorted(contenders, key=lambda c: (-sign * c.score, c.seconds))
    best = order[0]
    if len(order) == 1:
        return Verdict(best.name, best.name, (), f"{best.name}: the only one that trained to the end.")
    drawn = {c.name: draws(task, c.found, metric) for c in order}
    tied, behind = [], {}
    for other in order[1:]:
        low, high = interval(sign * (drawn[best.name] - drawn[other.name]))
        if low <= 0:
            tied.append(other)
        else:
            behind[other.name] = (best.score - other.score, low, high)
    cheapest = min([best, *tied], key=lambda c: c.seconds)
    names = tuple(c.name for c in tied)
    if not tied:
        return Verdict(best.name, best.name, names, _clear(best, behind, metric))
    if cheapest is best or best.seconds < CHEAPER * cheapest.seconds:
        return Verdict(best.name, best.name, names, _close(best, tied, metric))
    return Verdict(cheapest.name, best.name, names, _cheaper(best, cheapest, metric, sign))


def _clear(best: Contender, behind: Mapping[str, tuple[float, float, float]], metric: str) -> str:
    name, (gap, low, high) = next(iter(behind.items()))
    return (
        f"{best.name}: best on validation ({metric} {best.score:.4g}), and more than chance ahead of the next, {name} "
        f"(by {abs(gap):.3g}; 95 % interval of the difference {low:.3g} to {high:.3g})."
    )


def _close(best: Contender, tied: Sequence[Contender], metric: str) -> str:
    names = " and ".join(c.name for c in tied)
    verb = "is" if len(tied) == 1 else "are"
    return (
        f"{best.name}: best on validation ({metric} {best.score:.4g}); {names} {verb} within the noise of these rows, "
        "but not much cheaper to train."
    )


def _cheaper(best: Contender, cheapest: Contender, metric: str, sign: int) -> str:
    times = best.seconds / max(cheapest.seconds, 1e-9)
    factor = f"{times:.0f}" if times >= 3 else f"{times:.1f}"
    gap = abs(best.score - cheapest.score)
    lead = (
        f"within the noise of {best.name}, the best on validation ({metric} {best.score:.4g}, {gap:.3g} "
        f"{'higher' if sign > 0 else 'lower'} on these rows),"
    )
    if best.score == cheapest.score:
        lead = f"equal to {best.name} on validation ({metric} {best.score:.4g})"
    return (
        f"{cheapest.name}: {lead} and {factor} times cheaper to train; take {best.name} only if the last point matters."
    )
