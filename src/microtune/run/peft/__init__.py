"""Adapters in PEFT's form: written so that `peft` loads them, and read strictly.

LoRA, IA3 and virtual tokens have a file each. Reading refuses whatever would change the mathematics; every tensor must
have a place.
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from microtune.adapt.base import Method
from microtune.adapt.ia3 import IA3
from microtune.adapt.lora import LoRA
from microtune.adapt.virtual import VirtualMethod
from microtune.errors import InputError, named
from microtune.families.base import families
from microtune.families.files import read_json
from microtune.run.digest import check_base
from microtune.run.hub import is_id
from microtune.run.load import Model, load_base
from microtune.run.peft.config import AdapterConfig, adapter_config
from microtune.run.peft.foreign import refuse_tensors
from microtune.run.peft.ia3 import END, attach_factors, write_ia3
from microtune.run.peft.label_head import attach_label_head, in_label_head
from microtune.run.peft.lora import attach_updates, take_updates, write_lora
from microtune.run.peft.modules import read_file, their_head
from microtune.run.peft.update import CONFIG, PREFIX, WEIGHTS
from microtune.run.peft.virtual import is_virtual, load_virtual, virtual_config, write_virtual
from microtune.run.peft.vocabulary_head import attach_vocabulary_head, vocabulary_head
from microtune.run.sources import Place, locate


def write_peft(
    folder: Path, model: Model, method: Method, *, base_name: str, digest: str = "", head: bool = False
) -> None:
    """Write the LoRA updates of `model`, its IA3 factors or virtual tokens, and its label head, as `peft` does.

    PiSSA becomes LoRA of twice the rank. base_name: what `base_model_name_or_path` says; digest: of its weights
    (`weights_digest`), which loading compares; head: a vocabulary head was trained too. Raises InputError where
    transformers has no such head, or peft no such adapter.
    """
    beside = vocabulary_head(model) if head else their_head(model)
    if isinstance(method, IA3):
        write_ia3(folder, model, beside, base_name=base_name, digest=digest)
    elif isinstance(method, VirtualMethod):
        write_virtual(folder, model, base_name=base_name, digest=digest)
    else:
        assert isinstance(method, LoRA)
        write_lora(folder, model, method, beside, base_name=base_name, digest=digest)


def has_peft_form(model: Model) -> bool:
    """Whether transformers has a class for the head of `model`, so that `write_peft` can serve it."""
    try:
        their_head(model)
    except InputError:
        return False
    return True


def load_adapter(place: Place, dtype: str | None) -> Model:
    """The base that an adapter folder names, with the adapter in place; whatever does not fit is an InputError."""
    values = read_json(place.path / CONFIG)
    if is_virtual(values):
        tokens = virtual_config(values, place.path / CONFIG)
        return load_virtual(place, tokens, adapter_base(place, tokens.carrier), dtype)
    config = adapter_config(values, place.path / CONFIG)
    tensors = read_adapter(place.path, config)
    base = adapter_base(place, config)
    model = load_base(base, dtype)
    check_base(place.path / WEIGHTS, base)
    put_adapter(place, config, tensors, model)
    model.network.eval().requires_grad_(False)
    return model


def put_adapter(place: Place, config: AdapterConfig, tensors: dict[str, Tensor], model: Model) -> None:
    """Put the adapter of a folder, whose `tensors` are taken out one by one, on a base; InputError as above."""
    factors = config.peft_type == "IA3"
    model.place = place
    with named("fits"):
        updates = {} if factors else take_updates(place.path, tensors, dora=config.use_dora)
        in_head = {}
        if config.task_type == "SEQ_CLS":  # such as BERT's pooler, which "all-linear" selects
            named_by = families[model.family].rules(model.spec)
            in_head = {name: updates.pop(name) for name in list(updates) if in_label_head(named_by, f"{name}.weight")}
        if factors:
            attach_factors(place.path, model, config, tensors)
        else:
            attach_updates(place.path, model, config, updates)
        if config.task_type == "SEQ_CLS":
            attach_label_head(place.path, model, config, tensors, in_head)
        else:
            attach_vocabulary_head(place.path, model, config, tensors)
        if config.task_type != "SEQ_CLS" and tensors:
            where = f'{place.path / WEIGHTS}: tensor "{min(tensors)}"'
            raise InputError(f"{where} is not part of {'an IA3' if factors else 'a LoRA'}; it cannot be read.")


def adapter_base(place: Place, config: AdapterConfig) -> Place:
    """The plain model that an adapter names, a folder beside it first; an adapter or a run there is an InputError."""
    name, path = config.base_model_name_or_path, place.path / CONFIG
    if not name:
        raise InputError(
            f'{path}: the field "base_model_name_or_path" is missing; name the base of this adapter there.'
        )
    try:
        beside = (place.path / name).resolve()
        pinned = f"{name}@{config.revision}" if config.revision and is_id(name) and not Path(name).exists() else name
        found = locate(str(beside) if beside.is_dir() else pinned)
    except (OSError, ValueError) as error:
        raise InputError(f'{path}: base_model_name_or_path "{name[:80]}" is not a usable name ({error}).') from None
    except InputError as error:
        raise InputError(f"{path}: the base of this adapter cannot be found: {error}") from None
    if found.kind in ("run", "adapter"):
        raise InputError(f'{path}: the base "{name}" is a folder with an adapter or a run; name a plain model.')
    return found


def read_adapter(folder: Path, config: AdapterConfig) -> dict[str, Tensor]:
    """All tensors of an adapter, without the prefix that PEFT puts in front."""
    path, tensors = folder / WEIGHTS, read_file(folder)
    factors = config.peft_type == "IA3"
    refuse_tensors((name for name in tensors if not (factors and name.endswith(END))), path)
    strange = next((name for name in tensors if not name.startswith(PREFIX)), None)
    if strange is not None:
        raise InputError(
            f'{path}: tensor "{strange}" does not begin with "{PREFIX}"; only adapters written by peft are read.'
        )
    return {name.removeprefix(PREFIX): tensor for name, tensor in tensors.items()}
