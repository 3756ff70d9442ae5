"""Preference: of two answers the better one becomes more likely than the worse one, compared with the base.

Pairs are learnt by direct preference optimisation (Rafailov et al., 2023): the loss of a pair is
-log sigmoid(beta * ((c - c0) - (r - r0))), with c and r the log-probabilities of the chosen and the rejected answer,
and c0 and r0 those that the base gave them. Rows with one answer that was good or bad are learnt by KTO (Ethayarajh et
al., 2024), in which each answer is held against how far the model has moved on answers of other prompts. What the base
said is computed once, before anything trains (run/reference.py), so that there is never a second model in memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar, Literal, Self

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from microtune.data.batches import Batch, Item
from microtune.data.fields import find_field, named, second_part, text_of
from microtune.data.sources import Row
from microtune.data.text import Tokenizer
from microtune.errors import CheckError, InputError, at
from microtune.nn.heads import VocabularyHead
from microtune.tasks.base import Encoded, EncodingReport, Prediction, rows_of, tasks
from microtune.tasks.conversation import Segment, chat_segments, tools_of
from microtune.tasks.instruction import Instruction
from microtune.tasks.likelihoods import check_head, learnt_through
from microtune.tasks.outcomes import Column, Columns, Outcomes
from microtune.tasks.preference_rows import (
    Messages,
    beginning,
    check_turns,
    good_or_bad,
    last_turns,
    turns_of,
)
from microtune.tasks.preference_scores import Judged, measured, scores_of


class Preference(Instruction):
    """Prompt with a chosen and a rejected answer, or with one that was good or bad."""

    name: Literal["preference"] = "preference"  # type: ignore[assignment]
    objective: Literal["auto", "dpo", "kto"] = Field(
        default="auto", description="dpo: pairs of answers; kto: single answers, good or bad; auto: by the fields"
    )
    beta: float = Field(default=0.1, gt=0, le=100, description="how dear it is to move away from the base")
    label_smoothing: float = Field(default=0.0, ge=0, lt=0.5, description="dpo: share of pairs that may be swapped")
    good_weight: float = Field(default=1.0, gt=0, description="kto: weight of good answers")
    bad_weight: float = Field(default=1.0, gt=0, description="kto: weight of bad answers")
    start: int | None = Field(default=None, ge=0, description="id with which a decoder under an encoder begins; found")
    first: int | None = Field(default=None, ge=0, description="id that all that it writes begins with; found")
    chosen_field: str | None = Field(default=None, description="field with the better answer; default: by its name")
    rejected_field: str | None = Field(default=None, description="field with the worse answer; default: by its name")
    label_field: str | None = Field(
        default=None, description="kto: field that says true or false; default: by its name"
    )

    opens: ClassVar[bool] = True

    def prepare(self, splits: Mapping[str, Sequence[Row]], *, text_field: str | None, label_field: str | None) -> Self:
        """Find the fields: pairs where a field is called chosen or rejected, else answers that were good or bad."""
        if self.generate:
            raise InputError("task.generate is for instruction: a preference is scored by its pairs; leave it out.")
        rows = list(splits["train"])
        pairs = bool(self.chosen_field or self.rejected_field or named(rows, "chosen") or named(rows, "rejected"))
        objective = self.objective if self.objective != "auto" else "dpo" if pairs else "kto"
        task = self.model_copy(update={"objective": objective})
        return task._pairs(rows, text_field) if objective == "dpo" else task._flags(rows, text_field, label_field)

    def _pairs(self, rows: Sequence[Row], text_field: str | None) -> Self:
        if self.answer is not None:
            raise InputError(
                "task.answer is one template, but a pair has two answers; name chosen_field, rejected_field."
            )
        chosen = find_field(rows, "chosen", self.chosen_field, flag="task.chosen_field")
        rejected = find_field(rows, "rejected", self.rejected_field, exclude=[chosen], flag="task.rejected_field")
        found = {"chosen_field": chosen, "rejected_field": rejected}
        asked = text_field or self.prompt_field or self.messages_field
        if asked is None:
            free = [*named(rows, "messages"), *named(rows, "prompt")]
            asked = next((name for name in free if name not in (chosen, rejected)), None)
        if asked is not None:
            asked = find_field(rows, "prompt", asked)
        if asked is None and not isinstance(rows[0].data.get(chosen), list):
            asked = find_field(rows, "prompt", exclude=[chosen, rejected], flag="--text-field")
        plain_text = asked is not None and isinstance(rows[0].data.get(asked), str)
        if plain_text and isinstance(rows[0].data.get(chosen), str) and self.form != "messages":
            return self._texts(rows, asked, [chosen, rejected], found)
        return self.model_copy(update={"form": "messages", "messages_field": asked or "", **found})

    def _texts(self, rows: Sequence[Row], prompt: str | None, taken: Sequence[str], found: dict[str, str]) -> Self:
        known = [name for name in (prompt, *taken, *found.values()) if name]
        extra = self.input_field or (second_part(rows, exclude=known) if self.prompt is None else None)
        update = {"form": "prompt", "prompt_field": prompt, "completion_field": taken[0], "input_field": extra}
        return self.model_copy(update={**update, **found})

    def _flags(self, rows: Sequence[Row], text_field: str | None, label_field: str | None) -> Self:
        label = find_field(rows, "label", label_field or self.label_field, flag="--label-field")
        messages = self.messages_field or next(iter(named(rows, "messages")), None)
        if self.form != "prompt" and messages is not None and text_field in (None, messages):
            update = {"form": "messages", "messages_field": messages, "label_field": label}
            return self.model_copy(update=update)
        prompt = find_field(rows, "prompt", text_field or self.prompt_field, exclude=[label], flag="--text-field")
        wanted = self.completion_field
        answer = find_field(rows, "completion", wanted, exclude=[prompt, label], flag="task.completion_field")
        return self._texts(rows, prompt, [answer], {"label_field": label})

    def check_ready(self, where: str) -> None:
        """The fields of the form."""
        fields = (self.chosen_field, self.rejected_field) if self.objective == "dpo" else (self.label_field,)
        if self.objective == "auto" or self.form == "auto" or not all(fields):
            raise InputError(f"{where}: the preference task does not name its fields.")

    def encode(
        self, row: Row, index: int, tokenizer: Tokenizer, max_length: int, report: EncodingReport
    ) -> Item | None:
        """Both answers after the prompt, or one; None where one is too long, or both are the same."""
        if self.objective == "dpo":
            parts = [self.answered(row, row, name, tokenizer) for name in self._answers]
            good = True
        else:
            good = good_or_bad(row, self.label_field or "label")
            parts = [self.answered(row, row, self._answers[0], tokenizer)]
        return self._asked(_item(parts, index, max_length, report, good), row, tokenizer, max_length, report)

    def _asked(
        self, item: Item | None, row: Row, tokenizer: Tokenizer, max_length: int, report: EncodingReport
    ) -> Item | None:
        """Of an encoder-decoder: with the prompt as the source of all its answers; None where it is too long."""
        if item is None or self.start is None:
            return item
        source = self.prompt_ids(self.prompt_of(row), tokenizer)
        if len(source) > max_length:
            report.drop(item.row, len(item.targets))
            return None
        return replace(item, sources=np.asarray(source, dtype=np.int64))  # type: ignore[arg-type]

    def prompt_ids(self, prompt: str, tokenizer: Tokenizer) -> list[int]:
        """Ids that a decoder goes on from; of an encoder-decoder those that its encoder reads."""
        return super().prompt_ids(prompt, tokenizer) if self.start is None else tokenizer.encode(prompt)

    def encode_all(self, rows: Sequence[Row], tokenizer: Tokenizer, max_length: int, *, training: bool) -> Encoded:
        """All rows; pairs of equal answers are counted. For KTO each prompt gets an answer to another one too."""
        report = EncodingReport(rows=len(rows))
        items: list[Item] = []
        alike = []
        for index, row in enumerate(rows):
            item = self.encode(row, index, tokenizer, max_length, report)
            if item is not None and self.objective == "dpo" and _same(item):
                alike.append(row)
                continue
            if item is not None:
                items.append(item)
                report.add(item)
        if alike:
            count = f"{len(alike)} of {len(rows)} rows have a chosen answer that equals the rejected one"
            report.remarks.append(
                f"{count}; they teach nothing and were left out. First: {at(alike[0].path, alike[0].line)}."
            )
        if self.objective == "kto":
            others = _others(items)
            items = [self._beside(rows, *pair, tokenizer, max_length) for pair in zip(items, others, strict=True)]
            quiet = EncodingReport()
            asked = (self._asked(item, rows[item.row], tokenizer, max_length, quiet) for item in items)
            items = [item for item in asked if item is not None]
        return Encoded(items, report)

    def _beside(
        self, rows: Sequence[Row], item: Item, other: Item | None, tokenizer: Tokenizer, max_length: int
    ) -> Item:
        """With a second sequence: the same prompt and another one's answer, by which the drift is estimated."""
        if other is None:
            return item
        parts = [
            self.answered(rows[item.row], rows[answer.row], self._answers[0], tokenizer) for answer in (item, other)
        ]
        both = _item(parts, item.row, max_length, EncodingReport(), item.extra.good)
        return item if both is None else both  # too long together: it says nothing of the drift

    @property
    def _answers(self) -> tuple[str, ...]:
        if self.objective == "dpo":
            return self.chosen_field or "chosen", self.rejected_field or "rejected"
        return ((self.messages_field if self.form == "messages" else self.completion_field) or "completion",)

    def answered(self, row: Row, other: Row, field: str, tokenizer: Tokenizer) -> list[Segment]:
        """The prompt of a row with the answer that stands in `field` of another (or the same)."""
        if self.start is not None:
            return self._written(other, field, tokenizer)
        if self.form == "prompt":
            data = {name: value for name, value in row.data.items() if name != field}
            data |= {field: other.data[field]} if field in other.data else {}
            return self.model_copy(update={"completion_field": field}).segments(replace(row, data=data), tokenizer)
        asked, turns = self.asked(row), self._turns(other, field)
        where = f'{at(other.path, other.line)}: "{field}"'
        check_turns(asked, turns, where)
        segments = chat_segments([*asked, *turns], tokenizer, f"{at(row.path, row.line)}: ", tools_of(row))
        return last_turns(segments, sum(turn["role"] == "assistant" for turn in turns))

    def _written(self, row: Row, field: str, tokenizer: Tokenizer) -> list[Segment]:
        """An answer as the decoder of an encoder-decoder writes it."""
        assert self.start is not None
        if self.form != "prompt" or self.template:
            raise InputError(
                "An encoder-decoder reads a prompt and writes an answer, no conversation: give both as texts, in "
                "fields such as prompt, chosen and rejected."
            )
        writer = tokenizer.target
        answer = [*writer.encode(text_of(row, field), special=False), *writer.stop_ids[:1]]
        opening = [self.start] if self.first is None else [self.start, self.first]
        return [Segment(opening, False), Segment(answer, True)]

    def asked(self, row: Row) -> Messages:
        """The messages before the answers."""
        if self.objective == "kto":
            messages = turns_of(row, self.messages_field or "messages")
            return messages[:-1] if messages[-1]["role"] == "assistant" else messages
        if not self.messages_field:
            one, other = (turns_of(row, name) for name in self._answers)
            return one[: beginning(one, other)]
        value = row.data.get(self.messages_field)
        if isinstance(value, str) and value.strip():
            return [{"role": "user", "content": value}]
        return turns_of(row, self.messages_field)

    def _turns(self, row: Row, field: str) -> Messages:
        """The messages of an answer, without a prompt that they repeat."""
        turns = turns_of(row, field)
        if self.objective == "kto":
            return turns[-1:]
        asked = self.asked(row)
        return turns[len(asked) :] if turns[: len(asked)] == asked else turns

    def prompt_row(self, row: Row) -> Row:
        """A row whose messages are those before the answers."""
        if self.form != "messages":
            return row
        return replace(row, data={**row.data, self.messages_field or "messages": self.asked(row)})

    def weight(self, item: Item) -> int:
        """One per row."""
        return 1

    def loss(self, head: nn.Module, hidden: Tensor, batch: Batch) -> tuple[Tensor, int]:
        """Summed loss of the pairs of a batch; its gradient reaches each token as a weight of its own cross-entropy."""

        def loss_of(sums: Tensor) -> Tensor:
            return self.pair_losses(sums.view(-1, 2), _references(batch.items, sums).view(-1, 2)).sum()

        return learnt_through(head, hidden, batch, loss_of), len(batch.items)

    def pair_losses(self, scores: Tensor, references: Tensor) -> Tensor:
        """Loss `[P]` from the log-probabilities `[P, 2]` of chosen and rejected answers, now and of the base."""
        moved = scores - references
        margin = self.beta * (moved[:, 0] - moved[:, 1])
        share = self.label_smoothing
        return -(1 - share) * F.logsigmoid(margin) - share * F.logsigmoid(-margin)

    @property
    def coupled(self) -> bool:
        """Under KTO the drift of the whole batch stands in the loss of each row."""
        return self.objective == "kto"

    def vectors(self, head: nn.Module, hidden: Tensor, batch: Batch) -> Tensor:
        """`[sequences, 1]`: log-probability of each answer; of the answers of other rows without a gradient."""
        head = check_head(head)
        counts = batch.counts.tolist()
        own = [number == 0 for item in batch.items for number in range(max(len(item.pieces), 1))]
        found = [
            -head.loss(h, t) if mine else head.log_probabilities(h, t).sum()
            for h, t, mine in zip(hidden.split(counts), batch.targets.split(counts), own, strict=True)
        ]
        return torch.stack([value.to(torch.promote_types(value.dtype, torch.float32)) for value in found])[:, None]

    def joint_loss(self, vectors: Tensor, items: Sequence[Item]) -> Tensor:
        """Summed loss of KTO: how far each answer has moved, held against how far the batch's other answers have."""
        moved = vectors[:, 0] - _references(items, vectors)
        parts = moved.split([max(len(item.pieces), 1) for item in items])
        others = [part[1] for part in parts if len(part) > 1]
        drift = torch.stack(others).mean().clamp(min=0).detach() if others else moved.new_zeros(())
        return self.answer_losses(torch.stack([part[0] for part in parts]), drift, [i.extra.good for i in items]).sum()

    def answer_losses(self, moved: Tensor, drift: Tensor, good: Sequence[bool]) -> Tensor:
        """Loss `[A]` of answers that have moved by `moved [A]`, where others have by `drift`."""
        right = torch.tensor(good, device=moved.device)
        gain = torch.sigmoid(self.beta * torch.where(right, moved - drift, drift - moved))
        return torch.where(right, self.good_weight, self.bad_weight) * (1 - gain)

    def measure(
        self, head: nn.Module, hidden: Tensor, batch: Batch, tallies: dict[str, Column] | None = None
    ) -> Columns:
        """How far the answers of each row have moved, and the drift of its good answer."""
        assert isinstance(head, VocabularyHead)
        logs = head.log_probabilities(hidden, batch.targets).cpu().numpy().astype(np.float64)
        return {"row": rows_of(batch), **measured(logs, batch)}

    def read(self, columns: Columns, index: int) -> Prediction:
        """The numbers; there is no answer to compare."""
        numbers = {name: float(values[index]) for name, values in columns.items() if name != "row"}
        return Prediction(answer=None, confidence=0.0, numbers=numbers, row=int(columns["row"][index]))

    def columns(self, found: Sequence[Prediction]) -> Columns:
        """The numbers of all Predictions."""
        if isinstance(found, Outcomes):
            return found.columns
        names = list(found[0].numbers) if found else []
        sums = {name: np.array([p.numbers[name] for p in found], dtype=np.float64) for name in names}
        return {"row": np.array([p.row for p in found], dtype=np.int64), **sums}

    def metrics(self, found: Sequence[Prediction], weights: Column | None = None) -> dict[str, float]:
        """loss, preference accuracy, margin, and the drift from the base."""
        columns = self.columns(found)
        if not len(columns["row"]):
            raise CheckError("There is no pair to score in this split.", check="nothing-to-score")
        return scores_of(self, columns, weights)


