"""Text that a task does not read is named: by the run, once, and by a lint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from microtune.data.sources import Row
from microtune.recipe import build
from microtune.run.lint import lint
from microtune.run.prepare import make_task
from microtune.run.report.words.notes import in_chinese
from microtune.run.unread import unread_note

LONG = "the {} river runs through the old town and out to the sea number {}"


def rows(count: int = 20, **more: Any) -> list[Row]:
    fixed = {"text": LONG, "label": ["card", "money"]} | more
    made = [
        {k: v[i % len(v)] if isinstance(v, list) else v.format("a", i) for k, v in fixed.items()} for i in range(count)
    ]
    return [Row(values, "data.jsonl", i) for i, values in enumerate(made, 1)]


def note(found: list[Row], task: str = "classification", fields: dict[str, str] | None = None, **options: Any) -> str:
    section = make_task(build({"task": {"name": task, **options}}))
    found = section.ready(found)
    named = {"text_field": None, "label_field": None, **(fields or {})}
    said = unread_note(section.prepare({"train": found}, **named), found)
    assert len(said) <= 1
    return "".join(said)


def test_a_second_text_is_named_with_the_option_that_reads_it() -> None:
    said = 'Text that is not read stands in "title"; task.text="{title} {text}" reads it too.'
    found = rows(title="A report of the day {}{}", text=LONG, label=["card", "money"])
    ordered = [Row({k: row.data[k] for k in ("title", "text", "label")}, row.path, row.line) for row in found]
    assert note(ordered) == said
    assert in_chinese(said) == '没有读取的文本在“title”中；task.text="{title} {text}" 会一并读取。'
    assert note(ordered, text="{title} {text}") == ""
    assert note(ordered, fields={"text_field": "title"}).startswith('Text that is not read stands in "text"; ')
    three = 'Text that is not read stands in "a", "b" and 2 more.'
    assert in_chinese(three) == "没有读取的文本在“a”、“b”，另有 2 个字段中。"


def test_what_is_no_text_is_not_named() -> None:
    more = {
        "id": "en-{}{}",
        "when": "Mon Apr 06 22:19:45 PDT 2009 {}{}",
        "author": ["John A. Smith", "Mary B. Jones"],
        "split": ["train", "test"],
        "url": "https://example.com/some/long/path/of/a/page/{}{}",
        "topic": ["credit card or prepaid card", "money transfer of any kind"],
    }
    assert note(rows(**more), fields={"text_field": "text", "label_field": "label"}) == ""


def test_an_instruction_counts_however_often_it_comes_back() -> None:
    found = rows(instruction="Summarise.", text=LONG, summary="the river {}{}", label=["a"])
    fields = {"text_field": "text", "label_field": "summary"}
    said = note(found, "sequence-to-sequence", fields)
    assert said == ('Text that is not read stands in "instruction"; task.source="{text} {instruction}" reads it too.')
    assert note(found, "sequence-to-sequence") == ""
    turns = [{"role": "user", "content": "say a"}, {"role": "assistant", "content": "a"}]
    talked = [Row({"messages": turns, "system": "Be brief."}, "x", 1)] * 3
    asked = [Row({"prompt": f"say {i}", "completion": "a", "system": "Be brief."}, "x", i) for i in range(1, 4)]
    said = 'Text that is not read stands in "system"; task.prompt="{system} {prompt}" reads it too.'
    assert note(asked, "instruction") == said
    older = [Row({**row.data, "history": [["a", "b"]]}, "x", row.line) for row in asked]
    assert note(older, "instruction") == 'Text that is not read stands in "system", "history".'
    assert note(talked, "instruction") == 'Text that is not read stands in "system".'


def test_a_lint_says_so_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = [{"headline": f"A report of day {i}", **row.data} for i, row in enumerate(rows(40), 1)]
    for lang, said in (
        ("en", 'Text that this task does not read stands in "headline".'),
        ("zh", '此任务不读取的文本在 "headline" 中。'),
    ):
        report = lint(data, task="classification", text_field="text", label_field="label", model=None, lang=lang)  # type: ignore[arg-type]
        assert said in report.remarks
