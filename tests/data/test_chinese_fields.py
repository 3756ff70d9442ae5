"""Fields as people name them in a table of their own: compound Chinese names, and a question above all its answers."""

from __future__ import annotations

from typing import Any

import pytest

from microtune.data.fields import find_field
from microtune.data.names import ends_in
from microtune.data.sources import Row
from microtune.data.splits import split_rows
from microtune.errors import InputError


def rows(count: int, **fields: Any) -> list[Row]:
    return [Row({name: v(i) if callable(v) else v for name, v in fields.items()}, "d.csv", i + 2) for i in range(count)]


@pytest.mark.parametrize(
    ("fields", "role", "expected"),
    [
        (["学号", "学生答案", "等级"], "text", "学生答案"),
        (["学号", "学生答案", "等级"], "label", "等级"),
        (["用户评论", "情感标签"], "text", "用户评论"),
        (["用户评论", "情感标签"], "label", "情感标签"),
        (["评论内容", "标题", "情感类别"], "text", "标题"),  # a whole name still comes before the end of one
        (["标签说明", "类别"], "label", "类别"),
    ],
)
def test_the_last_word_of_a_chinese_name_says_what_it_is(fields: list[str], role: str, expected: str) -> None:
    assert find_field(rows(1, **dict.fromkeys(fields, "x")), role) == expected


def test_ends() -> None:
    assert ends_in("学生答案", {"答案"})
    assert not ends_in("答案编号", {"答案"})
    assert not ends_in("context", {"text"})


def test_a_question_above_all_its_answers_is_not_the_text() -> None:
    asked = {"题目": "什么是光合作用？", "学生答案": lambda i: f"第{i}个答案"}
    assert find_field(rows(9, **asked), "text") == "题目"  # too few rows to say that it never changes
    assert find_field(rows(10, **asked), "text") == "学生答案"
    assert find_field(rows(10, 题目="什么是光合作用？", 学号=str), "text") == "题目"  # the only one that is named so


def test_a_few_questions_above_all_their_answers_are_not_the_text() -> None:
    asked = {"题目": lambda i: f"问题{i % 5}", "学生答案": lambda i: f"第{i}个答案"}
    assert find_field(rows(99, **asked), "text") == "题目"  # each comes back less than twenty times
    assert find_field(rows(100, **asked), "text") == "学生答案"
    pair = {"premise": lambda i: f"premise {i % 5}", "hypothesis": lambda i: f"hypothesis {i}"}
    assert find_field(rows(100, **pair), "text") == "premise"  # a second text stays the second
    paired = {"sentence1": lambda i: f"one of {i % 5}", "sentence2": lambda i: f"another {i}"}
    assert find_field(rows(100, **paired), "text") == "sentence1"


def test_equal_inputs_are_named_as_the_reason() -> None:
    table = rows(240, text="the same", label=lambda i: "ab"[i % 2])
    with pytest.raises(InputError) as caught:
        split_rows(table, split={"validation": 0.1, "test": 0.1}, group=lambda row: row.data["text"])
    assert str(caught.value) == (
        "240 rows hold only 1 different inputs, too few to part into train, validation, test, as equal ones stay "
        "together; is the right field read (--text-field)?"
    )
