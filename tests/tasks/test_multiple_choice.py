"""Questions with options: forms, likelihood and its gradient, shared prefixes, a head, learning by heart, refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_tasks import DECODER_SPEC, ENCODER_SPEC, make_model, make_tokenizer, make_training, rows_of, steps_of
from torch.testing import assert_close

from microtune.data.batches import apart, collate, sequences
from microtune.data.sources import read_rows
from microtune.errors import InputError
from microtune.run.evaluate import evaluate_items, predict_items
from microtune.tasks.base import EncodingReport
from microtune.tasks.multiple_choice import MultipleChoice
from microtune.tasks.options import Fields, read_options

pytestmark = pytest.mark.usefixtures("quick")

TOKENIZER = make_tokenizer()
OPTIONS = ["my card", "the transfer", "the parcel 我的卡"]
ROWS = [
    {
        "context": f"{i} where is it",
        "question": f"what is {i}",
        "options": OPTIONS[: 2 + i % 2],
        "answer": OPTIONS[i % 2],
    }
    for i in range(8)
]


def prepared(values: list[dict[str, Any]] = ROWS, label: str | None = None, **options: Any) -> MultipleChoice:
    return MultipleChoice(**options).prepare({"train": rows_of(values)}, text_field=None, label_field=label)


@pytest.mark.parametrize(
    "row",
    [
        {"question": "q", "choices": ["a", "b"], "answer": "b"},
        {"question": "q", "choices": ["x", "b"], "answer": "B"},
        {"question": "q", "choices": "x|b", "answer": "(b)"},
        {"question": "q", "choices": '["x", "b"]', "answer": 1},
        {"question": "q", "choices": {"text": ["x", "b"], "label": ["1", "2"]}, "answerKey": "2"},
        {"question": "q", "A": "x", "B": "b", "C": "", "answer": "B"},
        {"question": "q", "ending0": "x", "ending1": "b", "label": "1"},
        {"问题": "q", "选项": ["x", "b"], "答案": "b"},
        {"question": "q？A:x;B:b。", "answer": "正确答案：B。"},
    ],
)
def test_forms(row: dict[str, Any]) -> None:
    rows = [row, {**row, **({"label": "0"} if row.get("label") else {})}]
    task = prepared(rows, counts_from=0)
    read = read_options(rows_of(rows)[0], task.fields)
    assert (read.question.rstrip("？"), read.options[1].rstrip("。"), read.right) == ("q", "b", 1)


def test_numbers_count_from_what_the_rows_say() -> None:
    rows = [{"question": f"q{i}", "options": ["a", "b", "c"], "label": number} for i, number in enumerate((1, 2, 3))]
    assert prepared(rows).counts_from == 1
    assert prepared([{**rows[0], "label": 0}, *rows[:2]]).counts_from == 0
    with pytest.raises(InputError, match=r"may count from 0 or 1; say task.counts_from="):
        prepared(rows[:2])
    assert prepared(rows[:2], counts_from=0).counts_from == 0


def test_a_file_of_documents(tmp_path: Path) -> None:
    asked = [
        {"question": "q1", "choice": ["a", "b"], "answer": "b"},
        {"question": "q2", "choice": ["c", "d"], "answer": "c"},
    ]
    path = tmp_path / "a.json"
    path.write_text(json.dumps([[["甲：一", "乙：二"], asked, "7"]], ensure_ascii=False), encoding="utf-8")
    rows = read_rows(path)
    assert [row.data["context"] for row in rows] == ["甲：一\n乙：二"] * 2
    assert [row.data["id"] for row in rows] == ["7-1", "7-2"]
    task = MultipleChoice().prepare({"train": rows}, text_field=None, label_field=None)
    assert (task.question_field, task.context_field, task.choices_field) == ("question", "context", "choice")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answer": "the shop"}, r'line 1: the answer of the question "what is 0" is "the shop", which is none of its'),
        ({"answer": None}, "is missing, which is none of its options"),
        ({"answer": "D"}, 'is "D", which is none of its options'),
        ({"options": ["my card"]}, "has 1 options that are texts; two are needed"),
        ({"options": ["my card", "my card"]}, 'the option "my card" .* stands twice'),
        ({"options": ["my card", " "]}, "options that are texts"),
        ({"options": 3}, "is no list of options"),
        ({"question": ""}, 'the field "question" is empty'),
    ],
)
def test_rows_that_are_wrong(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        prepared([ROWS[0] | change, *ROWS[1:]], context_field="")
    with pytest.raises(InputError, match=r"has no options: no list, no columns A, B \.\.\., none in its text"):
        prepared([{"question": "q", "answer": "b"}])
    with pytest.raises(InputError, match=r"an encoder gives no likelihood"):
        prepared(form="likelihood").fitted(ENCODER_SPEC)


def encoded_for(spec: Any, **options: Any) -> tuple[MultipleChoice, Any]:
    task = prepared(**options).fitted(spec)
    return task, task.encode_all(rows_of(ROWS), TOKENIZER, 96, training=True)


@pytest.mark.parametrize("per", ["token", "option"])
def test_likelihood_and_its_gradient(per: Any) -> None:
    """Loss and gradients are those of a softmax over the options' likelihoods, computed from all logits."""
    task, encoded = encoded_for(DECODER_SPEC, per=per)
    model = make_model(DECODER_SPEC, task, torch.float64)
    batch = collate(list(encoded.items))
    loss, weight = task.loss(model.head, model(batch.inputs, readout=batch.readout), batch)
    loss.backward()
    grads = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    logs = model.head(model(batch.inputs, readout=batch.readout)).log_softmax(-1)
    picked = logs.gather(1, batch.targets[:, None])[:, 0].split(batch.counts.tolist())
    scores = iter([part.mean() if per == "token" else part.sum() for part in picked])
    total = torch.zeros((), dtype=torch.float64)
    for item in batch.items:
        options = torch.stack([next(scores) for _ in item.pieces])
        total = total - options.log_softmax(0)[item.extra.right]
    total.backward()
    assert weight == 8
    assert_close(loss, total, rtol=1e-12, atol=0)
    for grad, parameter in zip(grads, model.parameters(), strict=True):
        assert_close(grad, parameter.grad, rtol=1e-9, atol=1e-12)


