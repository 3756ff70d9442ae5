"""Numpy arrays of any size in one safetensors file: written piece by piece, mapped into memory when read.

Tables of an n-gram model are larger than what one wants to copy, and of types that weights never have (unsigned
integers). The header is checked by the `safetensors` library; nothing in the file can become code.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from microtune.errors import RunError

DTYPES = {
    "F64": np.float64,
    "F32": np.float32,
    "U64": np.uint64,
    "I64": np.int64,
    "U32": np.uint32,
    "I32": np.int32,
    "U16": np.uint16,
}
BLOCK = 1 << 20  # values written at a time


def write_arrays(out: BinaryIO, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write arrays as one safetensors file; those that are mapped from disk never stand in memory as a whole."""
    names = {np.dtype(dtype): name for name, dtype in DTYPES.items()}
    order = sorted(arrays, key=lambda n: (-arrays[n].dtype.itemsize, n))  # the widest first: all are aligned
    header: dict[str, Any] = {}
    done = 0
    for name in order:
        array = arrays[name]
        size = array.dtype.itemsize * array.size
        header[name] = {"dtype": names[array.dtype], "shape": list(array.shape), "data_offsets": [done, done + size]}
        done += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    out.write(len(text).to_bytes(8, "little") + text)
    for name in order:
        flat = arrays[name].reshape(-1)
        for start in range(0, len(flat), BLOCK):
            out.write(np.ascontiguousarray(flat[start : start + BLOCK]).tobytes())


def map_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """The arrays of a safetensors file, mapped read-only; a damaged file is a RunError."""
    try:
        with safe_open(str(path), framework="np"):  # sizes, types and offsets fit together and lie inside the file
            pass
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        result: dict[str, npt.NDArray[Any]] = {}
        for name, entry in header.items():
            shape, dtype = tuple(entry["shape"]), np.dtype(DTYPES[entry["dtype"]])
            offset = 8 + length + entry["data_offsets"][0]
            mapped = bool(prod(shape))  # nothing can be mapped of an empty one
            result[name] = np.memmap(path, dtype, "r", offset, shape) if mapped else np.zeros(shape, dtype)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RunError(f"{path}: not a readable safetensors file ({reason}).") from error
    return result
