"""Texts made of several fields: what a template makes, and the sentence where it cannot."""

from __future__ import annotations

from typing import Any

import pytest
from tiny_tasks import make_tokenizer, rows_of

from microtune.errors import InputError
from microtune.recipe import build
from microtune.run.prepare import make_task
from microtune.tasks.base import Task
from microtune.tasks.instruction import Instruction

ROWS = rows_of(
    [{"subject": f"card {i}", "body": "declined", "kind": "ab"[i % 2], "n": i, "input": "x"} for i in range(6)]
)


def task_for(task: Any, **data: Any) -> Task:
    return make_task(build({"task": task, "data": data}))


def test_a_text_of_two_fields_and_braces() -> None:
    task = task_for({"kind": "classification", "text": "{{s}} {subject}\n{body} {n}", "label_field": "kind"})
    rows = task.ready(ROWS)
    assert rows[1].data["(text)"] == "{s} card 1\ndeclined 1"
    assert (rows[1].path, rows[1].line) == (ROWS[1].path, ROWS[1].line)
    assert "(text)" not in ROWS[1].data
    assert task.ready(rows) == rows, "what has been made stays"
    prepared = task.prepare({"train": rows}, text_field=None, label_field=None)
    plain = task_for({"name": "classification", "text_field": "t", "label_field": "kind", "pair_field": ""})
    same = rows_of([{"t": row.data["(text)"], "kind": row.data["kind"]} for row in rows])
    plain = plain.prepare({"train": same}, text_field=None, label_field=None)
    tokenizer = make_tokenizer()
    ids = [list(i.ids) for i in prepared.encode_all(rows, tokenizer, 40, training=True).items]
    assert ids == [list(i.ids) for i in plain.encode_all(same, tokenizer, 40, training=True).items]
    assert type(prepared).model_validate(prepared.model_dump(mode="json")) == prepared


def test_prompt_and_answer() -> None:
    task = task_for({"kind": "instruction", "prompt": "Say {subject}", "answer": "{body}!"})
    assert isinstance(task, Instruction)
    asked = rows_of([{"subject": "hello"}])
    assert set(task.ready(asked, answers=False)[0].data) == {"subject", "(prompt)"}, "the answer is not known yet"
    prepared = task.prepare({"train": task.ready(ROWS)}, text_field=None, label_field=None)
    assert isinstance(prepared, Instruction)
    assert prepared.input_field is None, "a template says all that stands in the prompt"
    assert prepared.prompt_of(task.ready(ROWS)[0]) == "Say card 0\n"
    assert task.ready(ROWS)[0].data["(answer)"] == "declined!"


def test_a_list_of_lines_is_a_text() -> None:
    task = task_for({"name": "language-modelling", "text": "{title}\n{lines}"})
    rows = rows_of([{"title": "静夜思", "lines": ["床前明月光，", "疑是地上霜。"]}])
    assert task.ready(rows)[0].data["(text)"] == "静夜思\n床前明月光，\n疑是地上霜。"


def test_source_and_target_and_plain_text() -> None:
    task = task_for({"name": "sequence-to-sequence", "source": "{subject} / {body}", "target": "{kind}"})
    prepared = task.prepare({"train": task.ready(ROWS)}, text_field=None, label_field=None)
    assert (prepared.source_field, prepared.target_field) == ("(source)", "(target)")  # type: ignore[attr-defined]
    text = task_for({"name": "language-modelling", "text": "{subject}"})
    assert text.ready(ROWS)[2].data["(text)"] == "card 2"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"subject": "a"}, 'data.jsonl, line 1: task.text asks for the field "body", which this row does not have.'),
        ({"subject": "a", "body": [1]}, 'data.jsonl, line 1: task.text: the field "body" is a list, not a text.'),
        ({"subject": "a", "body": float("nan")}, 'the field "body" is nan, not a text.'),
        ({"subject": " ", "body": None}, "line 1: task.text makes an empty text: all its fields are empty"),
    ],
)
def test_a_row_that_does_not_fit(values: dict[str, Any], message: str) -> None:
    task = task_for({"kind": "classification", "text": "{subject}{body}"})
    with pytest.raises(InputError) as caught:
        task.ready(rows_of([values]))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{subject", "task: text: not a template (expected '}' before end of string); a brace of the text itself"),
        ("no field", "names at least one field in braces"),
        ("{subject:>9999999}", "a template names fields in braces, as in {title}; nothing else may stand in them"),
        ("{subject!r}", "nothing else may stand in them"),
        ("{}", "nothing else may stand in them"),
        ("{a}" * 4000, "a template has at most 10000 characters"),
    ],
)
def test_a_template_that_is_none(template: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        task_for({"kind": "classification", "text": template})
    assert message in str(caught.value)


def test_two_places_for_one_text() -> None:
    with pytest.raises(InputError, match=r"task\.text and task\.text_field both say where the text stands"):
        task_for({"kind": "classification", "text": "{a}", "text_field": "a"})
    with pytest.raises(InputError, match=r"task\.text and data\.text_field both say"):
        task_for({"kind": "classification", "text": "{a}"}, text_field="a")
    with pytest.raises(InputError, match=r"task\.answer and data\.label_field both say"):
        task_for({"kind": "instruction", "prompt": "{a}", "answer": "{b}"}, label_field="b")
