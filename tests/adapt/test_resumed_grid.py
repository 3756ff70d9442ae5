"""A resumed training is the uninterrupted one, bit for bit: every method x kind of model x number format.

Elsewhere whole runs are broken off at every write of a decoder in float32 (tests/run/test_interruption.py); here it is
the training alone, in the formats and on the models of methods_grid.py. Each method on one kind by default.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, Literal, cast

import methods_grid as grid
import numpy as np
import pytest
import torch
from methods_grid import CASES, SMALL, SPECS, WHOLE
from safetensors.torch import load, save

from microtune.adapt.base import make_method
from microtune.data.batches import Item
from microtune.nn.spec import ModelSpec
from microtune.recipe import Train
from microtune.recipe import build as build_recipe
from microtune.run.train import Training
from microtune.tasks.base import Task
from microtune.tasks.classification import Classification
from microtune.tasks.language_modelling import LanguageModelling

ROWS, STEPS, AT = 8, 6, (2, 4)  # three windows of an epoch: in its middle, and in that of the second
every = pytest.mark.parametrize(
    ("case", "kind", "dtype"),
    [pytest.param(*one, marks=() if one in SMALL else (pytest.mark.slow,), id="-".join(one)) for one in WHOLE],
)


def dropping(spec: ModelSpec) -> ModelSpec:
    """The same model with dropout: then the random state matters, too."""
    stacks = {side: getattr(spec, side) for side in ("encoder", "decoder")}
    return replace(spec, **{side: stack and replace(stack, dropout=0.2) for side, stack in stacks.items()})


def items(kind: str) -> list[Item]:
    """Texts of different lengths: labels for an encoder, tokens to come for the others."""
    numbers = np.random.default_rng(0)
    found = []
    for row in range(ROWS):
        ids = numbers.integers(1, 37, size=int(numbers.integers(3, 8))).tolist()
        if kind == "encoder":
            found.append(Item(ids, [0], [ids[0] % 3], row=row))
            continue
        sources = numbers.integers(1, 37, size=4).tolist() if kind == "encoder-decoder" else ()
        found.append(Item(ids[:-1], list(range(len(ids) - 1)), ids[1:], sources=sources, row=row))
    return found


def make(case: str, kind: str, dtype: str) -> Training:
    model = grid.build(kind)
    attachment = grid.attach(case, model)
    grid.hold(model, kind, dtype)
    method = make_method(build_recipe({"task": "classification", "method": CASES[case].method}).method)
    task: Task = LanguageModelling()
    if kind == "encoder":
        task = Classification(labels=("a", "b", "c"), text_field="text", label_field="label")
    precision = cast("Literal['float32', 'bfloat16']", dtype)
    settings = Train(epochs=2, batch_size=3, lr=1e-2, precision=precision)
    return Training(model, task, method, attachment, items(kind), settings, seed=4, precision=precision)


def go(training: Training) -> list[float]:
    """The losses of the steps that are left."""
    return [step.loss for step in training.fit()]


def stopped(training: Training) -> dict[int, tuple[list[float], dict[str, Any], dict[str, Any]]]:
    """The losses so far and the state after each of AT, as checkpoints take it."""
    losses, found = [], {}
    for step in training.fit():
        losses.append(step.loss)
        if step.step in AT:
            found[step.step] = ([*losses], *training.state())
        if step.step == AT[-1]:
            break
    return found


@every
def test_a_resumed_training_is_the_uninterrupted_one(
    case: str, kind: str, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SPECS, kind, dropping(SPECS[kind]))
    whole = make(case, kind, dtype)
    losses = go(whole)
    assert len(losses) == STEPS
    wanted: dict[str, Any] = whole.attachment.state()
    for at, (begun, tensors, plain) in stopped(make(case, kind, dtype)).items():
        written, said = save({n: t.contiguous() for n, t in tensors.items()}), json.dumps(plain)
        torch.manual_seed(99 + at)  # another process has another random state
        second = make(case, kind, dtype)
        second.load_state(load(written), json.loads(said))
        assert begun + go(second) == losses
        found = second.attachment.state()
        assert [name for name, value in wanted.items() if not torch.equal(found[name], value)] == []
