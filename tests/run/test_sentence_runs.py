"""Steps that write rows, in a run: copies of test rows are found before they are parted; prediction parts nothing."""

from __future__ import annotations

from typing import Any

import pytest

from microtune.data.sources import Row
from microtune.errors import InputError
from microtune.recipe import build
from microtune.run.prepare import Splits, make_splits, make_task
from microtune.tasks.base import Task

TEXTS = [f"The card {i} was lost. Please send a new one, number {i}. Thanks {i}!" for i in range(6)]
ROWS = [{"text": text, "label": ("card", "other")[i % 2]} for i, text in enumerate(TEXTS)]


def made(steps: list[Any], test: list[dict[str, Any]], task: Any = "classification") -> tuple[Task, Splits]:
    data = {"train": ROWS, "test": test, "split": "none", "steps": steps}
    recipe = build({"task": task, "data": data})
    return make_splits(recipe, make_task(recipe), {"train": ROWS, "test": test})


@pytest.mark.parametrize(
    "steps", [["sentence-rows"], [{"name": "augment", "copies": 3}], ["lowercase", "sentence-rows"]]
)
def test_no_part_of_a_test_row_is_learnt(steps: list[Any]) -> None:
    others = [{"text": f"Another text {i}. It is long.", "label": "card"} for i in range(2)]
    _, splits = made(steps, [ROWS[0], *others, ROWS[3] | {"label": "card"}])
    assert [row.line for row in splits.removed] == [1, 4]
    assert {row.line for row in splits.rows["train"]} == {2, 3, 5, 6}
    assert len(splits.rows["train"]) > 4
    assert sum("were removed from" in note for note in splits.notes) == 1


def test_a_sentence_that_is_a_test_row_is_taken_out_too() -> None:
    _, splits = made(["sentence-rows"], [{"text": "Thanks 4!", "label": "card"}, {"text": "No", "label": "other"}])
    assert len(splits.rows["train"]) == 17
    assert not any(row.data["text"] == "Thanks 4!" for row in splits.rows["train"])


def test_prediction_reads_whole_texts() -> None:
    task, splits = made([{"name": "sentence-rows", "sentences": 2}], [{"text": "No. Never.", "label": "card"}])
    assert len(splits.rows["train"]) == 12
    assert [row.data["text"] for row in splits.rows["test"]] == ["No. Never."]
    assert task.steps == ()
    assert [row.data["text"] for row in task.ready([Row({"text": "A b. C d."}, "x", 1)], answers=False)] == [
        "A b. C d."
    ]


def test_for_other_tasks_it_is_refused() -> None:
    rows = [{"text": text, "label": i / 2} for i, text in enumerate(TEXTS)]
    recipe = build({"task": "regression", "data": {"train": rows, "split": "none", "steps": ["sentence-rows"]}})
    with pytest.raises(InputError, match="not for the task regression: a number was given to the whole text"):
        make_splits(recipe, make_task(recipe), {"train": rows})
