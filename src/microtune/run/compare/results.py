"""The table of a comparison: one line for every method (and number of examples), and what is recommended.

A score of the test split stands only where a run trained to the end, once, together with its interval. The others show
their score on validation and say so.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import fmean, stdev
from typing import Any, Literal

from microtune.data.objects import read_object
from microtune.errors import RunError
from microtune.recipe import Choice, validated
from microtune.run.compare.candidates import Entry
from microtune.run.compare.contest import Contest, finalists
from microtune.run.compare.heats import Heat
from microtune.run.compare.place import Place, Seat
from microtune.run.compare.sit import scores_of
from microtune.run.compare.verdict import Contender, Verdict, decide, draws, interval
from microtune.run.mixture import data_title
from microtune.tasks.base import Task, tasks

State = Literal["finished", "stopped", "cut short", "unfinished", "failed", "skipped"]


@dataclass(frozen=True)
class Line:
    """One line. score, low, high: on `split`; validation: the best there; spread: standard deviation between seeds."""

    method: str
    examples: int | None
    state: State
    reason: str = ""
    split: str = ""
    score: float | None = None
    low: float | None = None
    high: float | None = None
    spread: float | None = None
    validation: float | None = None
    trainable: int | None = None
    share: float | None = None
    steps: int | None = None
    total_steps: int | None = None
    seconds: float | None = None
    full_seconds: float | None = None
    peak: int | None = None
    stored: int | None = None
    forgetting: dict[str, Any] | None = None
    runs: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Results:
    """Everything that compare.json holds."""

    task: str
    model: str
    data: str
    metric: str
    greater_is_better: bool
    budget: float
    spent: float
    seeds: list[int]
    lines: list[Line]
    recommendation: dict[str, Any] | None
    notes: list[str]

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def collect(contest: Contest) -> Results:
    """Read the runs and sum up."""
    lines = [Line(method, None, "skipped", reason) for method, reason in contest.progress.skipped.items()]
    found = [_line(contest, heat, entry) for heat in contest.heats for entry in heat.entries]
    sign = -1 if contest.common.greater_is_better else 1
    order = ("finished", "cut short", "stopped", "unfinished", "failed")

    def key(line: Line) -> tuple[int, int, float]:
        value = line.validation if line.validation is not None else math.inf * sign
        return (line.examples or 0, order.index(line.state), sign * value)

    verdict = _verdict(contest)
    base = contest.asked.base
    return Results(
        task=base.task.name,
        model=str(base.model.source),
        data=data_title(base),
        metric=contest.common.primary,
        greater_is_better=contest.common.greater_is_better,
        budget=contest.budget.seconds,
        spent=contest.budget.spent,
        seeds=list(contest.asked.seeds),
        lines=[*sorted(found, key=key), *lines],
        recommendation=None if verdict is None else asdict(verdict),
        notes=list(_notes(contest, found)),
    )


def task_of(place: Place, run: str) -> Task:
    """The task of an ended run, with its labels."""
    file = place.run(run) / "model" / "model.json"
    choice = validated(Choice, read_object(file, error=RunError)["task"], str(file))
    return validated(tasks[choice.name], {"name": choice.name, **choice.options}, str(file))


def _line(contest: Contest, heat: Heat, entry: Entry) -> Line:
    seats = [contest.progress.seat(run) for run in entry.runs]
    cost = contest.progress.measured[entry.method]
    state, reason = _state(contest, heat, entry, seats)
    split, score = _score(contest, entry, seats)
    peaks = [peak for seat in seats if (peak := seat.peak or cost.predicted_peak)]
    stored = [p.stat().st_size for run in entry.runs if (p := _weights(contest.place, run)).is_file()]
    values = [seat.value for seat in seats if seat.value is not None]
    return Line(
        method=entry.method,
        examples=entry.examples,
        state=state,
        reason=reason,
        split=split,
        score=score.get("score"),
        low=score.get("low"),
        high=score.get("high"),
        spread=score.get("spread"),
        validation=fmean(values) if values else None,
        trainable=cost.trainable,
        share=cost.trainable / cost.parameters,
        steps=max(seat.steps for seat in seats),
        total_steps=heat.total_steps,
        seconds=fmean(seat.seconds + seat.ending for seat in seats),
        full_seconds=cost.sitting(0, heat.total_steps, share=heat.share),
        peak=max(peaks, default=None),
        stored=round(fmean(stored)) if stored else None,
        forgetting=_forgetting(seats),
        runs=[f"runs/{run}" for run in entry.runs],
    )


def _weights(place: Place, run: str) -> Any:
    return place.run(run) / "model" / "trained.safetensors"


def _state(contest: Contest, heat: Heat, entry: Entry, seats: Sequence[Seat]) -> tuple[State, str]:
    failed = next((seat.failed for seat in seats if seat.failed), "")
    if failed:
        return "failed", failed
    if all(seat.steps == 0 for seat in seats):
        return "unfinished", "the budget left no time for its first step"
    steps = f"step {max(seat.steps for seat in seats)} of {heat.total_steps}"
    if any(seat.late for seat in seats):
        return ("cut short" if all(seat.ended for seat in seats) else "unfinished"), f"the budget ended at {steps}"
    if entry.name not in finalists(contest, heat):
        return "stopped", f"the worse half at {steps}"
    return ("finished", "") if all(s.ended or not contest.asked.test for s in seats) else ("unfinished", steps)


def _score(contest: Contest, entry: Entry, seats: Sequence[Seat]) -> tuple[str, dict[str, float]]:
    """The split that the line may show, and the mean of the primary metric there with its interval."""
    metric = contest.common.primary
    if not all(seat.ended for seat in seats):
        values = [seat.value for seat in seats if seat.value is not None]
        return "validation" if values else "", {"score": fmean(values)} if values else {}
    found = [scores_of(contest.place, run) for run in entry.runs]
    split = "test" if all("test" in scores for scores in found) else "validation"
    values = [float(scores[split]["values"][metric]) for scores in found]
    result = {"score": fmean(values)}
    if len(values) > 1:
        result["spread"] = stdev(values)
    ends = found[0][split]["intervals"].get(metric)
    columns = [contest.place.outcomes(run, split) for run in entry.runs] if len(values) > 1 else []
    known = [c for c in columns if c is not None]
    if known and len(known) == len(values):
        ends = interval(draws(task_of(contest.place, entry.runs[0]), known, metric))
    if ends is not None and (len(values) == 1 or known):
        result |= {"low": float(ends[0]), "high": float(ends[1])}
    return split, result


def _forgetting(seats: Sequence[Seat]) -> dict[str, Any] | None:
    known = [seat.forgetting for seat in seats if seat.forgetting and seat.forgetting.get("kind")]
    if not known:
        return None
    mean = {key: fmean(one[key] for one in known) for key in ("before", "after")}
    return {"kind": known[0]["kind"], **mean, "texts": known[0]["texts"]}


def _verdict(contest: Contest) -> Verdict | None:
    """Of the last heat, from the answers on validation of those that trained to the end, or as far as time allowed."""
    if not contest.heats or not contest.asked.test:
        return None
    heat = contest.heats[-1]
    contenders = []
    for entry in heat.entries:
        seats = [contest.progress.seat(run) for run in entry.runs]
        found = [contest.place.outcomes(run, "validation") for run in entry.runs]
        known = [columns for columns in found if columns is not None]
        if entry.name in finalists(contest, heat) and all(s.ended for s in seats) and len(known) == len(seats):
            values = [scores_of(contest.place, r)["validation"]["values"][contest.common.primary] for r in entry.runs]
            cost = contest.progress.measured[entry.method]
            seconds = cost.sitting(0, heat.total_steps, share=heat.share)
            contenders.append(Contender(entry.method, fmean(values), seconds, cost.trainable, known))
    if not contenders:
        return None
    first = next(e for e in heat.entries if e.method == contenders[0].name)
    return decide(task_of(contest.place, first.runs[0]), contenders)


def _notes(contest: Contest, lines: Sequence[Line]) -> Iterator[str]:
    progress = contest.progress
    yield from progress.dropped
    whole = next(iter(progress.measured.values())).total_steps
    if progress.scale is not None and progress.scale < 1:
        share = f"{progress.scale:.0%}" if progress.scale else "the fewest that say anything"
        yield (
            f"The budget shortened every training to {contest.heats[-1].total_steps} steps ({share} of the {whole} "
            "that were asked for); a larger --budget may change the order."
        )
    if any(line.state in ("cut short", "unfinished") for line in lines):
        yield "Some trainings were cut short by the budget; their scores are of what they had learnt by then."
    if progress.saved >= 1:
        yield f"Shared states of frozen trunks saved {progress.saved:.0f} seconds."
    yield from sorted(contest.sharing.notes)
    for name, seat in progress.seats.items():
        if seat.forgetting and seat.forgetting.get("reason"):
            yield f"Forgetting of {name} was not measured: {seat.forgetting['reason']}"
            return
    if contest.asked.test and contest.asked.base.model.weights != "random":
        unread = [name for name, seat in progress.seats.items() if seat.ended and seat.forgetting is None]
        if unread:
            yield f"Forgetting of {', '.join(unread)} was not measured: the budget left no time for it."


def by_size(results: Results) -> Mapping[str, dict[int, Line]]:
    """Lines of a learning curve: method -> number of examples -> line."""
    found: dict[str, dict[int, Line]] = {}
    for line in results.lines:
        if line.examples is not None:
            found.setdefault(line.method, {})[line.examples] = line
    return found
