"""Classification: the labels of a text, or of a pair of texts.

The model reads the text and a new head scores the labels; pooling and head are those of the architecture's
`ForSequenceClassification` in transformers unless the recipe says otherwise. A row has one label, one of an ordered
scale, or any number of them: three forms, of which each scores, measures and settles in its own way (scoring.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from pydantic import Field, field_validator, model_validator
from torch import Tensor, nn

from microtune.data.batches import Batch, Item
from microtune.data.fields import find_field
from microtune.data.sources import Row
from microtune.data.text import Tokenizer
from microtune.errors import InputError, at
from microtune.nn.ordinal import OrdinalHead
from microtune.nn.spec import ModelSpec
from microtune.nn.wide import SHARE, WideHead
from microtune.tasks.base import EncodingReport, Prediction, tasks
from microtune.tasks.labels import (
    MOST_LABELS,
    Form,
    Label,
    Reader,
    declared,
    guess_form,
    inverse_frequency,
    label_of,
    one_type,
    ordered,
    scale,
)
from microtune.tasks.many_labels import ManyLabels
from microtune.tasks.one_label import TEMPERATURES, OneLabel, losses_by_temperature
from microtune.tasks.outcomes import Column, Columns
from microtune.tasks.scoring import Scoring, wide
from microtune.tasks.texts import TextTask, texts_read

CHOICES = ("accuracy", "macro_f1", "mcc", "loss", "micro_f1", "subset_accuracy")
RARE = 0.1  # share of the training rows below which accuracy can be high without the rarest label


class Classification(TextTask):
    """Labels for a text or a pair of texts: one, one of a scale, or several."""

    name: Literal["classification"] = "classification"
    labels: tuple[Label, ...] = Field(default=(), description="the labels there are; default: those of the data")
    form: Literal["auto", "single", "multi", "ordinal"] = Field(
        default="auto", description="one label a row, several, or a step of a scale; default: single or multi, as found"
    )
    sign: str = Field(default="", max_length=8, description="joins several labels in one text; default: found")
    whole: bool = Field(
        default=False, description="a file of plain text is one text, as in folders of classes; set by the data"
    )
    balance: Literal["none", "weights"] = Field(
        default="none", description="weights: a rare label counts for more in the loss, by its inverse frequency"
    )
    choose: str | None = Field(
        default=None,
        description="metric for the best weights: accuracy, macro_f1, mcc, loss, f1:LABEL; of several labels micro_f1, "
        "macro_f1, subset_accuracy, loss, f1:LABEL [default: accuracy, micro_f1]",
    )
    ngrams: int = Field(
        default=0,
        ge=0,
        le=5,
        description="n-grams of up to so many tokens score the labels beside the network; 0: none",
    )
    class_weights: tuple[float, ...] = Field(default=(), description="of each label in the loss; found by `balance`")
    temperature: float = Field(default=1.0, gt=0, description="divides the scores; fitted on validation")
    threshold: float = Field(default=0.5, gt=0, lt=1, description="of several labels; fitted on validation")

    primary: ClassVar[str] = "accuracy"

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, values: Any) -> Any:
        """`ordinal: true` is `form: ordinal`."""
        if not isinstance(values, Mapping) or "ordinal" not in values:
            return values
        values = dict(values)
        asked = values.pop("ordinal")
        if not isinstance(asked, bool) or (asked and values.get("form", "ordinal") != "ordinal"):
            raise ValueError("ordinal is true or false, and true is the same as form: ordinal")
        return values | {"form": "ordinal"} if asked else values

    @field_validator("choose")
    @classmethod
    def _is_a_metric(cls, name: str | None) -> str | None:
        if name is not None and name not in CHOICES and not (name.startswith("f1:") and len(name) > 3):
            raise ValueError(f"weights are chosen by one of {', '.join(CHOICES)} or f1:LABEL")
        return name

    @property
    def scoring(self) -> Scoring:
        """What scores, measures and settles the labels of this form."""
        many = self.form == "multi"
        chosen = self.choose or ("micro_f1" if many else "accuracy")
        values = (self.labels, self.class_weights, self.temperature, self.threshold, chosen, self.form == "ordinal")
        return ManyLabels(*values) if many else OneLabel(*values)

    @property
    def reader(self) -> Reader:
        """What reads the labels of a row."""
        kind = type(self.labels[0]) if self.labels else None
        return Reader(self.label_field or "label", self.form == "multi", self.sign, kind)

    def prepare(self, splits: Mapping[str, Sequence[Row]], *, text_field: str | None, label_field: str | None) -> Self:
        """Find the fields and list the labels of the training split; every other split must know no more."""
        rows = list(splits["train"])
        taken = [f for f in (text_field, self.pair_field) if f]
        label = find_field(rows, "label", label_field or self.label_field, exclude=taken)
        texts = self.find_texts(rows, text_field, [label])
        form, sign = guess_form(rows, label)
        if self.form == "multi" or (self.sign and self.form == "auto"):
            form, sign = "multi", self.sign or sign
        elif self.form != "auto":
            form, sign = self.form, ""
        self._check_many(form)
        reader = Reader(label, form == "multi", sign)
        found: dict[Label, Row] = {}
        for row in rows:
            for value in reader.labels(row):
                found.setdefault(value, row)
        labels = self._labels_of(found, form, label, rows)
        reader = replace(reader, kind=type(labels[0]))
        for name, others in splits.items():
            if name != "train":
                _refuse_unknown(name, others, reader, labels, known=bool(self.labels))
        update: dict[str, Any] = {**texts, "label_field": label, "labels": labels, "form": form, "sign": sign}
        if self.balance == "weights" and not self.class_weights:
            counts = Counter(value for row in rows for value in reader.labels(row))
            update["class_weights"] = inverse_frequency([counts[v] for v in labels], len(rows), many=form == "multi")
        prepared = self.model_copy(update=update)
        prepared._check_choice()
        return prepared

    def _check_many(self, form: Form) -> None:
        """Refuse what only several labels a row have."""
        for name in ("sign", "threshold"):
            if form != "multi" and getattr(self, name) != type(self).model_fields[name].default:
                raise InputError(f"task.{name} is of several labels a row, and rows have one; leave it out.")

    def _labels_of(self, found: dict[Label, Row], form: Form, field: str, rows: Sequence[Row]) -> tuple[Label, ...]:
        where = str(rows[0].path) if rows else "the data"
        one_type(found)
        if self.labels:
            return declared(self.labels, found)
        if len(found) < 2:
            only = next(iter(found), "none")
            if form == "multi":
                raise InputError(f'{where}: the rows have no two different labels in "{field}" (only "{only}").')
            raise InputError(f'{where}: all rows have the label "{only}"; a classifier needs at least two classes.')
        if form == "multi" and len(found) > MOST_LABELS:
            raise InputError(f"{where}: {len(found)} different labels; several labels a row are of {MOST_LABELS}.")
        return scale(found, field, where) if form == "ordinal" else ordered(found)

    def _check_choice(self) -> None:
        """Refuse a metric that this form does not have."""
        scoring = self.scoring
        chosen = scoring.chosen
        if self.ngrams and self.form == "ordinal":
            raise InputError("task.ngrams: labels of a scale are not scored by n-grams; take task.form=single.")
        known = [str(label) for label in self.labels]
        if chosen.startswith("f1:") and chosen.removeprefix("f1:") not in known:
            raise InputError(f"task.choose: {chosen} names no label; there are {', '.join(known[:12])}.")
        if not chosen.startswith("f1:") and chosen not in scoring.choices:
            form = "several labels a row" if self.form == "multi" else "one label a row"
            raise InputError(
                f"task.choose: of {form} there is no {chosen}; take {', '.join(scoring.choices)}, f1:LABEL."
            )

    def remarks(self, splits: Mapping[str, Sequence[Row]]) -> list[str]:
        """Pairs, several labels, rare ones, and declared ones that no row has."""
        rows, notes = splits["train"], self.text_remarks()
        counts = Counter(label for row in rows for label in self.reader.labels(row))
        if self.form == "multi":
            how = f'joined by "{self.sign}"' if self.sign else "in a list"
            each = sum(counts.values()) / max(len(rows), 1)
            notes.append(
                f'"{self.label_field}" holds several labels a row, {how}: {len(self.labels)} labels, {each:.2f} a row '
                "(task.form=single takes each value as one label)."
            )
        absent = [label for label in self.labels if not counts[label]]
        if absent:
            more = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
            notes.append(f'No training row has the declared label "{absent[0]}"{more}; it cannot be learnt.')
        if self.scoring.chosen == "accuracy":
            least = min(counts, key=lambda label: counts[label])
            share = counts[least] / len(rows)
            if share < min(RARE, 0.5 / len(self.labels)):
                notes.append(
                    f'Only {share:.1%} of the training rows have the label "{least}": accuracy can be high without it; '
                    "task.choose=macro_f1 chooses the weights by all labels alike, task.balance=weights makes it count."
                )
        return notes

    def stratum(self, rows: Sequence[Row]) -> Callable[[Row], Any] | None:
        """The label of a row; of several the one that is rarest in `rows`."""
        name, reader = self.label_field, self.reader
        if name is None:
            return None
        if not reader.many:
            return lambda row: row.data.get(name)
        counts = Counter(label for row in rows for label in reader.labels(row))
        return lambda row: min(reader.labels(row), key=lambda label: (counts[label], str(label)), default=None)

    def encode(self, row: Row, index: int, tokenizer: Tokenizer, max_length: int, report: EncodingReport) -> Item:
        """The text's ids, cut to `max_length`, and the numbers of its labels (where the row has any)."""
        ids, types = self.read_text(row, index, tokenizer, max_length, report)
        known = self.label_field is not None and row.data.get(self.label_field) is not None
        targets = self.scoring.targets(self.reader.labels(row)) if known else []
        return Item(ids, self.positions(len(ids)), targets, types=types, row=index)

    @property
    def outputs(self) -> int:
        """One score for each label."""
        return len(self.labels)

    def make_head(self, spec: ModelSpec) -> nn.Module:
        """A LabelHead over the chosen pooling; for a scale, one with a cumulative link; with `ngrams`, a wide one."""
        if self.form == "ordinal":
            return OrdinalHead(self.head_spec(spec), len(self.labels))
        if self.ngrams:
            return WideHead(self.head_spec(spec), len(self.labels), self.ngrams)
        return super().make_head(spec)

    def check_ready(self, where: str) -> None:
        """A text field, labels that differ, and as many weights as labels."""
        if not self.text_field or not self.labels or len(set(map(str, self.labels))) < len(self.labels):
            raise InputError(f"{where}: the classification names no text field, or no labels that differ.")
        if self.class_weights and len(self.class_weights) != len(self.labels):
            raise InputError(f"{where}: {len(self.class_weights)} class weights for {len(self.labels)} labels.")
        if self.form == "ordinal" and len(self.labels) < 2:
            raise InputError(f"{where}: a scale of one step.")
        self._check_choice()

    def chosen_by(self) -> tuple[str, bool]:
        """`choose`, or accuracy, or micro F1 where rows have several labels."""
        chosen = self.scoring.chosen
        return chosen, chosen != "loss"

    def weight(self, item: Item) -> int:
        """One per item."""
        return 1

    def loss(self, head: nn.Module, hidden: Tensor, batch: Batch) -> tuple[Tensor, int]:
        """The loss of this form, and how many items it is the sum of.

        A network and the n-grams beside it learn apart, each from its own loss: whichever has learnt the rows by heart
        first would else leave the other nothing to learn. The gradient is that of the mean of the two; the number is
        the loss of the answer, as on validation, since a gap between unlike losses would say nothing.
        """
        parts = _scores(head, hidden, batch)
        losses = [self.scoring.loss(part, batch.targets) for part in parts]
        if len(losses) == 1:
            return losses[0], len(batch.items)
        learnt = torch.stack(losses).mean()
        with torch.no_grad():
            answered = self.scoring.loss(_together(parts), batch.targets)
        return learnt - learnt.detach() + answered, len(batch.items)

    def decode(self, head: nn.Module, hidden: Tensor, batch: Batch) -> list[Prediction]:
        """Answers with the probabilities of all labels."""
        return self.scoring.predictions(_answered(head, hidden, batch), batch)

    def measure(
        self, head: nn.Module, hidden: Tensor, batch: Batch, tallies: dict[str, Column] | None = None
    ) -> Columns:
        """Answers, targets, confidence and loss of each item as numbers."""
        return self.scoring.measure(_answered(head, hidden, batch), batch, tallies)

    def read(self, columns: Columns, index: int) -> Prediction:
        """Labels in place of their numbers."""
        return self.scoring.read(columns, index)

    def columns(self, found: Sequence[Prediction]) -> Columns:
        """Numbers in place of the labels."""
        return self.scoring.columns(found)

    def metrics(self, found: Sequence[Prediction], weights: Column | None = None) -> dict[str, float]:
        """The figures of this form (docs/tasks.md)."""
        return self.scoring.metrics(found, weights)

    def per_class(self, found: Sequence[Prediction]) -> dict[Label, dict[str, float]]:
        """precision, recall, F1 and support of every label that was given or predicted."""
        return self.scoring.per_class(found)

    def details(self, found: Sequence[Prediction]) -> dict[str, Any]:
        """Per class figures, and coverage when unsure."""
        return self.scoring.details(found)

    def confusion(self, found: Sequence[Prediction]) -> Any:
        """Counts `[label, predicted label]`; None where rows have several labels."""
        scoring = self.scoring
        return scoring.confusion(found) if isinstance(scoring, OneLabel) else None

    def calibrated(self, predictions: Sequence[Prediction]) -> Self:
        """With the temperature that makes the given Predictions (with the scores of all labels) most likely."""
        logs = np.log(np.clip([list(p.scores.values()) for p in predictions], 1e-12, 1.0)) * self.temperature
        targets = torch.from_numpy(self.columns(predictions)["target"]).to(torch.int64)
        return self.model_copy(update=self.settled({"losses": losses_by_temperature(torch.tensor(logs), targets)}))

    def settled(self, tallies: Mapping[str, Column]) -> dict[str, float]:
        """The temperature with the lowest loss; of several labels the threshold with the best choice."""
        return self.scoring.settled(tallies)

    def settled_metrics(self, tallies: Mapping[str, Column]) -> dict[str, float]:
        """Metrics at that threshold."""
        return self.scoring.settled_metrics(tallies)


def _scores(head: nn.Module, hidden: Tensor, batch: Batch) -> list[Tensor]:
    """Scores `[B, labels]` of the network, and of the n-grams where the head has them."""
    found = [wide(head(hidden, batch.counts))]
    if isinstance(head, WideHead):
        found.append(wide(head.beside(texts_read(batch))))
    return found


def _answered(head: nn.Module, hidden: Tensor, batch: Batch) -> Tensor:
    """The scores by which a text is answered: those of the network, or the weighted mean of both."""
    return _together(_scores(head, hidden, batch))


def _together(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.lerp(parts[0], parts[1], SHARE)


def _refuse_unknown(name: str, rows: Sequence[Row], reader: Reader, labels: Sequence[Label], *, known: bool) -> None:
    there = set(labels)
    for row in rows:
        for value in reader.labels(row):
            if value not in there:
                what = (
                    "is not among the declared ones; declare it in task.labels or remove the row."
                    if known
                    else "does not occur in the training split; add examples of it there or remove it."
                )
                raise InputError(f'{at(row.path, row.line)}: the label "{value}" of the {name} split {what}')


tasks.add("classification", Classification)

__all__ = ["Classification", "Label", "TEMPERATURES", "label_of"]
