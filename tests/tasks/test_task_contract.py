"""Every task from rows to scores: encode, collate, loss, decode, metrics; and what its numbers mean."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny_tasks import (
    DECODER_SPEC,
    ENCODER_SPEC,
    SENTENCES,
    make_model,
    make_tokenizer,
    make_training,
    rows_of,
    steps_of,
)
from torch.testing import assert_close

from microtune.data.batches import collate
from microtune.data.sources import Row
from microtune.errors import CheckError, InputError
from microtune.nn.spec import ModelSpec
from microtune.ragged import Ragged
from microtune.run.evaluate import evaluate_items, wilson
from microtune.tasks.base import EncodingReport, Prediction, Task
from microtune.tasks.classification import Classification
from microtune.tasks.instruction import Instruction
from microtune.tasks.language_modelling import LanguageModelling

TOKENIZER = make_tokenizer()
LABELS = ("card", "parcel", "refund", "transfer")
TEXTS = [f"{sentence} {word}" for sentence in SENTENCES[:4] for word in ("now", "today please")]
LABELLED = rows_of([{"text": text, "label": LABELS[i // 2]} for i, text in enumerate(TEXTS)])
ASKED = [f"tell me {i}" for i in range(8)]
PROMPTS = rows_of([{"prompt": f"{text}? ", "completion": f"{i} it is"} for i, text in enumerate(ASKED)])
MESSAGES = rows_of(
    [
        {"messages": [{"role": "user", "content": text}, {"role": "assistant", "content": f"{i} it is"}]}
        for i, text in enumerate(ASKED)
    ]
)
ALPACA = rows_of([{"instruction": "answer", "input": t, "output": f"{i} it is"} for i, t in enumerate(ASKED)])
PLAIN = rows_of([{"text": text} for text in TEXTS])


@dataclass(frozen=True)
class Case:
    """A task, the rows it learns from, the model, and how many choices each target has."""

    task: Task
    rows: list[Row]
    spec: ModelSpec
    choices: int


CASES = {
    "classification, last token": Case(Classification(), LABELLED, DECODER_SPEC, 4),
    "classification, first token": Case(Classification(), LABELLED, ENCODER_SPEC, 4),
    "classification, mean": Case(Classification(pooling="mean"), LABELLED, DECODER_SPEC, 4),
    "classification, unit length": Case(
        Classification(),
        LABELLED,
        replace(ENCODER_SPEC, pooling="mean", label_head="normalized", initializer_range=0.02),
        4,
    ),
    "instruction, prompt": Case(Instruction(), PROMPTS, DECODER_SPEC, 400),
    "instruction, input": Case(Instruction(), ALPACA, DECODER_SPEC, 400),
    "instruction, template": Case(Instruction(template=True), PROMPTS, DECODER_SPEC, 400),
    "instruction, messages": Case(Instruction(), MESSAGES, DECODER_SPEC, 400),
    "language modelling": Case(LanguageModelling(block_size=16), PLAIN, DECODER_SPEC, 400),
}
each = pytest.mark.parametrize("name", list(CASES))


def prepared(name: str) -> tuple[Task, Any]:
    case = CASES[name]
    task = case.task.prepare({"train": case.rows}, text_field=None, label_field=None).fitted(case.spec)
    return task, task.encode_all(case.rows, TOKENIZER, 96, training=True)


@each
def test_the_first_loss_is_chance(name: str) -> None:
    """ln(classes) or ln(vocabulary): small weights know nothing yet."""
    task, encoded = prepared(name)
    training = make_training(make_model(CASES[name].spec, task), task, encoded, max_steps=1)
    assert abs(steps_of(training)[0].loss - math.log(CASES[name].choices)) < 0.1


@each
def test_eight_rows_are_learnt_by_heart(name: str) -> None:
    task, encoded = prepared(name)
    model = make_model(replace(CASES[name].spec, initializer_range=0.1), task)  # attention copies sooner than from 0.02
    steps_of(make_training(model, task, encoded, lr=1e-2, batch_size=16, epochs=70 if "instr" in name else 40))
    scoring = task.encode_all(CASES[name].rows, TOKENIZER, 96, training=False)
    score = evaluate_items(model, task, scoring)
    accuracy = score.values["accuracy" if "accuracy" in score.values else "token_accuracy"]
    assert accuracy >= (1.0 if "modelling" not in name else 0.8)  # a text's first words cannot be known
    assert score.values["loss"] < (0.2 if "modelling" not in name else 1.0)
    assert [p.row for p in score.predictions] == sorted(p.row for p in score.predictions)
    assert all(low <= score.values[k] <= high for k, (low, high) in score.intervals.items())
    assert score.intervals.keys() == score.values.keys()


@each
def test_losses_add_up_over_batches(name: str) -> None:
    """The summed loss of a batch is that of its items, and `weight` says by how much to divide."""
    task, encoded = prepared(name)
    model = make_model(CASES[name].spec, task, torch.float64).eval()
    items = [encoded.items[i] for i in range(len(encoded.items))]

    def total(part: list[Any]) -> tuple[float, int]:
        batch = collate(part)
        loss, weight = task.loss(model.head, model(batch.inputs, readout=batch.readout), batch)
        return float(loss.detach()), weight

    single = [total([item]) for item in items]
    assert total(items)[0] == pytest.approx(sum(loss for loss, _ in single), rel=1e-9)
    assert [weight for _, weight in single] == [task.weight(item) for item in items]
    assert total(items)[1] == sum(task.weight(item) for item in items)
    batch = collate(items)
    with torch.no_grad():
        found = task.decode(model.head, model(batch.inputs, readout=batch.readout), batch)
    assert sum(p.numbers["loss"] for p in found) == pytest.approx(total(items)[0], rel=1e-6)


@pytest.mark.parametrize("name", ["classification, first token", "instruction, messages", "language modelling"])
def test_micro_batches_do_not_change_the_weights(name: str) -> None:
    """Tokens per micro-batch are a matter of memory: after five steps in float64 the weights agree to 1e-9."""
    task, encoded = prepared(name)
    found = []
    for tokens in (1, 40, 4096):
        training = make_training(
            make_model(CASES[name].spec, task, torch.float64), task, encoded, micro_tokens=tokens, max_steps=5, epochs=9
        )
        steps_of(training)
        found.append(training.attachment.state())
    for other in found[:2]:
        assert_close(other, found[2], rtol=0, atol=1e-9)


def test_only_the_answer_and_its_stop_token_are_supervised() -> None:
    task, encoded = prepared("instruction, prompt")
    assert isinstance(task, Instruction)
    for item, row in zip(encoded.items, PROMPTS, strict=True):
        answer = [*TOKENIZER.encode(row.data["completion"], special=False), TOKENIZER.stop_ids[0]]
        prompt = task.prompt_ids(task.prompt_of(row), TOKENIZER)
        assert list(item.targets) == answer
        whole = [*item.ids, item.targets[-1]]
        assert whole == [*prompt, *answer]
        assert list(item.readout) == list(range(len(prompt) - 1, len(whole) - 1))
        assert TOKENIZER.decode(prompt) == row.data["prompt"]
    assert encoded.report.supervised == sum(len(item.targets) for item in encoded.items)


def test_alpaca_rows_keep_their_input_in_the_prompt() -> None:
    task, _ = prepared("instruction, input")
    assert isinstance(task, Instruction)
    assert task.prompt_of(ALPACA[0]) == f"answer\n{ASKED[0]}\n"
    assert task.prompt_of(Row({"instruction": "go", "input": " "}, "x", 1)) == "go\n"


def test_an_answer_that_would_be_cut_is_dropped_and_counted() -> None:
    task, _ = prepared("instruction, prompt")
    rows = [*PROMPTS[:2], Row({"prompt": "x", "completion": "word " * 60}, "data.jsonl", 3)]
    encoded = task.encode_all(rows, TOKENIZER, 40, training=True)
    report = encoded.report
    assert (report.rows, report.items, report.dropped) == (3, 2, 1)
    assert report.lost_targets == len(TOKENIZER.encode("word " * 60, special=False)) + 1


def test_an_answer_of_exactly_the_longest_length_stays() -> None:
    task, encoded = prepared("instruction, prompt")
    longest = encoded.report.longest
    assert task.encode_all(PROMPTS, TOKENIZER, longest, training=True).report.dropped == 0
    assert task.encode_all(PROMPTS, TOKENIZER, longest - 1, training=True).report.dropped > 0


def test_classification_cuts_long_texts_and_counts_them() -> None:
    task, _ = prepared("classification, last token")
    report = EncodingReport()
    item = task.encode(Row({"text": "word " * 50, "label": "card"}, "x", 1), 0, TOKENIZER, 20, report)
    assert item is not None
    assert (len(item.ids), report.truncated, list(item.readout)) == (20, 1, [19])


def test_blocks_lose_no_token() -> None:
    """Training blocks are the documents end to end; every token but the very first is predicted once."""
    for size in (8, 16, 1000):
        task = LanguageModelling(block_size=size, text_field="text")
        items = task.encode_all(PLAIN, TOKENIZER, 96, training=True).items
        bos, eos = TOKENIZER.id("bos"), TOKENIZER.id("eos")
        stream = [i for text in TEXTS for i in (bos, *TOKENIZER.encode(text, special=False), eos)]
        inputs = [int(i) for k in range(len(items)) for i in items[k].ids]
        targets = [int(i) for k in range(len(items)) for i in items[k].targets]
        assert inputs == stream[:-1]
        assert targets == stream[1:]
        assert all(len(items[k].ids) == min(size, 96) for k in range(len(items) - 1))
        scored = task.encode_all(PLAIN, TOKENIZER, 96, training=False).items
        assert sum(len(scored[k].targets) for k in range(len(scored))) == len(stream) - len(TEXTS)


def test_bits_per_byte_by_hand() -> None:
    """-log2 p of every token after the first, over the bytes of the text, with long rows in blocks."""
    task = LanguageModelling(block_size=8, text_field="text")
    model = make_model(DECODER_SPEC, task, torch.float64).eval()
    texts = ["我的卡被拒绝了", "the transfer has not arrived, and it is late"]
    rows = rows_of([{"text": text} for text in texts])
    values = evaluate_items(model, task, task.encode_all(rows, TOKENIZER, 96, training=False)).values
    bits, tokens = 0.0, 0
    for text in texts:
        ids = [TOKENIZER.id("bos"), *TOKENIZER.encode(text, special=False), TOKENIZER.id("eos")]
        for start in range(0, len(ids) - 1, 8):
            piece = ids[start : start + 9]
            with torch.no_grad():
                logits = model.head(model(Ragged.from_lists([piece[:-1]])))  # type: ignore[list-item]
            bits += float(F.cross_entropy(logits, torch.tensor(piece[1:]), reduction="sum")) / math.log(2)
            tokens += len(piece) - 1
    assert values["bits_per_byte"] == pytest.approx(bits / sum(len(text.encode()) for text in texts), rel=1e-9)
    assert values["loss"] == pytest.approx(bits * math.log(2) / tokens, rel=1e-9)
    assert values["perplexity"] == pytest.approx(math.exp(values["loss"]))


def guesses(count: int = 200, classes: int = 4, sharpness: float = 5.0) -> tuple[Classification, list[Prediction]]:
    """Scores that are far too sure of themselves."""
    task = Classification(labels=LABELS[:classes], text_field="text", label_field="label")
    generator = np.random.default_rng(0)
    targets = generator.integers(classes - 1, size=count)  # the last label is never given
    scores = generator.normal(size=(count, classes)) + 1.5 * np.eye(classes)[targets]
    sharp = np.exp(sharpness * (scores - scores.max(1, keepdims=True)))
    shares = sharp / sharp.sum(1, keepdims=True)
    return task, [
        Prediction(
            answer=task.labels[int(row.argmax())],
            confidence=float(row.max()),
            target=task.labels[target],
            scores={str(label): float(p) for label, p in zip(task.labels, row, strict=True)},
            numbers={"loss": -math.log(max(row[target], 1e-12))},
            row=i,
        )
        for i, (row, target) in enumerate(zip(shares, targets, strict=True))
    ]


def test_temperature_improves_the_likelihood() -> None:
    task, predictions = guesses()
    fitted = task.calibrated(predictions)
    logs = np.log(np.clip([list(p.scores.values()) for p in predictions], 1e-12, 1))
    targets = [task.labels.index(p.target) for p in predictions]

    def loss(temperature: float) -> float:
        return float(F.cross_entropy(torch.tensor(logs / temperature), torch.tensor(targets)))

    assert 2.0 < fitted.temperature < 8.0  # sharpened by 5
    assert loss(fitted.temperature) < loss(1.0) - 0.5
    assert loss(fitted.temperature) <= min(loss(fitted.temperature * f) for f in (0.9, 1.1))
    assert fitted.model_copy(update={"temperature": 1.0}) == task


def test_temperature_of_one_class_only_stays_finite() -> None:
    task, predictions = guesses()
    certain = [p for p in predictions if p.answer == p.target]
    assert 0 < task.calibrated(certain).temperature < 100


def test_decoding_divides_by_the_temperature() -> None:
    task, encoded = prepared("classification, last token")
    model = make_model(DECODER_SPEC, task).eval()
    batch = collate([encoded.items[i] for i in range(8)])
    with torch.no_grad():
        hidden = model(batch.inputs, readout=batch.readout)
        scores = model.head(hidden, batch.counts)
        warm = task.model_copy(update={"temperature": 2.0}).decode(model.head, hidden, batch)
    wanted = torch.softmax(scores / 2, -1)
    assert_close(torch.tensor([list(p.scores.values()) for p in warm]), wanted, rtol=1e-5, atol=1e-6)
    assert [p.answer for p in warm] == [task.labels[i] for i in wanted.argmax(-1)]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("share", "count", "low", "high"),
    [
        (0.5, 10, 0.2366, 0.7634),
        (1.0, 10, 0.7225, 1.0),
        (0.0, 10, 0.0, 0.2775),
        (0.9, 100, 0.8256, 0.9448),
        (1, 0, 0, 1),
    ],
)
def test_wilson_intervals(share: float, count: int, low: float, high: float) -> None:
    """Values from Brown, Cai and DasGupta's formula (2001), to four digits."""
    assert wilson(share, count) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parity
