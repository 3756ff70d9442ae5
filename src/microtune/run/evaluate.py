"""Evaluation: run a split through the model, let the task interpret, score with a 95 % interval.

Nothing is kept of the logits: each batch is reduced to one `Prediction` per row at once. Intervals are bootstrap
percentiles over rows (Efron, 1979), for every metric alike; a share of rows uses Wilson's interval (1927), which is
right near 0 and 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from microtune.data.batches import collate, in_order, item_sizes
from microtune.nn.transformer import Transformer
from microtune.run.precision import Precision, autocast
from microtune.run.trunk import TrunkCache
from microtune.tasks.base import Encoded, Prediction, Task

EVALUATION_TOKENS = 4096
RESAMPLES = 500
WILSON = ("accuracy",)


@dataclass(frozen=True)
class Score:
    """Metrics of a split, their 95 % intervals, and what was predicted for each row."""

    values: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    predictions: list[Prediction]


def predict_items(
    model: Transformer,
    task: Task,
    encoded: Encoded,
    *,
    precision: Precision = "float32",
    trunk: TrunkCache | None = None,
) -> Iterator[Prediction]:
    """One Prediction per item, shortest first; `Prediction.row` says which row it is. `trunk`: that of these items."""
    device = next(model.parameters()).device
    model.eval()
    items = encoded.items
    with torch.inference_mode(), autocast(device, precision):
        for piece in in_order(item_sizes(items), EVALUATION_TOKENS):
            batch = collate([items[i] for i in piece], share=trunk is None and model.is_causal).to(device)
            states = None if trunk is None else trunk.states(batch, piece)
            hidden = model(batch.inputs, readout=batch.readout, sources=batch.sources, types=batch.types, trunk=states)
            yield from task.decode(model.head, hidden, batch)


def evaluate_items(
    model: Transformer,
    task: Task,
    encoded: Encoded,
    *,
    precision: Precision = "float32",
    intervals: bool = True,
    trunk: TrunkCache | None = None,
) -> Score:
    """Score a split."""
    found = predict_items(model, task, encoded, precision=precision, trunk=trunk)
    predictions = sorted(found, key=lambda p: p.row)
    values = task.metrics(predictions)
    return Score(values, confidence_intervals(task, predictions, values) if intervals else {}, predictions)


def confidence_intervals(
    task: Task, predictions: Sequence[Prediction], values: dict[str, float]
) -> dict[str, tuple[float, float]]:
    """95 % interval of every metric, over rows (several items of one row stay together)."""
    rows: dict[int, list[Prediction]] = {}
    for number, prediction in enumerate(predictions):
        rows.setdefault(prediction.row if prediction.row >= 0 else -1 - number, []).append(prediction)
    groups = list(rows.values())
    result = {name: wilson(values[name], len(groups)) for name in WILSON if name in values}
    rest = [name for name in values if name not in result]
    if len(groups) < 2 or not rest:
        return result
    generator = np.random.default_rng(0)
    draws: dict[str, list[float]] = {name: [] for name in rest}
    for _ in range(RESAMPLES):
        drawn = [p for i in generator.integers(len(groups), size=len(groups)) for p in groups[i]]
        again = task.metrics(drawn)
        for name in rest:
            draws[name].append(again[name])
    for name in rest:
        low, high = np.percentile(draws[name], [2.5, 97.5])
        result[name] = (float(low), float(high))
    return result


def wilson(share: float, count: int) -> tuple[float, float]:
    """95 % interval of a share of `count` rows."""
    if count == 0:
        return (0.0, 1.0)
    z = 1.959964
    centre = share + z * z / (2 * count)
    spread = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    scale = 1 + z * z / count
    return (max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale))
