"""Trainings of a three-block Llama on twenty rows, with dropout; what tests of training share."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from tiny_runs import SPEC
from torch import Tensor

from microtune.adapt.base import make_method
from microtune.data.batches import Item
from microtune.nn.heads import LabelHead
from microtune.nn.parameters import initialize
from microtune.nn.spec import ModelSpec
from microtune.nn.transformer import Transformer
from microtune.recipe import Choice as Chosen
from microtune.recipe import Train
from microtune.run.train import Step, Training
from microtune.tasks.classification import Classification
from microtune.tasks.language_modelling import LanguageModelling, block_item

assert SPEC.decoder is not None
DROPPING = replace(SPEC, decoder=replace(SPEC.decoder, num_layers=3, dropout=0.2))
STILL = replace(DROPPING, decoder=replace(DROPPING.decoder, dropout=0.0))  # type: ignore[type-var]
BIASED = replace(DROPPING, decoder=replace(DROPPING.decoder, query_bias=True, mlp_bias=True))  # type: ignore[type-var]
LABELS = Classification(labels=("a", "b"), text_field="text", label_field="label")


def label_items(count: int = 20) -> list[Item]:
    """Texts of different lengths; the label follows from the first token."""
    generator = np.random.default_rng(0)
    items = []
    for row in range(count):
        ids = generator.integers(60, 320, size=int(generator.integers(3, 12))).tolist()
        items.append(Item(ids, [len(ids) - 1], [int(ids[0] > 190)], row=row))
    return items


def text_items(count: int = 20) -> list[Item]:
    return [block_item([*item.ids, 1]) for item in label_items(count)]


def make(
    method: str | dict[str, Any] = "full",
    *,
    spec: ModelSpec | None = None,
    task: Classification | LanguageModelling = LABELS,
    seed: int = 4,
    **settings: Any,
) -> Training:
    """A training in float32 of a model whose weights do not depend on `seed`."""
    spec = spec or (BIASED if method == "bitfit" else DROPPING)
    torch.manual_seed(1)
    model = Transformer(spec)
    initialize(model, 0.2, num_layers=3)
    labelled = isinstance(task, Classification)
    if labelled:
        model.head = LabelHead(spec, 2)
    chosen = make_method(Chosen(**({"name": method} if isinstance(method, str) else method)))
    values = {"epochs": 2, "batch_size": 5, "lr": 1e-2, "precision": "float32", **settings}
    attachment = chosen.attach(model)
    items = label_items() if labelled else text_items()
    if spec.pooling == "mean":
        items = [replace(item, readout=range(len(item.ids))) for item in items]
    return Training(model, task, chosen, attachment, items, Train(**values), seed=seed, precision="float32")


def weights(training: Training) -> dict[str, Tensor]:
    return {n: p.detach().clone() for n, p in training.model.named_parameters()}


def run(training: Training, steps: int = 1000) -> list[Step]:
    found = []
    for step in training.fit():
        found.append(step)
        if len(found) == steps:
            break
    return found


LORA: dict[str, Any] = {"name": "lora", "rank": 2, "dropout": 0.3}
REINIT = {"name": "reinit", "blocks": 1}
OPTIONS: dict[str, Any] = {
    "lora": LORA,
    "top": {"name": "top", "blocks": 1},
    "reinit": REINIT,
    "several": {"name": "several", "parts": [REINIT, {"name": "ia3", "last_block": 1}, {"name": "norms"}]},
}
