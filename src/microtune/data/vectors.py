"""Word vectors in word2vec's text format (Mikolov et al., 2013): a line "words width", then a word and its numbers.

With them an embedding can begin: a token that is a word of the file takes its vector.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from microtune.data.decode import Budget, Packing, lines, texts
from microtune.data.text import Tokenizer
from microtune.data.words import surfaces
from microtune.errors import InputError, at
from microtune.recipe import Limits

Vectors = npt.NDArray[np.float32]


def token_vectors(
    path: Path, tokenizer: Tokenizer, width: int, limits: Limits
) -> tuple[npt.NDArray[np.int64], Vectors]:
    """Ids of the tokens that the file knows, and their vectors [K, width]; InputError with line for a bad file.

    A word belongs to the token of the word with a space before it and to the one without.
    """
    wanted: dict[str, list[int]] = {}
    for i, piece in enumerate(surfaces(tokenizer)):
        text = piece.decode("utf-8", "ignore").strip()
        if text:
            wanted.setdefault(text, []).append(i)
    ids: list[int] = []
    rows: list[Vectors] = []
    for word, row in _rows(path, width, limits):
        for i in wanted.pop(word, ()):
            ids.append(i)
            rows.append(row)
    if not ids:
        raise InputError(f"{path}: none of its words is a token; the vectors are of another language or form.")
    return np.array(ids, dtype=np.int64), np.stack(rows)


def _rows(path: Path, width: int, limits: Limits) -> Iterator[tuple[str, Vectors]]:
    if not path.is_file():
        raise InputError(f"{path}: no such file of word vectors.")
    packing: Packing = "gz" if path.suffix == ".gz" else "xz" if path.suffix == ".xz" else ""
    for number, line in lines(path, texts(path, packing, Budget(limits), "utf-8"), limits):
        parts = line.rstrip().split(" ")
        if number == 1 and len(parts) == 2 and all(part.isdigit() for part in parts):
            _check_width(int(parts[1]), width, path, number)
            continue
        _check_width(len(parts) - 1, width, path, number)
        try:
            row = np.array(parts[1:], dtype=np.float32)
        except ValueError as error:
            raise InputError(f"{at(str(path), number)}: after the word there must be {width} numbers.") from error
        if not np.isfinite(row).all():
            raise InputError(f"{at(str(path), number)}: a vector holds a number that is not finite.")
        yield parts[0], row


def _check_width(found: int, width: int, path: Path, number: int) -> None:
    if found != width:
        raise InputError(
            f"{at(str(path), number)}: the vectors have {found} numbers, but the embedding of the model {width}; "
            "train vectors of this size, or set hidden_size."
        )
