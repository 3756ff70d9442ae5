"""Another try for runs that failed, by the same command on a comparison that has no result yet.

What stops a run often lies outside of it: memory that others had taken, a full disk, a fault that has been mended. What
the others have learnt stays, and so does the order: a run goes on trial again only where no other has moved past it.
"""

from __future__ import annotations

from collections.abc import Sequence

from microtune.run.compare.budget import Budget
from microtune.run.compare.heats import Heat
from microtune.run.compare.place import Place, Progress


def try_again(place: Place, progress: Progress, budget: Budget, heats: Sequence[Heat]) -> None:
    """Let failed runs begin anew; the time that they took is given back to the budget."""
    for heat in heats:
        runs = [run for entry in heat.entries for run in entry.runs if run in progress.seats]
        failed = [run for run in runs if progress.seats[run].failed]
        if not failed:
            continue
        rung = min(progress.seats[run].rungs for run in failed)
        if any(progress.seats[run].rungs > rung for run in runs if run not in failed):
            continue  # the choice has been made without them
        progress.alive[heat.name] = progress.alive.get(heat.name, [])[: max(rung, 1)]
        for run in failed:
            seat = progress.seats.pop(run)
            budget.add(-min(seat.seconds + seat.ending, budget.spent))
            place.forget(run)
