"""Rows as a task reads them, whatever the task: what is read, what is learnt, which classes.

The roles come from the guess (or from the task that the user names) and say which fields hold what; a role may hold a
text, a list of texts, turns or nested objects.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from microtune.data.lint.base import Seen
from microtune.data.shapes import flat
from microtune.data.sources import Row

READ = ("text", "pair", "source", "prompt", "input", "context", "question", "options", "anchor", "tokens", "articles")
LEARNT = ("target", "completion", "answer", "chosen", "positive", "score", "instances")
SPEAKER = ("role", "from", "speaker", "author")  # keys of a turn that say who speaks
ANSWERING = frozenset(("assistant", "gpt", "bot", "model"))  # whose turns are learnt
CLASSES = {"classification", "multiple-choice"}
MOST_LABEL = 60  # characters of a class that are kept


class Reader:
    """Row -> Seen."""

    def __init__(self, task: str, fields: Mapping[str, Any], sign: str = "") -> None:
        self.task, self.fields, self.sign = task, fields, sign
        self.read = [name for role in READ for name in _names(fields.get(role))]
        self.learnt = [name for role in LEARNT for name in _names(fields.get(role))]
        self.turns = fields.get("messages")
        self.label = fields.get("label") if task == "classification" else None
        self.roles = {role: names for role, value in fields.items() if (names := _names(value))}

    def see(self, row: Row, number: int, *, test: bool = False) -> Seen:
        """One row."""
        data = row.data
        text = "\n".join(part for name in self.read if (part := flat(data.get(name))))
        target = "\n".join(part for name in self.learnt if (part := flat(data.get(name))))
        if self.turns:
            said, answered = turns_of(data.get(self.turns))
            text, target = "\n".join(filter(None, (text, said))), "\n".join(filter(None, (answered, target)))
        labels = labels_in(data.get(self.label), self.sign) if self.label else ()
        return Seen(row, number, text, target or ", ".join(labels), labels, test)


def _names(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value) if isinstance(value, list) else []


def labels_in(value: Any, sign: str = "") -> tuple[str, ...]:
    """The classes that a label field of a row names."""
    if value is None or value == "":
        return ()
    if isinstance(value, list):
        return tuple(dict.fromkeys(str(part)[:MOST_LABEL] for part in value))
    if sign and isinstance(value, str):
        return tuple(dict.fromkeys(part.strip()[:MOST_LABEL] for part in value.split(sign) if part.strip()))
    return (str(value)[:MOST_LABEL],)


def read_only(turn: Any) -> bool:
    """Whether a turn says that nothing of it is learnt: its weight is 0."""
    return isinstance(turn, dict) and turn.get("weight") == 0


def spoken(turn: dict[str, Any]) -> tuple[str, str]:
    """Who speaks and what is said: `role`, `from` or `speaker` by its name, else a short text beside the longest.

    By length alone, an answer such as "6" would be the speaker, and "assistant" what is said.
    """
    texts = {key: value for key, value in turn.items() if isinstance(value, str)}
    named = next((key for key in SPEAKER if key in texts), None)
    rest = [value for key, value in texts.items() if key != named]
    said = max(rest, key=len, default="")
    if named is not None:
        return texts[named], said
    return next((text for text in rest if text is not said and len(text) <= 24), ""), said


def turns_of(value: Any) -> tuple[str, str]:
    """What is read and what is learnt of a conversation: turns of the assistant, or else every second one.

    A turn of weight 0 is read alone, whoever speaks.
    """
    if not isinstance(value, list):
        return flat(value), ""
    read: list[str] = []
    learnt: list[str] = []
    for place, turn in enumerate(value):
        speaker, said = spoken(turn) if isinstance(turn, dict) else ("", flat(turn))
        known = speaker.casefold() in ANSWERING
        plain = not isinstance(turn, dict) and place % 2 == 1
        (learnt if (known and not read_only(turn)) or plain else read).append(said)
    return "\n".join(read), "\n".join(learnt)
