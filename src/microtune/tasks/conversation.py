"""A conversation in the model's chat template: its ids, and where the assistant's turns stand in them.

The conversation is rendered once and read as one text, because that is how every other tool reads it. Where a turn
begins is asked of the template (the messages before it, with the generation prompt), where it ends too. If the shorter
text's ids are not the beginning of the longer one's, as when a token would reach over the boundary, the text is parted
there, which is what generation does: it goes on from the ids of the prompt. The loss mask therefore needs no search in
token ids and no marks in the template.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from microtune.data.decode import shown
from microtune.data.sources import Row
from microtune.data.text import Tokenizer
from microtune.errors import InputError, at

BREAK = "\ufdd0"  # a code point that is no character: it parts what stands beside it, and is never encoded
ROLES = ("system", "user", "assistant", "tool")
HEAVIEST = 1e9  # weight of a message: beyond, a sum in float32 would know nothing of the others
KEPT = ("tool_calls", "tool_call_id", "name", "reasoning_content")  # further fields of a message that templates read

Messages = Sequence[dict[str, Any]]


@dataclass(frozen=True)
class Segment:
    """A stretch of ids. parted: it begins where the text, read as one, has no boundary between two tokens.

    weight: what each of its tokens counts for in the loss, where it is supervised.
    """

    ids: Sequence[int]
    supervised: bool
    parted: bool = False
    weight: float = 1.0


class _Reading:
    """The ids of a text that is read as one, and parted only where it must be."""

    def __init__(self, text: str, tokenizer: Tokenizer) -> None:
        self.text, self.tokenizer = text, tokenizer
        self.ids = self._encoded(text, 0)
        self._before = 0  # characters that stand before the last place where the text was parted,
        self._fixed: list[int] = []  # and their ids

    def cut(self, end: int) -> tuple[int, bool]:
        """How many ids the first `end` characters have, and whether the text had to be parted after them."""
        short = self._fixed + self._encoded(self.text[self._before : end], self._before)
        if self.ids[: len(short)] == short:
            return len(short), False
        self.ids = short + self._encoded(self.text[end:], end)
        self._before, self._fixed = end, short
        return len(short), True

    def _encoded(self, text: str, start: int) -> list[int]:
        ids: list[int] = []
        for part in text.split(BREAK):
            ids += self.tokenizer.encode(part, special=False, parse=True, behind=start > 0 or bool(ids))
        return ids


def chat_segments(
    messages: Messages, tokenizer: Tokenizer, where: str = "", tools: Sequence[dict[str, Any]] | None = None
) -> list[Segment]:
    """Messages in the chat template, cut where the assistant's turns begin and end; those are supervised.

    where: the row's place, for what has to be said of it. tools: what the assistant may call.
    """
    ends = _turns(messages, tokenizer, where, tools)
    if not ends:
        raise InputError(f"{where}A conversation without an assistant's turn teaches nothing.", check="no-target")
    reading = _Reading(ends[-1], tokenizer)
    found, parted = [0], [False]
    for text in ends:
        place, new = reading.cut(len(text))
        found.append(place)
        parted.append(new)
    spans = list(zip(found, found[1:], parted, strict=False))
    weights = [message.get("weight", 1.0) for message in messages if message["role"] == "assistant"]
    segments = []
    for number, (a, b, new) in enumerate(spans):
        weight = weights[number // 2] if number % 2 else 0.0
        segments.append(Segment(reading.ids[a:b], weight > 0, new, weight or 1.0))
    return [segment for segment in segments if segment.ids]


def chat_prompt(messages: Messages, tokenizer: Tokenizer, tools: Sequence[dict[str, Any]] | None = None) -> list[int]:
    """Ids up to the opening of the assistant's next turn, read as in training.

    A template that changes earlier turns cannot be trained on, but be talked to: its text is not parted at them.
    """
    guarded = _guarded(messages, tokenizer)
    reading = _Reading(tokenizer.chat(guarded, prompt=True, tools=_guard(tools, tokenizer)), tokenizer)
    for text in _turns(messages, tokenizer, None, tools):
        if reading.text.startswith(text):
            reading.cut(len(text))
    return reading.ids


def _turns(
    messages: Messages, tokenizer: Tokenizer, where: str | None, tools: Sequence[dict[str, Any]] | None
) -> list[str]:
    """The text up to the beginning and up to the end of each of the assistant's turns, growing.

    where: the row's place, for an error; None leaves out what does not continue the turns before.
    """
    messages, tools = _guarded(messages, tokenizer), _guard(tools, tokenizer)
    texts = [""]
    for number, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        start = tokenizer.chat(messages[:number], prompt=True, tools=tools)
        text = tokenizer.chat(messages[: number + 1], prompt=False, tools=tools)
        if not start.startswith(texts[-1]) or not text.startswith(start):
            if where is None:
                continue
            raise InputError(
                f"{where}The chat template changes earlier turns when a later one is added; it cannot be trained on.",
                check="prompt-ids",
            )
        texts += [start, text[: _end(text, len(start), tokenizer)]]
    return texts[1:]


def _end(text: str, start: int, tokenizer: Tokenizer) -> int:
    """Where a turn ends: after its first stop token, which no content can spell, whatever the template writes then."""
    ends = [text.index(token, start) + len(token) for token in tokenizer.stop_tokens if token in text[start:]]
    return min(ends, default=len(text))


def is_learnt(message: dict[str, Any]) -> bool:
    """Whether a message is one that the model learns to write."""
    return message["role"] == "assistant" and message.get("weight", 1) != 0


def last_learnt(messages: Messages) -> int:
    """The place of the last message that is learnt; of the last one where none is."""
    return max((i for i, message in enumerate(messages) if is_learnt(message)), default=len(messages) - 1)


def _guarded(messages: Messages, tokenizer: Tokenizer) -> list[dict[str, Any]]:
    """Messages whose texts cannot play a special token: text is data, and only the template writes "<|end|>"."""
    return [_guard({k: v for k, v in message.items() if k != "weight"}, tokenizer) for message in messages]


def _guard(value: Any, tokenizer: Tokenizer) -> Any:
    if isinstance(value, str):
        value = value.replace(BREAK, "")
        for token in tokenizer.marks:
            if token in value:
                value = value.replace(token, token[0] + BREAK + token[1:])
        return value
    if isinstance(value, dict):
        return {_guard(key, tokenizer): _guard(part, tokenizer) for key, part in value.items()}
    return [_guard(part, tokenizer) for part in value] if isinstance(value, list) else value


def messages_of(row: Row, field: str) -> list[dict[str, Any]]:
    """Checked messages of a row: a list of {role, content}; ShareGPT's {from, value} is understood.

    An assistant that calls tools may say nothing beside it. Turns of weight 0 are read and not learnt; of the others
    each token counts for its turn's weight in the loss, which is a weighted mean over tokens.
    """
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
        silent = content is None and role == "assistant" and isinstance(turn.get("tool_calls"), list)
        if role not in ROLES or not (isinstance(content, str) or silent):
            raise InputError(
                f"{at(row.path, row.line)}: a message needs a role ({', '.join(ROLES)}) and a text as content, "
                f'not role "{str(role)[:40]}" with {type(content).__name__}.'
            )
        weight = turn.get("weight", 1)
        if not isinstance(weight, (int, float)) or not 0 <= weight <= HEAVIEST:  # nan is not
            raise InputError(
                f'{at(row.path, row.line)}: the weight of a message in "{field}" is 0 (read only) or a larger number, '
                f"1 for what all others have, not {shown(weight)}."
            )
        message: dict[str, Any] = {"role": role} if silent else {"role": role, "content": content}
        message |= {} if weight == 1 else {"weight": float(weight)}
        messages.append(message | {key: turn[key] for key in KEPT if turn.get(key) is not None})
    return messages


def misplaced(roles: Sequence[str]) -> int | None:
    """The index of the first message whose role cannot follow the one before it; None where all fit."""
    before = ""
    for number, role in enumerate(roles):
        after = {"system": ("",), "user": ("", "system", "assistant", "tool"), "assistant": ("system", "user", "tool")}
        if before not in after.get(role, ("assistant", "tool")):
            return number
        before = role
    return None


def check_order(row: Row, field: str, messages: Messages) -> None:
    """Refuse a conversation whose roles are out of order, or whose assistant says nothing."""
    where = f'{at(row.path, row.line)}: "{field}"'
    wrong = misplaced([message["role"] for message in messages])
    if wrong is not None:
        before = messages[wrong - 1]["role"] if wrong else "nobody"
        raise InputError(
            f'{where} has roles out of order: message {wrong + 1} is of "{messages[wrong]["role"]}", the one before of '
            f'"{before}"; join or move messages, or remove the row.'
        )
    for number, message in enumerate(messages, 1):
        said = str(message.get("content") or "").strip() or message.get("tool_calls")
        if message["role"] == "assistant" and not said:
            raise InputError(
                f"{where} has an empty answer: message {number} of the assistant says nothing; fill it in, or remove "
                "the row."
            )


def tools_of(row: Row) -> list[dict[str, Any]] | None:
    """The field "tools" of a row: JSON schemas of functions, or nothing."""
    value = row.data.get("tools")
    if not value:
        return None
    if not isinstance(value, list) or not all(isinstance(tool, dict) for tool in value):
        raise InputError(f'{at(row.path, row.line)}: "tools" must be a list of objects that describe functions.')
    return value
