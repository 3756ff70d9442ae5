"""The adapter of a run as a folder for `peft`: its updates, its label head, its tokenizer, and where its base is.

An embedded base has no name that other tools know, so it is copied into the folder.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from microtune.adapt.base import Method, make_method
from microtune.adapt.ia3 import IA3
from microtune.adapt.lora import LoRA
from microtune.data.objects import read_object
from microtune.errors import InputError, RunError
from microtune.recipe import validated
from microtune.run.digest import weights_digest
from microtune.run.export.peft_parts import carrier, trains_vocabulary_head
from microtune.run.load import Model
from microtune.run.peft import adapter_base, write_peft
from microtune.run.peft.config import AdapterConfig, adapter_config
from microtune.run.peft.update import CONFIG
from microtune.run.peft.virtual import is_virtual, virtual_config
from microtune.run.saved import RunRecord
from microtune.run.sources import READ, Place, locate


@dataclass(frozen=True)
class Base:
    """What an adapter stands on: the name that its file gives, where it is now, and the method's options.

    inside: the base is copied into the adapter's folder, and `name` is its place there. weights: as in `Place`. head: a
    vocabulary head was trained beside the adapter.
    """

    name: str
    path: Path
    method: Method
    inside: bool = False
    weights: tuple[str, ...] = ()
    head: bool = False


def base_of(model: Model) -> Base:
    """The base of a run or of an adapter folder; InputError where there is no adapter or no base of its own."""
    place = model.place
    assert place is not None
    if place.kind == "adapter":
        values, file = read_object(place.path / CONFIG), place.path / CONFIG
        tokens = virtual_config(values, file) if is_virtual(values) else None
        config = adapter_config(values, file) if tokens is None else tokens.carrier
        found = adapter_base(place, config)
        name = found.name if found.kind in ("hub", "embedded") else str(found.path.resolve())
        read = IA3() if config.peft_type == "IA3" else LoRA(variant=_variant(config))
        base = _from(found, name, read if tokens is None else tokens.method)
        return replace(base, head=config.task_type != "SEQ_CLS" and bool(config.modules_to_save))
    if place.kind != "run":
        raise InputError(f"{place.name}: a whole model, not an adapter; write it with --format hf.")
    file = place.path / "model" / "model.json"
    record = validated(RunRecord, read_object(file, error=RunError), str(file))
    made, own = make_method(record.method), model.network.head
    method, head = carrier(made, own, place.name), trains_vocabulary_head(made, own)
    if record.added is not None:
        raise InputError(
            f"{place.name}: has {record.added.count} added tokens: peft puts an adapter only on an embedding that has "
            "grown before; use --format hf."
        )
    if record.base.weights == "random" or not record.base.source:
        raise InputError(f"{place.name}: its base has random weights that no file holds; use --format hf.")
    copy = place.path / "model" / "base"
    if copy.is_dir():
        return Base("base", copy, method, inside=True, head=head)
    return replace(_from(locate(record.base.source), record.base.source, method), head=head)


def _variant(config: AdapterConfig) -> Literal["plain", "rslora", "dora"]:
    """What the scale follows from; where both are on, the tensors tell DoRA, and nothing else tells the scale."""
    return "rslora" if config.use_rslora else "dora" if config.use_dora else "plain"


def _from(place: Place, name: str, method: Method) -> Base:
    if place.kind == "embedded":
        return Base("base", place.path, method, inside=True)
    return Base(name, place.path, method, weights=place.weights)


def write_adapter(work: Path, model: Model, base: Base) -> None:
    """Adapter, tokenizer and, where it travels along, the base, into the folder `work`."""
    digest = weights_digest(Place("folder", base.name, base.path, weights=base.weights))
    write_peft(work, model, base.method, base_name=base.name, digest=digest, head=base.head)
    if model.tokenizer is not None:
        model.tokenizer.save(work)
    if base.inside:
        for path in sorted(base.path.rglob("*")):
            if path.is_file() and path.suffix in READ and path.name != "manifest.json":
                target = work / base.name / path.relative_to(base.path)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
