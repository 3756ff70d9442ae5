"""Tensors and configuration of a folder in Hugging Face form: config.json and safetensors, one file or shards.

Only safetensors is read: it cannot hold code. Whatever is wrong with a file (cut short, damaged, a shape that lies, one
name twice, a shard outside the folder) becomes one sentence that names the file and the tensor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from microtune.data.objects import first_line, read_object
from microtune.errors import InputError
from microtune.families.rules import Rule
from microtune.families.tensorfile import DTYPES, DoubleNameError, TensorFile

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
FLOATS = ("F64", "F32", "F16", "BF16")
LONGEST_NAME = 200  # characters of a file name
PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json")
OTHERS = {  # weights of other tools: ending -> whose they are, and what makes safetensors of them
    ".pth": ("a checkpoint of LitGPT or of Llama's own code", "`litgpt convert_from_litgpt` and `save_pretrained`"),
    ".gguf": ("a GGUF file", "taking the original in Hugging Face form"),
    ".onnx": ("an ONNX graph", "taking the original in Hugging Face form"),
    ".msgpack": ("Flax weights", "`from_pretrained(folder, from_flax=True)` and `save_pretrained` of transformers 4"),
    ".h5": ("TensorFlow weights", "`from_pretrained(folder, from_tf=True)` and `save_pretrained` of transformers 4"),
}


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; anything else is an InputError."""
    if not path.is_file():
        raise InputError(f"{path}: there is no such file; name a folder with a model in Hugging Face form.")
    return read_object(path)


def read_index(index: Path) -> dict[str, str]:
    """The table of an index of shards: tensor -> file; a name that is no plain one of safetensors is an InputError."""
    table = read_json(index).get("weight_map")
    if not isinstance(table, dict) or not all(isinstance(file, str) for file in table.values()):
        raise InputError(f'{index}: the field "weight_map" must map tensor names to file names.')
    for file in sorted(set(table.values())):
        plain = Path(file).name == file and "\\" not in file and ":" not in file and len(file) <= LONGEST_NAME
        if not plain or not file.endswith(".safetensors"):
            raise InputError(f'{index}: "{file}" is not the name of a safetensors file in this folder.')
    return table


class TensorFiles:
    """The tensors of a folder by name; a context manager that keeps the files open."""

    def __init__(self, folder: Path, weights: str | None = None) -> None:
        self.folder = folder
        self._named = weights  # one file of the folder, whatever else stands there
        self.files: dict[str, Path] = {}
        self._handles: dict[Path, TensorFile] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        weights, index = self.folder / (self._named or WEIGHTS), self.folder / INDEX
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
        entry = self._handles[self.files[name]].entries[name]
        if entry.kind not in FLOATS:
            known = ", ".join(FLOATS)
            raise InputError(
                f"{self.where(name)} has type {entry.kind}, but only {known} are read; "
                "export the model in 16 or 32 bits."
            )
        return entry.shape

    def read(self, name: str, shapes: Sequence[tuple[int, ...]], dtype: torch.dtype | None, rule: Rule) -> list[Tensor]:
        """The parts, of these shapes, of one tensor that `rule` describes, in memory of their own."""
        file = self._handles[self.files[name]]
        parts = [torch.empty(shape, dtype=dtype or DTYPES[file.entries[name].kind], device="cpu") for shape in shapes]
        try:
            file.read_into(name, rule.pieces(parts), transposed=rule.transposed)
        except (OSError, ValueError, RuntimeError) as error:
            raise InputError(f"{self.where(name)} cannot be read ({first_line(error)}).") from None
        return parts

    def equal(self, first: str, second: str) -> bool:
        """Whether two tensors of equal shape hold the same values in the same type; neither is read as a whole."""
        try:
            return self._handles[self.files[first]].same(first, self._handles[self.files[second]], second)
        except (OSError, ValueError) as error:
            raise InputError(f"{self.where(first)} cannot be read ({first_line(error)}).") from None

    def _open(self, path: Path, index: dict[str, str] | None) -> None:
        try:
            handle = self._stack.enter_context(TensorFile(path))
        except DoubleNameError as error:
            raise InputError(f"{path}: {error}; export the model again.") from None
        except Exception as error:
            message = f"{path}: not a readable safetensors file ({first_line(error)}); download or export it again."
            raise InputError(message) from None
        self._handles[path] = handle
        for name in handle.entries:
            if index is not None and index.get(name) != path.name:
                raise InputError(f'{path}: tensor "{name}" is not listed for this file in {INDEX}.')
            self.files[name] = path

    def _open_shards(self, index: Path) -> None:
        table = read_index(index)
        shards = sorted(set(table.values()))
        for file in shards:
            if not (self.folder / file).is_file():
                raise InputError(f'{index}: the shard "{file}" is missing; download the folder again.')
        for file in shards:
            self._open(self.folder / file, table)
        for name, file in table.items():
            if name not in self.files:
                raise InputError(f'{self.folder / file}: tensor "{name}", which {INDEX} promises, is missing.')


def _nothing_to_read(folder: Path) -> str:
    pickled = next((name for name in PICKLES if (folder / name).is_file()), None)
    if pickled is None:
        other = next((path for path in sorted(folder.iterdir()) if path.suffix in OTHERS), None)
        if other is not None:
            whose, how = OTHERS[other.suffix]
            return f"{other}: {whose}, which is not read; only safetensors are. Convert it by {how}."
        return f"{folder}: there is neither {WEIGHTS} nor {INDEX} in this folder."
    return (
        f"{folder / pickled}: pickled weights can run code and are not read; convert them once, where you trust them, "
        "with transformers: `AutoModelForCausalLM.from_pretrained(folder).save_pretrained(new_folder)`."
    )


def foreign_code(config: Mapping[str, Any]) -> str:
    """A sentence about the code that a config.json asks for, which is never run; empty where it asks for none.

    Of a family that is known here this code is not needed: config.json and the names and shapes of all tensors must
    fit what we compute, as they must for transformers without `trust_remote_code`.
    """
    asked = config.get("auto_map")
    if not isinstance(asked, dict) or not asked:
        return ""
    named = next((str(value) for value in asked.values() if isinstance(value, str)), "")
    return f'Its auto_map asks for code that comes with the model ("{named[:60]}"), and microtune never runs any.'
