"""A tuned model on disk, and back.

`model/` holds what trained (`trained.safetensors`, keyed by role), the network's fields, the method, the task, the
tokenizer, a reference to the base with the hash of its weights, and a copy of an embedded base, so that a later version
of microtune can still load the run.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from microtune.adapt.added import attach
from microtune.adapt.base import Attachment, Method, make_method
from microtune.adapt.ia3 import IA3
from microtune.adapt.lora import LoRA
from microtune.data.added_tokens import MOST
from microtune.data.objects import read_object
from microtune.data.text import Tokenizer
from microtune.errors import RunError, named
from microtune.nn.added import New
from microtune.nn.shapes import shapes_only
from microtune.nn.spec import ModelSpec
from microtune.nn.transformer import Transformer
from microtune.recipe import Choice, ModelChoice, Section, validated
from microtune.run.added import grow_again
from microtune.run.digest import check_fields, weights_digest
from microtune.run.disk import read_tensors, verify_folder, write_folder, write_json, write_tensors
from microtune.run.encoders import as_read
from microtune.run.load import DTYPES, Model, check_ids, fill, load_base
from microtune.run.networks import network_of, spec_of
from microtune.run.sources import READ, Place, locate
from microtune.tasks.base import Task, tasks

COPIED_BASE_BYTES = 50_000_000


def save_run(run: Path, model: Model, method: Method, attachment: Attachment, choice: ModelChoice, seed: int) -> None:
    """Write `run/model`, whole or not at all."""
    assert model.task is not None
    task, base = model.task, _base_record(model, choice, method, seed)
    record = {
        "spec": model.spec.to_dict(),
        "family": model.family,
        "config": model.config,
        "generation": model.generation,
        "method": method.model_dump(mode="json"),
        "task": task.model_dump(mode="json"),
        "normalize": model.normalize,
        "max_length": choice.max_length or model.max_length,
        "base": base,
        **({} if model.added is None else {"added": asdict(model.added)}),
    }

    def fill(work: Path) -> None:
        write_tensors(work / "trained.safetensors", {k: v.cpu() for k, v in attachment.state().items()})
        if attachment.start():
            write_tensors(work / "start.safetensors", {k: v.cpu() for k, v in attachment.start().items()})
        write_json(work / "model.json", record)
        model.text.save(work)
        whole = method.name == "full" or choice.weights == "random"
        held = [(n, p) for n, p in model.network.named_parameters() if whole and not p.requires_grad]
        if held:  # of a full run at most tables that no method trains, such as sinusoidal positions
            frozen = {n: p.detach().cpu() for n, p in held}
            write_tensors(work / "frozen.safetensors", frozen)
        elif method.name != "full" and model.place is not None and model.place.kind == "embedded":
            _copy_base(model.place.path, work / "base")
        if isinstance(method, (LoRA, IA3)) and choice.weights == "pretrained" and model.added is None:
            _write_adapter(work, model, method, base["digest"])

    write_folder(run / "model", fill)


class BaseRecord(Section):
    """What model.json says about the base."""

    name: str
    kind: str = ""
    source: str = ""
    revision: str = ""
    weights: str = ""
    seed: int = 0
    digest: str = ""


class AddedRecord(Section):
    """Ids of added tokens."""

    first: int = Field(ge=1)
    count: int = Field(ge=1, le=MOST)


class RunRecord(Section):
    """model.json of a run."""

    spec: dict[str, Any]
    family: str
    config: dict[str, Any]
    generation: dict[str, Any] = Field(default_factory=dict)  # a run of an older version has none
    method: Choice
    task: Choice
    normalize: bool
    max_length: int | None = Field(ge=2)
    base: BaseRecord
    added: AddedRecord | None = None


def read_record(folder: Path) -> tuple[RunRecord, Method, Task]:
    """What stands in the `model/` of a run: the record, its method and its task; RunError where it is damaged."""
    damage = verify_folder(folder)
    if damage is not None:
        raise RunError(f"{folder}: the saved model is damaged ({damage}); run its command again with --overwrite.")
    file = folder / "model.json"
    record = validated(RunRecord, read_object(file, error=RunError), str(file))
    method = make_method(record.method)
    task = validated(tasks[record.task.name], {"name": record.task.name, **record.task.options}, f"{file}: task")
    task.check_ready(str(file))
    return record, method, task


def load_run(place: Place, dtype: str | None) -> Model:
    """The tuned model of a finished run, its adapter in place."""
    folder = place.path / "model"
    record, method, task = read_record(folder)
    file, frozen_file = folder / "model.json", folder / "frozen.safetensors"
    number = DTYPES[dtype or "float32"]
    new = None if record.added is None else New(record.added.first, record.added.count)
    whole = method.name == "full" or frozen_file.is_file()  # then the run holds all tensors itself
    trained = read_tensors(folder / "trained.safetensors", number if whole else None)
    frozen = read_tensors(frozen_file, number) if frozen_file.is_file() else {}
    if whole:
        spec = spec_of(record.family, record.spec)
        with named("fits"):
            check_fits(folder, spec, task, method, new, trained, frozen)
        model = _whole(spec, task, method, new, trained | frozen)
        model.family, model.config, model.normalize = record.family, record.config, record.normalize
        model.generation = record.generation
    else:
        model = as_read(_base(folder, record.base, dtype), task)
        if new is not None:
            grow_again(model, new, str(file))
        with named("fits"):
            start = check_fits(folder, model.spec, task, method, new, trained, None)
        check_fields(folder, record.base.name, record.spec, model.spec)
        put_on(model.network, task, method.starting_from(start), new, trained)
    model.added = new
    model.task, model.place, model.max_length = task, place, record.max_length
    model.tokenizer = Tokenizer.load(folder)
    check_ids(model.tokenizer, model.spec, folder)
    model.network.eval()
    return model


def _whole(spec: ModelSpec, task: Task, method: Method, new: New | None, state: dict[str, Tensor]) -> Model:
    """A network of the run's own tensors, uncopied."""
    with shapes_only():
        network = network_of(spec)
        network.head = task.make_head(spec) or network.head
        attach(method, network, new)
    fill(network, state)
    return Model(network, None)


