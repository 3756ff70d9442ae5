"""Memory-mapped ragged arrays keyed by content hash: tokens of a corpus, states of a frozen trunk.

An array is one folder `<key>/` with `values.bin`, `lengths.npy` and, written last, `meta.json`; a folder without a
valid `meta.json` does not exist. The key is a hash of everything that decides the values.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt


def content_key(*parts: Any) -> str:
    """16 hexadecimal digits that change when any part changes."""
    text = "\0".join(part if isinstance(part, str) else json.dumps(part, sort_keys=True, default=str) for part in parts)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class RaggedStore:
    """Rows of one type and width, read back as memory-mapped slices."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        meta = json.loads((self.folder / "meta.json").read_text(encoding="utf-8"))
        self.lengths: npt.NDArray[np.int64] = np.load(self.folder / "lengths.npy", allow_pickle=False)
        self.starts = np.cumsum(self.lengths) - self.lengths
        shape = (int(self.lengths.sum()), *meta["shape"])
        self.values = (
            np.memmap(self.folder / "values.bin", dtype=meta["dtype"], mode="r", shape=shape)
            if shape[0]
            else np.zeros(shape, dtype=meta["dtype"])
        )

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: int) -> npt.NDArray[Any]:
        start = self.starts[index]
        return self.values[start : start + self.lengths[index]]

    @staticmethod
    def exists(folder: str | Path) -> bool:
        """Whether a complete array stands there."""
        return (Path(folder) / "meta.json").is_file()

    @classmethod
    def write(
        cls, folder: str | Path, rows: Iterable[npt.NDArray[Any]], *, dtype: str, shape: tuple[int, ...] = ()
    ) -> RaggedStore:
        """Write `rows` (each `[length, *shape]`) to a new array at `folder` and open it."""
        folder = Path(folder)
        work = folder.with_name(folder.name + ".part")
        shutil.rmtree(work, ignore_errors=True)
        try:
            work.mkdir(parents=True)
            lengths = []
            with open(work / "values.bin", "wb") as out:
                for row in rows:
                    lengths.append(len(row))
                    out.write(np.ascontiguousarray(row, dtype=dtype).tobytes())
                _flush(out)
            with open(work / "lengths.npy", "wb") as out:
                np.save(out, np.array(lengths, dtype=np.int64))
                _flush(out)
            with open(work / "meta.json", "w", encoding="utf-8") as text:
                json.dump({"dtype": dtype, "shape": shape}, text)
                _flush(text)
            shutil.rmtree(folder, ignore_errors=True)
            os.replace(work, folder)
        except BaseException:
            shutil.rmtree(work, ignore_errors=True)
            raise
        return cls(folder)


def _flush(file: IO[Any]) -> None:
    """Bring a file to the disk before its folder appears under its name."""
    file.flush()
    os.fsync(file.fileno())
