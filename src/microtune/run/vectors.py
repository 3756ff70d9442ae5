"""Token embeddings that start from word vectors, and the file in which such vectors stand.

Where a token (as the tokenizer writes it, or its text without spaces, as written or in small letters) has a vector, its
row of the embedding starts from it; the others start at random. The vectors are moved and scaled to the mean 0 and the
spread that the random rows have, since word vectors are ten times larger than what a Transformer starts from.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from microtune.classic.word2vec import Vectors
from microtune.data.text import Tokenizer
from microtune.data.vectors import read_vectors
from microtune.errors import InputError
from microtune.nn.transformer import Transformer
from microtune.run.classic import is_classic
from microtune.run.classic.vectors import FILE


def vectors_file(source: str | Path) -> Path:
    """The file of vectors: `source` itself, or that of a run of word2vec."""
    path = Path(source)
    inside = path / "model" / FILE
    if path.is_dir() and not (is_classic(path) and inside.is_file()):
        raise InputError(f"{path}: no file of word vectors, and no run of word2vec.")
    return inside if path.is_dir() else path


def load_word_vectors(source: str | Path) -> Vectors:
    """The vectors of a file in word2vec's text format, or of a run of word2vec."""
    return Vectors(*read_vectors(vectors_file(source)))


@torch.no_grad()
def start_from(network: Transformer, tokenizer: Tokenizer, source: str | Path) -> str:
    """Fill the rows of the token embedding that have a vector; returns a note that says how many.

    A tied head starts from the same rows. InputError where the width is not that of the embedding, or no token has a
    vector.
    """
    path = vectors_file(source)
    names, matrix = read_vectors(path)
    weight = network.tokens.weight
    if matrix.shape[1] != weight.shape[1]:
        raise InputError(
            f"{path}, line 1: vectors of width {matrix.shape[1]}, but the token embedding of model.spec has width "
            f"{weight.shape[1]}; give vectors of that width, or another hidden_size."
        )
    rows = matching(tokenizer, names)
    if not rows:
        raise InputError(f"{path}: no token of the tokenizer has a vector in it; the two do not belong together.")
    found = matrix[list(rows.values())].astype(np.float64)
    found = (found - found.mean()) / max(float(found.std()), 1e-12) * float(weight.std())
    weight[list(rows)] = torch.from_numpy(found).to(weight)
    return f"{len(rows):,} of {len(weight):,} token embeddings start from {path}; the others at random."


def matching(tokenizer: Tokenizer, names: list[str]) -> dict[int, int]:
    """Token id -> place in `names`, for the tokens that have one."""
    places = {name: place for place, name in enumerate(names)}
    rows: dict[int, int] = {}
    for token, i in tokenizer.backend.get_vocab().items():
        text = tokenizer.decode([i]).strip()
        place = next((places[form] for form in (token, text, text.lower()) if form and form in places), None)
        if place is not None:
            rows[i] = place
    return dict(sorted(rows.items()))