def put_on(
    network: Transformer, task: Task | None, method: Method, new: New | None, trained: Mapping[str, Tensor]
) -> None:
    """The task's head and the method's changes on a base.

    What the run brings itself is let go of first: attaching keeps a copy of every base weight that will train, to be
    able to undo, which nobody will ask of a finished run.
    """
    kind = next(network.parameters()).dtype
    head = None if task is None else task.make_head(network.spec)
    if head is not None:
        network.head = head.to(kind)
    fill(
        network,
        {n: torch.empty_like(p, device="meta") for n, p in network.named_parameters() if n in trained},
        part=True,
    )
    wanted = dict(attach(method, network, new).parameters())
    fill(network, {n: t.to(wanted[n].dtype) for n, t in trained.items()}, part=True)


def _base(folder: Path, base: BaseRecord, dtype: str | None) -> Model:
    copy = folder / "base"
    place = Place("embedded", base.name, copy) if copy.is_dir() else locate(base.source)
    model = load_base(place, dtype)
    if not copy.is_dir() and weights_digest(place) != base.digest:
        raise RunError(
            f"{folder}: the base model {base.name} has changed since this run; put the old files back or tune again.",
            check="same-base",
        )
    return model


def base_model(folder: Path) -> Model:
    """The base that the saved run in `folder` began with, as it was before anything trained."""
    record, _, task = read_record(folder)
    model = as_read(_base(folder, record.base, None), task)
    if record.added is not None:
        grow_again(model, New(record.added.first, record.added.count), str(folder / "model.json"))
    check_fields(folder, record.base.name, record.spec, model.spec)
    model.network.eval()
    return model


def check_fits(
    folder: Path,
    spec: ModelSpec,
    task: Task,
    method: Method,
    new: New | None,
    trained: Mapping[str, Tensor],
    frozen: Mapping[str, Tensor] | None,
) -> dict[str, Tensor]:
    """The tensors are those of the model that model.json describes; asked of a twin without memory, before building.

    frozen: where the run holds the base's tensors itself; else what the method began with is read, and returned.
    """
    layers = sum(stack.num_layers for stack in (spec.encoder, spec.decoder) if stack)
    if frozen is not None and layers > len(trained) + len(frozen):
        raise RunError(f"{folder}: promises {layers} layers, but the weights are {len(trained) + len(frozen)} tensors.")
    with shapes_only():
        twin = network_of(spec)
        twin.head = task.make_head(spec) or twin.head
        begun = attach(method, twin, new).start()
    wanted = {n: p.shape for n, p in twin.named_parameters() if p.requires_grad}
    found = {n: t.shape for n, t in trained.items()}
    start = read_tensors(folder / "start.safetensors") if begun and frozen is None else {}
    if frozen is None:
        wanted |= {n: t.shape for n, t in begun.items()}
        found |= {n: t.shape for n, t in start.items()}
    if frozen:
        wanted |= {n: p.shape for n, p in twin.named_parameters() if not p.requires_grad}
        found |= {n: t.shape for n, t in frozen.items()}
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name):
            asked, there = (list(s) if s is not None else "none" for s in (wanted.get(name), found.get(name)))
            raise RunError(f'{folder}: tensor "{name}": {there} in the files, but model.json asks for {asked}.')
    return start


def _base_record(model: Model, choice: ModelChoice, method: Method, seed: int) -> dict[str, Any]:
    place = model.place
    if place is None:
        return {"name": "memory", "source": "", "digest": ""}
    scored = model.task is not None and model.task.name == "preference"  # against the base, whatever has trained
    needed = (method.name != "full" or scored) and choice.weights == "pretrained"
    return {
        "name": place.name,
        "kind": place.kind,
        "source": place.source,
        "revision": place.revision,
        "weights": choice.weights,
        "seed": seed,
        "digest": weights_digest(place) if needed else "",
    }


def _copy_base(source: Path, target: Path) -> None:
    files = [p for p in source.iterdir() if p.is_file() and p.suffix in READ]
    pooling = source / "1_Pooling" / "config.json"
    if sum(p.stat().st_size for p in files) > COPIED_BASE_BYTES:
        return
    target.mkdir(parents=True)
    for path in files:
        shutil.copyfile(path, target / path.name)
    if pooling.is_file():
        (target / "1_Pooling").mkdir()
        shutil.copyfile(pooling, target / "1_Pooling" / "config.json")


def _write_adapter(work: Path, model: Model, method: LoRA | IA3, digest: str) -> None:
    """A second copy of what trained, for users of `peft`; left out where transformers has no such head."""
    from microtune.run.peft import has_peft_form, write_peft

    if model.place is None or not has_peft_form(model):
        return
    name = str(model.place.path.resolve()) if model.place.kind == "folder" else model.place.name
    copied = (work / "base").is_dir()
    write_peft(work / "adapter", model, method, base_name="../base" if copied else name, digest=digest)
