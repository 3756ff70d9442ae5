"""The comparison itself: measure, plan, train in heats and rungs, end every run, look at what was forgotten.

A generator of events, as training is: those of the runs themselves, and three of its own. All that decides what comes
next stands in `Progress`, which is saved after every sitting, so the same command goes on where it was stopped.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from microtune.errors import InputError
from microtune.recipe import Recipe
from microtune.run import tune as tuning
from microtune.run.compare.budget import Budget, in_time
from microtune.run.compare.candidates import Entry, MethodSaid, make_entries, recipe_of, said_as
from microtune.run.compare.halving import ranked
from microtune.run.compare.heats import Heat, curve_sizes, fitting_scale, make_heats
from microtune.run.compare.measure import measure
from microtune.run.compare.place import Place, Progress, Seat
from microtune.run.compare.retry import try_again
from microtune.run.compare.sit import Common, mark_of, sit
from microtune.run.memory import give_back
from microtune.run.prepare import label_reader
from microtune.run.session import Sitting, Stage
from microtune.run.sharing import Sharing

MEASURE_SHARE = 0.05  # of the budget, for the timed steps of all methods together
MOST_LATE = 4.0  # times its prediction: what an ending is given at most, after one that took longer than predicted
MEASURE_MOST = 2.5  # seconds for each of steps, trunk and scoring of a method


@dataclass(frozen=True)
class Asked:
    """What a user wants compared. test: whether finalists are scored on the test split at the end."""

    base: Recipe  # its method does not matter
    methods: tuple[MethodSaid, ...]
    seeds: tuple[int, ...]
    curve: tuple[int, ...] = ()
    test: bool = True
    general: int = 0  # tokens that are read to see what was forgotten


@dataclass(frozen=True)
class Skipped:
    """An event: a method that does not fit."""

    method: str
    reason: str


@dataclass(frozen=True)
class Planned:
    """An event: what will be trained, and for how long. seconds: predicted, from the beginning to the end."""

    heats: tuple[Heat, ...]
    scale: float
    seconds: float


@dataclass(frozen=True)
class Begun:
    """An event: a run sits down to train until a step."""

    entry: Entry
    run: str
    rung: int
    rungs: int
    steps: int


@dataclass(frozen=True)
class Ranked:
    """An event: a rung is done; names and scores on validation, the best first, and who stops there."""

    heat: str
    rung: int
    rungs: int
    scores: tuple[tuple[str, float | None], ...]
    stopped: tuple[str, ...]


Event = tuning.Event | Skipped | Planned | Begun | Ranked


@dataclass
class Contest:
    """A comparison in progress."""

    asked: Asked
    place: Place
    progress: Progress
    budget: Budget
    data: Mapping[str, Any]
    hashes: Mapping[str, str]
    sharing: Sharing
    heats: list[Heat] = field(init=False, default_factory=list)
    common: Common = field(init=False)
    _factor: float = field(init=False, default=1.0)  # how much longer endings take than was predicted

    def run(self) -> Iterator[Event]:
        """From wherever it stands to the last ending."""
        try:
            yield from self._prepare()
            for heat in self.heats:
                yield from self._run_heat(heat)
            if self.asked.test:
                yield from self._end_others()
        finally:
            self.remember()

    def tidy(self) -> None:
        """States of trunks are of no use any more."""
        shutil.rmtree(self.place.states, ignore_errors=True)

    def remember(self) -> None:
        """Write down how far everything is."""
        self.progress.spent = self.budget.spent
        self.progress.saved += self.sharing.saved
        self.sharing.saved = 0.0
        if self.place.path.is_dir():
            self.place.save(self.progress)

    # -- before the first step

    def _prepare(self) -> Iterator[Event]:
        base = recipe_of(self.asked.base, self.asked.methods[0], seed=self.asked.seeds[0], examples=None, epochs=1)
        _, (task, splits, encoded) = yield from tuning.get_rows(base, self.data, self.sharing)
        if not self.progress.measured:  # a comparison that goes on may end, whatever it has spent
            self._check_left()
        if "validation" not in encoded:
            raise InputError(
                "A comparison chooses by the validation split, and this data has none; leave out split=none, or name "
                "one with --validation."
            )
        self.common = Common(self.place, self.data, self.hashes, self.sharing, *task.chosen_by())
        sizes = None
        if self.asked.curve:
            sizes, self.progress.dropped = curve_sizes(self.asked.curve, splits.rows["train"], label_reader(task))
        entries = make_entries(self.asked.methods, [*sizes] if sizes else [None], self.asked.seeds)
        yield from self._measure()
        known = self.progress.measured
        entries = [entry for entry in entries if entry.method in known]
        if not entries:
            first = next(iter(self.progress.skipped.items()))
            raise InputError(f"No method fits this model. {first[0]}: {first[1]}")
        whole = known[entries[0].method]

        def plan(scale: float) -> list[Heat]:
            return make_heats(entries, sizes, whole, self.asked.base.train.batch_size, scale)

        if self.progress.scale is None:
            self.progress.scale = fitting_scale(plan, known, self.budget)
        self.heats = plan(self.progress.scale)
        try_again(self.place, self.progress, self.budget, self.heats)
        self.remember()
        ahead = sum(seconds for *_, seconds in self._todo()) + self._endings()
        yield Planned(tuple(self.heats), self.progress.scale, self.budget.spent + ahead)

    def _measure(self) -> Iterator[Event]:
        """Time each method on the first seed and the whole training split."""
        progress = self.progress
        seconds = min(MEASURE_SHARE * self.budget.seconds / (3 * len(self.asked.methods)), MEASURE_MOST)
        for method in self.asked.methods:
            name = said_as(method)
            if name in progress.measured or name in progress.skipped:
                continue
            yield Stage(f"measuring {name}")
            epochs = self.asked.base.train.epochs
            recipe = recipe_of(self.asked.base, method, seed=self.asked.seeds[0], examples=None, epochs=epochs)
            give_back()  # what an earlier one took must not count against this one
            try:
                progress.measured[name] = measure(recipe, self.data, self.sharing, seconds, self.asked.general)
            except InputError as error:
                progress.skipped[name] = str(error)
                yield Skipped(name, str(error))
            self._check_left()

    def _check_left(self) -> None:
        """InputError where nothing is left before the first step."""
        if self.budget.left < 0:
            raise InputError(
                f"The budget of {in_time(self.budget.seconds)} is too small: reading and measuring alone took "
                f"{in_time(self.budget.spent)}."
            )

    # -- heats

    def _run_heat(self, heat: Heat) -> Iterator[Event]:
        stages = self.progress.alive.setdefault(heat.name, [[entry.name for entry in heat.entries]])
        for number, rung in enumerate(heat.rungs):
            alive = [entry for entry in heat.entries if entry.name in stages[number]]
            last = number == len(heat.rungs) - 1
            for entry in alive:
                yield from self._sit(heat, entry, number, rung.steps, ends=last and self.asked.test)
            order = self._ranking(alive)
            kept = order if last else order[: heat.rungs[number + 1].candidates]
            if not last and len(stages) == number + 1:
                stages.append([name for name in stages[number] if name in kept])
                self.remember()
            scores = tuple((name, self._mean(entry)) for name in order for entry in alive if entry.name == name)
            stopped = () if last else tuple(name for name in order if name not in stages[number + 1])
            yield Ranked(heat.name, number, len(heat.rungs), scores, stopped)

    def _sit(self, heat: Heat, entry: Entry, number: int, steps: int, *, ends: bool) -> Iterator[Event]:
        for seed in entry.seeds:
            name = entry.run(seed)
            seat = self.progress.seat(name)
            if seat.rungs > number or seat.ended or seat.failed:
                continue
            yield Begun(entry, name, number + 1, len(heat.rungs), steps)
            wanted = self.progress.measured[entry.method].sitting(seat.steps, steps, share=heat.share)
            todo = [*self._todo()]
            rung = sum(seconds for name, at, seconds in todo if (name, at) == (heat.name, number))
            until = self.budget.share(wanted, rung, sum(seconds for *_, seconds in todo), self._endings())
            sitting = Sitting(steps=steps, until=until, ends=ends, test=ends, clock=self.budget.clock)
            yield from self._go(heat, entry, seed, sitting)
            seat.rungs = number + 1
            seat.late = seat.steps < steps and not seat.failed and seat.steps < seat.total_steps and sitting.late
            self.remember()

    def _go(self, heat: Heat, entry: Entry, seed: int, sitting: Sitting) -> Iterator[Event]:
        name = entry.run(seed)
        seat, before = self.progress.seat(name), self.progress.seat(name).ending
        try:
            yield from sit(self.common, name, self.recipe(heat, entry, seed), seat, sitting)
        finally:
            self.remember()
        predicted = self.progress.measured[entry.method].ending
        if seat.ended and seat.ending > before:
            self._factor = max(self._factor, min((seat.ending - before) / predicted, MOST_LATE))

    def recipe(self, heat: Heat, entry: Entry, seed: int) -> Recipe:
        """The recipe of a run of this comparison."""
        method = next(m for m in self.asked.methods if said_as(m) == entry.method)
        return recipe_of(self.asked.base, method, seed=seed, examples=entry.examples, epochs=heat.epochs)

    def _ranking(self, alive: Sequence[Entry]) -> list[str]:
        marks = {}
        for entry in alive:
            seats = [self.progress.seat(run) for run in entry.runs]
            mark = mark_of(seats[0])
            value = self._mean(entry)
            marks[entry.name] = type(mark)(float("nan") if value is None else value, mark.loss)
        return ranked(marks, greater_is_better=self.common.greater_is_better)

    def _mean(self, entry: Entry) -> float | None:
        values = [self.progress.seat(run).value for run in entry.runs if not self.progress.seat(run).failed]
        found = [value for value in values if value is not None]
        return sum(found) / len(found) if found else None

    def _end_others(self) -> Iterator[Event]:
        """Save the models of those that were stopped, without reading the test split."""
        for heat, entry, seed in self._runs():
            name = entry.run(seed)
            seat = self.progress.seat(name)
            if seat.ended or seat.failed or seat.steps < 2:
                continue
            if self.budget.left < self._factor * self.progress.measured[entry.method].ending:
                continue
            sitting = Sitting(steps=seat.steps, ends=True, test=False, clock=self.budget.clock)
            yield from self._go(heat, entry, seed, sitting)

    # -- what is still to be done

    def _runs(self) -> Iterator[tuple[Heat, Entry, int]]:
        return ((heat, entry, seed) for heat in self.heats for entry in heat.entries for seed in entry.seeds)

    def _todo(self) -> Iterator[tuple[str, int, float]]:
        """Heat, rung and seconds of every sitting that is still to come, as far as can be foreseen."""
        for heat in self.heats:
            stages = self.progress.alive.get(heat.name, [[entry.name for entry in heat.entries]])
            begin = 0
            for number, rung in enumerate(heat.rungs):
                known = stages[number] if number < len(stages) else None
                pool = [entry for entry in heat.entries if known is None or entry.name in known]
                share = rung.candidates / len(pool) if known is None else 1.0
                for entry in pool:
                    seats = [self.progress.seats.get(run) for run in entry.runs]
                    waiting = sum(s is None or not (s.rungs > number or s.ended or s.failed) for s in seats)
                    cost = self.progress.measured[entry.method]
                    yield heat.name, number, share * waiting * cost.sitting(begin, rung.steps, share=heat.share)
                begin = rung.steps

    def _endings(self) -> float:
        """Seconds of all endings that are still to come; only those of runs that may reach the end must not fail."""
        if not self.asked.test:
            return 0.0
        total = 0.0
        for heat, entry, seed in self._runs():
            seat, cost = self.progress.seats.get(entry.run(seed), Seat()), self.progress.measured[entry.method]
            hopeful = entry.name in self.progress.alive.get(heat.name, [[entry.name]])[-1]
            if not seat.failed:
                total += 0.0 if seat.ended else cost.ending * (self._factor if hopeful else 1.0)
                total += 0.0 if seat.forgetting else cost.looking
        return total


def finalists(contest: Contest, heat: Heat) -> list[str]:
    """Names of the entries that were left in the last rung of a heat."""
    return contest.progress.alive[heat.name][-1]


__all__ = ["Asked", "Begun", "Contest", "Event", "Planned", "Ranked", "Skipped", "finalists"]
