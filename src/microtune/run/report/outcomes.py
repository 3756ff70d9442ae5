"""Which answers of the judged split a report shows, and where the errors are: by length, file and field.

Everything is computed from the numbers that scoring kept of each row, so no row passes through the model again. What is
"bad" follows from the kind of the task: the distance of a number, the ROUGE-L of a written text, else the loss.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Sequence
from typing import Any

import numpy as np

from microtune.data.batches import item_sizes
from microtune.data.sources import Row
from microtune.errors import RowNumber
from microtune.run.evaluate import wilson
from microtune.tasks.base import Encoded, Prediction, Task
from microtune.tasks.classification import Classification
from microtune.tasks.one_label import OneLabel
from microtune.tasks.outcomes import Column, Outcomes
from microtune.tasks.regression import Regression

EACH = 5  # best, worst and random rows
CLIPPED, FIELDS = 400, 6  # characters of a field, fields of a row
MATRIX, CONFUSIONS = 15, 20  # labels of a whole matrix; pairs of a larger one
POINTS = 400
BINS = 4  # of lengths, each with as many rows as the others
VALUES, GROUPINGS, LEAST = 12, 4, 2  # of a field that parts the rows; fields shown; rows of a value


def judged(task: Task, outcomes: Outcomes, encoded: Encoded, rows: Sequence[Row]) -> dict[str, Any]:
    """What a report shows of a split beside its scores."""
    if not len(outcomes):
        return {}
    owners = outcomes.columns["row"]
    found: dict[str, Any] = {}
    bad = badness(task, outcomes)
    if bad is not None:
        found["ranked_by"] = bad[0]
        found["examples"] = examples(task, outcomes, owners, bad[1], rows)
    measured = errors(task, outcomes)
    if measured is not None:
        name, values = measured
        groups = [by_length(name, values, item_sizes(encoded.items)), *by_field(task, name, values, owners, rows)]
        found |= {"measured": name, "groups": [group for group in groups if len(group["rows"]) > 1]}
    if isinstance(task, Regression):
        pairs = np.stack([outcomes.columns["target"], outcomes.columns["answer"]], axis=1)
        kept = pairs[:: max(1, len(pairs) // POINTS)][:POINTS]
        found["points"] = [[float(a), float(b)] for a, b in kept if math.isfinite(a) and math.isfinite(b)]
    return found | confusion(task, outcomes)


def badness(task: Task, outcomes: Outcomes) -> tuple[str, Column] | None:
    """How bad each answer is, and by what; None where nothing tells."""
    columns = outcomes.columns
    if isinstance(task, Regression):
        return "absolute_error", np.abs(columns["answer"] - columns["target"])
    if "rouge" in columns:
        short = 1.0 - np.asarray(columns["rouge"])[:, -1].astype(np.float64)
        return "rougeL", np.where(columns["written"], short, np.nan)
    if "loss" not in columns:
        return None
    loss = np.asarray(columns["loss"], dtype=np.float64)
    return (
        ("loss_per_token", loss / np.where(columns["tokens"] > 0, columns["tokens"], 1.0))
        if "tokens" in columns
        else ("loss", loss)
    )


def errors(task: Task, outcomes: Outcomes) -> tuple[str, Column] | None:
    """The number that is averaged over groups of rows: a share of errors where an answer is right or wrong."""
    columns = outcomes.columns
    if isinstance(task, Classification):
        wrong = columns["answer"] != columns["target"]
        return "error_rate", (wrong.any(axis=1) if wrong.ndim > 1 else wrong).astype(np.float64)
    return badness(task, outcomes)


def examples(
    task: Task, outcomes: Outcomes, owners: Column, bad: Column, rows: Sequence[Row]
) -> dict[str, list[dict[str, Any]]]:
    """The worst, the best and some random answers, each row once."""
    known = np.flatnonzero(np.isfinite(bad) & (owners >= 0) & (owners < len(rows)))
    _, first = np.unique(owners[known], return_index=True)
    places = known[np.sort(first)]
    order = places[np.argsort(bad[places], kind="stable")].tolist()
    worst = order[::-1][:EACH]
    best = [place for place in order if place not in worst][:EACH]
    rest = [place for place in order if place not in worst and place not in best]
    drawn = random.Random(0).sample(rest, min(EACH, len(rest)))
    return {
        name: [shown(task, outcomes[place], rows[int(owners[place])], float(bad[place])) for place in chosen]
        for name, chosen in (("worst", worst), ("best", best), ("random", drawn))
    }


def shown(task: Task, found: Prediction, row: Row, bad: float) -> dict[str, Any]:
    """One row with its answer, cut to what a reader takes in."""
    target_field = getattr(task, "label_field", None)
    fields = {str(k): clipped(v) for k, v in row.data.items() if k != target_field and v not in (None, "")}
    told: dict[str, Any] = {"path": str(row.path), "line": row.line, "badness": bad}
    if isinstance(row.line, RowNumber):
        told["row"] = True
    told["fields"] = dict(list(fields.items())[:FIELDS])
    if found.answer is not None:
        told["answer"] = clipped(found.answer)
    if found.target is not None:
        told["target"] = clipped(found.target)
    if isinstance(task, Classification):
        told["confidence"] = found.confidence
    return told


def clipped(value: Any) -> str:
    """A value as text of at most `CLIPPED` characters."""
    if isinstance(value, list) and all(isinstance(part, (str, int, float)) for part in value):
        text = ", ".join(map(str, value[:50])) or "-"
    elif isinstance(value, (list, dict)):
        text = json.dumps(value, ensure_ascii=False, default=str)
    else:
        text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= CLIPPED else text[: CLIPPED - 1] + "…"


def by_length(name: str, values: Column, sizes: Sequence[int]) -> dict[str, Any]:
    """Means over rows of like length in tokens."""
    lengths = np.asarray(sizes)
    edges = np.unique(np.quantile(lengths, np.linspace(0, 1, BINS + 1)[1:-1]).astype(np.int64))
    part = np.searchsorted(edges, lengths, side="left")
    rows = []
    for number in range(len(edges) + 1):
        inside = part == number
        if inside.any():
            low, high = int(lengths[inside].min()), int(lengths[inside].max())
            rows.append(mean(name, f"{low}–{high}" if low < high else str(low), values[inside]))
    return {"by": "length", "rows": rows}


def by_field(task: Task, name: str, values: Column, owners: Column, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Means over the rows of a file, and of each value of fields that part the rows into a few groups."""
    inside = np.flatnonzero((owners >= 0) & (owners < len(rows)))
    own = [rows[int(owner)] for owner in owners[inside]]
    used = {value for value in task.model_dump().values() if isinstance(value, str)}
    names = [field for field in dict.fromkeys(f for row in rows[:100] for f in row.data) if field not in used]
    keyed: list[tuple[str, list[Any]]] = [("", [str(row.path) for row in own])]
    keyed += [(field, [row.data.get(field) for row in own]) for field in names]
    groups: list[dict[str, Any]] = []
    for field, keys in keyed:
        if not all(isinstance(key, (str, int)) for key in keys) or not 1 < len(set(keys)) <= VALUES:
            continue
        texts = np.array([clipped(key) for key in keys])
        there, counts = np.unique(texts, return_counts=True)
        if counts.min() >= LEAST:
            means = [mean(name, str(value), values[inside][texts == value]) for value in there]
            known = [[(one["rows"], one["value"]) for one in group["rows"]] for group in groups]
            if [(one["rows"], one["value"]) for one in means] not in known:  # the same groups by another name
                groups.append({"by": "field" if field else "file", "name": field, "rows": means})
    return groups[:GROUPINGS]


