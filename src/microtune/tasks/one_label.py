"""Classification with one label per row: cross-entropy, calibrated by one temperature (Guo et al., 2017).

The labels of an ordinal task are the steps of a scale. Their scores are log-probabilities of a cumulative link model
(nn/ordinal.py), so that cross-entropy is its likelihood; the mean absolute error in steps joins the metrics.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from microtune.data.batches import Batch
from microtune.tasks import figures
from microtune.tasks.base import rows_of
from microtune.tasks.figures import Counts, Ranking, once
from microtune.tasks.labels import Label
from microtune.tasks.outcomes import Column, Columns, Outcomes, Prediction
from microtune.tasks.scoring import SCORED, Scoring, store_of

TEMPERATURES = tuple(math.exp(x) for x in np.linspace(math.log(0.1), math.log(10.0), 201))  # tried when calibrating


class OneLabel(Scoring):
    """One label per row, of any number or of a scale."""

    choices: ClassVar[tuple[str, ...]] = ("accuracy", "macro_f1", "mcc", "loss")

    def targets(self, found: Sequence[Label]) -> Sequence[int]:
        """The number of the one label."""
        return [self.labels.index(found[0])]

    def loss(self, scores: Tensor, targets: Tensor) -> Tensor:
        """Summed cross-entropy, each row times the weight of its class."""
        return F.cross_entropy(scores, targets, weight=self.weights(scores), reduction="sum")

    def predictions(self, scores: Tensor, batch: Batch) -> list[Prediction]:
        """The most probable label and its calibrated probability."""
        scores = scores / self.temperature
        probabilities = torch.softmax(scores, -1).tolist()
        logs = torch.log_softmax(scores, -1)
        result = []
        for number, (item, shares) in enumerate(zip(batch.items, probabilities, strict=True)):
            best = max(range(len(shares)), key=shares.__getitem__)
            target = int(item.targets[0]) if len(item.targets) else None
            result.append(
                Prediction(
                    answer=self.labels[best],
                    confidence=shares[best],
                    target=None if target is None else self.labels[target],
                    scores={str(label): share for label, share in zip(self.labels, shares, strict=True)},
                    numbers={} if target is None else {"loss": -float(logs[number, target]) * self._weight(target)},
                    row=item.row,
                )
            )
        return result

    def _weight(self, target: int) -> float:
        return self.class_weights[target] if self.class_weights else 1.0

    def measure(self, raw: Tensor, batch: Batch, tallies: dict[str, Column] | None) -> Columns:
        """Numbers of answer and target (-1: none), confidence and loss of each item; losses by temperature."""
        logs = torch.log_softmax(raw / self.temperature, -1)
        confidence, answer = logs.max(-1)
        known = torch.tensor([len(item.targets) > 0 for item in batch.items], device=raw.device)
        target = torch.full_like(answer, -1)
        target[known] = batch.targets
        loss = torch.full_like(confidence, math.nan)
        loss[known] = -logs[known].gather(1, batch.targets[:, None])[:, 0]
        weights = self.weights(loss)
        if weights is not None:
            loss[known] *= weights[batch.targets]
        if tallies is not None and len(batch.targets):
            tallies["losses"] = tallies.get("losses", 0.0) + losses_by_temperature(raw[known], batch.targets)
        columns = {
            "row": rows_of(batch),
            "answer": answer.cpu().numpy().astype(np.int32),
            "target": target.cpu().numpy().astype(np.int32),
            "confidence": confidence.exp().cpu().numpy().astype(np.float32),
            "loss": loss.cpu().numpy().astype(np.float64),
        }
        if len(self.labels) <= SCORED:
            columns["scores"] = logs.exp().cpu().numpy().astype(np.float32)
        return columns

    def read(self, columns: Columns, index: int) -> Prediction:
        """Labels in place of their numbers."""
        target = int(columns["target"][index])
        return Prediction(
            answer=self.labels[columns["answer"][index]],
            confidence=float(columns["confidence"][index]),
            target=None if target < 0 else self.labels[target],
            numbers={} if target < 0 else {"loss": float(columns["loss"][index])},
            row=int(columns["row"][index]),
        )

    def columns(self, found: Sequence[Prediction]) -> Columns:
        """Numbers in place of the labels."""
        if isinstance(found, Outcomes):
            return found.columns
        place = {label: i for i, label in enumerate(self.labels)}
        columns: dict[str, Column] = {
            "row": np.array([p.row for p in found], dtype=np.int64),
            "answer": np.array([place[p.answer] for p in found], dtype=np.int32),
            "target": np.array([-1 if p.target is None else place[p.target] for p in found], dtype=np.int32),
            "confidence": np.array([p.confidence for p in found], dtype=np.float32),
            "loss": np.array([p.numbers.get("loss", math.nan) for p in found]),
        }
        if found and len(self.labels) <= SCORED and all(len(p.scores) == len(self.labels) for p in found):
            columns["scores"] = np.array([[p.scores[str(label)] for label in self.labels] for p in found])
        return columns

    def metrics(self, found: Sequence[Prediction], weights: Column | None) -> dict[str, float]:
        """accuracy, macro and weighted F1, Matthews' correlation, ROC-AUC, calibration error and loss."""
        columns, kept = self.columns(found), store_of(found)
        counts = self.counts(columns, weights)
        values = {
            "accuracy": float(counts.hit.sum() / counts.given.sum()),
            "macro_f1": counts.macro_f1,
            "weighted_f1": counts.weighted_f1,
            "mcc": counts.mcc,
        }
        place = self.asked_label
        if place is not None:
            values[self.chosen] = float(counts.f1[place])
        times = np.ones(len(columns["row"])) if weights is None else weights
        area = self._area(columns, times, kept)
        if not math.isnan(area):
            values["roc_auc"] = area
        if self.ordinal:
            values["mae_steps"] = float(np.average(np.abs(columns["target"] - columns["answer"]), weights=weights))
        confidence, right = columns["confidence"], columns["target"] == columns["answer"]
        bins = once(kept, "bins", lambda: figures.calibration_bins(confidence).astype(np.uint8))
        values["calibration_error"] = figures.calibration_error(bins, confidence, right, times)
        return {**values, "loss": float(np.average(columns["loss"], weights=weights))}

    def _area(self, columns: Columns, weights: Column, kept: dict[str, Any]) -> float:
        """Area under the ROC curve: of the second of two labels, else of each against the rest, their plain mean."""
        if "scores" not in columns:
            return math.nan
        size, target = len(self.labels), columns["target"]
        areas = []
        for label in [1] if size == 2 else range(size):
            column = columns["scores"][:, label]
            ranking = once(kept, f"ranking {label}", lambda column=column: Ranking(column))  # type: ignore[misc]
            areas.append(ranking.auc(target == label, weights))
        there = [area for area in areas if not math.isnan(area)]
        return float(np.mean(there)) if there else math.nan

    def counts(self, columns: Columns, weights: Column | None = None) -> Counts:
        """Rows per label."""
        target, answer, size = columns["target"], columns["answer"], len(self.labels)
        right = target == answer
        hits = None if weights is None else weights[right]
        return Counts(
            np.bincount(target[right], hits, size),
            np.bincount(target, weights, size),
            np.bincount(answer, weights, size),
        )

    def totals(self, found: Sequence[Prediction]) -> Counts:
        """Rows per label."""
        return self.counts(self.columns(found))

    def confusion(self, found: Sequence[Prediction]) -> Any:
        """Counts `[label, predicted label]`."""
        columns, size = self.columns(found), len(self.labels)
        pairs = columns["target"].astype(np.int64) * size + columns["answer"]
        return np.bincount(pairs, minlength=size * size).reshape(size, size)

    def details(self, found: Sequence[Prediction]) -> dict[str, Any]:
        """Per class figures, and coverage when unsure."""
        columns = self.columns(found)
        right = columns["target"] == columns["answer"]
        return {**super().details(found), "coverage": figures.coverage(columns["confidence"], right)}

    def settled(self, tallies: Mapping[str, Column]) -> dict[str, float]:
        """The temperature with the lowest loss (one-dimensional search)."""
        return {"temperature": TEMPERATURES[int(np.argmin(tallies["losses"]))]} if "losses" in tallies else {}


def losses_by_temperature(scores: Tensor, targets: Tensor) -> Column:
    """Summed cross-entropy of `scores [B, labels]` for each of `TEMPERATURES`; near the best one they differ little."""
    exact = scores.to(torch.float64)
    return torch.stack([F.cross_entropy(exact / t, targets, reduction="sum") for t in TEMPERATURES]).cpu().numpy()
