"""Which option a number, a letter or a text names, where options are numbers themselves, or a column is empty."""

from __future__ import annotations

from typing import Any

import pytest
from tiny_tasks import rows_of

from microtune.errors import InputError
from microtune.tasks.multiple_choice import MultipleChoice
from microtune.tasks.options import read_options


def right(values: list[dict[str, Any]], **options: Any) -> list[str]:
    """The texts of the right options."""
    rows = rows_of(values)
    task = MultipleChoice(**options).prepare({"train": rows}, text_field=None, label_field=None)
    found = [read_options(row, task.fields) for row in rows]
    return [read.options[read.right] for read in found if read.right is not None]


def listed(*answered: tuple[list[Any], Any]) -> list[dict[str, Any]]:
    return [{"question": f"q{i}", "choices": found, "answer": answer} for i, (found, answer) in enumerate(answered)]


def test_numbers_that_are_options_are_texts() -> None:
    assert right(listed((["1", "2", "3", "4"], 2), (["0", "2", "3", "4"], 3))) == ["2", "3"]
    assert right(listed(([1, 2, 3, 4], 2), ([0, 2, 3, 4], "3"))) == ["2", "3"]


@pytest.mark.parametrize("kind", [int, str])
def test_numbers_of_options_stay_so_where_a_row_has_options_that_are_numbers(kind: type) -> None:
    words = ["red", "green", "blue"]
    rows = listed((words, kind(0)), (words, kind(2)), (["7", "2", "1"], kind(1)), (["2", "1", "0"], kind(2)))
    assert right(rows) == ["red", "blue", "2", "0"]
    assert right(listed((["3", "2", "1"], kind(1)), (["2", "1", "0"], kind(2))), counts_from=0) == ["2", "0"]


def test_one_answer_that_is_no_option_among_texts_is_refused() -> None:
    rows = listed((["1", "2"], 1), (["2", "3"], 2), (["3", "4"], 0))
    with pytest.raises(
        InputError, match=r'line 3: the answer of the question "q2" is "0", which is none of its .*text'
    ):
        right(rows)


def test_labels_go_before_numbers() -> None:
    choices = {"text": ["x", "y", "z"], "label": ["1", "2", "3"]}
    assert right(listed((choices, "1"), (choices, "2"))) == ["x", "y"]


@pytest.mark.parametrize(
    ("names", "answers"), [("ABCD", ("C", "A")), (("option_1", "option_2", "option_3", "option_4"), ("3", "4"))]
)
def test_an_empty_column_keeps_its_letter(names: Any, answers: tuple[str, str]) -> None:
    rows: list[dict[str, Any]] = [
        {"question": f"q{i}", **dict(zip(names, texts, strict=True)), "answer": answer}
        for i, (texts, answer) in enumerate(zip((("r", "", "b", "g"), ("r", "x", "b", "g")), answers, strict=True))
    ]
    assert right(rows) == ["b", "r" if answers[1] == "A" else "g"]
    rows[0]["answer"] = rows[0]["answer"].replace("C", "B").replace("3", "2")
    with pytest.raises(InputError, match="which is none of its options"):
        right(rows)


def test_an_article_is_no_letter() -> None:
    asked = "which? A: a cat B: a dog"
    with pytest.raises(InputError, match=r'is "A dog", which is none of its options'):
        right([{"question": asked, "answer": "A dog"}])
    assert right([{"question": asked, "answer": text} for text in ("B: a dog", "the answer is A.", "A")]) == [
        "a dog",
        "a cat",
        "a cat",
    ]
