"""Evaluation keeps a few numbers a row: how many bytes, and that scores, intervals and calibration are the same."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny_runs import SPEC, make_base, make_rows, tune_recipe
from tiny_runs import run as run_recipe
from torch import Tensor

from microtune.data.batches import Item, collate
from microtune.nn.heads import LabelHead, VocabularyHead
from microtune.nn.parameters import initialize
from microtune.nn.transformer import Transformer
from microtune.run import evaluate, tune
from microtune.run.evaluate import RESAMPLES, confidence_intervals, evaluate_items, predict_items
from microtune.run.load import load
from microtune.tasks.base import Encoded, EncodingReport, Prediction, Task
from microtune.tasks.classification import TEMPERATURES, Classification
from microtune.tasks.language_modelling import LanguageModelling, block_item

BYTES_A_ROW = 200
CLASSES = 77
LABELS = Classification(
    labels=tuple(f"label {i}" for i in range(CLASSES)), text_field="text", label_field="label", pooling="last"
)
TEXT = LanguageModelling(text_field="text")


def make_model(task: Task) -> Transformer:
    torch.manual_seed(0)
    model = Transformer(SPEC)
    initialize(model, 0.3, num_layers=2)
    model.head = task.make_head(SPEC) or model.head
    return model


def encoded(task: Task, count: int, length: int = 20) -> Encoded:
    """Random texts of about `length` tokens."""
    generator = np.random.default_rng(count)
    items = []
    for row in range(count):
        ids = generator.integers(60, 320, size=length + row % 3)
        target = [int(generator.integers(CLASSES))]
        items.append(Item(ids, [len(ids) - 1], target, row=row) if task is LABELS else block_item(ids, row, 50.0))  # type: ignore[arg-type]
    return Encoded(items, EncodingReport(rows=count))


def peak(work: Callable[[], Any]) -> int:
    """Most bytes of numpy arrays and Python objects that exist at one time during `work`, above those before it.

    Items are made before, so they are not in it; nor are torch's tensors, which live for one batch.
    """
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def growth(task: Task, few: int, many: int, work: Callable[[Transformer, Task, Encoded], Any]) -> float:
    """Bytes a row by which the peak grows between two sizes of split, each of several full batches."""
    model = make_model(task)
    work(model, task, encoded(task, 10))  # what is made once, at first use
    peaks = []
    for count in (few, many):
        part = encoded(task, count)
        peaks.append(peak(lambda part=part: work(model, task, part)))
    return (peaks[1] - peaks[0]) / (many - few)


def streaming(model: Transformer, task: Task, part: Encoded) -> Any:
    return evaluate_items(model, task, part, settle=True)


TASKS = pytest.mark.parametrize("task", [LABELS, TEXT], ids=["77 labels", "likelihood"])


@TASKS
def test_200_bytes_a_row_at_1000_rows(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "EVALUATION_TOKENS", 1024)  # about 50 rows a batch: 4 batches against 20
    assert growth(task, 200, 1000, streaming) < BYTES_A_ROW


@pytest.mark.slow
@TASKS
def test_200_bytes_a_row_at_100000_rows(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "RESAMPLES", 20)
    assert growth(task, 1000, 100_000, streaming) < BYTES_A_ROW


def test_the_measure_sees_kept_predictions(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scores of 77 labels as Python floats are more than 3 kB a row."""
    monkeypatch.setattr(evaluate, "EVALUATION_TOKENS", 1024)

    def keep(model: Transformer, task: Task, part: Encoded) -> Any:
        return list(predict_items(model, task, part))

    assert growth(LABELS, 200, 600, keep) > 3000


@TASKS
def test_columns_say_what_predictions_say(task: Task) -> None:
    """Every row of the score is the full Prediction without the scores of the labels; the metrics are equal too."""
    model, part = make_model(task), encoded(task, 40)
    score = evaluate_items(model, task, part)
    full = sorted(predict_items(model, task, part), key=lambda p: p.row)
    assert len(score.predictions) == len(full) == 40
    for mine, theirs in zip(score.predictions, full, strict=True):
        assert (mine.answer, mine.target, mine.row) == (theirs.answer, theirs.target, theirs.row)
        assert mine.confidence == pytest.approx(theirs.confidence, rel=1e-6)  # kept in float32
        assert mine.numbers == pytest.approx(theirs.numbers, rel=1e-6)  # sums in another order
    assert score.values == pytest.approx(task.metrics(full), rel=1e-6)
    assert score.predictions[-1].row == 39
    assert [p.row for p in score.predictions[3:5]] == [3, 4]
    assert list(score.predictions)[7] == score.predictions[7]
    with pytest.raises(IndexError):
        score.predictions[40]
    assert score.predictions.nbytes / 40 <= 40


def literal(task: Task, predictions: list[Prediction], name: str) -> tuple[float, float]:
    """The bootstrap as it is written down: lists of drawn rows, with repetitions, each scored by itself."""
    groups: dict[int, list[Prediction]] = {}
    for prediction in predictions:
        groups.setdefault(prediction.row, []).append(prediction)
    rows = list(groups.values())
    generator = np.random.default_rng(0)
    draws = []
    for _ in range(RESAMPLES):
        drawn = [p for i in generator.integers(len(rows), size=len(rows)) for p in rows[i]]
        draws.append(task.metrics(drawn)[name])
    low, high = np.percentile(draws, [2.5, 97.5])
    return float(low), float(high)


