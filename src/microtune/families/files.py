"""Tensors and configuration of a folder in Hugging Face form: config.json and safetensors, one file or shards.

Only safetensors is read: it cannot hold code. Whatever is wrong with a file (cut short, damaged, a shape that lies, one
name twice, a shard outside the folder) becomes one sentence that names the file and the tensor.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import safe_open
from torch import Tensor

from microtune.data.objects import first_line, read_object
from microtune.errors import InputError

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
LONGEST_NAME = 200  # characters of a file name
PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; anything else is an InputError."""
    if not path.is_file():
        raise InputError(f"{path}: there is no such file; name a folder with a model in Hugging Face form.")
    return read_object(path)


class TensorFiles:
    """The tensors of a folder by name; a context manager that keeps the files open."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: dict[str, Path] = {}
        self._handles: dict[Path, Any] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        weights, index = self.folder / WEIGHTS, self.folder / INDEX
        try:
            if weights.is_file():
                self._open(weights, None)
            elif index.is_file():
                self._open_shards(index)
            else:
                raise InputError(_nothing_to_read(self.folder))
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *details: object) -> None:
        self._handles.clear()
        self._stack.close()

    def __len__(self) -> int:
        return len(self.files)

    def where(self, name: str) -> str:
        """`path: tensor "name"`, the beginning of a message."""
        return f'{self.files[name]}: tensor "{name}"'

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor, from the header alone; a type that is no plain float is refused."""
        part = self._handles[self.files[name]].get_slice(name)
        if part.get_dtype() not in DTYPES:
            raise InputError(f"{self.where(name)} has type {part.get_dtype()}, but only {', '.join(DTYPES)} are read.")
        return tuple(part.get_shape())

    def read(self, name: str, dtype: torch.dtype | None) -> Tensor:
        """A tensor in memory of its own (safetensors maps the file, which somebody may overwrite later)."""
        try:
            tensor: Tensor = self._handles[self.files[name]].get_tensor(name)
        except Exception as error:  # a hostile header can also raise TypeError or ValueError
            raise InputError(f"{self.where(name)} cannot be read ({first_line(error)}).") from None
        return tensor.to(dtype or tensor.dtype, copy=True)

    def _open(self, path: Path, index: dict[str, str] | None) -> None:
        try:
            handle = self._stack.enter_context(safe_open(str(path), framework="pt"))
            names = list(handle.keys())
        except Exception as error:
            message = f"{path}: not a readable safetensors file ({first_line(error)}); download or export it again."
            raise InputError(message) from None
        _refuse_duplicates(path)
        self._handles[path] = handle
        for name in names:
            if index is not None and index.get(name) != path.name:
                raise InputError(f'{path}: tensor "{name}" is not listed for this file in {INDEX}.')
            self.files[name] = path

    def _open_shards(self, index: Path) -> None:
        table = read_json(index).get("weight_map")
        if not isinstance(table, dict) or not all(isinstance(file, str) for file in table.values()):
            raise InputError(f'{index}: the field "weight_map" must map tensor names to file names.')
        shards = sorted(set(table.values()))
        for file in shards:
            plain = Path(file).name == file and "\\" not in file and ":" not in file and len(file) <= LONGEST_NAME
            if not plain or not file.endswith(".safetensors"):
                raise InputError(f'{index}: "{file}" is not the name of a safetensors file in this folder.')
            if not (self.folder / file).is_file():
                raise InputError(f'{index}: the shard "{file}" is missing; download the folder again.')
        for file in shards:
            self._open(self.folder / file, table)
        for name, file in table.items():
            if name not in self.files:
                raise InputError(f'{self.folder / file}: tensor "{name}", which {INDEX} promises, is missing.')


def _refuse_duplicates(path: Path) -> None:
    """safetensors lets a name that stands twice in the header pass and keeps one of the two."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        seen: dict[str, Any] = {}
        for name, value in pairs:
            if name in seen:
                raise InputError(f'{path}: tensor "{name}" stands twice in the header; export the model again.')
            seen[name] = value
        return seen

    with path.open("rb") as file:  # the header is valid by now, hence its length is bounded
        header = file.read(int.from_bytes(file.read(8), "little"))
    json.loads(header, object_pairs_hook=unique)


def _nothing_to_read(folder: Path) -> str:
    pickled = next((name for name in PICKLES if (folder / name).is_file()), None)
    if pickled is None:
        return f"{folder}: there is neither {WEIGHTS} nor {INDEX} in this folder."
    return (
        f"{folder / pickled}: pickled weights can run code and are not read; convert them once, where you trust them, "
        "with transformers: `AutoModelForCausalLM.from_pretrained(folder).save_pretrained(new_folder)`."
    )
