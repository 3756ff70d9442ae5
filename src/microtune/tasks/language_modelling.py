"""Language modelling: every token of a text is predicted from the ones before it, or hidden ones from those around.

For training, documents are laid end to end with an end-of-text mark and cut into blocks; for scoring, each row stands
alone, so that bits per byte can be compared between tokenizers and get an interval over rows. Objectives that hide
tokens (objectives.py) belong to pretraining; bits per byte are not defined for them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, Literal, Self

import numpy as np
import torch
from pydantic import Field, field_validator, model_validator
from torch import Tensor, nn

from microtune.data.batches import Batch, Item
from microtune.data.fields import find_field, text_of
from microtune.data.sources import Row
from microtune.data.text import Tokenizer
from microtune.errors import CheckError, InputError
from microtune.nn.heads import VocabularyHead
from microtune.tasks.base import Encoded, EncodingReport, Prediction, Task, rows_of, tasks
from microtune.tasks.objectives import Hiding, Objective, check_options, encode_hidden, hidden_metrics
from microtune.tasks.outcomes import Column, Columns, Outcomes
from microtune.tasks.wording import is_template

SUMS = ("loss", "tokens", "correct", "bytes")  # of one item; scores are quotients of their totals


class LikelihoodTask(Task):
    """What tasks share that are learnt and scored by the likelihood of tokens."""

    reads: ClassVar[Literal["hidden", "likelihood", "generation"]] = "likelihood"
    primary: ClassVar[str] = "loss"
    greater_is_better: ClassVar[bool] = False

    def loss(self, head: nn.Module, hidden: Tensor, batch: Batch) -> tuple[Tensor, float]:
        """Cross-entropy of the next tokens, in chunks, each times its weight where they have any; and the weights' sum.

        So a step learns by the weighted mean over all its targets: sum of w x loss, divided once by the sum of w.
        """
        assert isinstance(head, VocabularyHead)
        if batch.weights is None:
            return head.loss(hidden, batch.targets), len(batch.targets)
        weights = batch.weights.to(torch.promote_types(hidden.dtype, torch.float32))
        return head.loss(hidden, batch.targets, weights), sum(map(self.weight, batch.items))

    def measure(
        self, head: nn.Module, hidden: Tensor, batch: Batch, tallies: dict[str, Column] | None = None
    ) -> Columns:
        """Sums of each item: negative log-likelihood, tokens, tokens guessed rightly, bytes of text.

        A token of weight w counts as w tokens, and so do its bytes: w = 2 is what the same token twice would be.
        """
        assert isinstance(head, VocabularyHead)
        logp, right = head.judge(hidden, batch.targets)
        counts = batch.counts.cpu().numpy()
        owner = np.repeat(np.arange(len(counts)), counts)
        times = np.ones(len(owner)) if batch.weights is None else batch.weights.cpu().numpy()
        return {
            "row": rows_of(batch),
            "loss": np.bincount(owner, -logp.cpu().numpy().astype(np.float64) * times, len(counts)),
            "tokens": np.bincount(owner, times, len(counts)),
            "correct": np.bincount(owner, right.cpu().numpy() * times, len(counts)),
            "bytes": np.array([item.extra or 0.0 for item in batch.items], dtype=np.float64),
        }

    def read(self, columns: Columns, index: int) -> Prediction:
        """The sums as numbers; there is no answer to compare."""
        numbers = {name: float(columns[name][index]) for name in SUMS}
        return Prediction(answer=None, confidence=0.0, numbers=numbers, row=int(columns["row"][index]))

    def columns(self, found: Sequence[Prediction]) -> Columns:
        """The numbers of all Predictions."""
        if isinstance(found, Outcomes):
            return found.columns
        sums = {name: np.array([p.numbers[name] for p in found], dtype=np.float64) for name in SUMS}
        return {"row": np.array([p.row for p in found], dtype=np.int64), **sums}

    def metrics(self, found: Sequence[Prediction], weights: Column | None = None) -> dict[str, float]:
        """loss and perplexity per token, token accuracy and, where bytes are known, bits per byte."""
        columns = self.columns(found)
        total = {name: float(columns[name].sum() if weights is None else columns[name] @ weights) for name in SUMS}
        if not total["tokens"]:
            raise CheckError("There is no token to score in this split.", check="nothing-to-score")
        loss = total["loss"] / total["tokens"]
        result = {
            "loss": loss,
            "perplexity": math.exp(min(loss, 700.0)),
            "token_accuracy": total["correct"] / total["tokens"],
        }
        if total["bytes"]:
            result["bits_per_byte"] = total["loss"] / math.log(2) / total["bytes"]
        return result


class LanguageModelling(LikelihoodTask, Hiding):
    """Language modelling on a text field: causal, or by an objective that hides tokens."""

    name: Literal["language-modelling"] = "language-modelling"
    text_field: str | None = None
    text: str | None = Field(default=None, description='template of the text, such as "{title}\\n{body}"')
    block_size: int = Field(default=256, ge=1)
    objective: Objective = "causal"

    @model_validator(mode="after")
    def _options_of_the_objective(self) -> Self:
        check_options(self, self.objective)
        return self

    templates: ClassVar[Mapping[str, str]] = {"text": "text_field"}

    _templates = field_validator("text")(is_template)

    def prepare(self, splits: Mapping[str, Sequence[Row]], *, text_field: str | None, label_field: str | None) -> Self:
        """Find the text field."""
        if self.objective != "causal":
            raise InputError(f"task.objective: {self.objective} is for microtune pretrain; tuning knows causal alone.")
        if label_field is not None:
            raise InputError("language-modelling has no labels; leave --label-field out.")
        field = find_field(list(splits["train"]), "text", text_field or self.text_field)
        return self.model_copy(update={"text_field": field})

    def check_ready(self, where: str) -> None:
        """A text field."""
        if not self.text_field:
            raise InputError(f"{where}: the task names no text field.")

    def encode_all(self, rows: Sequence[Row], tokenizer: Tokenizer, max_length: int, *, training: bool) -> Encoded:
        """Training: blocks across rows. Scoring: blocks inside each row."""
        assert self.text_field is not None
        if self.objective != "causal":
            documents = [document_ids(tokenizer, text_of(row, self.text_field)) for row in rows]
            return encode_hidden(self, self.objective, documents, tokenizer, min(self.block_size, max_length))
        report = EncodingReport(rows=len(rows))
        size = min(self.block_size, max_length)
        items: list[Item] = []
        rest: list[int] = []  # tokens that wait for a whole block; they begin in the row `owner`
        owner = 0
        for index, row in enumerate(rows):
            text = text_of(row, self.text_field)
            ids = document_ids(tokenizer, text)
            if training:
                owner = owner if rest else index
                rest += ids
                cut = (len(rest) - 1) // size * size
                items += [block_item(rest[i : i + size + 1], index if i else owner) for i in range(0, cut, size)]
                rest, owner = rest[max(cut, 0) :], index if cut > 0 else owner
            else:
                items += row_items(ids, size, index, len(text.encode("utf-8", "replace")))
        if training and len(rest) > 1:
            items.append(block_item(rest, owner))
        for item in items:
            report.add(item)
        return Encoded(items, report)

    def metrics(self, found: Sequence[Prediction], weights: Column | None = None) -> dict[str, float]:
        """Those of the likelihood, under the names that fit the objective."""
        return hidden_metrics(self.objective, super().metrics(found, weights))


def document_ids(tokenizer: Tokenizer, text: str) -> list[int]:
    """One document as training sees it: beginning mark (where there is one), text, end mark."""
    ids = tokenizer.encode(text, special=False)
    return framed(tokenizer, ids)


def framed(tokenizer: Tokenizer, ids: Sequence[int]) -> list[int]:
    """`ids` between the tokenizer's bos and eos, where it has them."""
    bos, eos = tokenizer.id("bos"), tokenizer.id("eos")
    first = [bos] if bos is not None and bos != eos else []
    return [*first, *ids, *([eos] if eos is not None else [])]


def block_item(ids: Sequence[int], row: int = -1, extra: float | None = None) -> Item:
    """T + 1 tokens -> an item of T inputs with the next token as each one's target."""
    values = np.asarray(ids, dtype=np.int64)
    return Item(values[:-1], np.arange(len(values) - 1), values[1:], extra=extra, row=row)  # type: ignore[arg-type]


def row_items(ids: Sequence[int], size: int, row: int, text_bytes: int) -> Iterator[Item]:
    """One row's tokens in blocks; the first item carries the row's bytes."""
    for start in range(0, max(len(ids) - 1, 0), size):
        yield block_item(ids[start : start + size + 1], row, float(text_bytes) if start == 0 else 0.0)


tasks.add("language-modelling", LanguageModelling)
