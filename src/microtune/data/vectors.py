"""Word vectors in the text format of word2vec: a line `count width`, then a name and its numbers a line.

The format that word2vec (Mikolov et al., 2013), GloVe's converters, fastText and gensim write. A name is everything
before the numbers, so that a token may hold a space. With them an embedding can begin: a token that is a word of the
file takes its vector.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from microtune.data.decode import Budget, Packing, lines, texts
from microtune.data.text import Tokenizer
from microtune.data.words import surfaces
from microtune.errors import InputError, at
from microtune.recipe import Limits

Vector = npt.NDArray[np.float32]
WIDEST = 1 << 16
MOST = 1 << 26


def read_vectors(path: str | Path, limits: Limits | None = None) -> tuple[list[str], Vector]:
    """Names, and their vectors as float32 [names, width]; a wrong line is an InputError that names it."""
    rows = list(_rows(Path(path), limits or Limits()))
    return [name for name, _ in rows], np.stack([row for _, row in rows])


def token_vectors(path: Path, tokenizer: Tokenizer, width: int, limits: Limits) -> tuple[npt.NDArray[np.int64], Vector]:
    """Ids of the tokens that the file knows, and their vectors [K, width]; InputError with line for a bad file.

    A token is known by its form as the tokenizer writes it, else by its text without the space before it, else by that
    in small letters. As the width is known, the first line may be missing, as GloVe leaves it out.
    """
    wanted: dict[str, list[tuple[int, int]]] = {}
    for i, piece in enumerate(surfaces(tokenizer)):
        for rank, form in enumerate(_forms(tokenizer.backend.id_to_token(i), piece)):
            wanted.setdefault(form, []).append((rank, i))
    found: dict[int, tuple[int, Vector]] = {}
    for name, row in _rows(path, limits, width):
        for rank, i in wanted.get(name, ()):
            if i not in found or rank < found[i][0]:
                found[i] = rank, row
    if not found:
        raise InputError(f"{path}: none of its words is a token; the vectors are of another language or form.")
    ids = sorted(found)
    return np.array(ids, dtype=np.int64), np.stack([found[i][1] for i in ids])


def write_vectors(path: Path, names: Sequence[str], matrix: npt.NDArray[Any]) -> None:
    """Write names and `matrix` [names, width]; float32 values come back exactly."""
    with open(path, "w", encoding="utf-8", newline="\n") as out:
        out.write(f"{len(names)} {matrix.shape[1]}\n")
        for name, row in zip(names, matrix, strict=True):
            numbers = " ".join(np.format_float_positional(x, trim="-") for x in row.astype(np.float32))
            out.write(f"{name} {numbers}\n")


def _forms(token: str | None, piece: bytes) -> list[str]:
    """The names that a token may have in a file, the best first; none for a special token."""
    try:
        text = piece.decode("utf-8").strip()
    except UnicodeDecodeError:  # a part of a character
        text = ""
    return [form for form in dict.fromkeys((token, text, text.lower())) if form] if piece else []


def _rows(path: Path, limits: Limits, width: int | None = None) -> Iterator[tuple[str, Vector]]:
    """Names and vectors; where `width` is given they must have it, and the first line may be missing."""
    if not path.is_file():
        raise InputError(f"{path}: no such file of word vectors.")
    packing: Packing = "gz" if path.suffix == ".gz" else "xz" if path.suffix == ".xz" else ""
    count, said = None, "the embedding of the model has"
    seen: set[str] = set()
    for number, line in lines(path, texts(path, packing, Budget(limits), "utf-8"), limits):
        where = at(str(path), number)
        if number == 1 and (width is None or _is_header(line)):
            count, width = _header(where, line, width)
            said = "the first line says that a vector has"
        elif line.strip():
            assert width is not None
            name, vector = _row(where, line, width, said)
            if name in seen:
                raise InputError(f'{where}: "{name}" stands there twice; keep one of its lines.')
            seen.add(name)
            yield name, vector
    if not seen:
        raise InputError(f"{path}: there is no vector in it.")
    if count not in (None, len(seen)):
        raise InputError(f"{path}: the first line promises {count} vectors, but there are {len(seen)}.")


def _is_header(line: str) -> bool:
    parts = line.split()
    return len(parts) == 2 and all(part.isascii() and part.isdigit() and len(part) < 12 for part in parts)


def _header(where: str, line: str, wanted: int | None) -> tuple[int, int]:
    if not _is_header(line):
        raise InputError(
            f"{where}: {line.strip()[:40]!r}, but a file of word vectors begins with their number and their width, "
            "such as 10000 100."
        )
    count, width = map(int, line.split())
    if not 1 <= width <= WIDEST or not 1 <= count <= MOST:
        raise InputError(f"{where}: {count} vectors of width {width}; at most {MOST} of width {WIDEST}.")
    if wanted not in (None, width):
        raise InputError(
            f"{where}: the vectors have {width} numbers, but the embedding of the model {wanted}; train vectors of "
            "this size, or set hidden_size."
        )
    return count, width


def _row(where: str, line: str, width: int, said: str) -> tuple[str, Vector]:
    parts = line.rstrip("\r\n ").rsplit(" ", width)
    found = len(parts) - 1
    if found < width or not parts[0] or (_is_number(parts[0].rpartition(" ")[2]) and " " in parts[0]):
        found = len(line.split()) - 1
        raise InputError(f"{where}: {found} numbers, but {said} {width}.")
    try:
        vector = np.array([float(part) for part in parts[1:]], dtype=np.float32)
    except ValueError:
        wrong = next(part for part in parts[1:] if not _is_number(part))
        raise InputError(f"{where}: {wrong[:40]!r} stands where a number should; a vector has {width}.") from None
    if not np.isfinite(vector).all():
        raise InputError(f"{where}: a number that is not finite.")
    return parts[0], vector


def _is_number(text: str) -> bool:
    try:
        return not math.isnan(float(text))
    except ValueError:
        return False
