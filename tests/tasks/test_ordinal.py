"""Steps of a scale: their order, the cumulative link model, weights of classes, declared labels, and what chooses."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from tiny_tasks import DECODER_SPEC, ENCODER_SPEC, make_model, make_tokenizer, make_training, rows_of, steps_of

from microtune.errors import InputError
from microtune.nn.ordinal import CumulativeLink, OrdinalHead
from microtune.recipe import validated
from microtune.run.evaluate import evaluate_items
from microtune.tasks.classification import Classification
from microtune.tasks.labels import inverse_frequency

pytestmark = pytest.mark.usefixtures("quick")

TOKENIZER = make_tokenizer()
STEPS = ("cold", "warm", "hot")
ROWS = [{"text": f"it is {'very ' * (i % 3)}{i}", "label": STEPS[i % 3]} for i in range(9)]
NUMBERS = [{**row, "label": str(8 + STEPS.index(row["label"]))} for row in ROWS]  # "10" comes after "9"


def prepared(values: list[dict[str, Any]], **options: Any) -> Classification:
    task = validated(Classification, options, "task")
    return task.prepare({"train": rows_of(values)}, text_field=None, label_field=None)


def test_the_order_is_declared_or_numeric() -> None:
    assert prepared(NUMBERS, ordinal=True).labels == ("8", "9", "10")
    assert prepared(ROWS, ordinal=True, labels=STEPS).labels == STEPS
    with pytest.raises(InputError, match=r"are words .*declare it from low to high with task.labels"):
        prepared(ROWS, ordinal=True)
    with pytest.raises(InputError, match="ordinal is true or false"):
        prepared(ROWS, ordinal=True, form="single")
    assert prepared(ROWS, ordinal=False).form == "single"


def test_declared_labels() -> None:
    task = prepared(ROWS, labels=["hot", "cold", "warm", "icy"])
    assert task.labels == ("hot", "cold", "warm", "icy")
    assert task.remarks({"train": rows_of(ROWS)}) == [
        'No training row has the declared label "icy"; it cannot be learnt.'
    ]
    with pytest.raises(InputError, match=r'data.jsonl, line 3: the label "hot" is not among the declared ones'):
        prepared(ROWS, labels=["cold", "warm"])
    with pytest.raises(InputError, match="declared twice"):
        prepared(ROWS, labels=["cold", "cold"])
    assert prepared([{"text": str(i), "label": i % 2} for i in range(4)], labels=["1", "0"]).labels == (1, 0)
    assert prepared([{"text": str(i), "label": str(i % 2)} for i in range(4)], labels=[1, 0]).labels == ("1", "0")
    rows = {"train": rows_of(ROWS), "test": rows_of([{"text": "a", "label": "boiling"}])}
    with pytest.raises(InputError, match=r'line 1: the label "boiling" of the test split is not among the declared'):
        Classification(labels=STEPS).prepare(rows, text_field=None, label_field=None)


def test_scores_are_log_probabilities_of_a_cumulative_link() -> None:
    """Against the difference of sigmoids in float64, at ordinary and at extreme numbers."""
    link = CumulativeLink(1, 5).double()
    with torch.no_grad():
        link.weight.fill_(1.0)
        link.gaps.add_(torch.tensor([0.3, -0.5, 0.1]))
    x = torch.tensor([[-3.0], [0.0], [1.5]], dtype=torch.float64)
    scores = link(x)
    below = torch.sigmoid(link.thresholds - x)
    edges = torch.cat([torch.zeros(3, 1), below, torch.ones(3, 1)], 1).double()
    torch.testing.assert_close(scores, edges.diff().log(), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(scores.exp().sum(1), torch.ones(3).double(), rtol=1e-12, atol=0)
    far = link(torch.tensor([[-200.0], [200.0]], dtype=torch.float64))
    assert torch.isfinite(far).all()
    assert far.argmax(1).tolist() == [0, 4]
    assert bool((link.thresholds.diff() > 0).all())


def test_all_steps_are_equally_probable_at_first() -> None:
    """Two steps, three and seven; the head is the architecture's below its last layer."""
    for steps in (2, 3, 7):
        link = CumulativeLink(4, steps)
        assert link(torch.zeros(1, 4)).exp().tolist()[0] == pytest.approx([1 / steps] * steps, rel=1e-5)
    head = OrdinalHead(ENCODER_SPEC, 3)
    assert head.pooler is not None
    assert {name for name in head.state_dict() if name.startswith("out.")} == {"out.weight", "out.first", "out.gaps"}


