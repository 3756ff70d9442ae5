"""An adapter's two files, and how PEFT names the parts of a model: modules, fused weights, the head, the class.

What every method's file in this folder reads and writes by.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from microtune.adapt.ia3 import IA3Linear
from microtune.adapt.lora import LoRALinear
from microtune.errors import InputError, RunError
from microtune.families.base import families, module_name, roles
from microtune.families.rules import Rule
from microtune.nn.heads import LabelHead
from microtune.nn.hidden_layer import HiddenLayer
from microtune.nn.ordinal import OrdinalHead
from microtune.nn.own_heads import OwnHead
from microtune.nn.transformer import Transformer
from microtune.run.digest import header
from microtune.run.disk import read_tensors, write_json, write_tensors
from microtune.run.load import Model
from microtune.run.peft.config import AdapterConfig
from microtune.run.peft.update import CONFIG, PREFIX, WEIGHTS

PICKLE = "adapter_model.bin"
WHOLE = ("classifier", "score")  # modules that PEFT itself saves of a SEQ_CLS model, with all that is inside
Layer = TypeVar("Layer", bound=nn.Module)


def read_file(folder: Path) -> dict[str, Tensor]:
    """All tensors of an adapter; InputError where there are none, or one holds what is no finite number."""
    path = folder / WEIGHTS
    if not path.is_file():
        if (folder / PICKLE).is_file():
            raise InputError(
                f"{folder / PICKLE}: pickled weights can run code and are not read; save it as safetensors."
            )
        raise InputError(f"{path}: there is no such file; the adapter is incomplete, copy its folder again.")
    try:
        tensors = read_tensors(path)
    except RunError as error:
        raise InputError(str(error)) from None
    for name, tensor in tensors.items():
        if not tensor.is_floating_point() or not bool(tensor.isfinite().all()):
            raise InputError(
                f'{path}: tensor "{name}" holds values that are no finite numbers; save the adapter again.'
            )
    return tensors


def write_files(folder: Path, tensors: Mapping[str, Tensor], config: Mapping[str, object], digest: str) -> None:
    """The two files of an adapter; digest: of its base, see run/digest.py."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_tensors(folder / WEIGHTS, kept, header(digest))
    write_json(folder / CONFIG, config)


def by_module(model: Model, kind: type[Layer]) -> dict[str, dict[int, Layer]]:
    """Their module -> our layers of one kind inside it, by the part of it that they belong to."""
    found: dict[str, dict[int, Layer]] = {}
    for role, layer in model.network.named_modules():
        if isinstance(layer, kind):
            module, part, _ = module_name(model.family, role, spec=model.spec)
            found.setdefault(module, {})[part] = layer
    return found


def selected(
    folder: Path, model: Model, config: AdapterConfig, given: set[str], *, what: str, end: str
) -> dict[str, tuple[str, ...]]:
    """Modules that the config selects -> our roles; InputError where the modules that tensors are `given` for differ.

    what: a tensor gives a module; end: of its name.
    """
    modules = linear_modules(model, bare=config.task_type == "FEATURE_EXTRACTION")
    chosen = {name: members for name, members in modules.items() if config.targets(name)}
    path = folder / WEIGHTS
    for name in sorted(chosen.keys() ^ given):
        if name in chosen:
            raise InputError(f'{path}: tensor "{PREFIX}{name}{end}" is missing, which {CONFIG} promises.')
        if name not in modules:
            raise InputError(
                f'{path}: "{name}" has {what} and is no linear layer inside the blocks of this base; merge the '
                "adapter into its base with peft (`merge_and_unload`) and load the result."
            )
        raise InputError(f'{path}: {CONFIG} does not select a linear layer "{name}" inside the blocks of this base.')
    if not chosen:
        raise InputError(f"{folder / CONFIG}: target_modules selects no linear layer inside the blocks of this base.")
    return chosen


