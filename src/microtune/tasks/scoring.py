"""What the forms of classification have in common: scores of labels in, losses, answers and figures out.

A form is made from the task whenever it is asked something; it holds no state of its own. `OneLabel` serves single and
ordinal labels, `ManyLabels` several labels per row.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from microtune.data.batches import Batch
from microtune.tasks.figures import Counts
from microtune.tasks.labels import Label
from microtune.tasks.outcomes import Column, Columns, Outcomes, Prediction

SCORED = 10  # labels whose scores are kept for ROC-AUC: with what ranks them 120 bytes a row; of more, none are


@dataclass(frozen=True)
class Scoring(ABC):
    """Labels, and what the task has chosen about them."""

    labels: tuple[Label, ...]
    class_weights: tuple[float, ...] = ()
    temperature: float = 1.0
    threshold: float = 0.5
    chosen: str = ""  # the metric by which weights are chosen
    ordinal: bool = False

    choices: ClassVar[tuple[str, ...]]  # metrics by which weights can be chosen

    @abstractmethod
    def targets(self, found: Sequence[Label]) -> Sequence[int]:
        """Targets of an item with these labels."""

    @abstractmethod
    def loss(self, scores: Tensor, targets: Tensor) -> Tensor:
        """Summed loss of `scores [B, labels]`."""

    @abstractmethod
    def predictions(self, scores: Tensor, batch: Batch) -> list[Prediction]:
        """Answers in full, with the probability of every label."""

    @abstractmethod
    def measure(self, raw: Tensor, batch: Batch, tallies: dict[str, Column] | None) -> Columns:
        """The same as columns of numbers."""

    @abstractmethod
    def read(self, columns: Columns, index: int) -> Prediction:
        """Labels in place of their numbers."""

    @abstractmethod
    def columns(self, found: Sequence[Prediction]) -> Columns:
        """Numbers in place of the labels."""

    @abstractmethod
    def metrics(self, found: Sequence[Prediction], weights: Column | None) -> dict[str, float]:
        """Scores of a split."""

    @abstractmethod
    def totals(self, found: Sequence[Prediction]) -> Counts:
        """Rows per label."""

    def per_class(self, found: Sequence[Prediction]) -> dict[Label, dict[str, float]]:
        """precision, recall, F1 and support of every label that was given or predicted."""
        counts = self.totals(found)
        seen = (counts.given + counts.predicted) > 0
        return {label: counts.table(i) for i, label in enumerate(self.labels) if seen[i]}

    @abstractmethod
    def settled(self, tallies: Mapping[str, Column]) -> dict[str, float]:
        """Fields of the task that follow from the tallies of a split."""

    def settled_metrics(self, tallies: Mapping[str, Column]) -> dict[str, float]:
        """Metrics as they are with those fields, where they differ."""
        return {}

    def details(self, found: Sequence[Prediction]) -> dict[str, Any]:
        """Per class figures, for a report."""
        rows = self.per_class(found)
        return {"per_class": [{"label": label, **row} for label, row in rows.items()]}

    def weights(self, like: Tensor) -> Tensor | None:
        """The class weights as a tensor, or None where all weigh the same."""
        return torch.tensor(self.class_weights, dtype=like.dtype, device=like.device) if self.class_weights else None

    @property
    def asked_label(self) -> int | None:
        """The number of the label that `f1:<label>` names."""
        if not self.chosen.startswith("f1:"):
            return None
        return [str(label) for label in self.labels].index(self.chosen.removeprefix("f1:"))


def store_of(found: Sequence[Prediction]) -> dict[str, Any]:
    """Where metrics keep what they find once."""
    return found.kept if isinstance(found, Outcomes) else {}


def wide(scores: Tensor) -> Tensor:
    """In at least float32."""
    return scores.to(torch.promote_types(scores.dtype, torch.float32))
