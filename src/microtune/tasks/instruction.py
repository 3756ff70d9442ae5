"""Instruction tuning: an answer is learnt, the prompt is only read.

Rows are `prompt` and `completion`, joined as they stand, or `messages` in the model's chat template. Ids are built from
segments, so the loss mask needs no search in token ids: each segment is encoded by itself and knows whether it is
supervised. The last target is a stop token; without it the model would never learn to stop.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from microtune.data.batches import Item
from microtune.data.fields import find_field, text_of
from microtune.data.sources import Row
from microtune.data.text import Tokenizer
from microtune.errors import InputError, at
from microtune.tasks.base import EncodingReport, tasks
from microtune.tasks.language_modelling import LikelihoodTask

BREAK = "\ufdd0"  # a code point that is no character: it parts what stands beside it, and is never encoded
ROLES = ("system", "user", "assistant", "tool")


@dataclass(frozen=True)
class Segment:
    """A piece of text that is encoded by itself."""

    ids: Sequence[int]
    supervised: bool


class Instruction(LikelihoodTask):
    """Prompt -> completion, or messages."""

    name: Literal["instruction"] = "instruction"
    form: Literal["auto", "prompt", "messages"] = Field(default="auto", description="what the rows hold")
    template: bool = Field(default=False, description="put prompt and completion into the chat template too")
    prompt_field: str | None = None
    input_field: str | None = Field(default=None, description="a second part of the prompt, such as Alpaca's `input`")
    completion_field: str | None = None
    messages_field: str | None = None
    separator: str = Field(default="\n", description="what stands between prompt, input and completion")

    truncates: ClassVar[bool] = False

    def prepare(self, splits: Mapping[str, Sequence[Row]], *, text_field: str | None, label_field: str | None) -> Self:
        """Find the fields; `messages` wins where rows have both forms."""
        rows = list(splits["train"])
        names = {name for row in rows[:100] for name in row.data}
        if self.form == "messages" or (self.form == "auto" and {"messages", "conversations"} & names):
            field = find_field(rows, "messages", self.messages_field)
            return self.model_copy(update={"form": "messages", "messages_field": field})
        prompt = find_field(rows, "prompt", text_field or self.prompt_field)
        taken = [name for name in (prompt, self.input_field) if name]
        completion = find_field(rows, "completion", label_field or self.completion_field, exclude=taken)
        extra = self.input_field or ("input" if "input" in names - {prompt, completion} else None)
        update = {"form": "prompt", "prompt_field": prompt, "completion_field": completion, "input_field": extra}
        return self.model_copy(update=update)

    def encode(
        self, row: Row, index: int, tokenizer: Tokenizer, max_length: int, report: EncodingReport
    ) -> Item | None:
        """Ids and targets; a row whose answer would be cut is dropped and counted."""
        segments = self.segments(row, tokenizer)
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
        answer_bytes = len(tokenizer.decode(values[places].tolist()).encode("utf-8", "replace"))
        return Item(values[:-1], places - 1, values[places], extra=float(answer_bytes), row=index)  # type: ignore[arg-type]

    def check_ready(self, where: str) -> None:
        """The fields of the form."""
        fields = (self.messages_field,) if self.form == "messages" else (self.prompt_field, self.completion_field)
        if self.form == "auto" or not all(fields):
            raise InputError(f"{where}: the instruction task does not name its fields.")

    def segments(self, row: Row, tokenizer: Tokenizer) -> list[Segment]:
        """The row's text in pieces: what is read, what is learnt."""
        where = f"{at(row.path, row.line)}: "
        if self.form == "messages":
            return chat_segments(messages_of(row, self.messages_field or "messages"), tokenizer, where)
        prompt = self.prompt_of(row)
        completion = text_of(row, self.completion_field or "completion")
        if self.template:
            turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": completion}]
            return chat_segments(turns, tokenizer, where)
        answer = [*tokenizer.encode(completion, special=False), *tokenizer.stop_ids[:1]]
        return [Segment(self.prompt_ids(prompt, tokenizer), False), Segment(answer, True)]

    def prompt_of(self, row: Row) -> str:
        """The prompt as one text, ending where the completion begins."""
        parts = [text_of(row, self.prompt_field or "prompt")]
        second = row.data.get(self.input_field) if self.input_field else None
        if isinstance(second, str) and second.strip():
            parts.append(second)
        joined = self.separator.join(parts)
        return joined if self.input_field is None and self.prompt_field == "prompt" else joined + self.separator

    def prompt_ids(self, prompt: str, tokenizer: Tokenizer) -> list[int]:
        """Ids that generation starts from: bos (where there is one) and the prompt."""
        bos = tokenizer.id("bos")
        first = [bos] if bos is not None and bos != tokenizer.id("eos") else []
        return [*first, *tokenizer.encode(prompt, special=False)]


