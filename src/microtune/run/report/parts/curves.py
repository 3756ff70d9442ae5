"""The curves: loss, the metric of validation, learning rate and gradient norm, out of metrics.jsonl."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from microtune.run.html import Markup, el, folded, section, table
from microtune.run.report.charts import Line, lines
from microtune.run.report.read import RunFiles
from microtune.run.report.words import Words

SMOOTH = 20  # looks of the smoothed line: a step is averaged with so many of all before it as a twentieth part
NOT_METRICS = ("kind", "split", "step", "time", "best", "final")
MOST_LOOKS = 200


def curves(run: RunFiles, say: Words) -> Markup | None:
    """Up to four charts, and the numbers of the looks at validation."""
    steps, looks = run.steps, run.looks
    if not steps:
        return None
    loss = series(steps, "loss")
    window = max(1, len(steps) // SMOOTH)
    drawn = [Line(say("curves_train"), loss)]
    if window > 2:
        drawn.append(Line(say("curves_smooth", count=window), smoothed(loss, window)))
    drawn.append(Line(say("curves_validation"), series(looks, "loss"), marked=True))
    across = say("curves_step")
    primary = run.facts.task.primary
    charts = [lines(say("curves_loss"), drawn, across=across)]
    if primary not in ("", "loss"):
        name = say("curves_metric", metric=primary)
        charts.append(lines(name, [Line(say("curves_validation"), series(looks, primary), marked=True)], across=across))
    charts.append(lines(say("curves_rate"), [Line(say("curves_train"), series(steps, "lr"))], across=across))
    charts.append(lines(say("curves_norm"), [Line(say("curves_train"), series(steps, "grad_norm"))], across=across))
    ends = say("curves_ends", first=_number(steps[0].get("loss")), last=_number(steps[-1].get("loss")))
    return section(say("curves"), el("div", *charts, class_="charts"), el("p", ends), _looks(looks, say), name="curves")


def series(lines_: Sequence[dict[str, Any]], key: str) -> list[tuple[float, float]]:
    """(step, value) of every line that has both as numbers."""
    return [
        (float(line["step"]), float(line[key]))
        for line in lines_
        if isinstance(line.get("step"), (int, float)) and isinstance(line.get(key), (int, float))
    ]


def smoothed(points: Sequence[tuple[float, float]], window: int) -> list[tuple[float, float]]:
    """The mean of each point and those before it, `window` together."""
    there = [math.isfinite(y) for _, y in points]
    sums = [0.0, *accumulate(y if known else 0.0 for (_, y), known in zip(points, there, strict=True))]
    counts = [0, *accumulate(there)]
    return [
        (points[i - 1][0], (sums[i] - sums[i - window]) / count)
        for i in range(window, len(points) + 1)
        if (count := counts[i] - counts[i - window])
    ]


def _looks(looks: Sequence[dict[str, Any]], say: Words) -> Markup | None:
    names = list(dict.fromkeys(k for look in looks for k in look if k not in NOT_METRICS))
    names = [name for name in names if any(isinstance(look.get(name), (int, float)) for look in looks)]
    if not names:
        return None
    rows = [(_number(look.get("step")), *(_number(look.get(name)) for name in names)) for look in looks[:MOST_LOOKS]]
    shown = table([say("curves_step"), *names], rows, numbers=range(len(names) + 1))
    return folded(say("curves_looks"), shown)


def _number(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, (int, float)) else "-"
