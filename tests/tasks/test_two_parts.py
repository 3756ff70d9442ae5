"""Alpaca's rows and their kin: an instruction and the text that it is about are read together."""

from __future__ import annotations

from typing import Any

import pytest
from tiny_tasks import rows_of

from microtune.data.sources import Row
from microtune.errors import InputError
from microtune.recipe import Recipe, build
from microtune.run.predict import text_rows
from microtune.run.prepare import make_splits, make_task, text_key
from microtune.run.report.words.notes import in_chinese
from microtune.tasks.instruction import Instruction
from microtune.tasks.preference import Preference
from microtune.tasks.sequence_to_sequence import SequenceToSequence

ALPACA = [
    {"instruction": "In capitals.", "input": f"word {i}" if i % 2 else "", "output": f"WORD {i}"} for i in range(6)
]


def translated(rows: list[dict[str, Any]], **options: Any) -> SequenceToSequence:
    found = SequenceToSequence(**options)
    return found.prepare({"train": rows_of(rows)}, text_field=None, label_field=None)


def test_instruction_and_input_are_the_source() -> None:
    task = translated(ALPACA, prefix="do: ")
    assert (task.source_field, task.input_field, task.target_field) == ("instruction", "input", "output")
    one, two = rows_of(ALPACA)[:2]
    assert task.read_text(one) == "do: In capitals."
    assert task.read_text(two) == "do: In capitals.\nword 1"
    assert task.texts(two) == ["do: In capitals.\nword 1", "WORD 1"]
    said = (
        'Each source is "instruction" with "input" behind it where a row has one (task.input_field="" leaves it out).'
    )
    assert task.remarks({"train": rows_of(ALPACA)}) == [said]
    assert in_chinese(said) == '源文本是“instruction”，该行有“input”时接在后面（task.input_field="" 不读它）。'
    assert task.read_text(text_rows(task, ["In capitals: a"])[0]) == "do: In capitals: a"


@pytest.mark.parametrize(
    ("row", "fields"),
    [
        ({"instruction": "go", "output": "a"}, ("instruction", None, "output")),
        ({"指令": "翻译", "输入": "你好", "输出": "hello"}, ("指令", "输入", "输出")),
        ({"prompt": "go", "document": "a b", "summary": "a"}, ("prompt", "document", "summary")),
        ({"instruction": "", "input": "a", "output": "b"}, ("input", None, "output")),
        ({"document": "a", "question": "b"}, ("document", None, "question")),
    ],
)
def test_which_fields_make_the_source(row: dict[str, str], fields: tuple[str | None, ...]) -> None:
    task = translated([row] * 3)
    assert (task.source_field, task.input_field, task.target_field) == fields
    assert task.remarks({"train": []}) == ([] if fields[1] is None else task.remarks({}))


def test_what_the_user_names_is_read_alone() -> None:
    rows = rows_of(ALPACA)
    task = SequenceToSequence().prepare({"train": rows}, text_field="input", label_field=None)
    assert (task.source_field, task.input_field) == ("input", None)
    alone = translated(ALPACA, input_field="")
    assert alone.read_text(rows[1]) == "In capitals."
    other = translated([{**row, "more": "so"} for row in ALPACA], input_field="more")
    assert other.read_text(Row({**ALPACA[1], "more": 7}, "x", 1)) == "In capitals.\n7"
    with pytest.raises(InputError, match='there is no field "inptu" for the input; did you mean "input"'):
        translated(ALPACA, input_field="inptu")


def test_the_context_of_an_instruction_is_read() -> None:
    """Dolly's rows: instruction, context, response."""
    rows = rows_of([{"instruction": "Who?", "context": f"the wolf {i}", "response": "a wolf"} for i in range(3)])
    task = Instruction().prepare({"train": rows}, text_field=None, label_field=None)
    assert task.prompt_of(rows[1]) == "Who?\nthe wolf 1\n"
    assert task.remarks({"train": rows}) == [
        'Each prompt is "instruction" with "context" behind it where a row has one (task.input_field="" leaves it out).'
    ]
    bare = Instruction(input_field="").prepare({"train": rows}, text_field=None, label_field=None)
    assert bare.prompt_of(rows[1]) == "Who?\n"
    lists = rows_of([{"instruction": "Who?", "context": ["the", "wolf"], "response": "a wolf"}] * 3)
    assert Instruction().prepare({"train": lists}, text_field=None, label_field=None).input_field is None
    pairs = rows_of([{"prompt": "Who?", "输入": "狼", "chosen": "a", "rejected": "b"}] * 3)
    assert Preference().prepare({"train": pairs}, text_field=None, label_field=None).prompt_of(pairs[0]) == "Who?\n狼\n"


def test_a_number_is_an_input_and_a_list_is_refused() -> None:
    task = translated(ALPACA)
    assert task.read_text(Row({"instruction": "Double", "input": 4}, "x", 1)) == "Double\n4"
    with pytest.raises(InputError, match='x, line 2: the field "input" is a list, not text'):
        task.read_text(Row({"instruction": "Double", "input": [4]}, "x", 2))


@pytest.mark.parametrize("name", ["instruction", "sequence-to-sequence"])
def test_one_instruction_for_all_rows_is_not_one_text(name: str) -> None:
    """Copies and splits go by both parts: 40 rows of one instruction are 40 texts."""
    values = [{"instruction": "In capitals.", "input": f"word {i}", "output": f"WORD {i}"} for i in range(40)]
    recipe: Recipe = build({"task": name})
    task, splits = make_splits(recipe, make_task(recipe), {"train": values})
    assert {part: len(rows) for part, rows in splits.rows.items()} == {"train": 32, "validation": 4, "test": 4}
    assert text_key(task)(splits.rows["test"][0]).startswith("In capitals.\nword ")
