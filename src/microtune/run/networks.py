"""Networks by family: a Transformer for all that families/ knows, recurrent ones for `seq2seq-rnn`.

A recurrent network has no form that other tools would read: it is written in our own, a config.json with its fields
and a model.safetensors whose tensors are named by role.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from microtune.adapt.base import Method
from microtune.classic.recurrent import Recurrent
from microtune.classic.recurrent_spec import FAMILY, RecurrentSpec
from microtune.data.objects import read_object
from microtune.errors import InputError, suggest
from microtune.families import families
from microtune.families.files import CONFIG, WEIGHTS
from microtune.nn.parameters import initialize
from microtune.nn.shapes import shapes_only
from microtune.nn.spec import ModelSpec
from microtune.nn.transformer import Transformer
from microtune.run.disk import read_tensors, write_json, write_tensors

TIED = "head.out.weight"  # is the token embedding then, and not written twice


def spec_of(family: str, values: dict[str, Any]) -> ModelSpec:
    """The fields of a network as a spec of its own kind; an unknown family is an InputError."""
    if family not in families and family != FAMILY:
        raise InputError(f'Unknown family "{family}". {suggest(family, [*families, FAMILY])}')
    return RecurrentSpec.from_dict(values) if family == FAMILY else ModelSpec.from_dict(values)


def network_of(spec: ModelSpec) -> Transformer:
    """A network of this shape, its weights as they happen to be."""
    return Recurrent(spec) if isinstance(spec, RecurrentSpec) else Transformer(spec)


def random_network(spec: ModelSpec, seed: int) -> Transformer:
    """A network of this shape, its weights drawn from a seed by its own scheme."""
    torch.manual_seed(seed)
    network = network_of(spec)
    initialize(network, spec.initializer_range, num_layers=spec.output_stack.num_layers)
    return network


def is_recurrent(folder: Path) -> bool:
    """Whether a folder holds a recurrent network in our own form."""
    path = folder / CONFIG
    return path.is_file() and read_object(path).get("model_type") == FAMILY


def write_recurrent(
    work: Path, spec: ModelSpec, state: Mapping[str, Tensor], *, config: Mapping[str, Any], dtype: torch.dtype
) -> None:
    """config.json and model.safetensors of a recurrent network; config: special ids and the like."""
    kept = {name: value.detach().cpu().to(dtype) for name, value in state.items() if not (spec.tied and name == TIED)}
    work.mkdir(parents=True, exist_ok=True)
    write_json(work / CONFIG, {**config, "model_type": FAMILY, "spec": spec.to_dict()})
    write_tensors(work / WEIGHTS, kept)


def read_recurrent(folder: Path, dtype: torch.dtype) -> tuple[RecurrentSpec, dict[str, Tensor], dict[str, Any]]:
    """Spec, tensors by role and config.json of a folder; InputError where they do not belong together."""
    config = read_object(folder / CONFIG)
    spec = RecurrentSpec.from_dict(config.get("spec") or {})
    state = read_tensors(folder / WEIGHTS, dtype)
    with shapes_only():
        twin = Recurrent(spec)
    wanted = {n: list(t.shape) for n, t in twin.state_dict().items() if not (spec.tied and n == TIED)}
    found = {n: list(t.shape) for n, t in state.items()}
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name):
            there = f"{found.get(name, 'none')} in the file, but {CONFIG} asks for {wanted.get(name, 'none')}"
            raise InputError(f'{folder / WEIGHTS}: tensor "{name}": {there}.')
    return spec, state, config


def check_method(method: Method, network: Transformer) -> None:
    """Layers of a recurrent network have none of the roles that most methods look for."""
    if not isinstance(network, Recurrent):
        return
    for name in (part.name for part in method.made):
        if name not in network.methods:
            raise InputError(f"method: a recurrent network is tuned by {', '.join(network.methods)}, not by {name}.")
