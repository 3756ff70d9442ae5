"""An adapter of a shared base as a folder of its own: a run where it has a task, else a folder of peft.

A run of this kind was not trained here: it has no metrics and no scores, and its recipe names no data. A combination
says in combined.json what it was made of.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from microtune.adapt.base import Attachment, Method
from microtune.adapt.lora import LoRA
from microtune.errors import InputError
from microtune.nn.heads import LabelHead
from microtune.recipe import Choice, ModelChoice, Recipe, to_yaml
from microtune.run.disk import write_folder, write_json, write_text
from microtune.run.export.peft_folder import Base
from microtune.run.export.peft_folder import write_adapter as write_peft_adapter
from microtune.run.folder import environment
from microtune.run.load import Model
from microtune.run.onto import Adapter, SharedBase
from microtune.run.saved import save_run

COMBINED = "combined.json"


def write_adapter(target: Path, adapter: Adapter, base: SharedBase, facts: dict[str, Any] | None) -> None:
    """Write an adapter, whole or not at all. facts: what a combination was made of."""
    model = replace(adapter.model, place=base.model.place)

    def fill(work: Path) -> None:
        with base.network.wearing(adapter.patch):
            if adapter.method is not None and model.task is not None:
                _write_run(work, adapter, adapter.method, model)
            else:
                _write_peft(work, adapter, model)
        if facts is not None:
            write_json(work / COMBINED, facts)

    write_folder(target, fill)


def _write_run(work: Path, adapter: Adapter, method: Method, model: Model) -> None:
    assert model.task is not None
    assert model.place is not None
    choice = ModelChoice(source=model.place.source, max_length=model.max_length)
    for tensor in adapter.trained.values():
        tensor.requires_grad_(True)
    try:
        cut = model.network.cut
        save_run(work, model, method, Attachment(model.network, cut=cut), choice, 0)
    finally:
        for tensor in adapter.trained.values():
            tensor.requires_grad_(False)
    task, made = model.task.model_dump(mode="json"), method.model_dump(mode="json")
    recipe = Recipe(task=Choice(**task), model=choice, method=Choice(**made))
    write_text(work / "recipe.yaml", to_yaml(recipe))
    write_json(work / "environment.json", environment(recipe, {}))
    write_json(
        work / "scores.json", {"scores": {}, "notes": ["This adapter was combined or copied, not trained here."]}
    )


def _write_peft(work: Path, adapter: Adapter, model: Model) -> None:
    place = model.place
    assert place is not None
    if not adapter.parts:
        raise InputError(f'"{adapter.name}" has no low-rank update, so there is no folder of peft to write.')
    method = adapter.method if isinstance(adapter.method, LoRA) else LoRA()
    head = "head.out.weight" in adapter.trained and not isinstance(adapter.head, LabelHead)
    inside = place.kind == "embedded"
    base = Base("base" if inside else place.source, place.path, method, inside=inside, head=head)
    write_peft_adapter(work, model, base)
