"""IA3 adapters in PEFT's form: one factor for each module of transformers, on its output or on its input.

Where a family fuses weights, the factor of the fused output is those of our roles one under the other, with ones for a
role that has none. A factor on the input of a fused module belongs to all its parts alike; it is refused where ours
differ.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from microtune.adapt.base import set_module
from microtune.adapt.ia3 import IA3Linear
from microtune.errors import InputError
from microtune.families.base import roles
from microtune.run.load import Model
from microtune.run.peft.config import AdapterConfig
from microtune.run.peft.modules import (
    by_module,
    linear_of,
    rule_of,
    saved_modules,
    selected,
    split_rows,
    targets,
    task_type,
    transposed,
    write_files,
)
from microtune.run.peft.update import CONFIG, PREFIX, WEIGHTS

END = ".ia3_l"  # end of a name


def write_ia3(folder: Path, model: Model, head: Mapping[str, Tensor], *, base_name: str, digest: str) -> None:
    """Write the factors of `model`, and the head that trained under their names, as `peft` does.

    InputError where there are none, or where a fused module cannot say them.
    """
    outputs: dict[str, Tensor] = {}
    inputs: dict[str, Tensor] = {}
    for module, parts in by_module(model, IA3Linear).items():
        own = {part.on_input for part in parts.values()}
        if own == {True}:
            inputs[module] = _common(model, module, parts)
        elif own == {False}:
            outputs[module] = _stacked(model, module, parts)
        else:
            raise InputError(f"{module}: has factors on input and output of its parts, which one IA3 cannot say.")
    if not outputs and not inputs:
        raise InputError("This model holds no IA3 factor, so there is no adapter to write.")
    tensors = {f"{PREFIX}{name}": tensor for name, tensor in head.items()}
    tensors |= {f"{PREFIX}{module}{END}": factor for module, factor in (outputs | inputs).items()}
    forward = targets(model, list(inputs)) if inputs else []
    if any(module.endswith(tuple(forward)) for module in outputs):  # PEFT compares ends of names, not whole parts
        forward = sorted(inputs)
    config = {
        "peft_type": "IA3",
        "task_type": task_type(model),
        "base_model_name_or_path": base_name,
        "inference_mode": True,
        "target_modules": sorted({*(targets(model, list(outputs)) if outputs else []), *forward}),
        "feedforward_modules": forward,
        "modules_to_save": saved_modules(head),
        "fan_in_fan_out": any(transposed(model, module) for module in outputs | inputs),
        "init_ia3_weights": True,
    }
    write_files(folder, tensors, config, digest)


def _stacked(model: Model, module: str, parts: Mapping[int, IA3Linear]) -> Tensor:
    """[outputs of the module, 1]: our factors in the order of its rows."""
    columns = []
    for i, role in enumerate(roles(model.family, module, spec=model.spec)):
        size = linear_of(model.network, role).out_features
        kind = next(iter(parts.values())).factor.dtype
        factor = parts[i].factor.detach().cpu() if i in parts else torch.ones(size, dtype=kind)
        columns.append(factor[:, None])
    return torch.cat(rule_of(model, module).pieces(columns))


def _common(model: Model, module: str, parts: Mapping[int, IA3Linear]) -> Tensor:
    """[1, inputs of the module]: the factor that all its parts have."""
    factors = [part.factor.detach().cpu() for part in parts.values()]
    members = roles(model.family, module, spec=model.spec)
    if len(factors) < len(members) or any(not torch.equal(factors[0], factor) for factor in factors):
        raise InputError(
            f"{module}: its parts read one input by different factors, which one IA3 of the fused module cannot say."
        )
    return factors[0][None]


def attach_factors(folder: Path, model: Model, config: AdapterConfig, tensors: dict[str, Tensor]) -> None:
    """Take the factors out of `tensors` and put them on their roles; whatever does not fit is an InputError."""
    path = folder / WEIGHTS
    given = {name.removesuffix(END) for name in tensors if name.endswith(END)}
    for name, members in selected(folder, model, config, given, what="a factor", end=END).items():
        _put(path, model, name, members, tensors.pop(name + END), on_input=on_input(config, name))


def on_input(config: AdapterConfig, module: str) -> bool:
    """Whether PEFT multiplies the input of this module: by the end of its name, or a whole expression."""
    names = config.feedforward_modules
    if isinstance(names, str):
        return re.fullmatch(names, module) is not None
    return any(module.endswith(name) for name in names)


def _put(path: Path, model: Model, name: str, members: tuple[str, ...], factor: Tensor, *, on_input: bool) -> None:
    linears = [linear_of(model.network, role) for role in members]
    sizes = [linear.out_features for linear in linears]
    asked = [1, linears[0].in_features] if on_input else [sum(sizes), 1]
    if list(factor.shape) != asked:
        raise InputError(
            f'{path}: tensor "{PREFIX}{name}{END}" has shape {list(factor.shape)}, but the base and {CONFIG} ask for '
            f"{asked}."
        )
    parts = [factor.T] * len(members) if on_input else split_rows(rule_of(model, name), factor, sizes)
    for role, linear, part in zip(members, linears, parts, strict=True):
        scaled = IA3Linear(linear, on_input=on_input)
        with torch.no_grad():
            scaled.factor.copy_(part[:, 0])
        set_module(model.network, role, scaled)
