"""The rows of a preference: a prompt with a better and a worse answer, or with one answer that was good or bad.

A prompt is a text, or messages; an answer is a text, one message or several. Where there is no prompt of its own, both
answers are whole conversations that begin alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from microtune.data.decode import shown
from microtune.data.sources import Row
from microtune.errors import InputError, at
from microtune.tasks.conversation import Segment, messages_of, misplaced

YES, NO = ("true", "yes", "good", "1", "是", "好"), ("false", "no", "bad", "0", "否", "差")

Messages = list[dict[str, Any]]


def good_or_bad(row: Row, field: str) -> bool:
    """Whether the answer of a row was a good one."""
    value = row.data.get(field)
    text = str(int(value) if isinstance(value, float) and value.is_integer() else value).strip().lower()
    if text not in YES + NO:
        raise InputError(f'{at(row.path, row.line)}: "{field}" must be true or false, not {shown(value)}.')
    return text in YES


def turns_of(row: Row, field: str) -> Messages:
    """The messages of an answer: a text, a message, or a list of them; their weights are 0 or 1."""
    value = row.data.get(field)
    if isinstance(value, str) and value.strip():
        value = [{"role": "assistant", "content": value}]
    elif isinstance(value, dict):
        value = [value]
    elif value is None or (isinstance(value, str) and not value.strip()):
        raise InputError(f'{at(row.path, row.line)}: the field "{field}" is empty; fill it in, or remove the row.')
    messages = messages_of(replace(row, data={field: value}), field)
    between = next((w for message in messages if (w := message.get("weight", 1)) not in (0, 1)), None)
    if between is not None:
        raise InputError(
            f'{at(row.path, row.line)}: a preference compares whole answers, so the weight of a message in "{field}" '
            f"is 1 or 0, not {shown(between)}."
        )
    return messages


def beginning(one: Messages, other: Messages) -> int:
    """How many messages two conversations have in common at their beginning, an answer left to each."""
    count = 0
    for a, b in zip(one[:-1], other[:-1], strict=False):
        if a != b:
            break
        count += 1
    return count


def check_turns(asked: Messages, answer: Messages, where: str) -> None:
    """Refuse roles out of order, and answers that say nothing. where: the row's place, and which answer it is."""
    roles = [message["role"] for message in [*asked, *answer]]
    if not answer or answer[0]["role"] != "assistant" or answer[-1]["role"] != "assistant":
        raise InputError(f"{where} must begin and end with an assistant's message.")
    if not asked or asked[-1]["role"] not in ("user", "tool"):
        raise InputError(f"{where} must follow a message of the user.")
    wrong = misplaced(roles)
    if wrong is not None:
        before = roles[wrong - 1] if wrong else ""
        raise InputError(
            f'{where} has roles out of order: message {wrong + 1} is of "{roles[wrong]}" after "{before}".'
        )
    if any(not (m.get("content") or "").strip() and not m.get("tool_calls") for m in answer if m["role"] != "tool"):
        raise InputError(f"{where} has an empty answer; fill it in, or remove the row.")


def last_turns(segments: Sequence[Segment], count: int) -> list[Segment]:
    """Segments of which only the last `count` supervised ones stay so: the turns of the answer, not of the prompt."""
    places = [number for number, segment in enumerate(segments) if segment.supervised][-count:]
    return [replace(segment, supervised=number in places) for number, segment in enumerate(segments)]
