"""A number for a text: fields, refusals, standardised loss, answers in the unit of the data."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from tiny_tasks import DECODER_SPEC, ENCODER_SPEC, make_model, make_tokenizer, make_training, rows_of, steps_of

from microtune.data.batches import collate
from microtune.data.fields import find_number
from microtune.errors import InputError
from microtune.run.evaluate import evaluate_items, predict_items
from microtune.tasks.regression import Regression

TOKENIZER = make_tokenizer()
ROWS = [{"text": f"{'good ' * (i % 3)}film {i}", "stars": 10.0 * (i % 3)} for i in range(9)]


def prepared(values: list[dict[str, Any]] = ROWS, label: str | None = None, **options: Any) -> Regression:
    return Regression(**options).prepare({"train": rows_of(values)}, text_field=None, label_field=label)


@pytest.mark.parametrize("name", ["score", "rating", "stars", "label", "review_score", "评分", "target"])
def test_the_number_is_found_by_name(name: str) -> None:
    task = prepared([{"text": "a", "length": 3, name: "1.5"}, {"text": "b", "length": 1, name: 2}])
    assert (task.label_field, task.text_field) == (name, "text")
    assert (task.mean, task.deviation) == (1.75, 0.25)


def test_a_number_that_cannot_be_told_is_asked_for() -> None:
    rows = rows_of([{"text": "a", "width": 1, "height": 2}])
    with pytest.raises(InputError, match=r"no field of numbers is named like a score.*name it with --label-field"):
        find_number(rows, exclude=["text"])
    with pytest.raises(InputError, match=r'several fields could be the number \("score", "value"\)'):
        find_number(rows_of([{"text": "a", "score": 1, "value": 2}]), exclude=["text"])
    assert find_number(rows, "width") == "width"
    assert find_number(rows_of([{"column_1": "a text", "column_2": "3"}])) == "column_2"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("three", r"data.jsonl, line 2: the number in \"stars\" is 'three', not a finite number"),
        (None, 'line 2: the number in "stars" is missing'),
        ("", 'line 2: the number in "stars" is missing'),
        (math.nan, "line 2: .* is 'nan', not a finite number"),
        ("inf", "line 2: .* is 'inf', not a finite number"),
        (True, "line 2: .* is 'True', not a finite number"),
        ([1], "line 2: .* not a finite number"),
    ],
)
def test_what_is_no_number(value: Any, message: str) -> None:
    rows = [ROWS[0], {"text": "b", "stars": value}]
    with pytest.raises(InputError, match=message):
        prepared(rows, "stars")
    splits = {"train": rows_of(ROWS), "test": rows_of(rows)}
    with pytest.raises(InputError, match=message):
        Regression().prepare(splits, text_field=None, label_field="stars")


def test_numbers_that_are_all_the_same() -> None:
    with pytest.raises(InputError, match=r'all rows have the number 3 in "stars"; there is nothing to predict'):
        prepared([{"text": str(i), "stars": 3} for i in range(5)])
    with pytest.raises(InputError, match="too large to be averaged"):
        prepared([{"text": str(i), "stars": (-1) ** i * 1e308} for i in range(5)])


def test_the_loss_is_the_squared_error_of_the_standardised_target() -> None:
    task = prepared().fitted(DECODER_SPEC)
    assert (task.mean, task.deviation) == (10.0, pytest.approx(math.sqrt(200 / 3)))
    encoded = task.encode_all(rows_of(ROWS), TOKENIZER, 96, training=True)
    batch = collate(list(encoded.items))  # type: ignore[call-overload]
    model = make_model(DECODER_SPEC, task, torch.float64).eval()
    with torch.no_grad():
        hidden = model(batch.inputs, readout=batch.readout)
        total, weight = task.loss(model.head, hidden, batch)
        raw = model.head(hidden, batch.counts)[:, 0].numpy()
        found = task.decode(model.head, hidden, batch)
    target = np.array([row["stars"] for row in ROWS])
    standard = (target - target.mean()) / target.std()
    assert (float(total), weight) == (pytest.approx(((raw - standard) ** 2).sum(), rel=1e-12), 9)
    assert [p.answer for p in found] == pytest.approx(raw * target.std() + target.mean(), rel=1e-12)
    assert [p.target for p in found] == pytest.approx(target.tolist())


@pytest.mark.parametrize("spec", [DECODER_SPEC, ENCODER_SPEC], ids=["decoder", "encoder"])
def test_numbers_are_learnt_by_heart(spec: Any) -> None:
    task = prepared().fitted(spec)
    encoded = task.encode_all(rows_of(ROWS), TOKENIZER, 96, training=True)
    model = make_model(spec, task)
    steps_of(make_training(model, task, encoded, lr=1e-2, epochs=80, batch_size=9))
    score = evaluate_items(model, task, encoded)
    assert score.values["rmse"] < 1.0  # of numbers from 0 to 20
    assert score.values["pearson"] > 0.99
    low, high = score.intervals["rmse"]
    assert 0 < low <= score.values["rmse"] <= high
    assert [p.row for p in score.predictions] == list(range(9))
    full = sorted(predict_items(model, task, encoded), key=lambda p: p.row)
    assert [p.answer for p in score.predictions] == pytest.approx([p.answer for p in full], rel=1e-5)


def test_rows_without_a_number_are_answered_too() -> None:
    task = prepared().fitted(DECODER_SPEC).model_copy(update={"label_field": None})
    encoded = task.encode_all(rows_of([{"text": "film"}]), TOKENIZER, 96, training=False)
    found = list(predict_items(make_model(DECODER_SPEC, task), task, encoded))
    assert found[0].target is None
    assert math.isfinite(found[0].answer)


def test_the_mean_stands_beside_the_scores() -> None:
    task = prepared()
    assert task.trivial(np.array([0.0, 10.0, 20.0, 10.0])) == {
        "answer": 10.0,
        "rmse": pytest.approx(math.sqrt(50)),
        "mae": 5.0,
    }
    assert task.remarks({"train": rows_of(ROWS)}) == [
        'The number in "stars" is predicted: 0 to 20, mean 10, standard deviation 8.165 over 9 training rows.'
    ]
    assert task.chosen_by() == ("rmse", False)
    assert prepared(choose="spearman").chosen_by() == ("spearman", True)


def test_pairs_have_numbers_too() -> None:
    rows = [{"sentence1": "a", "sentence2": "b", "score": i} for i in range(4)]
    task = prepared(rows).fitted(DECODER_SPEC)
    assert (task.text_field, task.pair_field, task.joined) == ("sentence1", "sentence2", "separator")