@pytest.mark.parametrize("spec", [DECODER_SPEC, ENCODER_SPEC], ids=["decoder", "encoder"])
def test_steps_are_learnt_by_heart(spec: Any) -> None:
    task = prepared(ROWS, ordinal=True, labels=STEPS).fitted(spec)
    encoded = task.encode_all(rows_of(ROWS), TOKENIZER, 96, training=True)
    model = make_model(spec, task)
    training = make_training(model, task, encoded, lr=1e-2, epochs=80)
    assert {"head.out.first", "head.out.gaps"} <= training.attachment.state().keys()
    steps = steps_of(training)
    assert abs(steps[0].loss - math.log(3)) < 0.1
    values = evaluate_items(model, task, encoded, settle=True).values
    assert values["accuracy"] == 1.0
    assert values["mae_steps"] == 0.0


def test_the_error_in_steps() -> None:
    from microtune.tasks.base import Prediction

    task = Classification(labels=STEPS, text_field="text", label_field="label", form="ordinal")
    pairs = [("cold", "cold"), ("cold", "hot"), ("warm", "hot"), ("hot", "warm")]
    found = [Prediction(a, 0.5, t, numbers={"loss": 1.0}, row=i) for i, (a, t) in enumerate(pairs)]
    assert task.metrics(found)["mae_steps"] == 1.0
    assert "mae_steps" not in task.model_copy(update={"form": "single"}).metrics(found)


def test_weights_of_classes_are_inverse_frequencies() -> None:
    rows = [*ROWS, *({"text": f"more {i}", "label": "cold"} for i in range(9))]
    task = prepared(rows, balance="weights").fitted(DECODER_SPEC)
    assert task.labels == ("cold", "hot", "warm")
    assert task.class_weights == pytest.approx([18 / 36, 18 / 9, 18 / 9])
    assert sum(w * n for w, n in zip(task.class_weights, (12, 3, 3), strict=True)) == pytest.approx(18)
    assert inverse_frequency([4, 0], 4, many=False) == (0.5, 1.0)
    encoded = task.encode_all(rows_of(rows), TOKENIZER, 96, training=True)
    model = make_model(DECODER_SPEC, task)
    plain = task.model_copy(update={"class_weights": ()})
    values = evaluate_items(model, task, encoded, intervals=False).values
    per_row = evaluate_items(model, plain, encoded, intervals=False).predictions
    wanted = sum(p.numbers["loss"] * task.class_weights[task.labels.index(p.target)] for p in per_row) / 18
    assert values["loss"] == pytest.approx(wanted, rel=1e-6)
    first = steps_of(make_training(model, task, encoded, batch_size=18, max_steps=1))[0]
    assert first.loss == pytest.approx(values["loss"], rel=1e-5)


def test_what_chooses_the_weights() -> None:
    assert prepared(ROWS).chosen_by() == ("accuracy", True)
    assert prepared(ROWS, choose="loss").chosen_by() == ("loss", False)
    assert prepared(ROWS, choose="f1:hot").chosen_by() == ("f1:hot", True)
    with pytest.raises(InputError, match="f1:icy names no label; there are cold, hot, warm"):
        prepared(ROWS, choose="f1:icy")
    with pytest.raises(InputError, match="of one label a row there is no micro_f1"):
        prepared(ROWS, choose="micro_f1")
    with pytest.raises(InputError, match="weights are chosen by one of accuracy, macro_f1"):
        prepared(ROWS, choose="beauty")


def test_a_rare_class_recommends_another_choice() -> None:
    rows = [{"text": str(i), "label": "unfair" if i % 12 == 0 else "fair"} for i in range(48)]
    note = prepared(rows).remarks({"train": rows_of(rows)})
    assert len(note) == 1
    assert note[0].startswith('Only 8.3% of the training rows have the label "unfair": accuracy can be high without')
    assert prepared(rows, choose="macro_f1").remarks({"train": rows_of(rows)}) == []
    even = [{"text": str(i), "label": f"label {i % 20}"} for i in range(60)]  # 5 % each, and none of them rare
    assert prepared(even).remarks({"train": rows_of(even)}) == []