def _item(
    parts: Sequence[Sequence[Segment]], index: int, max_length: int, report: EncodingReport, good: bool
) -> Item | None:
    """Sequences end to end, each read where its answer is predicted."""
    ids: list[Column] = []
    readout: list[Column] = []
    targets: list[Column] = []
    pieces: list[int] = []
    start = 0
    for segments in parts:
        own = np.asarray([i for segment in segments for i in segment.ids], dtype=np.int64)
        mask = [segment.supervised for segment in segments for _ in segment.ids]
        places = np.flatnonzero(mask[1:]) + 1
        ids.append(own[:-1])
        readout.append(places - 1 + start)
        targets.append(own[places])
        pieces.append(len(own) - 1)
        start += len(own) - 1
    if any(segment.parted for segments in parts for segment in segments):
        report.part(index)
    if max(pieces) > max_length:
        report.drop(index, sum(map(len, targets)))
        return None
    judged = Judged(good, tuple(map(len, targets)))
    whole, read, learnt = (np.concatenate(found) for found in (ids, readout, targets))
    return Item(whole, read, learnt, extra=judged, row=index, pieces=pieces)  # type: ignore[arg-type]


def _others(items: Sequence[Item]) -> list[Item | None]:
    """For each item the next one with another prompt; None where all prompts are the same."""
    prompts = [(_bytes(item.sources), _bytes(item.ids[: int(item.readout[0]) + 1])) for item in items]
    found: list[Item | None] = [None] * len(items)
    for place in reversed(range(2 * len(items) - 1)):  # from the end, twice around: what follows is known
        here, after = place % len(items), (place + 1) % len(items)
        found[here] = items[after] if prompts[after] != prompts[here] else found[after]
    return found


def _bytes(ids: Sequence[int]) -> bytes:
    return np.asarray(ids, dtype=np.int64).tobytes()


def _same(item: Item) -> bool:
    cut = int(item.pieces[0])
    return np.array_equal(np.asarray(item.ids[:cut]), np.asarray(item.ids[cut:])) and (
        int(item.targets[item.extra.counts[0] - 1]) == int(item.targets[-1])
    )


def _references(items: Sequence[Item], like: Tensor) -> Tensor:
    sums = [value for item in items for value in item.extra.reference_sums()]
    return torch.tensor(sums, dtype=like.dtype, device=like.device)


tasks.add("preference", Preference)
