"""Accumulation in float64: eight micro-batches of one row are one of eight, in a last window that is not full as well.

Elsewhere the loss was a mean of means (transformers#34191, trl#2175), and wrong still in the last window.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny_trainings import LABELS, STILL, label_items, text_items, weights
from torch.testing import assert_close

from microtune.adapt.base import make_method
from microtune.data.batches import collate
from microtune.nn.heads import LabelHead
from microtune.nn.parameters import initialize
from microtune.nn.transformer import Transformer
from microtune.recipe import Choice, Train
from microtune.run.train import Step, Training
from microtune.tasks.base import Task
from microtune.tasks.classification import Classification
from microtune.tasks.language_modelling import LanguageModelling

ROWS, WINDOW = 20, 8  # windows of 8, 8 and 4 rows
TASKS: dict[str, Task] = {"label": LABELS, "text": LanguageModelling()}
METHODS: dict[str, dict[str, Any]] = {"full": {"name": "full"}, "lora": {"name": "lora", "rank": 2}}
tasks = pytest.mark.parametrize("task", list(TASKS))


def make(task: Task, method: dict[str, Any], micro_tokens: int) -> Training:
    """A training in float64, without dropout."""
    torch.manual_seed(1)
    model = Transformer(STILL)
    initialize(model, 0.2, num_layers=3)
    labelled = isinstance(task, Classification)
    if labelled:
        model.head = LabelHead(STILL, 2)
    model = model.double()
    chosen = make_method(Choice(**method))
    settings = Train(epochs=2, batch_size=WINDOW, lr=1e-2, micro_tokens=micro_tokens, precision="float32")
    items = (label_items if labelled else text_items)(ROWS)
    return Training(model, task, chosen, chosen.attach(model), items, settings, seed=4, precision="float32")


@tasks
@pytest.mark.parametrize("method", list(METHODS))
def test_one_by_one_is_all_at_once(task: str, method: str) -> None:
    """float64; 1e-10 after six steps: sums in another order (1e-16), enlarged by Adam (eps is 1e-8)."""
    single, whole = (make(TASKS[task], METHODS[method], tokens) for tokens in (1, 4096))
    sizes = [[len(piece) for piece in window] for window in single.plan(0)]
    assert sorted(map(len, sizes)) == [4, 8, 8]
    assert all(size == 1 for window in sizes for size in window)
    assert sorted(len(window[0]) for window in whole.plan(0)) == [4, 8, 8]
    found = [list(training.fit()) for training in (single, whole)]
    assert len(found[0]) == 6
    for one, other in zip(*found, strict=True):
        assert (one.tokens, one.supervised, one.lr) == (other.tokens, other.supervised, other.lr)
        assert one.loss == pytest.approx(other.loss, rel=0, abs=1e-10)
        assert one.grad_norm == pytest.approx(other.grad_norm, rel=0, abs=1e-10)
    assert_close(weights(single), weights(whole), rtol=0, atol=1e-10)


@tasks
def test_a_step_reports_the_mean_over_its_own_targets(task: str) -> None:
    """The loss of every window, the short one too, is the sum over its rows divided by their weight."""
    training = make(TASKS[task], METHODS["full"], 30)
    steps: list[Step] = []
    expected: list[float] = []
    plan = [window for epoch in (0, 1) for window in training.plan(epoch)]
    fit = training.fit()
    for window in plan:
        rows = [training.items[i] for piece in window for i in piece]
        with torch.no_grad():
            sums = [training.loss(collate([row]), [0]) for row in rows]
        expected.append(float(torch.stack(sums).sum()) / sum(training.task.weight(row) for row in rows))
        steps.append(next(fit))
    assert [step.loss for step in steps] == pytest.approx(expected, rel=0, abs=1e-12)
