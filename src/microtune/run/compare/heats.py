"""The plan of a comparison: which heats are run, with which rungs, and what they take.

A heat is a set of candidates that train on the same rows: one for a plain comparison, by successive halving; one for
each number of examples for a learning curve, without halving, for a curve with holes says nothing. What does not fit
into the budget is shortened for all alike, before the first step, since learning rates follow the number of steps.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from microtune.data.sources import Row
from microtune.errors import InputError
from microtune.run.compare.budget import AIM, Budget, in_time
from microtune.run.compare.candidates import Entry
from microtune.run.compare.halving import Rung, make_rungs
from microtune.run.compare.measure import Measured

USEFUL_STEPS = 20  # of a run: with fewer, scores say more about the start than about the method
CURVE_STEPS = 100  # of a run on few examples, where the epochs that were asked for are fewer steps
HALVINGS = 40  # of the interval in which the scale is looked for


@dataclass(frozen=True)
class Heat:
    """Candidates that train on the same rows. share: of the training rows that were measured."""

    name: str
    entries: tuple[Entry, ...]
    rungs: tuple[Rung, ...]
    epochs: float
    share: float = 1.0

    @property
    def total_steps(self) -> int:
        """Steps of a run that is not stopped."""
        return self.rungs[-1].steps


def curve_sizes(sizes: Sequence[int], rows: Sequence[Row], label: Any) -> tuple[dict[int, int], list[str]]:
    """Training rows by number of examples per label, and notes on the numbers that this data cannot give."""
    counts = Counter("" if label is None else repr(label(row)) for row in rows)
    found: dict[int, int] = {}
    notes = []
    least, middle = min(counts.values()), sorted(counts.values())[len(counts) // 2]
    each = "of each label" if label is not None else "in all"
    for size in sorted(set(sizes)):
        if middle < size:
            notes.append(
                f"{size} examples {each}: left out, the training split has {middle:,} "
                f"{'of a typical label' if label is not None else 'rows'}."
            )
            continue
        found[size] = sum(min(count, size) for count in counts.values())
        if least < size:
            notes.append(f"{size} examples {each}: some labels have fewer, the rarest {least:,}.")
    if not found:
        raise InputError(f"curve: no size is left; {notes[0][0].lower()}{notes[0][1:]}")
    return found, notes


def make_heats(
    entries: Sequence[Entry], sizes: Mapping[int, int] | None, measured: Measured, batch_size: int, scale: float
) -> list[Heat]:
    """The heats of the entries that fit; `scale`: of the steps that were asked for. sizes: rows by examples."""
    per_epoch, asked = measured.steps_per_epoch, measured.total_steps
    if sizes is None:
        total = _scaled(asked, scale)
        rungs = make_rungs(len(entries), total, per_epoch)
        return [Heat("all", tuple(entries), tuple(rungs), total / per_epoch)]
    heats = []
    for size, rows in sizes.items():
        chosen = tuple(entry for entry in entries if entry.examples == size)
        here = math.ceil(rows / batch_size)
        total = _scaled(max(math.ceil(asked / per_epoch * here), min(CURVE_STEPS, asked)), scale)
        heats.append(Heat(str(size), chosen, (Rung(total, len(chosen)),), total / here, rows / measured.rows))
    return heats


def _scaled(steps: int, scale: float) -> int:
    return max(min(steps, USEFUL_STEPS), math.floor(steps * scale))


def seconds_of(heats: Sequence[Heat], measured: Mapping[str, Measured]) -> float:
    """What all heats take, from their beginning to the last ending; survivors cost what all do on average."""
    total = 0.0
    for heat in heats:
        begin = 0
        for rung in heat.rungs:
            costs = [
                len(e.seeds) * measured[e.method].sitting(begin, rung.steps, share=heat.share) for e in heat.entries
            ]
            total += sum(costs) / len(costs) * rung.candidates
            begin = rung.steps
        total += sum(len(entry.seeds) * measured[entry.method].closing for entry in heat.entries)
    return total


def fitting_scale(plan: Any, measured: Mapping[str, Measured], budget: Budget) -> float:
    """The largest scale (at most 1) with which `plan(scale)`, a list of heats, ends inside the budget.

    InputError where not even the fewest useful steps do; it says how long they take.
    """
    room, spent = budget.left, budget.spent
    if seconds_of(plan(1.0), measured) <= room:
        return 1.0
    least = seconds_of(plan(0.0), measured)
    if least > room:
        whole = seconds_of(plan(1.0), measured) + spent
        raise InputError(
            f"The budget of {in_time(budget.seconds)} is too small: {in_time(spent)} went into reading and measuring, "
            f"and {USEFUL_STEPS} steps for every method, with the final scores, take about {in_time(least)} more; give "
            f"{budget.flag}{budget_for(least + spent)} (the training that was asked for takes {budget_for(whole)}), or "
            "fewer methods."
        )
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if seconds_of(plan(middle), measured) <= room else (low, middle)
    return low


def budget_for(seconds: float) -> str:
    """A budget, as it is written, that `seconds` of work fit into with room."""
    wanted = 1.2 * seconds / AIM
    return f"{math.ceil(wanted / 5) * 5}s" if wanted < 120 else f"{math.ceil(wanted / 60)}m"
