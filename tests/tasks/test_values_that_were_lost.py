"""Values of rows that were dropped, taken for something else, or told apart by nothing."""

from __future__ import annotations

from typing import Any

import pytest
from tiny_tasks import rows_of

from microtune.cli.chinese import translated
from microtune.data.splits import normalised
from microtune.errors import InputError
from microtune.tasks.classification import Classification
from microtune.tasks.instruction import Instruction
from microtune.tasks.labels import as_kind
from microtune.tasks.passages import answers_of


def test_a_number_in_the_second_part_of_a_prompt_is_read() -> None:
    values: list[dict[str, Any]] = [{"instruction": "double it", "input": i, "output": str(2 * i)} for i in (5, 0)]
    values += [{"instruction": "greet", "input": empty, "output": "hi"} for empty in ("", None, " ")]
    task = Instruction().prepare({"train": rows_of(values)}, text_field=None, label_field=None)
    asked = [task.prompt_of(row) for row in rows_of(values)]
    assert asked == ["double it\n5\n", "double it\n0\n", "greet\n", "greet\n", "greet\n"]
    with pytest.raises(InputError, match='the field "input" is a list, not text'):
        task.prompt_of(rows_of([{"instruction": "sum", "input": [1, 2], "output": "3"}])[0])


@pytest.mark.parametrize("value", [True, "True", "true", "1", 1])
def test_a_table_says_that_there_is_no_answer(value: Any) -> None:
    asked = {"question": "who", "context": "nobody knows", "answers": "nobody"}
    row = rows_of([asked | {"is_impossible": value}])[0]
    assert answers_of(row, "answers") == []
    for other in (False, "False", "0", 0, "", None):
        assert answers_of(rows_of([asked | {"is_impossible": other}])[0], "answers")[0].text == "nobody"


def test_labels_are_those_of_the_model_whatever_the_file_writes() -> None:
    numbers = [{"text": f"text {i}", "label": i % 2} for i in range(4)]
    texts = [{"text": f"text {i}", "label": str(i % 2)} for i in range(4)]
    for train, other in ((numbers, texts), (texts, numbers)):
        parts = {"train": rows_of(train), "test": rows_of(other)}
        task = Classification().prepare(parts, text_field=None, label_field=None)
        assert [task.reader.labels(row) for row in parts["test"]] == [task.reader.labels(row) for row in parts["train"]]
    assert [as_kind(label, int) for label in ("1", "-1", "01", "+1", "1.0", "x", 2)] == [
        1,
        -1,
        "01",
        "+1",
        "1.0",
        "x",
        2,
    ]
    parts = {"train": rows_of(numbers), "test": rows_of([{"text": "a", "label": "01"}])}
    with pytest.raises(InputError, match='the label "01" of the test split does not occur in the training split'):
        Classification().prepare(parts, text_field=None, label_field=None)


def test_signs_that_nobody_sees_make_no_other_text() -> None:
    assert normalised("\ufeffCa\u00adrd\u200b  one") == normalised("card one")


def test_one_field_is_not_text_and_label_both() -> None:
    rows = rows_of([{"text": f"text {i}", "label": str(i % 2)} for i in range(4)])
    with pytest.raises(InputError) as error:
        Classification().prepare({"train": rows}, text_field="label", label_field="label")
    assert str(error.value).endswith('the field "label" cannot also be the label; name another field.')
    assert "cannot also" not in translated(str(error.value))


def test_the_second_part_of_a_prompt_is_found_in_late_rows_and_under_other_names() -> None:
    plain = [{"instruction": f"do {i}", "response": "x"} for i in range(1200)]
    for name in ("input", "context", "输入"):
        rows = rows_of([*plain, {"instruction": "sum", name: "1 and 2", "response": "3"}])
        task = Instruction().prepare({"train": rows}, text_field=None, label_field=None)
        assert task.prompt_of(rows[-1]) == "sum\n1 and 2\n"
        assert task.prompt_of(rows[0]) == "do 0\n"
