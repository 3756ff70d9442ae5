"""Classification with n-grams beside the network: the loss of both, one answer, several labels, runs that reload."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tiny_tasks import DECODER_SPEC, make_model, make_tokenizer, make_training, rows_of, steps_of
from torch.testing import assert_close

import microtune as mt
from microtune.data.batches import collate
from microtune.errors import InputError
from microtune.nn import wide
from microtune.nn.wide import SHARE, WideHead
from microtune.recipe import validated
from microtune.run.evaluate import evaluate_items
from microtune.run.predict import predict
from microtune.tasks.classification import Classification
from tiny_model import make_model as make_folder

pytestmark = pytest.mark.usefixtures("quick")

TOKENIZER = make_tokenizer()
LABELS = ("card", "parcel", "transfer")
ROWS = [{"text": f"{LABELS[i % 3]} number {i}", "label": LABELS[i % 3]} for i in range(12)]


@pytest.fixture(autouse=True)
def _small_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wide, "MOST_ROWS", 2048)


def prepared(values: list[dict[str, Any]], **options: Any) -> Classification:
    task = validated(Classification, {"ngrams": 2, **options}, "task")
    return task.prepare({"train": rows_of(values)}, text_field=None, label_field=None).fitted(DECODER_SPEC)


def test_each_part_learns_from_its_own_loss_and_both_answer() -> None:
    task = prepared(ROWS)
    items = task.encode_all(rows_of(ROWS), TOKENIZER, 96, training=True).items
    batch = collate([items[i] for i in range(12)])
    head = make_model(DECODER_SPEC, task, torch.float64).head
    assert isinstance(head, WideHead)
    with torch.no_grad():
        head.wide.copy_(torch.randn_like(head.wide) / 30)
    hidden = torch.randn(len(batch.readout), DECODER_SPEC.hidden_size, dtype=torch.float64)
    deep, beside = head(hidden, batch.counts), head.beside([item.ids for item in batch.items])
    wanted = (F.cross_entropy(deep, batch.targets, reduction="sum") + F.cross_entropy(beside, batch.targets) * 12) / 2
    loss, rows = task.loss(head, hidden, batch)
    assert rows == 12
    parameters = list(head.parameters())
    for own, one in zip(*(torch.autograd.grad(x, parameters) for x in (loss, wanted)), strict=True):
        assert_close(own, one, rtol=1e-12, atol=1e-12)
    with torch.inference_mode():
        answers = task.decode(head, hidden, batch)
        measured = task.measure(head, hidden, batch)["loss"]
    assert loss.item() == pytest.approx(measured.sum(), rel=1e-6)  # of the answer, as on validation, kept in float32
    assert abs(loss.item() - wanted.item()) > 0.01 * wanted.item()
    shares = ((1 - SHARE) * deep + SHARE * beside).softmax(-1)
    for answer, share in zip(answers, shares, strict=True):
        assert [answer.scores[label] for label in LABELS] == pytest.approx(share.tolist(), rel=1e-9)


def test_words_are_learnt_without_the_network() -> None:
    """The table alone knows the labels after a few steps: the rest of the model is held at its random weights."""
    task = prepared(ROWS)
    encoded = task.encode_all(rows_of(ROWS), TOKENIZER, 96, training=True)
    model = make_model(DECODER_SPEC, task)
    training = make_training(model, task, encoded, lr=5e-3, epochs=10, batch_size=6)
    assert training.attachment.trainable["head.wide"] == 2048 * 3
    before = {n: p.detach().clone() for n, p in model.named_parameters() if n != "head.wide"}
    assert len(steps_of(training)) == 20
    with torch.no_grad():
        for name, value in before.items():
            model.get_parameter(name).copy_(value)
    assert evaluate_items(model, task, encoded, intervals=False).values["accuracy"] == 1.0


def test_several_labels() -> None:
    rows = [{"text": row["text"], "label": [row["label"], "all"]} for row in ROWS]
    task = prepared(rows)
    assert task.form == "multi"
    encoded = task.encode_all(rows_of(rows), TOKENIZER, 96, training=True)
    model = make_model(DECODER_SPEC, task)
    assert len(steps_of(make_training(model, task, encoded, epochs=10, batch_size=6))) == 20
    assert evaluate_items(model, task, encoded, intervals=False).values["subset_accuracy"] == 1.0


def test_a_scale_is_refused() -> None:
    with pytest.raises(InputError, match=r"task.ngrams: labels of a scale are not scored by n-grams"):
        prepared(ROWS, form="ordinal", labels=LABELS)
    with pytest.raises(InputError, match="ngrams"):
        prepared(ROWS, ngrams=6)


@pytest.mark.parametrize("method", ["full", "lora:2", "head"])
def test_a_run_is_saved_reloaded_and_not_exported(tmp_path: Path, method: str) -> None:
    """The tables of both ways to keep a run, whole and beside its base, and of cached states."""
    rows = [{"text": f"{LABELS[i % 3]} number {i}", "label": LABELS[i % 3]} for i in range(60)]
    task = {"name": "classification", "ngrams": 2}
    train = {"epochs": 2, "precision": "float32", "lr": 5e-3}
    run = mt.tune(
        rows, task=task, model=str(make_folder(tmp_path / "base")), method=method, train=train, out=tmp_path / "run"
    )
    texts = ["card number 70", "parcel number 71"]
    there = mt.load(tmp_path / "run")
    head = there.network.head
    assert isinstance(head, WideHead)
    assert bool(head.wide.any())
    said = [p.scores for p in run.predict(texts)]
    assert said == [p.scores for p in predict(there, rows_of([{"text": text} for text in texts]))]
    with torch.no_grad():
        head.wide.zero_()
    assert said != [p.scores for p in predict(there, rows_of([{"text": text} for text in texts]))]
    with pytest.raises(InputError, match="has a head of its own, which no exported form has yet"):
        mt.export(run.path, format="hf", out=tmp_path / "out")
