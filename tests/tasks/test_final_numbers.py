"""The number an answer ends in, in the forms that people and models write."""

from __future__ import annotations

import pytest

from microtune.tasks.final_numbers import final_number, marked_number, same_number


@pytest.mark.parametrize(
    ("reference", "number"),
    [
        ("She has 3 * 24 = 72 left.\n#### 72", 72.0),
        ("so #### 1,234,567", 1234567.0),
        ("It follows that \\boxed{-0.5}.", -0.5),
        ("The final answer is: $18.", 18.0),
        ("所以答案是１２３。", 123.0),
        ("72", 72.0),
        (" $1,200.50 ", 1200.5),
        ("35%", 35.0),
        ("In 1969 a man stood on the moon", None),
        ("call 110", None),
        ("no number at all", None),
        ("#### none", None),
    ],
)
def test_what_a_reference_names(reference: str, number: float | None) -> None:
    assert marked_number(reference) == number


@pytest.mark.parametrize(
    ("answer", "right"),
    [("#### 72", 1), ("3 + 69 makes 72.", 1), ("72.0", 1), ("The answer is 72, not 73", 1), ("first 72, then 73", 0)],
)
def test_an_answer_need_not_keep_to_the_form(answer: str, right: int) -> None:
    assert same_number(answer, "48 + 24 = 72\n#### 72") == right
    assert same_number(answer, "a text that names none") == -1
    assert final_number("words") is None
    assert same_number("words", "#### 1") == 0