def test_smoothed_targets_are_refused() -> None:
    """A likelihood has none to smooth: the loss would be that of the options and its gradient another one's."""
    task, encoded = encoded_for(DECODER_SPEC)
    model = make_model(DECODER_SPEC, task, torch.float64)
    model.head.label_smoothing = 0.1
    batch = collate(list(encoded.items))
    with pytest.raises(InputError, match=r"train\.label_smoothing spreads the targets of tokens"):
        task.loss(model.head, model(batch.inputs, readout=batch.readout), batch)


def test_the_prefix_is_computed_once() -> None:
    """An item that saves enough stands alone, and its passage and question are laid down once: same scores."""
    task = prepared([{**row, "context": "where is the parcel " * 12} for row in ROWS]).fitted(DECODER_SPEC)
    rows = rows_of([{**row, "context": "where is the parcel " * 12} for row in ROWS])
    encoded = task.encode_all(rows, TOKENIZER, 96, training=True)
    items = list(encoded.items)  # type: ignore[call-overload]
    assert apart([[0, 1, 2]], items) == [[0], [1], [2]]
    short = encoded_for(DECODER_SPEC)[1]
    assert apart([[0, 1, 2]], short.items) == [[0, 1, 2]]
    model = make_model(DECODER_SPEC, task, torch.float64).eval()
    plain, shared = collate(items[:1]), collate(items[:1], share=True)
    assert shared.inputs.shared > 40
    assert len(shared.inputs.values) < 0.6 * len(plain.inputs.values)
    with torch.no_grad():
        found = [task.measure(model.head, model(b.inputs, readout=b.readout), b)["shares"][0] for b in (plain, shared)]
    assert found[0] == pytest.approx(found[1], rel=1e-9)