def mean(name: str, label: str, values: Column) -> dict[str, Any]:
    """A mean with its 95 % interval: Wilson's for a share, else that of the normal distribution."""
    known = values[np.isfinite(values)]
    centre = float(known.mean()) if len(known) else 0.0
    if name == "error_rate":
        low, high = wilson(centre, len(known))
    else:
        spread = 1.959964 * float(known.std(ddof=1)) / math.sqrt(len(known)) if len(known) > 1 else 0.0
        low, high = centre - spread, centre + spread
    return {"label": label, "rows": len(known), "value": centre, "low": low, "high": high}


def confusion(task: Task, outcomes: Outcomes) -> dict[str, Any]:
    """The confusion matrix, or of many labels its largest cells off the diagonal."""
    scoring = task.scoring if isinstance(task, Classification) else None
    if not isinstance(scoring, OneLabel):
        return {}
    matrix = scoring.confusion(outcomes)
    labels = [clipped(label) for label in scoring.labels]
    if len(labels) <= MATRIX:
        return {"confusion": {"labels": labels, "matrix": matrix.tolist()}}
    np.fill_diagonal(matrix, 0)
    order = np.argsort(-matrix, axis=None, kind="stable")[:CONFUSIONS]
    cells = [(int(matrix.flat[i]), *divmod(int(i), len(labels))) for i in order]
    return {"confusions": [[labels[row], labels[column], count] for count, row, column in cells if count]}
