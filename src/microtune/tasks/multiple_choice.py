"""Multiple choice: which of several options answers a question, with or without a passage.

A decoder scores an option by its likelihood after passage and question, which are computed once for all options; it
learns to make the right one more likely than the others (softmax over the options, as in Radford et al., 2018, without
a new head). An encoder-decoder reads question and passage in its encoder, and an option is as likely as its decoder is
to write it, to its end (as T0 ranks options; Sanh et al., 2022). An encoder reads passage and question with each
option, and a new head gives each a score (Devlin et al., 2019). Either way the options of a question are one item.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from microtune.data.batches import Batch, Item
from microtune.data.fields import find_field, named, text_of
from microtune.data.sources import Row
from microtune.data.text import Tokenizer
from microtune.errors import InputError, at
from microtune.nn.own_heads import OptionHead
from microtune.nn.spec import ModelSpec
from microtune.tasks.base import EncodingReport, Prediction, Task, rows_of, tasks
from microtune.tasks.likelihoods import learnt_through, likelihoods
from microtune.tasks.options import Fields, Options, first_number, list_field, option_columns, read_options
from microtune.tasks.outcomes import Column, Columns, Outcomes
from microtune.tasks.scoring import wide


class MultipleChoice(Task):
    """Which of several options answers a question."""

    name: Literal["multiple-choice"] = "multiple-choice"
    question_field: str | None = Field(default=None, description="field with the question; default: found by its name")
    context_field: str | None = Field(default=None, description='field with a passage; "": none; default: by its name')
    choices_field: str = Field(default="", description="field with the list of options; default: found by its name")
    choice_columns: tuple[str, ...] = Field(default=(), description="columns with one option each; default: found")
    label_field: str | None = Field(default=None, description="field that names the right option")
    counts_from: Literal[0, 1] | None = Field(default=None, description="number of the first option; found in the rows")
    form: Literal["auto", "likelihood", "head"] = Field(
        default="auto", description="how options are scored; default: a decoder by likelihood, an encoder by a head"
    )
    per: Literal["token", "option"] = Field(
        default="token", description="likelihood of an option: the mean of its tokens, or their sum"
    )
    mark: str = Field(default="\n", description="what stands between question and option for a decoder")
    pooling: Literal["auto", "first", "last", "mean"] = Field(default="auto", description="what a head reads")
    start: int | None = Field(default=None, ge=0, description="id with which a decoder under an encoder begins; found")
    first: int | None = Field(default=None, ge=0, description="id that all that it writes begins with; found")
    choose: Literal["accuracy", "loss"] = Field(default="accuracy", description="metric for the best weights")

    reads: ClassVar[Literal["likelihood"]] = "likelihood"
    primary: ClassVar[str] = "accuracy"
    opens: ClassVar[bool] = True

    def prepare(self, splits: Mapping[str, Sequence[Row]], *, text_field: str | None, label_field: str | None) -> Self:
        """Find the fields; every question of every split has options, the right one among them."""
        rows = list(splits["train"])
        choices = self.choices_field or ("" if self.choice_columns else list_field(rows))
        columns = () if choices else self.choice_columns or option_columns(rows)
        taken = [*columns, *([choices] if choices else [])]
        key = find_field(rows, "key", label_field or self.label_field, exclude=taken, flag="--label-field")
        taken.append(key)
        question = find_field(rows, "question", text_field or self.question_field, exclude=taken, flag="--text-field")
        context = self.context_field
        if context is None:
            context = next(iter(_filled(rows, named(rows, "context", exclude=[*taken, question]))), "")
        elif context:
            context = find_field(rows, "context", context)
        fields = Fields(question, choices, columns, key)
        counts = first_number(rows, fields) if self.counts_from is None else self.counts_from
        values = {"question_field": question, "context_field": context, "choices_field": choices, "label_field": key}
        task = self.model_copy(update={**values, "choice_columns": columns, "counts_from": counts})
        for part in splits.values():
            task.check_rows(part)
        return task

    @property
    def fields(self) -> Fields:
        """Where everything stands."""
        name = self.question_field or "question"
        return Fields(name, self.choices_field, self.choice_columns, self.label_field, self.counts_from)

    def check_rows(self, rows: Sequence[Row]) -> None:
        """Options, the right one among them, and a passage where there is to be one."""
        for row in rows:
            read_options(row, self.fields)
            text_of(row, self.question_field or "question")
            if self.context_field:
                text_of(row, self.context_field)

    def remarks(self, splits: Mapping[str, Sequence[Row]]) -> list[str]:
        """Where options stand, and what guessing reaches."""
        where = f'"{self.choices_field}"' if self.choices_field else ", ".join(self.choice_columns)
        counts = [len(read_options(row, self.fields).options) for row in splits["train"]]
        return [
            f"Options stand in {where or 'the question'}, {min(counts)} to {max(counts)} of each; guessing is right in "
            f"{np.mean([1 / n for n in counts]):.1%}."
        ]

    def copy_key(self) -> Any:
        """Passage, question and options."""
        return lambda row: "\n".join([self._passage(row), *(r := read_options(row, self._blind)).options, r.question])

    def group_key(self) -> Any:
        """The questions on one passage stay together; without passages, equal questions."""
        return lambda row: self._passage(row) or str(row.data.get(self.question_field or "", ""))

    @property
    def _blind(self) -> Fields:
        return replace(self.fields, answer=None)

    def _passage(self, row: Row) -> str:
        return str(row.data.get(self.context_field, "")) if self.context_field else ""

    def text_rows(self, texts: Sequence[Any]) -> list[Row]:
        """A question and its options; or several such lists."""
        lists = [list(texts)] if all(isinstance(text, str) for text in texts) else [list(text) for text in texts]
        name, context = self.question_field or "question", self.context_field
        fixed = 2 if context else 1
        first = f"{'a passage, ' if context else ''}a question and its options"
        rows = []
        for number, found in enumerate(lists, 1):
            inside = not self.choices_field and not self.choice_columns
            if len(found) < fixed + (0 if inside else 2) or not all(isinstance(text, str) for text in found):
                raise InputError(f"This model chooses among options: give {first}.")
            data: dict[str, Any] = {context: found[0]} if context else {}
            data[name], options = found[fixed - 1], found[fixed:]
            if self.choice_columns:
                data |= dict(zip(self.choice_columns, options, strict=False))
            elif self.choices_field:
                data[self.choices_field] = options
            rows.append(Row(data, "<text>", number))
        return rows

    def check_ready(self, where: str) -> None:
        """Fields, and how options are scored."""
        if not self.question_field or self.form == "auto" or self.pooling == "auto":
            raise InputError(f"{where}: the task does not name its fields, or not how options are scored.")

    def fitted(self, spec: ModelSpec) -> Self:
        """What writes scores by likelihood, an encoder by a head."""
        causal = spec.decoder is not None
        found: dict[str, str] = {"form": "likelihood" if causal else "head"} if self.form == "auto" else {}
        if self.form == "likelihood" and not causal:
            raise InputError("task.form: an encoder gives no likelihood of a text; take head, or a decoder.")
        if self.pooling == "auto":
            found["pooling"] = spec.pooling
        return self.model_copy(update=found)

    @property
    def only_reads(self) -> bool:
        """A head over each option needs no decoder."""
        return self.form == "head"

    def make_head(self, spec: ModelSpec) -> nn.Module | None:
        """A score for each option, or the model's own vocabulary head."""
        if self.form == "likelihood":
            return None
        return OptionHead(spec if self.pooling == "auto" else replace(spec, pooling=self.pooling))

    def encode(self, row: Row, index: int, tokenizer: Tokenizer, max_length: int, report: EncodingReport) -> Item:
        """The question with each of its options, as sequences that stay together; a passage that is too long is cut."""
        read = read_options(row, self.fields)
        passage = text_of(row, self.context_field) if self.context_field else ""
        make = self._paired if self.form == "head" else self._continued if self.start is None else self._written
        parts, cut = make(read, passage, tokenizer, max_length, at(row.path, row.line))
        if cut:
            report.truncate(index)
        starts = np.cumsum([0, *(len(part.ids) for part in parts)])
        types = [t for part in parts for t in part.types]
        targets = [t for part in parts for t in part.targets]
        if self.form == "head" and read.right is not None:
            targets = [read.right]
        return Item(
            np.concatenate([np.asarray(part.ids, dtype=np.int64) for part in parts]),  # type: ignore[arg-type]
            np.concatenate([np.asarray(p.readout) + s for p, s in zip(parts, starts[:-1], strict=True)]),  # type: ignore[arg-type]
            targets,
            parts[0].sources,
            types if any(types) else (),
            extra=read,
            row=index,
            pieces=[len(part.ids) for part in parts],
        )

    def _continued(
        self, read: Options, passage: str, tokenizer: Tokenizer, max_length: int, where: str
    ) -> tuple[list[Item], bool]:
        """Passage, question and an option as a decoder goes on; only the option is scored."""
        bos = tokenizer.id("bos")
        first = [bos] if bos is not None and bos != tokenizer.id("eos") else []
        asked = read.question + self.mark
        asked = "\n" + asked if passage else asked
        head = tokenizer.encode(passage, special=False) if passage else []
        question = tokenizer.encode(asked, special=False, behind=bool(passage))
        options = [tokenizer.encode(option, special=False, behind=True) for option in read.options]
        room = max_length - len(first) - max(map(len, options))
        kept = max(room - len(question), 0)
        prompt = [*first, *head[:kept], *question[max(len(question) - max(room, 0), 0) :]]
        if room < 1 or not prompt or not all(options):
            raise InputError(f"{where}: {max_length} tokens leave no room for a question beside its options.")
        parts = []
        for option in options:
            ids = [*prompt, *option]
            parts.append(Item(ids[:-1], range(len(prompt) - 1, len(ids) - 1), option))
        return parts, len(head) + len(question) > room

    def _written(
        self, read: Options, passage: str, tokenizer: Tokenizer, max_length: int, where: str
    ) -> tuple[list[Item], bool]:
        """Question and passage for the encoder, an option as its decoder writes it, with the stop token."""
        assert self.start is not None
        source, cut = tokenizer.encode_cut(f"{read.question}\n{passage}" if passage else read.question, max_length)
        opening = [self.start] if self.first is None else [self.start, self.first]
        writer, parts = tokenizer.target, []
        for option in read.options:
            target = [*writer.encode(option, special=False), *writer.stop_ids[:1]]
            ids = [*opening, *target[:-1]]
            if len(ids) > max_length or len(target) < 2:
                raise InputError(f"{where}: an option has no token, or more than {max_length}.")
            parts.append(Item(ids, range(len(opening) - 1, len(ids)), target, source))
        return parts, cut

    def _paired(
        self, read: Options, passage: str, tokenizer: Tokenizer, max_length: int, where: str
    ) -> tuple[list[Item], bool]:
        """Passage and question, and an option, as a pair of texts."""
        asked = f"{passage}\n{read.question}" if passage else read.question
        parts, any_cut = [], False
        for option in read.options:
            ids, types, cut = tokenizer.encode_two(asked, option, max_length)
            count = len(ids)
            readout = range(count) if self.pooling == "mean" else (0,) if self.pooling == "first" else (count - 1,)
            parts.append(Item(ids, readout, types=types))
            any_cut = any_cut or cut
        return parts, any_cut

    def chosen_by(self) -> tuple[str, bool]:
        """`choose`."""
        return self.choose, self.choose != "loss"

    def weight(self, item: Item) -> int:
        """One per question."""
        return 1

    def loss(self, head: nn.Module, hidden: Tensor, batch: Batch) -> tuple[Tensor, int]:
        """Summed cross-entropy over the options of each question."""
        if self.form == "head":
            scores = wide(head(hidden, batch.counts))[:, 0]
            return _losses(scores, batch).sum(), len(batch.items)
        lengths = self._lengths(batch)
        return learnt_through(head, hidden, batch, lambda sums: _losses(sums / lengths, batch).sum()), len(batch.items)

    def _lengths(self, batch: Batch) -> Tensor:
        """What the likelihood of each option is divided by."""
        return batch.counts if self.per == "token" else torch.ones_like(batch.counts)

    def measure(
        self, head: nn.Module, hidden: Tensor, batch: Batch, tallies: dict[str, Column] | None = None
    ) -> Columns:
        """The chosen option of each question, the share of each, and the loss."""
        if self.form == "head":
            scores = wide(head(hidden, batch.counts))[:, 0]
        else:
            scores = likelihoods(head, hidden, batch) / self._lengths(batch)
        parts = scores.split([len(item.pieces) for item in batch.items])
        shares = [part.softmax(0).cpu().numpy().astype(np.float64) for part in parts]
        found = [(item.extra, share) for item, share in zip(batch.items, shares, strict=True)]
        return _columns(found, rows_of(batch))

    def read(self, columns: Columns, index: int) -> Prediction:
        """The text of the chosen option, and the share of each."""
        read: Options = columns["asked"][index]
        shares = columns["shares"][index].tolist()
        best = int(columns["answer"][index])
        return Prediction(
            answer=read.options[best],
            confidence=shares[best],
            target=None if read.right is None else read.options[read.right],
            scores=dict(zip(read.options, shares, strict=True)),
            numbers={} if read.right is None else {"loss": float(columns["loss"][index])},
            row=int(columns["row"][index]),
        )

    def columns(self, found: Sequence[Prediction]) -> Columns:
        """Options and shares of Predictions of either kind."""
        if isinstance(found, Outcomes):
            return found.columns
        read = []
        for p in found:
            options = tuple(p.scores)
            right = None if p.target is None else options.index(p.target)
            read.append((Options("", options, right), np.array(list(p.scores.values()), dtype=np.float64)))
        return _columns(read, np.array([p.row for p in found], dtype=np.int64))

    def metrics(self, found: Sequence[Prediction], weights: Column | None = None) -> dict[str, float]:
        """Accuracy and loss."""
        columns = self.columns(found)
        right = columns["answer"] == columns["target"]
        return {
            "accuracy": float(np.average(right, weights=weights)),
            "loss": float(np.average(columns["loss"], weights=weights)),
        }

    def details(self, found: Sequence[Prediction]) -> dict[str, Any]:
        """What guessing reaches."""
        asked = self.columns(found)["asked"]
        return {"guessing": float(np.mean([1 / len(read.options) for read in asked]))} if len(asked) else {}