def test_per_class_numbers_equal_scikit_learn() -> None:
    from sklearn.metrics import classification_report

    task, predictions = guesses()
    given, answered = [p.target for p in predictions], [p.answer for p in predictions]
    report = classification_report(given, answered, output_dict=True, zero_division=0.0)
    found = task.per_class(predictions)
    assert found.keys() == set(given) | set(answered)
    for label, row in found.items():
        theirs = {key.replace("f1-score", "f1"): value for key, value in report[label].items()}
        assert row == pytest.approx(theirs)
    metrics = task.metrics(predictions)
    assert metrics["accuracy"] == pytest.approx(report["accuracy"])
    assert metrics["macro_f1"] == pytest.approx(report["macro avg"]["f1-score"])
    matrix = task.confusion(predictions)
    assert matrix.sum() == len(predictions)
    assert Counter(zip(given, answered, strict=True))["card", "parcel"] == matrix[0, 1]


def refuse(rows: list[dict[str, Any]], message: str, task: Task | None = None, **splits: list[dict[str, Any]]) -> None:
    named = {"train": rows_of(rows), **{name: rows_of(values) for name, values in splits.items()}}
    with pytest.raises(InputError, match=message):
        (task or Classification()).prepare(named, text_field=None, label_field=None)


def test_labels_that_cannot_be_learnt() -> None:
    one, two = {"text": "a", "label": "x"}, {"text": "b", "label": "y"}
    refuse([one, one], 'all rows have the label "x"')
    refuse([one, {"text": "c", "label": 3}], r"mixed types: str \(data.jsonl, line 1\) and int \(data.jsonl, line 2\)")
    refuse([one, {"text": "c", "label": None}], 'line 2: the label in "label" is missing')
    refuse([one, {"text": "c", "label": [1]}], "is list, not a string or a whole number")
    refuse([one, {"text": "c", "label": 0.5}], "is float, not a string or a whole number")
    refuse([one, two], 'line 1: the label "z" of the test split does not occur', test=[{"text": "c", "label": "z"}])
    refuse([{"text": "a", "label": True}, {"text": "b", "label": 1}], "mixed types")


def test_an_empty_split_of_language_modelling() -> None:
    with pytest.raises(CheckError, match="no token to score"):
        LanguageModelling(text_field="text").metrics([])
    with pytest.raises(InputError, match="has no labels"):
        LanguageModelling().prepare({"train": PLAIN}, text_field=None, label_field="label")
