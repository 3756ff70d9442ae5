"""One safetensors file, its tensors read straight into memory of their own, and written straight from it.

The `safetensors` library checks the header; the bytes are read here. The library maps the file into memory instead:
tensors that stay views of the map change when somebody overwrites the file and kill the process (SIGBUS) when it is
cut short, and tensors copied out of the map are resident twice, for the pages of a map count too. Reading costs no
more time, and a model takes once the size of its file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, Self

import torch
from safetensors import safe_open
from torch import Tensor

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
BLOCK_BYTES = 1 << 20  # converted, turned or compared at a time


class DoubleNameError(ValueError):
    """A name that stands twice in the header; `safe_open` lets it pass and keeps one of the two."""


@dataclass(frozen=True)
class Entry:
    """What the header says about one tensor: its type, its shape, and where its bytes begin in the file."""

    kind: str
    shape: tuple[int, ...]
    start: int


class TensorFile:
    """The tensors of one file by name; a context manager that keeps the file open.

    Raises what the library and the system raise for a damaged or unreadable file; whoever asks knows what to call it.
    """

    def __init__(self, path: Path) -> None:
        with safe_open(str(path), framework="pt"):  # sizes, types and offsets fit together and lie inside the file
            pass
        self.path = path
        self.entries = _entries(path)
        self._file = path.open("rb", buffering=0)
        self._buffer = torch.empty(0, dtype=torch.uint8)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        self._file.close()

    def read(self, name: str, dtype: torch.dtype | None = None) -> Tensor:
        """A tensor in memory of its own, in `dtype` (default: as in the file)."""
        tensor = torch.empty(self.entries[name].shape, dtype=dtype or DTYPES[self.entries[name].kind], device="cpu")
        self.read_into(name, [tensor])
        return tensor

    def read_into(self, name: str, parts: Sequence[Tensor], *, transposed: bool = False) -> None:
        """Fill new tensors with one of the file, which holds them end to end along its first dimension.

        transposed: it holds their transposes side by side, as GPT-2 does. Values are converted to the types of `parts`.
        Nothing else takes memory but one block: memory of changing sizes that comes and goes leaves holes.
        """
        if len(parts) == 1 and not transposed and parts[0].dtype == DTYPES[self.entries[name].kind]:
            self._fill(parts[0].view(-1), self.entries[name].start)
            return
        parts = [part if part.ndim else part.view(1) for part in parts]
        for first, block in self._blocks(name):
            done = 0  # rows of the tensor, or its columns
            for part in parts:
                if transposed:
                    part[:, first : first + len(block)].copy_(block[:, done : done + len(part)].t())
                else:
                    low, high = max(first, done), min(first + len(block), done + len(part))
                    if low < high:
                        part[low - done : high - done].copy_(block[low - first : high - first])
                done += len(part)

    def _blocks(self, name: str) -> Iterator[tuple[int, Tensor]]:
        """Rows of a tensor in the file's own type and the number of the first, in memory that the next block takes."""
        entry = self.entries[name]
        found, shape = DTYPES[entry.kind], entry.shape or (1,)
        row = prod(shape[1:]) * found.itemsize
        rows = max(1, min(shape[0], BLOCK_BYTES // max(row, 1)))
        buffer = self._memory(rows * row).view(found)
        for first in range(0, shape[0] if row else 0, rows):
            count = min(rows, shape[0] - first)
            flat = buffer[: count * prod(shape[1:])]
            self._fill(flat, entry.start + first * row)
            yield first, flat.view(count, *shape[1:])

    def same(self, name: str, other: TensorFile, twin: str) -> bool:
        """Whether a tensor of equal shape in `other` has the same type and values; neither is read as a whole."""
        entry, second = self.entries[name], other.entries[twin]
        if entry.kind != second.kind:
            return False
        place = second.start
        for _, block in self._blocks(name):
            again = torch.empty_like(block)
            other._fill(again.view(-1), place)
            place += block.nbytes
            if not torch.equal(again, block):
                return False
        return True

    def _memory(self, size: int) -> Tensor:
        if len(self._buffer) < size:
            self._buffer = torch.empty(max(size, BLOCK_BYTES), dtype=torch.uint8, device="cpu")
        return self._buffer[:size]

    def _fill(self, flat: Tensor, start: int) -> None:
        """Bytes of the file into a flat tensor; a file that has become shorter is an error, not a crash."""
        view = flat.view(torch.uint8).numpy().data
        self._file.seek(start)
        while len(view):
            read = self._file.readinto(view)
            if not read:
                raise OSError("the file ends before the tensor does")
            view = view[read:]


def write(out: BinaryIO, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """The same form, tensor by tensor: the library's own writing holds everything once more in memory."""
    names = {dtype: name for name, dtype in DTYPES.items()}
    order = sorted(tensors, key=lambda n: (-tensors[n].dtype.itemsize, n))  # as the library has it: all are aligned
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    done = 0
    for name in order:
        tensor = tensors[name]
        header[name] = {"dtype": names[tensor.dtype], "shape": list(tensor.shape)}
        header[name]["data_offsets"] = [done, done + tensor.nbytes]
        done += tensor.nbytes
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    out.write(len(text).to_bytes(8, "little") + text)
    for name in order:
        flat = tensors[name].detach().cpu().contiguous().view(-1)
        out.write(flat.view(torch.uint8).numpy().data)


def _entries(path: Path) -> dict[str, Entry]:
    """The header, which `safe_open` has found valid."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        seen: dict[str, Any] = {}
        for name, value in pairs:
            if name in seen:
                raise DoubleNameError(f'tensor "{name}" stands twice in the header')
            seen[name] = value
        return seen

    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length), object_pairs_hook=unique)
    header.pop("__metadata__", None)
    return {n: Entry(e["dtype"], tuple(e["shape"]), 8 + length + e["data_offsets"][0]) for n, e in header.items()}