def their_head(model: Model) -> dict[str, Tensor]:
    """The label head under transformers' names; empty for a vocabulary head, which is part of the base."""
    head, spec = model.network.head, model.spec
    if not isinstance(head, LabelHead):
        return {}
    if isinstance(head.out, HiddenLayer):
        raise InputError("transformers has no classifier with a hidden layer under its scores; save in our own form.")
    if isinstance(head, OwnHead):
        raise InputError("A head of this task has no form of transformers here; save in our own form.")
    if isinstance(head, OrdinalHead):
        raise InputError("transformers has no classifier of an ordered scale; save in our own form.")
    family = families[model.family]
    if (head.pooling, head.kind) != (spec.pooling, spec.label_head):
        raise InputError(
            f"transformers has no {model.family} classifier that reads {head.pooling}; save in our own form."
        )
    family.to_config(spec, model.config, head="label")  # refuses what that class does not compute
    state = {f"head.{name}": tensor for name, tensor in head.state_dict().items()}
    return family.rules(spec).to_theirs(state, "label")


def saved_modules(head: Mapping[str, Tensor]) -> list[str] | None:
    """The modules that hold a label head; a part of one that PEFT takes whole must not be named beside it."""
    modules = {name.rpartition(".")[0] for name in head}
    outer = {name: name.partition(".")[0] for name in modules}
    return sorted({outer[name] if outer[name] in WHOLE else name for name in modules}) or None


def task_type(model: Model) -> str | None:
    """What peft calls the class of transformers that has this head."""
    if isinstance(model.network.head, LabelHead):
        return "SEQ_CLS"
    if model.network.decoder is None:
        return None
    return "SEQ_2_SEQ_LM" if model.is_encoder_decoder else "CAUSAL_LM"


def linear_modules(model: Model, *, bare: bool) -> dict[str, tuple[str, ...]]:
    """Their linear modules inside the blocks -> our roles; `bare`: as the model without a head names them."""
    prefix = families[model.family].rules(model.spec).prefix if bare else ""
    found: dict[str, tuple[str, ...]] = {}
    for role, module in model.network.named_modules():
        plain = isinstance(module, nn.Linear) and not role.endswith(".base")
        if ".blocks." in role and (plain or isinstance(module, (LoRALinear, IA3Linear))):
            name = module_name(model.family, role, spec=model.spec)[0]
            found[name.removeprefix(prefix)] = roles(model.family, name, spec=model.spec)
    return found


def linear_of(network: Transformer, role: str) -> nn.Linear:
    """The linear layer of a role, under whatever adapts it."""
    module = network.get_submodule(role)
    linear = module.base if isinstance(module, (LoRALinear, IA3Linear)) else module
    assert isinstance(linear, nn.Linear)
    return linear


def rule_of(model: Model, module: str) -> Rule:
    """How a module of theirs holds the weights of ours."""
    place = families[model.family].rules(model.spec).place(f"{module}.weight")
    assert place is not None
    return place.rule


def split_rows(rule: Rule, B: Tensor, sizes: list[int]) -> list[Tensor]:
    """The rows of B that belong to each part of a fused module, in memory of their own."""
    parts = [B.new_empty(size, B.shape[1]) for size in sizes]
    pieces = rule.pieces(parts)
    for piece, rows in zip(pieces, torch.split(B, [len(piece) for piece in pieces]), strict=True):
        piece.copy_(rows)
    return parts


def targets(model: Model, wanted: list[str]) -> list[str]:
    """Endings of names that select the `wanted` modules and no other, or the full names where there are none."""
    endings = sorted({name.split(".", _depth(name))[-1] for name in wanted})
    everything = list(linear_modules(model, bare=False))
    matched = [name for name in everything if any(name.endswith(f".{ending}") for ending in endings)]
    return endings if sorted(matched) == sorted(wanted) else sorted(wanted)


def _depth(module: str) -> int:
    """How many parts of a name lead to, and include, the number of its block."""
    return next(i for i, part in enumerate(module.split(".")) if part.isdigit()) + 1


def transposed(model: Model, module: str) -> bool:
    """Whether their weight is `[in, out]`."""
    place = families[model.family].rules(model.spec).place(f"{module}.weight")
    return place is not None and place.rule.transposed
