"""Runs on one tiny base without training: random values in everything that a method would train."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from microtune.adapt.base import make_method
from microtune.recipe import Choice, ModelChoice, Recipe, to_yaml
from microtune.run.load import load
from microtune.run.saved import save_run
from microtune.tasks.base import Task
from microtune.tasks.classification import Classification
from microtune.tasks.instruction import Instruction

LABELS = ("card", "transfer")
CLASSES = Classification(text_field="text", label_field="label", labels=LABELS, pooling="last", temperature=1.5)
ANSWERS = Instruction(form="prompt", prompt_field="prompt", completion_field="completion")


def make_run(
    folder: Path, base: str | Path, *, seed: int, task: Task = CLASSES, size: float = 0.3, **method: Any
) -> Path:
    """A run folder whose adapter and head are random."""
    model = load(base)
    head = task.make_head(model.spec)
    torch.manual_seed(seed)
    if head is not None:
        model.network.head = head
    options = {"name": "lora", "rank": 2, **method}
    made = make_method(Choice(**{key: value for key, value in options.items() if value is not None}))
    attachment = made.attach(model.network)
    with torch.no_grad():
        for _, parameter in attachment.parameters():
            parameter.add_(torch.randn_like(parameter) * size)
    model.task = task
    save_run(folder, model, made, attachment, ModelChoice(source=str(base)), seed)
    recipe = Recipe(task=Choice(**task.model_dump(mode="json")), method=Choice(**made.model_dump(mode="json")))
    (folder / "recipe.yaml").write_text(to_yaml(recipe), encoding="utf-8")
    (folder / "scores.json").write_text('{"scores": {}}', encoding="utf-8")
    return folder
