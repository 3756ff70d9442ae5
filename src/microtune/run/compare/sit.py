"""One sitting of one run of a comparison: train from where it stands to a step or until a time, and write down how far.

A run is an ordinary run folder. While it is compared it rests at checkpoints between its sittings, so only one model is
in memory at a time; when it ends, its model is saved and whoever likes may predict with it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any

from microtune.data.objects import read_object
from microtune.errors import CheckError, InputError, RunError
from microtune.recipe import Recipe
from microtune.run import tune as tuning
from microtune.run.compare.halving import Mark, ranked
from microtune.run.compare.peak import watched
from microtune.run.compare.place import Place, Seat
from microtune.run.evaluate import Score
from microtune.run.folder import RunFolder, read_metrics
from microtune.run.hub.revisions import pin
from microtune.run.session import Scored, Sitting, Stage
from microtune.run.sharing import Sharing
from microtune.run.train import Step


@dataclass(frozen=True)
class Common:
    """What all runs of a comparison have in common."""

    place: Place
    data: Mapping[str, Any]
    hashes: Mapping[str, str]
    sharing: Sharing
    primary: str
    greater_is_better: bool


def sit(common: Common, name: str, recipe: Recipe, seat: Seat, sitting: Sitting) -> Generator[tuning.Event, None, None]:
    """Let the run go on; `seat` knows afterwards how far it is. What stops a run by its own fault stands in it too."""
    folder = RunFolder(common.place.run(name))
    if folder.finished:  # and the process died before that was written down
        seat.ended = True
        return
    pinned, revisions = pin(recipe, folder.path, fresh=False)
    start, saved = time.perf_counter(), common.sharing.saved
    first, ended = seat.steps == 0, None
    with watched() as peak:
        folder.open(recipe, common.hashes, overwrite=False, revisions=revisions)
        try:
            for event in tuning.tune(pinned, folder, common.data, sharing=common.sharing, sitting=sitting):
                _write_down(common, name, seat, event)
                if isinstance(event, Stage) and event.name == "evaluating":
                    ended = time.perf_counter()
                yield event
            seat.ended = seat.ended or folder.finished
        except (CheckError, InputError) as error:
            seat.failed = str(error)
        finally:
            folder.close()
    now = time.perf_counter()
    alone = common.sharing.saved - saved if first else 0.0  # a trunk of which others have spared it some or all
    seat.seconds += (ended or now) - start + alone
    seat.ending += now - ended if ended is not None else 0.0
    seat.peak = max(filter(None, (seat.peak, peak.bytes)), default=None)
    seat.tested = seat.ended and sitting.test
    _best(common, name, seat)


def _write_down(common: Common, name: str, seat: Seat, event: Any) -> None:
    if isinstance(event, Step):
        seat.steps = event.step
    elif isinstance(event, Stage) and event.name == "training":
        seat.total_steps = event.total
    elif isinstance(event, Scored):
        _see(common, seat, event.values)
    elif isinstance(event, tuning.Evaluated):
        score: Score = event.score
        common.place.keep_outcomes(name, event.split, score.predictions.columns)


def _best(common: Common, name: str, seat: Seat) -> None:
    """An interrupted sitting has left its scores in metrics.jsonl only."""
    file = common.place.run(name) / "metrics.jsonl"
    for line in read_metrics(file) if file.is_file() else ():
        if line.get("kind") == "score" and line.get("split") == "validation" and not line.get("final"):
            _see(common, seat, line)


def _see(common: Common, seat: Seat, values: Mapping[str, Any]) -> None:
    """Keep the better of what is known and `values`."""
    value, loss = values.get(common.primary), values.get("loss")
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        return
    new = Mark(float(value), float(loss) if isinstance(loss, (int, float)) else None)
    marks = {"old": mark_of(seat), "new": new}
    if ranked(marks, greater_is_better=common.greater_is_better)[0] == "new":
        seat.value, seat.loss = new.value, new.loss


def mark_of(seat: Seat) -> Mark:
    """A seat's best score."""
    return Mark(math.nan if seat.value is None else seat.value, seat.loss)


def scores_of(place: Place, name: str) -> dict[str, Any]:
    """`scores` of an ended run's scores.json: split -> {values, intervals}."""
    found = read_object(place.run(name) / "scores.json", error=RunError).get("scores")
    return found if isinstance(found, dict) else {}
