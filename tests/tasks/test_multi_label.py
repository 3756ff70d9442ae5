"""Several labels a row: found, learnt, thresholded on validation, measured in few bytes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from tiny_tasks import DECODER_SPEC, make_model, make_tokenizer, make_training, rows_of, steps_of

from microtune.data.batches import collate
from microtune.errors import InputError
from microtune.run.evaluate import evaluate_items, predict_items
from microtune.tasks.classification import Classification
from microtune.tasks.labels import inverse_frequency, joining_sign
from microtune.tasks.many_labels import THRESHOLDS

TOKENIZER = make_tokenizer()
WORDS = {"card": "my card", "shop": "at the shop", "refund": "please refund", "卡": "我的卡"}
CHOSEN = [["card"], ["shop"], ["card", "shop"], ["refund", "card"], [], ["refund"], ["卡"], ["卡", "shop"]]
ROWS = [{"text": " ".join(WORDS[label] for label in labels) or "nothing", "labels": labels} for labels in CHOSEN]


def prepared(values: list[dict[str, Any]] = ROWS, **options: Any) -> Classification:
    return Classification(**options).prepare({"train": rows_of(values)}, text_field=None, label_field=None)


def test_lists_and_joined_texts_are_the_same_labels() -> None:
    task = prepared()
    assert (task.form, task.sign, task.labels) == ("multi", "", ("card", "refund", "shop", "卡"))
    for sign in ("|", ";", ", ", "、"):
        joined = prepared([{**row, "labels": sign.join(row["labels"])} for row in ROWS])
        assert (joined.form, joined.sign, joined.labels) == ("multi", sign.strip(), task.labels)
        encoded = joined.encode_all(
            rows_of([{**r, "labels": sign.join(r["labels"])} for r in ROWS]), TOKENIZER, 96, training=True
        )
        assert [list(item.targets) for item in encoded.items] == [  # type: ignore[attr-defined]
            [int(label in row["labels"]) for label in task.labels] for row in ROWS
        ]
    said = task.remarks({"train": rows_of(ROWS)})
    assert said == [
        '"labels" holds several labels a row, in a list: 4 labels, 1.25 a row '
        "(task.form=single takes each value as one label)."
    ]


@pytest.mark.parametrize(
    ("texts", "sign"),
    [
        (["a|b", "b", "a|c", "c|b"], "|"),
        (["Sports, Outdoors", "Books", "Music, Film"], ""),  # each is a label of its own
        (["a", "b"], ""),
        (["yes, he did", "no, he did not", "yes, she did"], ""),
        (["甲、乙", "乙", "甲、丙", "丙、乙", "甲"], "、"),
        (["a;b", "a,c;b", "a,c", "b"], ";"),
    ],
)
def test_which_sign_joins_labels(texts: list[str], sign: str) -> None:
    assert joining_sign(dict.fromkeys(texts, 1)) == sign


def test_what_cannot_be_learnt_is_refused() -> None:
    with pytest.raises(InputError, match="no two different labels"):
        prepared([{"text": "a", "labels": ["x"]}, {"text": "b", "labels": []}])
    with pytest.raises(InputError, match=r'line 2: the labels in "labels" are missing'):
        prepared([ROWS[0], {"text": "b", "labels": None}])
    with pytest.raises(InputError, match=r'line 2: the label in "labels" is float'):
        prepared([ROWS[0], {"text": "b", "labels": [0.5]}])
    with pytest.raises(InputError, match=r'the label "x" is not among the declared ones'):
        prepared([*ROWS, {"text": "b", "labels": ["x"]}], labels=["card", "shop", "refund", "卡"])
    rows = {"train": rows_of(ROWS), "test": rows_of([{"text": "a", "labels": ["card", "new"]}])}
    with pytest.raises(InputError, match=r"line 1: the label \"new\" of the test split does not occur"):
        Classification().prepare(rows, text_field=None, label_field=None)
    with pytest.raises(InputError, match="of several labels a row there is no mcc"):
        prepared(choose="mcc")
    with pytest.raises(InputError, match="f1:hat names no label"):
        prepared(choose="f1:hat")


def test_the_loss_is_a_mean_of_binary_cross_entropies() -> None:
    task = prepared(balance="weights")
    counts = [3, 2, 3, 2]
    assert task.class_weights == pytest.approx([(8 - n) / n for n in counts])
    assert inverse_frequency([0, 1], 1000, many=True) == (1.0, 100.0)
    encoded = task.encode_all(rows_of(ROWS), TOKENIZER, 96, training=True)
    items = list(encoded.items)  # type: ignore[call-overload]
    model = make_model(DECODER_SPEC, task, torch.float64).eval()
    batch = collate(items)
    with torch.no_grad():
        hidden = model(batch.inputs, readout=batch.readout)
        total, weight = task.loss(model.head, hidden, batch)
        scores = model.head(hidden, batch.counts)
        found = task.decode(model.head, hidden, batch)
    wanted = 0.0
    for row, item in zip(scores.tolist(), items, strict=True):
        for score, target, more in zip(row, item.targets, task.class_weights, strict=True):
            p = 1 / (1 + math.exp(-score))
            wanted -= (more * math.log(p) if target else math.log(1 - p)) / 4
    assert weight == 8
    assert float(total) == pytest.approx(wanted, rel=1e-12)
    assert sum(p.numbers["loss"] for p in found) == pytest.approx(wanted, rel=1e-12)


def test_rows_are_learnt_by_heart_and_said_in_names() -> None:
    task = prepared().fitted(DECODER_SPEC)
    encoded = task.encode_all(rows_of(ROWS), TOKENIZER, 96, training=True)
    model = make_model(DECODER_SPEC, task)
    steps = steps_of(make_training(model, task, encoded, lr=1e-2, epochs=60))
    assert abs(steps[0].loss - math.log(2)) < 0.1
    score = evaluate_items(model, task, encoded, settle=True)
    assert score.values["subset_accuracy"] == score.values["micro_f1"] == 1.0
    assert score.settled.keys() == {"threshold"}
    assert score.intervals["subset_accuracy"][1] == 1.0
    answers = {p.row: p for p in predict_items(model, task, encoded)}
    assert [sorted(answers[i].answer) for i in range(8)] == [sorted(labels) for labels in CHOSEN]
    assert answers[4].answer == []
    for mine, index in zip(score.predictions, range(8), strict=True):
        theirs = answers[mine.row]
        assert (mine.answer, mine.target) == (theirs.answer, theirs.target), index
        assert mine.confidence == pytest.approx(theirs.confidence, rel=1e-6)
        assert mine.numbers == pytest.approx(theirs.numbers, rel=1e-5)


def scored(task: Classification, count: int = 60) -> Any:
    """Random weights and random labels: every threshold gives another score."""
    generator = np.random.default_rng(0)
    rows = [
        {"text": f"{i} {list(WORDS.values())[i % 4]}", "labels": [l for l in task.labels if generator.random() < 0.2]}
        for i in range(count)
    ]
    encoded = task.encode_all(rows_of(rows), TOKENIZER, 96, training=False)
    model = make_model(DECODER_SPEC, task)
    torch.nn.init.normal_(model.head.out.weight, 0.0, 1.0)  # type: ignore[union-attr, arg-type]
    return model, encoded


@pytest.mark.parametrize("choose", ["micro_f1", "macro_f1", "subset_accuracy", "f1:card"])
def test_the_threshold_is_the_best_of_those_tried(choose: str) -> None:
    """The score that validation shows is that of the settled threshold, and no other threshold has a better one."""
    task = prepared(choose=choose).fitted(DECODER_SPEC)
    model, encoded = scored(task)
    score = evaluate_items(model, task, encoded, settle=True, intervals=False)
    best = score.settled["threshold"]
    values = {}
    for threshold in THRESHOLDS.tolist():
        again = task.model_copy(update={"threshold": threshold})
        values[threshold] = evaluate_items(model, again, encoded, intervals=False).values
    assert values[best][choose] == max(v[choose] for v in values.values())
    assert score.values == pytest.approx(values[best], rel=1e-12)
    assert task.chosen_by() == (choose, True)


def test_a_row_costs_less_than_200_bytes() -> None:
    labels = tuple(f"label {i}" for i in range(600))
    task = Classification(labels=labels, text_field="text", label_field="labels", form="multi", pooling="last")
    encoded = task.encode_all(
        rows_of([{"text": f"card {i}", "labels": [labels[i]]} for i in range(20)]), TOKENIZER, 96, training=False
    )
    score = evaluate_items(make_model(DECODER_SPEC, task), task, encoded, intervals=False)
    assert score.predictions.nbytes / 20 <= 200
    small = prepared().fitted(DECODER_SPEC)
    model, encoded = scored(small)
    assert evaluate_items(model, small, encoded, intervals=False).predictions.nbytes / 60 <= 60


def test_the_rarest_label_of_a_row_is_its_stratum() -> None:
    stratum = prepared().stratum(rows_of(ROWS))
    assert stratum is not None
    assert [stratum(row) for row in rows_of(ROWS)] == ["card", "shop", "card", "refund", None, "refund", "卡", "卡"]
