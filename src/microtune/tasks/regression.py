"""Regression: a number for a text, or for a pair of texts.

The head has one output, which learns the standardised target (mean 0, deviation 1 over the training rows) by its
squared error; answers are in the unit of the data again. What always answering the mean would reach stands beside the
scores, because an error alone says nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from microtune.data.batches import Batch, Item
from microtune.data.fields import find_number, number_in
from microtune.data.sources import Row
from microtune.data.text import Tokenizer
from microtune.errors import InputError, at
from microtune.tasks.base import EncodingReport, Prediction, rows_of, tasks
from microtune.tasks.figures import Ranking, correlation, once
from microtune.tasks.outcomes import Column, Columns, Outcomes
from microtune.tasks.scoring import store_of, wide
from microtune.tasks.texts import TextTask


class Regression(TextTask):
    """A number for a text or a pair of texts."""

    name: Literal["regression"] = "regression"
    choose: Literal["rmse", "mae", "pearson", "spearman", "loss"] = Field(
        default="rmse", description="metric for the best weights"
    )
    mean: float = Field(default=0.0, description="of the training targets; found in the data")
    deviation: float = Field(default=1.0, gt=0, description="of the training targets; found in the data")

    primary: ClassVar[str] = "rmse"
    greater_is_better: ClassVar[bool] = False

    def prepare(self, splits: Mapping[str, Sequence[Row]], *, text_field: str | None, label_field: str | None) -> Self:
        """Find the fields; every target is a number, and those of the training split are not all the same."""
        rows = list(splits["train"])
        taken = [f for f in (text_field or self.text_field, self.pair_field) if f]
        field = find_number(rows, label_field or self.label_field, exclude=taken)
        texts = self.find_texts(rows, text_field, [field])
        found = np.array([number_of(row, field) for row in rows])
        for name, others in splits.items():
            if name != "train":
                for row in others:
                    number_of(row, field)
        with np.errstate(over="ignore", invalid="ignore"):
            mean, deviation = float(found.mean()), float(found.std())
        if not math.isfinite(mean) or not math.isfinite(deviation):
            raise InputError(f'{rows[0].path}: the numbers in "{field}" are too large to be averaged; rescale them.')
        if deviation <= 1e-12 * max(1.0, abs(mean)):
            raise InputError(
                f'{rows[0].path}: all rows have the number {found[0]:g} in "{field}"; there is nothing to predict.'
            )
        return self.model_copy(update={**texts, "label_field": field, "mean": mean, "deviation": deviation})

    def remarks(self, splits: Mapping[str, Sequence[Row]]) -> list[str]:
        """Pairs, and what is predicted."""
        found = [number_of(row, self.label_field or "") for row in splits["train"]]
        return [
            *self.text_remarks(),
            f'The number in "{self.label_field}" is predicted: {min(found):g} to {max(found):g}, mean {self.mean:.4g}, '
            f"standard deviation {self.deviation:.4g} over {len(found)} training rows.",
        ]

    def encode(self, row: Row, index: int, tokenizer: Tokenizer, max_length: int, report: EncodingReport) -> Item:
        """The text's ids, and its standardised target in `extra` (where the row has one)."""
        ids, types = self.read_text(row, index, tokenizer, max_length, report)
        known = self.label_field is not None and row.data.get(self.label_field) is not None
        target = (number_of(row, self.label_field or "") - self.mean) / self.deviation if known else None
        positions = self.positions(len(ids))
        return Item(ids, positions, [0] if known else [], types=types, extra=target, row=index)

    @property
    def outputs(self) -> int:
        """One number."""
        return 1

    def check_ready(self, where: str) -> None:
        """A text field, and numbers that can be computed with."""
        if not self.text_field:
            raise InputError(f"{where}: the regression names no text field.")

    def chosen_by(self) -> tuple[str, bool]:
        """`choose`."""
        return self.choose, self.choose in ("pearson", "spearman")

    def weight(self, item: Item) -> int:
        """One per item."""
        return 1

    def loss(self, head: nn.Module, hidden: Tensor, batch: Batch) -> tuple[Tensor, int]:
        """Squared error of the standardised target."""
        found = wide(head(hidden, batch.counts))[:, 0]
        return (found - _targets(batch, found)).square().sum(), len(batch.items)

    def decode(self, head: nn.Module, hidden: Tensor, batch: Batch) -> list[Prediction]:
        """A number in the unit of the data for each item."""
        return list(Outcomes(self.measure(head, hidden, batch), self.read))

    def measure(
        self, head: nn.Module, hidden: Tensor, batch: Batch, tallies: dict[str, Column] | None = None
    ) -> Columns:
        """Answer and target (nan: none) in the unit of the data, and the loss."""
        found = wide(head(hidden, batch.counts))[:, 0]
        wanted = _targets(batch, found)
        standard = {"answer": found, "target": wanted}
        columns = {k: v.cpu().numpy().astype(np.float64) * self.deviation + self.mean for k, v in standard.items()}
        loss = (found - wanted).square().cpu().numpy().astype(np.float64)
        return {"row": rows_of(batch), **columns, "loss": loss}

    def read(self, columns: Columns, index: int) -> Prediction:
        """Plain numbers."""
        target = float(columns["target"][index])
        known = not math.isnan(target)
        return Prediction(
            answer=float(columns["answer"][index]),
            confidence=math.nan,
            target=target if known else None,
            numbers={"loss": float(columns["loss"][index])} if known else {},
            row=int(columns["row"][index]),
        )

    def columns(self, found: Sequence[Prediction]) -> Columns:
        """Numbers as they are."""
        if isinstance(found, Outcomes):
            return found.columns
        return {
            "row": np.array([p.row for p in found], dtype=np.int64),
            "answer": np.array([p.answer for p in found], dtype=np.float64),
            "target": np.array([math.nan if p.target is None else p.target for p in found], dtype=np.float64),
            "loss": np.array([p.numbers.get("loss", math.nan) for p in found], dtype=np.float64),
        }

    def metrics(self, found: Sequence[Prediction], weights: Column | None = None) -> dict[str, float]:
        """RMSE, MAE, Pearson and Spearman (where neither side is constant) and the standardised loss."""
        columns, kept = self.columns(found), store_of(found)
        answer, target = columns["answer"], columns["target"]
        times = np.ones(len(answer)) if weights is None else weights
        gap = answer - target
        square = float(np.average(gap * gap, weights=times))
        values = {"rmse": math.sqrt(square), "mae": float(np.average(np.abs(gap), weights=times))}
        ranks = [
            once(kept, f"ranking of {name}", lambda column=column: Ranking(column)).ranks(times)  # type: ignore[misc]
            for name, column in (("answers", answer), ("targets", target))
        ]
        shares = {"pearson": correlation(answer, target, times), "spearman": correlation(ranks[0], ranks[1], times)}
        values |= {name: share for name, share in shares.items() if not math.isnan(share)}
        if self.choose in shares:
            values.setdefault(self.choose, 0.0)  # a constant answer knows nothing of the order
        return {**values, "loss": float(np.average(columns["loss"], weights=times))}

    def details(self, found: Sequence[Prediction]) -> dict[str, Any]:
        """What always answering the mean of the training rows reaches on the same rows."""
        return {"always_the_mean": self.trivial(self.columns(found)["target"])}

    def trivial(self, targets: Column) -> dict[str, float]:
        """RMSE and MAE of always answering the mean of the training rows."""
        gap = targets - self.mean
        return {"answer": self.mean, "rmse": float(np.sqrt(np.mean(gap * gap))), "mae": float(np.mean(np.abs(gap)))}


def _targets(batch: Batch, like: Tensor) -> Tensor:
    """Standardised targets `[B]`, nan where there is none."""
    values = [math.nan if item.extra is None else item.extra for item in batch.items]
    return torch.tensor(values, dtype=like.dtype, device=like.device)


def number_of(row: Row, field: str) -> float:
    """The finite number in a field of a row, or an InputError with its place."""
    value = row.data.get(field)
    number = number_in(value)
    if number is None:
        kind = "is missing" if value is None or value == "" else f"is {str(value)[:60]!r}, not a finite number"
        raise InputError(f'{at(row.path, row.line)}: the number in "{field}" {kind}.')
    return number


tasks.add("regression", Regression)
