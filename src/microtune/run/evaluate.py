"""Evaluation: run a split through the model, let the task interpret, score with a 95 % interval.

Nothing is kept of logits and hidden states: each batch is reduced at once to a few numbers a row (at most 200 bytes,
whatever the number of labels). Intervals are bootstrap percentiles over rows (Efron, 1979), for every metric alike; a
share of rows uses Wilson's interval (1927), which is right near 0 and 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch

from microtune.data.batches import Batch, apart, collate, in_order, item_sizes
from microtune.nn.transformer import Transformer
from microtune.run.precision import Precision, autocast
from microtune.run.trunk import TrunkCache
from microtune.tasks.base import Encoded, Prediction, Task
from microtune.tasks.outcomes import Collector, Column, Columns, Outcomes

EVALUATION_TOKENS = 4096
RESAMPLES = 500
WILSON = (  # shares of rows
    *("accuracy", "subset_accuracy", "preference_accuracy", "triplet_accuracy", "exact_match", "numeric_match"),
    *("recall@1", "recall@5", "recall@10"),
)


@dataclass(frozen=True)
class Score:
    """Metrics of a split, their 95 % intervals, and what was predicted for each row.

    `predictions` reads as a list of Prediction; it keeps columns of numbers, so the scores of all labels are not in
    it (`predict` gives them). `settled`: fields of the task that follow from this split, such as the temperature.
    `parts`: where one model learnt several tasks, the score of each by itself, by its name. `notes`: what was done to
    the rows that a reader should know, such as texts that were cut.
    """

    values: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    predictions: Outcomes
    settled: dict[str, float] = field(default_factory=dict)
    parts: dict[str, Score] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """How many rows were scored, whatever number of items was made of each."""
        return len(np.unique(_alone(self.predictions.columns["row"])))


def predict_items(
    model: Transformer,
    task: Task,
    encoded: Encoded,
    *,
    precision: Precision = "float32",
    trunk: TrunkCache | None = None,
) -> Iterator[Prediction]:
    """One Prediction per item, shortest first; `Prediction.row` says which row it is. `trunk`: that of these items."""
    with torch.inference_mode(), autocast(next(model.parameters()).device, precision):
        for _, batch, hidden in _hidden(model, encoded, trunk):
            yield from task.decode(model.head, hidden, batch)


def evaluate_items(
    model: Transformer,
    task: Task,
    encoded: Encoded,
    *,
    precision: Precision = "float32",
    intervals: bool = True,
    settle: bool = False,
    trunk: TrunkCache | None = None,
    answers: Columns | None = None,
) -> Score:
    """Score a split, in one pass; `settle`: choose fields of the task by it too; `answers`: columns of written ones."""
    kept = Collector(len(encoded.items))
    tallies: dict[str, Column] = {}
    with torch.inference_mode(), autocast(next(model.parameters()).device, precision):
        for places, batch, hidden in _hidden(model, encoded, trunk):
            kept.put(places, task.measure(model.head, hidden, batch, tallies if settle else None))
    kept.columns |= answers or {}
    outcomes = Outcomes(kept.columns, task.read) if kept.columns else Outcomes(task.columns([]), task.read)
    values = task.metrics(outcomes) | task.settled_metrics(tallies)
    found = confidence_intervals(task, outcomes, values) if intervals else {}
    return Score(values, found, outcomes, task.settled(tallies))


def _hidden(
    model: Transformer, encoded: Encoded, trunk: TrunkCache | None
) -> Iterator[tuple[list[int], Batch, torch.Tensor]]:
    """Places of items, their batch and its hidden states at the readout, shortest items first."""
    device = next(model.parameters()).device
    model.eval()
    items = encoded.items
    pieces = in_order(item_sizes(items), EVALUATION_TOKENS)
    if trunk is None and model.is_causal and len(items) and len(items[0].pieces):
        pieces = apart(pieces, items)
    for piece in pieces:
        chosen = [items[i] for i in piece]
        batch = (collate(chosen, share=model.is_causal) if trunk is None else trunk.collate(chosen)).to(device)
        states = None if trunk is None else trunk.states(batch, piece)
        hidden = model(batch.inputs, readout=batch.readout, sources=batch.sources, types=batch.types, trunk=states)
        yield piece, batch, hidden


def confidence_intervals(task: Task, outcomes: Outcomes, values: dict[str, float]) -> dict[str, tuple[float, float]]:
    """95 % interval of every metric, over rows (several items of one row stay together).

    A draw of rows is how often each one was drawn: the same metrics as of a list with repetitions, without making it.
    """
    rows = outcomes.columns["row"]
    _, group = np.unique(_alone(rows), return_inverse=True)
    count = int(group.max(initial=-1)) + 1
    result = {name: wilson(values[name], _asked(name, outcomes, count)) for name in WILSON if name in values}
    rest = [name for name in values if name not in result]
    if count < 2 or not rest:
        return result
    generator = np.random.default_rng(0)
    draws = np.empty((RESAMPLES, len(rest)))
    for number in range(RESAMPLES):
        times = np.bincount(generator.integers(count, size=count), minlength=count).astype(np.float64)
        again = task.metrics(outcomes, times[group])
        draws[number] = [again.get(name, math.nan) for name in rest]  # not every metric has a value for every draw
    for i, name in enumerate(rest):
        known = draws[:, i][~np.isnan(draws[:, i])]
        if len(known):
            low, high = np.percentile(known, [2.5, 97.5])
            result[name] = (float(low), float(high))
    return result


def _asked(name: str, outcomes: Outcomes, count: int) -> int:
    """Of how many rows a share is one: of written answers those that got one, and that ask for a number."""
    columns = outcomes.columns
    if "written" not in columns or name not in ("exact_match", "numeric_match"):
        return count
    there = columns["written"].astype(bool)
    return int((there & (columns["number"] >= 0)).sum() if name == "numeric_match" else there.sum())


def _alone(rows: Column) -> Column:
    """Rows with an own number for each item that comes of none."""
    return np.where(rows < 0, np.arange(len(rows)) + rows.max(initial=0) + 1, rows)


def wilson(share: float, count: int) -> tuple[float, float]:
    """95 % interval of a share of `count` rows."""
    if count == 0:
        return (0.0, 1.0)
    z = 1.959964
    centre = share + z * z / (2 * count)
    spread = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    scale = 1 + z * z / count
    return (max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale))