def chat_segments(messages: Sequence[dict[str, Any]], tokenizer: Tokenizer, where: str = "") -> list[Segment]:
    """Messages in the chat template, cut where the assistant's turns begin and end.

    The template is rendered for growing prefixes of the conversation, and each new stretch is one segment; the
    assistant's turns, their end mark included, are supervised. where: the row's place, for what has to be said of it.
    """
    messages = _guarded(messages, tokenizer)
    segments: list[Segment] = []
    done = ""

    def add(text: str, supervised: bool) -> None:
        nonlocal done
        if not text.startswith(done):
            raise InputError(
                f"{where}The chat template changes earlier turns when a later one is added; it cannot be trained on.",
                check="prompt-ids",
            )
        if piece := text[len(done) :]:
            segments.append(Segment(_encoded(piece, tokenizer), supervised))
        done = text

    for number, message in enumerate(messages):
        if message["role"] == "assistant":
            add(tokenizer.chat(messages[:number], prompt=True), False)
            add(_to_stop(tokenizer.chat(messages[: number + 1], prompt=False), tokenizer), True)
    if not segments:
        raise InputError(f"{where}A conversation without an assistant's turn teaches nothing.", check="no-target")
    return segments


def chat_prompt(messages: Sequence[dict[str, Any]], tokenizer: Tokenizer) -> list[int]:
    """Ids up to the opening of the assistant's next turn, encoded piece by piece as in training."""
    messages = _guarded(messages, tokenizer)
    done, ids = "", []
    cuts = [n + 1 for n, message in enumerate(messages) if message["role"] == "assistant"]
    texts = []
    for end in cuts:
        texts.append(tokenizer.chat(messages[: end - 1], prompt=True))
        texts.append(_to_stop(tokenizer.chat(messages[:end], prompt=False), tokenizer))
    texts.append(tokenizer.chat(messages, prompt=True))
    for text in texts:
        ids += _encoded(text[len(done) :], tokenizer)
        done = text
    return ids


def _guarded(messages: Sequence[dict[str, Any]], tokenizer: Tokenizer) -> list[dict[str, Any]]:
    """Messages whose contents cannot play a special token: text is data, and only the template writes "<|end|>"."""
    special = [
        t.content for t in tokenizer.backend.get_added_tokens_decoder().values() if t.special and len(t.content) > 1
    ]

    def guarded(text: str) -> str:
        for token in special:
            text = text.replace(token, token[0] + BREAK + token[1:])
        return text

    return [{**message, "content": guarded(message["content"].replace(BREAK, ""))} for message in messages]


def _encoded(text: str, tokenizer: Tokenizer) -> list[int]:
    """Ids of a stretch of a rendered template."""
    return [i for part in text.split(BREAK) for i in tokenizer.encode(part, special=False, parse=True)]


def _to_stop(text: str, tokenizer: Tokenizer) -> str:
    """Leave out what a template writes after the end mark of the last turn (a line break, say)."""
    for token in (*tokenizer.stops, tokenizer.special.get("eos", "")):
        if token and text.rstrip().endswith(token):
            return text.rstrip()
    return text


def messages_of(row: Row, field: str) -> list[dict[str, Any]]:
    """Checked messages of a row: a list of {role, content}; ShareGPT's {from, value} is understood."""
    value = row.data.get(field)
    if not isinstance(value, list) or not value:
        raise InputError(f'{at(row.path, row.line)}: "{field}" must be a list of messages.')
    names = {"human": "user", "gpt": "assistant", "bot": "assistant"}
    messages = []
    for turn in value:
        if not isinstance(turn, dict):
            raise InputError(
                f'{at(row.path, row.line)}: every message of "{field}" is an object with role and content.'
            )
        role = turn.get("role", turn.get("from"))
        content = turn.get("content", turn.get("value"))
        role = names.get(str(role), role)
        if role not in ROLES or not isinstance(content, str):
            raise InputError(
                f"{at(row.path, row.line)}: a message needs a role ({', '.join(ROLES)}) and a text as content, "
                f'not role "{str(role)[:40]}" with {type(content).__name__}.'
            )
        messages.append({"role": role, "content": content})
    return messages


tasks.add("instruction", Instruction)
