"""Where word vectors stand: in a file of word2vec's text format, or in a run of word2vec."""

from __future__ import annotations

from pathlib import Path

from microtune.classic.word2vec import Vectors
from microtune.data.vectors import read_vectors
from microtune.errors import InputError
from microtune.recipe import Recipe
from microtune.run.hashes import file_hash

FILE = "vectors.txt"  # in `model/` of a run


def vectors_file(source: str | Path) -> Path:
    """The file of vectors: `source` itself, or that of a run of word2vec."""
    path = Path(source)
    inside = path / "model" / FILE
    if path.is_dir() and not inside.is_file():
        raise InputError(f"{path}: no file of word vectors, and no run of word2vec.")
    return inside if path.is_dir() else path


def load_word_vectors(source: str | Path) -> Vectors:
    """The vectors of a file in word2vec's text format, or of a run of word2vec."""
    return Vectors(*read_vectors(vectors_file(source)))


def vectors_hash(recipe: Recipe) -> dict[str, str]:
    """Hash of the vectors with which a new embedding begins, by which a run notices that they have changed."""
    source = recipe.model.vectors
    return {} if source is None else {"word vectors": file_hash(vectors_file(source))}