def _losses(scores: Tensor, batch: Batch) -> Tensor:
    """Cross-entropy of the right option of each question, from the scores of all options end to end."""
    parts = scores.split([len(item.pieces) for item in batch.items])
    return torch.stack([-p.log_softmax(0)[item.extra.right] for p, item in zip(parts, batch.items, strict=True)])


def _columns(found: Sequence[tuple[Options, Column]], rows: Column) -> dict[str, Column]:
    asked, shares = np.empty(len(found), dtype=object), np.empty(len(found), dtype=object)
    answer, target = np.zeros(len(found), dtype=np.int32), np.full(len(found), -1, dtype=np.int32)
    loss = np.full(len(found), math.nan)
    for number, (read, share) in enumerate(found):
        asked[number], shares[number], answer[number] = read, share, int(share.argmax())
        if read.right is not None:
            target[number] = read.right
            loss[number] = -math.log(max(float(share[read.right]), 1e-300))
    return {"row": rows, "asked": asked, "shares": shares, "answer": answer, "target": target, "loss": loss}


def _filled(rows: Sequence[Row], names: Sequence[str]) -> list[str]:
    """Those of the fields that hold a text in every row."""
    return [n for n in names if all(isinstance(text := row.data.get(n), str) and text.strip() for row in rows)]


tasks.add("multiple-choice", MultipleChoice)
