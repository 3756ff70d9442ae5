"""Classification: one label for one text.

The model reads the text and a new head scores the labels; pooling and head are those of the architecture's
`ForSequenceClassification` in transformers unless the recipe says otherwise. Probabilities are calibrated by one
temperature, fitted on the validation split (Guo et al., 2017).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from microtune.data.batches import Batch, Item
from microtune.data.fields import find_field, text_of
from microtune.data.sources import Row
from microtune.data.text import Tokenizer
from microtune.errors import InputError, at
from microtune.nn.heads import LabelHead
from microtune.nn.spec import ModelSpec
from microtune.tasks.base import EncodingReport, Prediction, Task, tasks

Label = str | int


class Classification(Task):
    """Single-label classification; labels are strings or integers."""

    name: Literal["classification"] = "classification"
    text_field: str | None = None
    label_field: str | None = None
    labels: tuple[Label, ...] = ()
    pooling: Literal["auto", "first", "last", "mean"] = Field(default="auto", description="which positions are read")
    temperature: float = Field(default=1.0, gt=0, description="divides the scores; fitted on validation")

    reads: ClassVar[Literal["hidden"]] = "hidden"
    primary: ClassVar[str] = "accuracy"

    def prepare(self, splits: Mapping[str, Sequence[Row]], *, text_field: str | None, label_field: str | None) -> Self:
        """Find the fields and list the labels of the training split; every other split must know no more."""
        rows = list(splits["train"])
        label = find_field(rows, "label", label_field or self.label_field, exclude=[f for f in (text_field,) if f])
        text = find_field(rows, "text", text_field or self.text_field, exclude=[label])
        found: dict[Label, Row] = {}
        for row in rows:
            found.setdefault(label_of(row, label), row)
        _one_type(found)
        if len(found) < 2:
            only = next(iter(found), "none")
            raise InputError(
                f'{rows[0].path}: all rows have the label "{only}"; a classifier needs at least two classes.'
            )
        for name, others in splits.items():
            for row in others:
                value = label_of(row, label)
                if value not in found:
                    raise InputError(
                        f'{at(row.path, row.line)}: the label "{value}" of the {name} split does not occur in the '
                        "training split; add examples of it there or remove it."
                    )
        ordered = tuple(sorted(found, key=lambda v: (isinstance(v, str), v)))
        return self.model_copy(update={"text_field": text, "label_field": label, "labels": ordered})

    def encode(self, row: Row, index: int, tokenizer: Tokenizer, max_length: int, report: EncodingReport) -> Item:
        """The text's ids, cut to `max_length`, and the number of its label (where the row has one)."""
        assert self.text_field is not None
        ids, cut = tokenizer.encode_cut(text_of(row, self.text_field), max_length)
        if cut:
            report.truncate(index)
        known = self.label_field is not None and row.data.get(self.label_field) is not None
        targets = [self.labels.index(label_of(row, self.label_field or ""))] if known else []
        if not ids:
            raise InputError(f"{at(row.path, row.line)}: the text has no token for this tokenizer.")
        return Item(ids, self._readout(len(ids)), targets, row=index)

    def _readout(self, length: int) -> Sequence[int]:
        if self.pooling == "mean":
            return range(length)
        return (0,) if self.pooling == "first" else (length - 1,)

    def fitted(self, spec: ModelSpec) -> Self:
        """With the pooling of this architecture in place of `auto`."""
        return self.model_copy(update={"pooling": spec.pooling}) if self.pooling == "auto" else self

    def make_head(self, spec: ModelSpec) -> nn.Module:
        """A LabelHead over the chosen pooling."""
        return LabelHead(
            replace(spec, pooling=spec.pooling if self.pooling == "auto" else self.pooling), len(self.labels)
        )

    def check_ready(self, where: str) -> None:
        """A text field, and at least one label, each once."""
        if not self.text_field or not self.labels or len(set(map(str, self.labels))) < len(self.labels):
            raise InputError(f"{where}: the classification names no text field, or no labels that differ.")

    def weight(self, item: Item) -> int:
        """One label per item."""
        return 1

    def loss(self, head: nn.Module, hidden: Tensor, batch: Batch) -> tuple[Tensor, int]:
        """Cross-entropy of the labels."""
        scores = _wide(head(hidden, batch.counts))
        return F.cross_entropy(scores, batch.targets, reduction="sum"), len(batch.targets)

    def decode(self, head: nn.Module, hidden: Tensor, batch: Batch) -> list[Prediction]:
        """The most probable label and its calibrated probability."""
        scores = _wide(head(hidden, batch.counts)) / self.temperature
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
                    numbers={} if target is None else {"loss": -float(logs[number, target])},
                    row=item.row,
                )
            )
        return result

    def metrics(self, predictions: Sequence[Prediction]) -> dict[str, float]:
        """accuracy, macro F1 and loss."""
        right = [p.answer == p.target for p in predictions]
        return {
            "accuracy": float(np.mean(right)),
            "macro_f1": float(np.mean([row["f1"] for row in self.per_class(predictions).values()])),
            "loss": float(np.mean([p.numbers["loss"] for p in predictions])),
        }

    def per_class(self, predictions: Sequence[Prediction]) -> dict[Label, dict[str, float]]:
        """precision, recall, F1 and support of every label that was given or predicted."""
        matrix = self.confusion(predictions)
        result = {}
        for i, label in enumerate(self.labels):
            hit, given, predicted = matrix[i, i], matrix[i].sum(), matrix[:, i].sum()
            if not given and not predicted:
                continue
            precision, recall = hit / predicted if predicted else 0.0, hit / given if given else 0.0
            f1 = 2 * hit / (given + predicted)
            result[label] = {"precision": precision, "recall": recall, "f1": f1, "support": float(given)}
        return {label: {k: float(v) for k, v in row.items()} for label, row in result.items()}

    def confusion(self, predictions: Sequence[Prediction]) -> Any:
        """Counts `[label, predicted label]`."""
        place = {label: i for i, label in enumerate(self.labels)}
        matrix = np.zeros((len(self.labels), len(self.labels)), dtype=np.int64)
        for p in predictions:
            matrix[place[p.target], place[p.answer]] += 1
        return matrix

    def calibrated(self, predictions: Sequence[Prediction]) -> Self:
        """With the temperature that makes the given predictions most likely (one-dimensional search)."""
        logs = np.log(np.clip([list(p.scores.values()) for p in predictions], 1e-12, 1.0)) * self.temperature
        place = {label: i for i, label in enumerate(self.labels)}
        targets = np.array([place[p.target] for p in predictions])

        def loss(temperature: float) -> float:
            scaled = logs / temperature
            norm = np.log(np.exp(scaled - scaled.max(1, keepdims=True)).sum(1)) + scaled.max(1)
            return float((norm - scaled[np.arange(len(targets)), targets]).mean())

        grid = [math.exp(x) for x in np.linspace(math.log(0.1), math.log(10.0), 201)]
        return self.model_copy(update={"temperature": min(grid, key=loss)})


def _wide(scores: Tensor) -> Tensor:
    """In at least float32."""
    return scores.to(torch.promote_types(scores.dtype, torch.float32))


def label_of(row: Row, field: str) -> Label:
    """The label in a field of a row: a string or an integer."""
    value = row.data.get(field)
    if isinstance(value, str) and value.strip():
        return value.strip()
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    kind = (
        "is missing" if value is None or value == "" else f"is {type(value).__name__}, not a string or a whole number"
    )
    raise InputError(f'{at(row.path, row.line)}: the label in "{field}" {kind}.')


def _one_type(found: Mapping[Label, Row]) -> None:
    kinds = {type(label): row for label, row in found.items()}
    if len(kinds) > 1:
        places = " and ".join(f"{kind.__name__} ({at(row.path, row.line)})" for kind, row in kinds.items())
        raise InputError(f"The labels are of mixed types: {places}; make them all strings or all whole numbers.")


tasks.add("classification", Classification)
