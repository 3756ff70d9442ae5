"""Time and energy of a run, out of metrics.jsonl and environment.json.

Time is measured. Energy is not: most machines let only an administrator read their counters. It is estimated from two
numbers that are said beside it, so that a reader can put in their own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from microtune.run.report.read import RunFiles

THREAD_WATTS = 10.0  # a desktop or server processor of 65 to 200 W at work, shared by its 8 to 24 threads
GPU_WATTS = 350.0  # one card of a workstation at full load; those of a data centre take 300 to 700


@dataclass(frozen=True)
class Cost:
    """Seconds, tokens per second, optimizer steps; watts as assumed and the watt-hours that follow."""

    training: float
    whole: float
    speed: float
    steps: int
    threads: int
    gpu: bool
    watts: float

    @property
    def watt_hours(self) -> float:
        """Power times time."""
        return self.watts * self.whole / 3600


def cost_of(run: RunFiles) -> Cost | None:
    """What the run took; None where no step was recorded. A pause between two sittings counts as no time."""
    steps = run.steps
    if not steps:
        return None
    seconds = math.fsum(number(line.get("seconds")) for line in steps)
    times = [number(line.get("time")) for line in run.metrics if number(line.get("time")) > 0]
    between = max(times) - min(times) + number(steps[0].get("seconds")) if times else seconds
    whole = between if seconds <= between <= 3 * seconds + 600 else seconds
    tokens = math.fsum(number(line.get("tokens")) for line in steps)
    threads = max(1, int(number(run.environment.get("threads"))))
    gpu = isinstance(run.environment.get("cuda"), str)
    watts = THREAD_WATTS * threads + (GPU_WATTS if gpu else 0.0)
    return Cost(seconds, whole, tokens / seconds if seconds else 0.0, len(steps), threads, gpu, watts)


def number(value: Any) -> float:
    """A finite number, or 0."""
    fine = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if fine else 0.0


def duration(seconds: float) -> str:
    """Seconds as people write them: 42 s, 3 min 5 s, 2 h 10 min."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


def energy(watt_hours: float) -> str:
    """Watt-hours with three digits."""
    return f"{watt_hours / 1000:.3g} kWh" if watt_hours >= 1000 else f"{watt_hours:.3g} Wh"
