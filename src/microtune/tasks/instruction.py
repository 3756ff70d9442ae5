"""Instruction tuning: an answer is learnt, the prompt is only read.

Rows are `prompt` and `completion`, joined as they stand, or `messages` in the model's chat template (conversation.py).
Ids come in segments, each of which knows whether it is supervised. The last target is a stop token; without it the
model would never learn to stop.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, ValidationInfo, field_validator

from microtune.data.batches import Item
from microtune.data.fields import find_field, second_part, text_of, text_of_parts
from microtune.data.sources import Row
from microtune.data.text import Tokenizer
from microtune.errors import InputError, at
from microtune.tasks import text_scores
from microtune.tasks.base import EncodingReport, Prediction, tasks
from microtune.tasks.conversation import Segment as Segment
from microtune.tasks.conversation import chat_prompt as chat_prompt
from microtune.tasks.conversation import chat_segments, check_order, last_learnt, tools_of
from microtune.tasks.conversation import messages_of as messages_of
from microtune.tasks.final_numbers import same_number
from microtune.tasks.mixture import Mixture, named_task
from microtune.tasks.outcomes import Column
from microtune.tasks.text_scores import words_of
from microtune.tasks.wording import is_template, parts_remark
from microtune.tasks.writing import GREEDY, Writing
from microtune.tasks.written_answers import SAMPLE, WrittenTask

ANSWERED = 200  # rows of a split: an exact match of one half is then known to 7 points, in a minute on a laptop


class Instruction(Mixture, WrittenTask):
    """Prompt -> completion, or messages."""

    name: Literal["instruction"] = "instruction"
    form: Literal["auto", "prompt", "messages"] = Field(default="auto", description="what the rows hold")
    template: bool = Field(default=False, description="put prompt and completion into the chat template too")
    prompt_field: str | None = None
    input_field: str | None = Field(
        default=None, description='a second part of the prompt, such as Alpaca\'s `input`; "": none'
    )
    completion_field: str | None = None
    messages_field: str | None = None
    prompt: str | None = Field(default=None, description='template of the prompt, such as "Translate: {en}"')
    answer: str | None = Field(default=None, description="template of what is learnt")
    decoding: Writing = Field(default=GREEDY, description="how answers are written: beams, draws, what they keep to")
    separator: str = Field(default="\n", description="what stands between prompt, input and completion")
    generate: bool = Field(
        default=False,
        description="write the answers of scored splits at the end, and compare them with those of the rows",
    )
    generate_rows: int = Field(
        default=ANSWERED, ge=0, description="rows of each scored split (and task) that get such an answer; 0: all"
    )
    generate_seed: int = Field(default=0, ge=0, description="by which these rows are drawn; default: the recipe's seed")
    max_new_tokens: int = Field(default=256, ge=1, description="tokens that such an answer may have")

    truncates: ClassVar[bool] = False
    templates: ClassVar[Mapping[str, str]] = {"prompt": "prompt_field", "answer": "completion_field"}
    with_templates: ClassVar[Mapping[str, Any]] = {"form": "prompt"}

    _templates = field_validator("prompt", "answer")(is_template)

    @field_validator("generate_rows")
    @classmethod
    def _of_written_answers(cls, count: int, others: ValidationInfo) -> int:
        if count != ANSWERED and not others.data.get("generate"):
            raise ValueError("it says how many answers are written, which needs task.generate=true")
        return count

    def prepare(self, splits: Mapping[str, Sequence[Row]], *, text_field: str | None, label_field: str | None) -> Self:
        """Find the fields; `messages` wins where rows have both forms."""
        rows = list(splits["train"])
        names = {name for row in rows for name in row.data}
        if self.form == "messages" or (self.form == "auto" and {"messages", "conversations"} & names):
            field = find_field(rows, "messages", self.messages_field, flag="task.messages_field")
            return self.model_copy(update={"form": "messages", "messages_field": field})._scripted(rows)
        prompt = find_field(rows, "prompt", text_field or self.prompt_field, flag="--text-field")
        taken = [name for name in (prompt, self.input_field) if name]
        wanted = label_field or self.completion_field
        completion = find_field(rows, "completion", wanted, exclude=taken, flag="--label-field")
        own = self.prompt is None and not self.mixture  # a template says all that stands in the prompt
        extra = self.input_field or None
        if own and self.input_field is None:
            extra = second_part(rows, exclude=[prompt, completion])
        update = {"form": "prompt", "prompt_field": prompt, "completion_field": completion, "input_field": extra}
        return self.model_copy(update=update)._scripted(rows)

    def _scripted(self, rows: Sequence[Row]) -> Self:
        """With the script of the answers, where some will be written."""
        if not self.writes or self.words != "auto":
            return self
        return self.model_copy(update={"words": words_of([self.reference(row) for row in rows[:SAMPLE]])})

    @property
    def writes(self) -> bool:
        """`generate`."""
        return self.generate

    @property
    def needs_decoder(self) -> bool:
        """Always: what is learnt is to answer."""
        return True

    def to_answer(self, rows: Sequence[Row]) -> Sequence[int]:
        """As many as `generate_rows` says, of each task where there are several, drawn by `generate_seed`."""
        parts: dict[str, list[int]] = {}
        for place, row in enumerate(rows):
            parts.setdefault(named_task(row), []).append(place)
        found: list[int] = []
        for name, places in parts.items():
            most = min(self.generate_rows or len(places), len(places))
            found += random.Random(f"{self.generate_seed} answers {name}").sample(places, most)
        return sorted(found)

    def remarks(self, splits: Mapping[str, Sequence[Row]]) -> list[str]:
        """Of which fields the prompt is made, and of how many rows the written answers will be."""
        parts = parts_remark("prompt", self.prompt_field, self.input_field)
        scored = {name: rows for name, rows in splits.items() if name != "train"} if self.writes else {}
        counts = {name: (len(self.to_answer(rows)), len(rows)) for name, rows in scored.items()}
        some = [f"{few:,} of the {all_:,} rows of {name}" for name, (few, all_) in counts.items() if few < all_]
        if not some:
            return parts
        each = " of each task" if self.mixture else ""
        return [
            *parts,
            f"Answers are written to {' and to '.join(some)}, drawn by the seed {self.generate_seed}, the same ones at "
            f"each evaluation; task.generate_rows says how many{each} (0: all).",
        ]

    def notes(self) -> list[str]:
        """Scores that will be left out because a package is missing."""
        return text_scores.missing() if self.writes else []

    def reference(self, row: Row) -> str:
        """The (last) answer of a row that is learnt."""
        if self.form != "messages":
            return text_of(row, self.completion_field or "completion")
        messages = messages_of(row, self.messages_field or "messages")
        return str(messages[last_learnt(messages)].get("content") or "")

    def judge(self, answers: Sequence[str], rows: Sequence[Row]) -> dict[str, Column]:
        """Those of all written texts, and whether an answer ends in the number of its reference."""
        if not answers:
            return {}
        pairs = zip(answers, rows, strict=True)
        numbers = np.array([same_number(answer, self.reference(row)) for answer, row in pairs], dtype=np.int8)
        return {**super().judge(answers, rows), "number": numbers}

    def metrics(self, found: Sequence[Prediction], weights: Column | None = None) -> dict[str, float]:
        """Also `numeric_match`, over rows whose reference names a final number."""
        columns, values = self.columns(found), super().metrics(found, weights)
        if "number" in columns:
            times = (columns["number"] >= 0) * self.times(columns, weights)
            if times.sum():
                values["numeric_match"] = float(np.average(columns["number"] == 1, weights=times))
        return values

    def encode(
        self, row: Row, index: int, tokenizer: Tokenizer, max_length: int, report: EncodingReport
    ) -> Item | None:
        """Ids and targets; a row whose answer would be cut is dropped and counted."""
        segments = self.segments(row, tokenizer)
        if any(segment.parted for segment in segments):
            report.part(index)
        ids = [i for segment in segments for i in segment.ids]
        mask = [segment.supervised for segment in segments for _ in segment.ids]
        targets = [place for place in range(1, len(ids)) if mask[place]]
        if len(ids) - 1 > max_length:
            report.drop(index, len(targets))
            return None
        if not targets:
            raise InputError(f"{at(row.path, row.line)}: there is no answer to learn in this row.", check="no-target")
        values = np.asarray(ids, dtype=np.int64)
        places = np.asarray(targets, dtype=np.int64)
        size, weights = float(_size(values[places].tolist(), tokenizer)), np.zeros(0)
        if any(segment.supervised and segment.weight != 1 for segment in segments):
            learnt = [segment for segment in segments if segment.supervised]
            weights = np.array([segment.weight for segment in segments for _ in segment.ids])[places]
            size = sum(segment.weight * _size(segment.ids, tokenizer) for segment in learnt)
        return Item(values[:-1], places - 1, values[places], extra=size, row=index, weights=weights)  # type: ignore[arg-type]

    def check_ready(self, where: str) -> None:
        """The fields of the form."""
        fields = (self.messages_field,) if self.form == "messages" else (self.prompt_field, self.completion_field)
        if self.form == "auto" or not all(fields):
            raise InputError(f"{where}: the instruction task does not name its fields.")

    def segments(self, row: Row, tokenizer: Tokenizer) -> list[Segment]:
        """The row's text in pieces: what is read, what is learnt."""
        where = f"{at(row.path, row.line)}: "
        if self.form == "messages":
            messages = messages_of(row, self.messages_field or "messages")
            check_order(row, self.messages_field or "messages", messages)
            return chat_segments(messages, tokenizer, where, tools_of(row))
        prompt = self.prompt_of(row)
        completion = text_of(row, self.completion_field or "completion")
        if self.template:
            turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": completion}]
            return chat_segments(turns, tokenizer, where)
        answer = [*tokenizer.encode(completion, special=False), *tokenizer.stop_ids[:1]]
        return [Segment(self.prompt_ids(prompt, tokenizer), False), Segment(answer, True)]

    def prompt_of(self, row: Row) -> str:
        """The prompt as one text, ending where the completion begins."""
        joined = text_of_parts(row, self.prompt_field or "prompt", self.input_field, self.separator)
        return joined if self.input_field is None and self.prompt_field == "prompt" else joined + self.separator

    def prompt_ids(self, prompt: str, tokenizer: Tokenizer) -> list[int]:
        """Ids that generation starts from: bos (where there is one) and the prompt."""
        bos = tokenizer.id("bos")
        first = [bos] if bos is not None and bos != tokenizer.id("eos") else []
        return [*first, *tokenizer.encode(prompt, special=False)]


def _size(ids: Sequence[int], tokenizer: Tokenizer) -> int:
    """Bytes of the text of these ids."""
    return len(tokenizer.decode(ids).encode("utf-8", "replace"))


tasks.add("instruction", Instruction)