def test_options_are_pairs_for_an_encoder() -> None:
    task, encoded = encoded_for(ENCODER_SPEC)
    item = encoded.items[1]
    assert (list(item.targets), item.reads, len(item.pieces)) == ([1], [1, 1, 1], 3)
    wanted = [TOKENIZER.encode_two("1 where is it\nwhat is 1", option, 96)[0] for option in OPTIONS]
    assert [list(part.ids) for part in sequences(item)] == wanted
    model = make_model(ENCODER_SPEC, task, torch.float64).eval()
    batch = collate(list(encoded.items))
    with torch.no_grad():
        hidden = model(batch.inputs, readout=batch.readout)
        loss, _ = task.loss(model.head, hidden, batch)
        scores = model.head(hidden, batch.counts)[:, 0].split([len(i.pieces) for i in batch.items])
    total = sum(-float(s.log_softmax(0)[i.extra.right]) for s, i in zip(scores, batch.items, strict=True))
    assert float(loss) == pytest.approx(total, rel=1e-12)


def test_a_passage_that_is_too_long_is_cut_and_the_question_kept() -> None:
    task = prepared(ROWS).fitted(DECODER_SPEC)
    row = rows_of([{**ROWS[0], "context": "where " * 90}])[0]
    report = EncodingReport()
    item = task.encode(row, 0, TOKENIZER, 40, report)
    assert report.truncated == 1
    assert max(item.pieces) <= 40
    question = TOKENIZER.encode("\nwhat is 0\n", special=False, behind=True)
    assert list(sequences(item)[0].ids)[-len(question) - 2 :][:3] != question[:3]
    assert TOKENIZER.decode(list(sequences(item)[0].ids)).count("what is 0") == 1
    with pytest.raises(InputError, match="4 tokens leave no room for a question"):
        task.encode(row, 0, TOKENIZER, 4, report)


@pytest.mark.parametrize("form", ["likelihood", "head", "encoder", "encoder, mean"])
def test_answers_are_learnt_by_heart(form: str) -> None:
    spec = ENCODER_SPEC if form.startswith("encoder") else DECODER_SPEC
    options = {"form": "head"} if form == "head" else {"pooling": "mean"} if "mean" in form else {}
    rows = [{**row, "answer": OPTIONS[(i // 2) % 2]} for i, row in enumerate(ROWS)]
    task = prepared(rows, **options).fitted(spec)
    encoded = task.encode_all(rows_of(rows), TOKENIZER, 96, training=True)
    model = make_model(spec, task)
    lr, epochs = (1e-3, 150) if "mean" in form else (5e-3, 60)
    steps_of(make_training(model, task, encoded, lr=lr, epochs=epochs, batch_size=8))
    score = evaluate_items(model, task, encoded)
    assert score.values["accuracy"] == 1.0
    assert score.values["loss"] < 0.4
    full = sorted(predict_items(model, task, encoded), key=lambda p: p.row)
    assert [p.answer for p in full] == [row["answer"] for row in rows]
    assert task.metrics(full) == pytest.approx(score.values)
    assert sum(full[0].scores.values()) == pytest.approx(1.0)
    assert task.details(score.predictions)["guessing"] == pytest.approx((4 / 2 + 4 / 3) / 8)


def test_bare_texts_are_a_question_with_options() -> None:
    task = prepared()
    rows = task.text_rows(["a passage", "what", "one", "two"])
    assert rows[0].data == {"context": "a passage", "question": "what", "options": ["one", "two"]}
    assert [len(r.data["options"]) for r in task.text_rows([("p", "q", "a", "b"), ("p", "q", "a", "b", "c")])] == [2, 3]
    with pytest.raises(InputError, match="give a passage, a question and its options"):
        task.text_rows(["what", "one", "two"])
    assert read_options(rows[0], Fields("question", "options")).right is None