@pytest.mark.parametrize("task", [LABELS.model_copy(update={"labels": LABELS.labels[:5]}), TEXT], ids=["few", "text"])
def test_intervals_are_those_of_a_literal_bootstrap(task: Task) -> None:
    """The same draws, to the rounding of sums (1e-12); pairs of items of one text stay together."""
    generator = np.random.default_rng(1)
    found = []
    for number in range(60):
        if isinstance(task, Classification):
            answer, target = (task.labels[i] for i in generator.integers(4, size=2))  # the fifth never occurs
            loss = {"loss": float(generator.random())}
            found.append(Prediction(answer, 0.5, target if number % 3 else answer, {}, loss, number))
        else:
            numbers = dict(zip(("loss", "tokens", "correct", "bytes"), generator.random(4) + 1, strict=True))
            found.append(Prediction(None, 0.0, numbers=numbers, row=number // 2))
    outcomes = evaluate.Outcomes(task.columns(found), task.read)
    values = task.metrics(found)
    intervals = confidence_intervals(task, outcomes, values)
    assert intervals.keys() == values.keys()
    for name in values.keys() - {"accuracy"}:
        assert intervals[name] == pytest.approx(literal(task, found, name), rel=1e-12)
    if "accuracy" in values:
        assert intervals["accuracy"] == evaluate.wilson(values["accuracy"], 60)


def test_a_share_of_few_rows_is_never_certain() -> None:
    """All right in five rows: the bootstrap says 1 to 1, Wilson's interval begins at 0.566."""
    columns = {"row": np.arange(5), "written": np.array([1, 1, 1, 1, 0]), "number": np.array([0, 1, -1, -1, -1])}
    outcomes = evaluate.Outcomes(columns, lambda columns, index: Prediction(None, 0.0))
    names = ("preference_accuracy", "recall@1", "triplet_accuracy", "exact_match", "numeric_match")
    found = confidence_intervals(TEXT, outcomes, dict.fromkeys(names, 1.0))
    rows = {"exact_match": 4, "numeric_match": 2}
    assert found == {name: evaluate.wilson(1.0, rows.get(name, 5)) for name in names}
    assert found["recall@1"] == (pytest.approx(0.56551, abs=1e-5), 1.0)


def test_items_of_no_row_stand_alone() -> None:
    """Blocks across documents have no row: each is a draw of its own."""
    numbers = [{"loss": float(i), "tokens": 1.0, "correct": 0.0, "bytes": 1.0} for i in range(30)]
    apart = [Prediction(None, 0.0, numbers=n, row=-1) for n in numbers]
    rows = [replace(p, row=i) for i, p in enumerate(apart)]
    first, second = (
        confidence_intervals(TEXT, evaluate.Outcomes(TEXT.columns(p), TEXT.read), TEXT.metrics(p))
        for p in (apart, rows)
    )
    assert first == second
    assert first["loss"][0] < first["loss"][1]


def test_the_temperature_is_that_of_all_scores_together() -> None:
    """Summed batch by batch without keeping scores, it is the best of the same grid on all of them."""
    model, part = make_model(LABELS), encoded(LABELS, 50)
    found = evaluate_items(model, LABELS, part, settle=True).settled["temperature"]
    batch = collate(list(part.items))  # type: ignore[call-overload]
    with torch.no_grad():
        scores = model.head(model(batch.inputs, readout=batch.readout), batch.counts)
    losses = [float(F.cross_entropy(scores.double() / t, batch.targets)) for t in TEMPERATURES]
    assert found == TEMPERATURES[int(np.argmin(losses))]
    assert LABELS.calibrated(sorted(predict_items(model, LABELS, part), key=lambda p: p.row)).temperature == found
    warm = LABELS.model_copy(update={"temperature": found})
    assert evaluate_items(model, warm, part).values["loss"] == pytest.approx(min(losses), rel=1e-6)
    assert evaluate_items(model, warm, part, settle=True).settled == {"temperature": found}
    assert evaluate_items(model, LABELS, part).settled == {}


def test_rows_without_a_label_can_be_measured() -> None:
    part = encoded(LABELS, 6)
    items = [replace(item, targets=()) if i % 2 else item for i, item in enumerate(part.items)]  # type: ignore[arg-type, var-annotated]
    batch, model = collate(items), make_model(LABELS)
    with torch.no_grad():
        columns = LABELS.measure(model.head, model(batch.inputs, readout=batch.readout), batch)
    assert [int(t) < 0 for t in columns["target"]] == [False, True] * 3
    assert [math.isnan(loss) for loss in columns["loss"]] == [False, True] * 3
    assert LABELS.read(columns, 1).target is None


def test_a_run_evaluates_each_split_once_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two epochs with a look at validation after each, then validation and test; calibrated without another pass."""
    seen: list[tuple[int, bool]] = []

    def count(model: Any, task: Any, part: Encoded, **options: Any) -> Any:
        seen.append((len(part.items), bool(options.get("settle"))))
        return evaluate_items(model, task, part, **options)

    monkeypatch.setattr(tune, "evaluate_items", count)
    monkeypatch.setattr(evaluate, "RESAMPLES", 20)
    base, rows = make_base(tmp_path / "base"), make_rows(tmp_path / "rows.csv")
    run_recipe(tune_recipe(base, rows), tmp_path / "run")
    assert [settle for _, settle in seen] == [True, True, False, False]
    assert load(tmp_path / "run").task.temperature != 1.0  # type: ignore[union-attr]


def test_likelihood_tasks_compute_logits_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model, part = make_model(TEXT), encoded(TEXT, 12)
    rows: list[int] = []
    logits = VocabularyHead._logits

    def count(self: VocabularyHead, prepared: Tensor, *rest: Any) -> Tensor:
        rows.append(len(prepared))
        return logits(self, prepared, *rest)

    monkeypatch.setattr(VocabularyHead, "_logits", count)
    evaluate_items(model, TEXT, part, intervals=False)
    assert sum(rows) == sum(len(item.targets) for item in part.items)  # type: ignore[attr-defined]
    assert not isinstance(model.head, LabelHead)
