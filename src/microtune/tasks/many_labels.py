"""Classification with any number of labels per row: a yes or no for each (binary cross-entropy).

A label is given where its probability reaches the threshold, one for the whole run, which the validation split settles:
the one with the best value of the metric that chooses the weights. Scoring keeps one bit per label and row.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
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

THRESHOLDS = np.round(np.arange(1, 50) * 0.02, 2)  # tried on validation; between equals the nearest to 0.5
PIECE = 4096  # rows whose bits are unpacked at one time


class ManyLabels(Scoring):
    """Any number of labels per row."""

    choices: ClassVar[tuple[str, ...]] = ("micro_f1", "macro_f1", "subset_accuracy", "loss")

    def targets(self, found: Sequence[Label]) -> Sequence[int]:
        """A 1 for each label of the row and a 0 for each other."""
        there = np.zeros(len(self.labels), dtype=np.int8)
        there[[self.labels.index(label) for label in found]] = 1
        return there  # type: ignore[return-value]

    def loss(self, scores: Tensor, targets: Tensor) -> Tensor:
        """Binary cross-entropy, the mean over the labels, summed over the rows."""
        return self._losses(scores, targets.view(len(scores), -1)).sum()

    def _losses(self, scores: Tensor, targets: Tensor) -> Tensor:
        wanted = targets.to(scores.dtype)
        losses = F.binary_cross_entropy_with_logits(scores, wanted, pos_weight=self.weights(scores), reduction="none")
        return losses.mean(-1)

    def predictions(self, scores: Tensor, batch: Batch) -> list[Prediction]:
        """The labels that reach the threshold; confidence is the probability of the least sure yes or no."""
        shares = torch.sigmoid(scores)
        yes = shares >= self.threshold
        sure = torch.where(yes, shares, 1 - shares).amin(-1).tolist()
        result = []
        for number, item in enumerate(batch.items):
            known = len(item.targets) > 0
            target = torch.as_tensor(np.asarray(item.targets, dtype=np.int64), device=scores.device)
            loss = self._losses(scores[number : number + 1], target[None]) if known else None
            result.append(
                Prediction(
                    answer=self._names(yes[number].tolist()),
                    confidence=sure[number],
                    target=self._names(item.targets) if known else None,
                    scores=dict(zip(map(str, self.labels), shares[number].tolist(), strict=True)),
                    numbers={} if loss is None else {"loss": float(loss)},
                    row=item.row,
                )
            )
        return result

    def _names(self, there: Iterable[Any]) -> list[Label]:
        return [label for label, yes in zip(self.labels, there, strict=True) if yes]

    def measure(self, raw: Tensor, batch: Batch, tallies: dict[str, Column] | None) -> Columns:
        """Bits of answer and target, confidence, loss and ranking precision of each item; hits by threshold."""
        shares = torch.sigmoid(raw)
        yes = shares >= self.threshold
        known = torch.tensor([len(item.targets) > 0 for item in batch.items], device=raw.device)
        target = torch.zeros(raw.shape, dtype=torch.int64, device=raw.device)
        loss = torch.full((len(raw),), math.nan, dtype=raw.dtype, device=raw.device)
        if known.any():
            target[known] = batch.targets.view(-1, len(self.labels))
            loss[known] = self._losses(raw[known], target[known])
        wanted, chances = target.cpu().numpy().astype(bool), shares.cpu().numpy()
        sure = torch.where(yes, shares, 1 - shares).amin(-1)
        if tallies is not None and known.any():
            _tally(tallies, chances[known.cpu().numpy()], wanted[known.cpu().numpy()])
        columns = {
            "row": rows_of(batch),
            "answer": np.packbits(yes.cpu().numpy(), axis=1),
            "target": np.packbits(wanted, axis=1),
            "known": known.cpu().numpy(),
            "confidence": sure.cpu().numpy().astype(np.float32),
            "loss": loss.cpu().numpy().astype(np.float64),
            "ranking": figures.ranking_precision(chances, wanted),
        }
        if len(self.labels) <= SCORED:
            columns["scores"] = chances.astype(np.float32)
        return columns

    def read(self, columns: Columns, index: int) -> Prediction:
        """Labels in place of their bits."""
        known = bool(columns["known"][index])
        return Prediction(
            answer=self._names(self._bits(columns["answer"][index])),
            confidence=float(columns["confidence"][index]),
            target=self._names(self._bits(columns["target"][index])) if known else None,
            numbers={"loss": float(columns["loss"][index])} if known else {},
            row=int(columns["row"][index]),
        )

    def _bits(self, packed: Column) -> Column:
        return np.unpackbits(packed, axis=-1, count=len(self.labels))

    def columns(self, found: Sequence[Prediction]) -> Columns:
        """Bits in place of the labels."""
        if isinstance(found, Outcomes):
            return found.columns
        answer, target = (self._hot([getattr(p, side) or () for p in found]) for side in ("answer", "target"))
        columns: dict[str, Column] = {
            "row": np.array([p.row for p in found], dtype=np.int64),
            "answer": np.packbits(answer, axis=1),
            "target": np.packbits(target, axis=1),
            "known": np.array([p.target is not None for p in found], dtype=bool),
            "confidence": np.array([p.confidence for p in found], dtype=np.float32),
            "loss": np.array([p.numbers.get("loss", math.nan) for p in found]),
            "ranking": np.full(len(found), math.nan),
        }
        if found and all(len(p.scores) == len(self.labels) for p in found):
            scores = np.array([[p.scores[str(label)] for label in self.labels] for p in found])
            columns["ranking"] = figures.ranking_precision(scores, target)
            if len(self.labels) <= SCORED:
                columns["scores"] = scores
        return columns

    def _hot(self, rows: Sequence[Sequence[Label]]) -> Column:
        place = {label: i for i, label in enumerate(self.labels)}
        hot = np.zeros((len(rows), len(self.labels)), dtype=bool)
        for number, labels in enumerate(rows):
            hot[number, [place[label] for label in labels]] = True
        return hot

    def metrics(self, found: Sequence[Prediction], weights: Column | None) -> dict[str, float]:
        """micro, macro and weighted F1, share of rows with all labels right, ranking precision, ROC-AUC, loss."""
        columns, kept = self.columns(found), store_of(found)
        times = np.ones(len(columns["row"])) if weights is None else weights
        counts = self.counts(columns, times, kept)
        right = once(kept, "right", lambda: (columns["answer"] == columns["target"]).all(1))
        values = {
            "micro_f1": counts.micro_f1,
            "macro_f1": counts.macro_f1,
            "weighted_f1": counts.weighted_f1,
            "subset_accuracy": float(np.average(right, weights=times)),
        }
        place = self.asked_label
        if place is not None:
            values[self.chosen] = float(counts.f1[place])
        ranking = float(np.average(columns["ranking"], weights=times))
        if not math.isnan(ranking):
            values["ranking_precision"] = ranking
        area = self._area(columns, times, kept)
        if not math.isnan(area):
            values["roc_auc"] = area
        return {**values, "loss": float(np.average(columns["loss"], weights=times))}

    def _area(self, columns: Columns, weights: Column, kept: dict[str, Any]) -> float:
        """Area under the ROC curve of each label, their plain mean; of the labels that some rows have and some not."""
        if "scores" not in columns:
            return math.nan
        wanted = once(kept, "wanted", lambda: self._bits(columns["target"]).astype(bool))
        areas = []
        for label in range(len(self.labels)):
            column = columns["scores"][:, label]
            ranking = once(kept, f"ranking {label}", lambda column=column: Ranking(column))  # type: ignore[misc]
            areas.append(ranking.auc(wanted[:, label], weights))
        there = [area for area in areas if not math.isnan(area)]
        return float(np.mean(there)) if there else math.nan

    def counts(self, columns: Columns, weights: Column, kept: dict[str, Any]) -> Counts:
        """Rows per label; which rows have which is kept as pairs, of which there are few."""
        answer, target = columns["answer"], columns["target"]
        both = once(kept, "pairs", lambda: [self._pairs(bits) for bits in (answer & target, target, answer)])
        hit, given, predicted = (np.bincount(label, weights[row], len(self.labels)) for row, label in both)
        return Counts(hit, given, predicted)

    def _pairs(self, packed: Column) -> tuple[Column, Column]:
        """(rows, labels) of the bits that are set."""
        rows, labels = [np.zeros(0, np.int32)], [np.zeros(0, np.int16)]
        for first in range(0, len(packed), PIECE):
            row, label = np.nonzero(self._bits(packed[first : first + PIECE]))
            rows.append((row + first).astype(np.int32))
            labels.append(label.astype(np.int16))
        return np.concatenate(rows), np.concatenate(labels)

    def totals(self, found: Sequence[Prediction]) -> Counts:
        """Rows per label."""
        columns = self.columns(found)
        return self.counts(columns, np.ones(len(columns["row"])), store_of(found))

    def settled(self, tallies: Mapping[str, Column]) -> dict[str, float]:
        """The threshold at which the metric that chooses the weights is best."""
        if "hits" not in tallies:
            return {}
        return {"threshold": float(THRESHOLDS[self._best(tallies)])}

    def settled_metrics(self, tallies: Mapping[str, Column]) -> dict[str, float]:
        """The metrics that move with the threshold, at the one that is settled on."""
        if "hits" not in tallies:
            return {}
        best = self._best(tallies)
        counts = Counts(*tallies["hits"][best])
        values = {"micro_f1": counts.micro_f1, "macro_f1": counts.macro_f1, "weighted_f1": counts.weighted_f1}
        values["subset_accuracy"] = float(tallies["exact"][best] / tallies["rows"])
        place = self.asked_label
        return values if place is None else {**values, self.chosen: float(counts.f1[place])}

    def _best(self, tallies: Mapping[str, Column]) -> int:
        place = self.asked_label

        def value(index: int) -> float:
            counts = Counts(*tallies["hits"][index])
            if place is not None:
                return float(counts.f1[place])
            if self.chosen == "subset_accuracy":
                return float(tallies["exact"][index])
            return counts.macro_f1 if self.chosen == "macro_f1" else counts.micro_f1

        return max(range(len(THRESHOLDS)), key=lambda i: (value(i), -abs(THRESHOLDS[i] - 0.5)))


def _tally(tallies: dict[str, Column], chances: Column, wanted: Column) -> None:
    """Add hits, labels given and labels predicted by threshold and label, and rows that are right as a whole."""
    hits, exact = [], []
    for threshold in THRESHOLDS:
        yes = chances >= threshold
        hits.append([(yes & wanted).sum(0), wanted.sum(0), yes.sum(0)])
        exact.append((yes == wanted).all(1).sum())
    for name, value in (("hits", hits), ("exact", exact), ("rows", len(chances))):
        tallies[name] = tallies.get(name, 0) + np.asarray(value, dtype=np.float64)
