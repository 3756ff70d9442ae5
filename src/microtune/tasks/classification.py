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
from microtune.tasks.base import EncodingReport, Prediction, Task, rows_of, tasks
from microtune.tasks.outcomes import Column, Columns, Outcomes

Label = str | int
TEMPERATURES = tuple(math.exp(x) for x in np.linspace(math.log(0.1), math.log(10.0), 201))  # tried when calibrating


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

    def measure(
        self, head: nn.Module, hidden: Tensor, batch: Batch, tallies: dict[str, Column] | None = None
    ) -> Columns:
        """Numbers of answer and target (-1: none), confidence and loss of each item; losses by temperature."""
        raw = _wide(head(hidden, batch.counts))
        logs = torch.log_softmax(raw / self.temperature, -1)
        confidence, answer = logs.max(-1)
        known = torch.tensor([len(item.targets) > 0 for item in batch.items], device=raw.device)
        target = torch.full_like(answer, -1)
        target[known] = batch.targets
        loss = torch.full_like(confidence, math.nan)
        loss[known] = -logs[known].gather(1, batch.targets[:, None])[:, 0]
        if tallies is not None and len(batch.targets):
            tallies["losses"] = tallies.get("losses", 0.0) + _losses_by_temperature(raw[known], batch.targets)
        return {
            "row": rows_of(batch),
            "answer": answer.cpu().numpy().astype(np.int32),
            "target": target.cpu().numpy().astype(np.int32),
            "confidence": confidence.exp().cpu().numpy().astype(np.float32),
            "loss": loss.cpu().numpy().astype(np.float64),
        }

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
        return {
            "row": np.array([p.row for p in found], dtype=np.int64),
            "answer": np.array([place[p.answer] for p in found], dtype=np.int32),
            "target": np.array([-1 if p.target is None else place[p.target] for p in found], dtype=np.int32),
            "confidence": np.array([p.confidence for p in found], dtype=np.float32),
            "loss": np.array([p.numbers.get("loss", math.nan) for p in found]),
        }

    def metrics(self, found: Sequence[Prediction], weights: Column | None = None) -> dict[str, float]:
        """accuracy, macro F1 (over the labels that were given or predicted) and loss."""
        columns = self.columns(found)
        hit, given, predicted = self._counts(columns, weights)
        seen = (given + predicted) > 0
        return {
            "accuracy": float(hit.sum() / given.sum()),
            "macro_f1": float(np.mean(2 * hit[seen] / (given + predicted)[seen])),
            "loss": float(np.average(columns["loss"], weights=weights)),
        }

    def _counts(self, columns: Columns, weights: Column | None = None) -> tuple[Column, Column, Column]:
        """Per label: rows answered rightly, rows that have it, rows answered with it."""
        target, answer, size = columns["target"], columns["answer"], len(self.labels)
        right = target == answer
        hits = None if weights is None else weights[right]
        return (
            np.bincount(target[right], hits, size),
            np.bincount(target, weights, size),
            np.bincount(answer, weights, size),
        )

    def per_class(self, found: Sequence[Prediction]) -> dict[Label, dict[str, float]]:
        """precision, recall, F1 and support of every label that was given or predicted."""
        result = {}
        for label, hit, given, predicted in zip(self.labels, *self._counts(self.columns(found)), strict=True):
            if not given and not predicted:
                continue
            precision, recall = hit / predicted if predicted else 0.0, hit / given if given else 0.0
            f1 = 2 * hit / (given + predicted)
            result[label] = {"precision": precision, "recall": recall, "f1": f1, "support": float(given)}
        return {label: {k: float(v) for k, v in row.items()} for label, row in result.items()}

    def confusion(self, found: Sequence[Prediction]) -> Any:
        """Counts `[label, predicted label]`."""
        columns, size = self.columns(found), len(self.labels)
        pairs = columns["target"].astype(np.int64) * size + columns["answer"]
        return np.bincount(pairs, minlength=size * size).reshape(size, size)

    def calibrated(self, predictions: Sequence[Prediction]) -> Self:
        """With the temperature that makes the given Predictions (with the scores of all labels) most likely."""
        logs = np.log(np.clip([list(p.scores.values()) for p in predictions], 1e-12, 1.0)) * self.temperature
        targets = torch.from_numpy(self.columns(predictions)["target"]).to(torch.int64)
        return self.model_copy(update=self.settled({"losses": _losses_by_temperature(torch.tensor(logs), targets)}))

    def settled(self, tallies: Mapping[str, Column]) -> dict[str, float]:
        """The temperature with the lowest loss (one-dimensional search)."""
        return {"temperature": TEMPERATURES[int(np.argmin(tallies["losses"]))]} if "losses" in tallies else {}


def _losses_by_temperature(scores: Tensor, targets: Tensor) -> Column:
    """Summed cross-entropy of `scores [B, labels]` for each of `TEMPERATURES`; near the best one they differ little."""
    wide = scores.to(torch.float64)
    return torch.stack([F.cross_entropy(wide / t, targets, reduction="sum") for t in TEMPERATURES]).cpu().numpy()


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
