"""Texts of a corpus are prepared as those of a task are: before they become tokens, held-out text too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from microtune.data.corpus import documents, source_key
from microtune.recipe import Choice, Data, Limits, Source
from microtune.run.load import load

ROWS: list[dict[str, Any]] = [
    {"title": "<b>One</b>", "text": "write to ann@example.com &amp; wait", "lines": ["<i>a</i>", "b"]},
    {"title": "Two", "text": "nothing", "lines": []},
]


def read(folder: Path, source: Source, steps: list[dict[str, Any]]) -> list[str]:
    (folder / "a.jsonl").write_text("\n".join(map(json.dumps, ROWS)), encoding="utf-8")
    data = Data(folder=str(folder), sources=[source], steps=[Choice(**step) for step in steps])
    return list(documents(source, data, Limits()))


def test_every_field_that_makes_the_text(tmp_path: Path) -> None:
    source = Source(path="a.jsonl", fields=["title", "text", "lines"])
    found = read(tmp_path, source, [{"name": "html"}, {"name": "mask"}])
    assert found == ["One\nwrite to [EMAIL] & wait\na\nb", "Two\nnothing\n"]


def test_a_step_may_name_its_fields(tmp_path: Path) -> None:
    source = Source(path="a.jsonl", fields=["title", "text"])
    found = read(tmp_path, source, [{"name": "html", "fields": ["title"]}])
    assert found[0] == "One\nwrite to ann@example.com &amp; wait"


def test_turns_keep_their_marks(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "a <user> at x@example.com"}, {"role": "assistant", "content": "ok"}]
    (tmp_path / "c.jsonl").write_text(json.dumps({"messages": turns}), encoding="utf-8")
    source = Source(path="c.jsonl", fields=["messages.chat"])
    [plain] = documents(source, Data(folder=str(tmp_path)), Limits())
    [masked] = documents(source, Data(folder=str(tmp_path), steps=[Choice(name="mask")]), Limits())
    assert masked == plain.replace("x@example.com", "[EMAIL]") != plain


def test_other_steps_are_other_tokens() -> None:
    tokenizer = load("sprout").text
    keys = [
        source_key(Source(path="a.txt"), tokenizer, "hash", steps)
        for steps in ([], [Choice(name="html")], [Choice(name="html"), Choice(name="mask")])
    ]
    assert len(set(keys)) == 3
    assert keys[0] == source_key(Source(path="a.txt"), tokenizer, "hash")
