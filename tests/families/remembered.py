"""Reference models that many tests ask for: transformers builds and saves each once in a process."""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

import torch
from torch import nn

_made: dict[Hashable, tuple[nn.Module, dict[str, bytes]]] = {}


SAID_BY_SAVING = ("architectures", "dtype", "transformers_version")  # of a configuration, which is changed by that


def key_of(build: type[Any], config: Any, *more: Hashable) -> Hashable:
    """What a model with fixed random weights depends on; the default type is what `float64_throughout` changes."""
    values = {k: v for k, v in config.to_dict().items() if k not in SAID_BY_SAVING and not k.startswith("_")}
    return build, type(config), repr(values), torch.get_default_dtype(), *more


def remembered(key: Hashable, folder: Path, make: Callable[[], nn.Module]) -> nn.Module:
    """The model that `make` builds and saves to `folder`; a copy of its own for every caller, files included."""
    if key in _made:
        model, files = _made[key]
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (folder / name).write_bytes(content)
        return copy.deepcopy(model)
    before = _files(folder)
    model = make()
    written = [path for path, when in _files(folder).items() if before.get(path) != when]
    _made[key] = copy.deepcopy(model), {path.name: path.read_bytes() for path in written}
    return model


def _files(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.iterdir()} if folder.is_dir() else {}
