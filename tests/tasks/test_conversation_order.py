"""Conversations of instruction rows whose roles are out of order, or whose assistant says nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from microtune.data.sources import Row
from microtune.errors import InputError
from microtune.run.lint import lint
from microtune.tasks.conversation import check_order, messages_of, misplaced

USER, SAID, TOOL, SYSTEM = (
    {"role": "user", "content": "where"},
    {"role": "assistant", "content": "here"},
    {"role": "tool", "content": "12"},
    {"role": "system", "content": "be short"},
)
CALL = {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "find", "arguments": "{}"}}]}

GOOD: dict[str, list[dict[str, Any]]] = {
    "turns": [USER, SAID, USER, SAID],
    "a system's": [SYSTEM, USER, SAID],
    "a system's and an answer": [SYSTEM, SAID],
    "tools": [USER, CALL, TOOL, TOOL, SAID, USER, SAID],
    "no answer to the last": [USER, SAID, USER],
}
BAD: dict[str, tuple[list[dict[str, Any]], str]] = {
    "an answer first": (
        [SAID, USER],
        'out of order: message 1 is of "assistant", the one before of "nobody"; join or move',
    ),
    "two answers": ([USER, SAID, SAID], 'message 3 is of "assistant", the one before of "assistant"'),
    "two questions": ([USER, USER, SAID], 'message 2 is of "user", the one before of "user"'),
    "a late system's": ([USER, SYSTEM, SAID], 'message 2 is of "system", the one before of "user"'),
    "a tool unasked": ([USER, TOOL, SAID], 'message 2 is of "tool", the one before of "user"'),
    "nothing said": ([USER, {**SAID, "content": " \n"}], "empty answer: message 2 of the assistant says nothing; fill"),
}


@pytest.mark.parametrize("messages", list(GOOD.values()), ids=list(GOOD))
def test_conversations_in_order(messages: list[dict[str, Any]]) -> None:
    row = Row({"messages": messages}, "m.jsonl", 4)
    check_order(row, "messages", messages_of(row, "messages"))
    assert misplaced([message["role"] for message in messages]) is None


@pytest.mark.parametrize(("messages", "sentence"), list(BAD.values()), ids=list(BAD))
def test_conversations_that_are_refused(messages: list[dict[str, Any]], sentence: str) -> None:
    row = Row({"messages": messages}, "m.jsonl", 4)
    with pytest.raises(InputError, match=f'^m.jsonl, line 4: "messages" has .*{sentence}'):
        check_order(row, "messages", messages_of(row, "messages"))


def test_a_lint_says_so_and_marks_what_is_learnt(tmp_path: Path) -> None:
    """A turn of weight 0 is not marked as learnt; two answers in a row stop the recipe."""
    asked = {**USER, "content": "and when will the parcel arrive at my house?"}
    said = {**SAID, "content": "it should be with you by the end of the week."}
    read_only = {**SAID, "content": "please tell me the number of your order first.", "weight": 0}
    firsts = [f"where is the parcel number {i} that I ordered last week?" for i in range(12)]
    rows = [{"messages": [{**USER, "content": first}, read_only, asked, said]} for first in firsts]
    file = tmp_path / "m.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    good = lint(str(file), model=None)
    assert [piece.supervised for piece in good.rendered[0]] == [False, False, False, True]
    assert all(found.kind != "recipe-stops" for found in good.findings)
    counted = good.figures["characters"]["learnt"]  # the turn of weight 0 is read, and counted as read
    assert counted["mean"] == len(said["content"])
    rows[2] = {"messages": [asked, said, said]}
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    stops = [found.message for found in lint(str(file), model=None).findings if found.kind == "recipe-stops"]
    assert len(stops) == 1
    assert 'm.jsonl, line 3: "messages" has roles out of order: message 3 is of "assistant"' in stops[0]
