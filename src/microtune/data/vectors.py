"""Word vectors in the text format of word2vec: a line `count width`, then a name and its numbers a line.

The format that word2vec (Mikolov et al., 2013), GloVe's converters, fastText and gensim write. A name is everything
before the numbers, so that a token may hold a space.
"""

from __future__ import annotations

import gzip
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import numpy.typing as npt

from microtune.errors import InputError

WIDEST = 1 << 16
MOST = 1 << 26


def read_vectors(path: str | Path) -> tuple[list[str], npt.NDArray[np.float32]]:
    """Names, and their vectors as float32 [names, width]; a wrong line is an InputError that names it."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file of word vectors.")
    try:
        with _open(path) as file:
            count, width = _header(path, next(file, ""))
            names: list[str] = []
            seen: set[str] = set()
            rows: list[npt.NDArray[np.float32]] = []
            for line, text in enumerate(file, 2):
                if not text.strip():
                    continue
                name, vector = _row(path, line, text, width)
                if name in seen:
                    raise InputError(f'{path}, line {line}: "{name}" stands there twice; keep one of its lines.')
                names.append(name)
                seen.add(name)
                rows.append(vector)
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.start}); save the vectors as text.") from error
    except (OSError, EOFError) as error:
        raise InputError(f"{path}: cannot be read ({error}).") from error
    if len(names) != count:
        raise InputError(f"{path}: the first line promises {count} vectors, but there are {len(names)}.")
    return names, np.stack(rows)


def write_vectors(path: Path, names: Sequence[str], matrix: npt.NDArray[Any]) -> None:
    """Write names and `matrix` [names, width]; float32 values come back exactly."""
    with open(path, "w", encoding="utf-8", newline="\n") as out:
        out.write(f"{len(names)} {matrix.shape[1]}\n")
        out.writelines(_lines(names, matrix))


def _lines(names: Sequence[str], matrix: npt.NDArray[Any]) -> Iterator[str]:
    for name, row in zip(names, matrix, strict=True):
        yield f"{name} {' '.join(np.format_float_positional(x, trim='-') for x in row.astype(np.float32))}\n"


def _open(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8", newline="\n")
    return open(path, encoding="utf-8", newline="\n")


def _header(path: Path, text: str) -> tuple[int, int]:
    parts = text.split()
    if len(parts) != 2 or not all(part.isascii() and part.isdigit() and len(part) < 12 for part in parts):
        raise InputError(
            f"{path}, line 1: {text.strip()[:40]!r}, but a file of word vectors begins with their number and their "
            "width, such as 10000 100."
        )
    count, width = int(parts[0]), int(parts[1])
    if not 1 <= width <= WIDEST or not 1 <= count <= MOST:
        raise InputError(f"{path}, line 1: {count} vectors of width {width}; at most {MOST} of width {WIDEST}.")
    return count, width


def _row(path: Path, line: int, text: str, width: int) -> tuple[str, npt.NDArray[np.float32]]:
    parts = text.rstrip("\r\n ").rsplit(" ", width)
    found = len(parts) - 1
    if found < width or not parts[0] or (_is_number(parts[0].rpartition(" ")[2]) and " " in parts[0]):
        found = sum(1 for _ in text.split()) - 1
        raise InputError(f"{path}, line {line}: {found} numbers, but the first line says that a vector has {width}.")
    try:
        vector = np.array([float(part) for part in parts[1:]], dtype=np.float32)
    except ValueError:
        wrong = next(part for part in parts[1:] if not _is_number(part))
        raise InputError(
            f"{path}, line {line}: {wrong[:40]!r} stands where a number should; a vector has {width}."
        ) from None
    if not np.isfinite(vector).all():
        raise InputError(f"{path}, line {line}: a number that is not finite.")
    return parts[0], vector


def _is_number(text: str) -> bool:
    try:
        return not math.isnan(float(text))
    except ValueError:
        return False
