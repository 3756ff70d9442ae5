"""What one candidate takes, before it trains: seconds of a step, of scoring, of starting, ending; whether it fits.

A few of its own steps are timed on a training that is thrown away (run/pace.py), and micro-batches are cut until it
fits into the memory it may take (run/plan.py), as the run itself will do.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from microtune.recipe import Recipe
from microtune.run import tune as tuning
from microtune.run.memory import highest
from microtune.run.pace import plan_pace
from microtune.run.plan import fitted, limit_of, plan_memory
from microtune.run.sharing import Sharing
from microtune.run.summary import Summary

DISK = 100e6  # bytes a second that are written and read again, at the least
AROUND = 0.5  # seconds of an ending for all that is not counted: intervals, the card, small files


class Measured(BaseModel):
    """Seconds and sizes of one candidate's run."""

    trainable: int
    parameters: int
    rows: int
    steps_per_epoch: int
    total_steps: int
    start: float  # reading, loading, attaching: before every sitting
    once: float  # filling the cache of a frozen trunk
    step: float
    judging: float  # one look at validation
    ending: float  # final scores, saving, reading again
    looking: float  # reading general texts, to see what was forgotten
    predicted_peak: int | None = None

    @property
    def closing(self) -> float:
        """Seconds of all that comes after the last step."""
        return self.ending + self.looking

    def sitting(self, begin: int, end: int, *, share: float = 1.0) -> float:
        """Seconds of a sitting from step to step; `share`: of the rows that were measured, in the run."""
        looks = math.ceil((end - begin) / max(self.steps_per_epoch * share, 1)) + 1 if end > begin else 0
        once = self.once * share if begin == 0 else 0.0
        return self.start + once + (end - begin) * self.step + looks * self.judging


def measure(recipe: Recipe, data: Mapping[str, Any], sharing: Sharing, seconds: float, general: int = 0) -> Measured:
    """Prepare the run, time it (`seconds` for each of steps, trunk and scoring), throw it away.

    general: tokens that will be read to see what was forgotten.

    InputError where the method does not fit this model, or the run not into memory.
    """
    before = time.perf_counter()
    ready, summary = _ready(recipe, data, sharing)
    start = time.perf_counter() - before
    training, encoded = ready.training, ready.encoded
    trunks = tuning.make_trunks(training, Path("nowhere"), encoded, sharing)
    judged = [encoded[name].items for name in ("validation", "test") if name in encoded]
    training.compute_at_once(fitted(training, trunks, judged))
    predicted = None
    if highest() is None:  # what the table will show where the system does not say
        predicted = plan_memory(training, trunks, judged, limit_of(training)).peak
    pace = plan_pace(training, trunks, encoded.get("validation"), seconds)
    tokens = {name: part.report.tokens for name, part in encoded.items()}
    judged_tokens = tokens.get("validation", 0) + tokens.get("test", 0)
    filled = tokens["train"] + tokens.get("validation", 0)
    each = pace.once / filled if pace.once else pace.judging / max(tokens.get("validation", 0), 1)
    stored = sum(p.nbytes for _, p in training.attachment.parameters())
    return Measured(
        trainable=summary.trainable,
        parameters=summary.parameters,
        rows=len(training.sizes),
        steps_per_epoch=training.steps_per_epoch,
        total_steps=training.total_steps,
        start=start,
        once=pace.once,
        step=pace.epoch / training.steps_per_epoch,
        judging=pace.judging,
        ending=2 * start + judged_tokens * each + stored / DISK + AROUND,
        looking=start + general * each if general else 0.0,
        predicted_peak=predicted,
    )


def _decide(name: str, decide: Callable[[], Any]) -> Any:
    return decide()


def _ready(recipe: Recipe, data: Mapping[str, Any], sharing: Sharing) -> tuple[tuning.Ready, Summary]:
    """Everything that stands before the first step, and what trains."""
    events = tuning.get_ready(recipe, data, _decide, sharing)
    summary: Summary | None = None
    while True:
        try:
            event = next(events)
        except StopIteration as stop:
            assert summary is not None
            return stop.value, summary
        if isinstance(event, tuning.Prepared):
            summary = event.summary
