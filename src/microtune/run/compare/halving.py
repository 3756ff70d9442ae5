"""Successive halving: many candidates train a little, the better half goes on (Jamieson and Talwalkar, 2016).

A rung is a number of steps. Two candidates at least reach the last rung, where all steps are done, so that there is
something to compare. Rungs stand at the ends of epochs where an epoch is short enough: there a run looks at validation
anyway.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

FINALISTS = 2


@dataclass(frozen=True)
class Rung:
    """Train until `steps`; so many candidates begin it."""

    steps: int
    candidates: int


@dataclass(frozen=True)
class Mark:
    """What is known of a candidate at a rung: its best score on validation so far, and the loss that parts equals."""

    value: float
    loss: float | None = None


def survivors(count: int) -> int:
    """How many of `count` candidates go on after a rung."""
    return min(count, max(FINALISTS, math.ceil(count / 2)))


def make_rungs(count: int, total_steps: int, steps_per_epoch: int) -> list[Rung]:
    """Rungs for `count` candidates: each has half as many candidates as the one before and about twice the steps."""
    counts = [count]
    while counts[-1] > FINALISTS:
        counts.append(survivors(counts[-1]))
    found: list[Rung] = []
    for place, candidates in enumerate(counts):
        steps = total_steps / 2 ** (len(counts) - 1 - place)
        if steps >= 0.75 * steps_per_epoch:
            steps = max(1, round(steps / steps_per_epoch)) * steps_per_epoch
        whole = total_steps if place == len(counts) - 1 else min(max(1, round(steps)), total_steps)
        if found and whole <= found[-1].steps:  # too few steps for so many rungs: more candidates leave at once
            continue
        found.append(Rung(whole, candidates))
    if found[-1].steps < total_steps:
        found.append(Rung(total_steps, counts[-1]))
    return found


def ranked(marks: Mapping[str, Mark], *, greater_is_better: bool) -> list[str]:
    """Names, the best first; equals are parted by the loss, then by their order. What is no number comes last."""

    def key(name: str) -> tuple[bool, float, float]:
        mark = marks[name]
        value = -mark.value if greater_is_better else mark.value
        loss = mark.loss if mark.loss is not None and math.isfinite(mark.loss) else math.inf
        return (math.isnan(value), 0.0 if math.isnan(value) else value, loss)

    return sorted(marks, key=key)
