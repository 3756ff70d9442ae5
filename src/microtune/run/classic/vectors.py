"""`microtune pretrain` of word vectors, and the `WordVectors` that `mt.load` gives.

The run folder is that of every run; the vectors stand in `model/vectors.txt`, in word2vec's text format, and may be the
start of the embeddings of another model (`model.vectors` of a recipe).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from microtune.classic import make_classic
from microtune.classic.word2vec import Vectors, Word2Vec, in_pieces, train, words_of
from microtune.data.corpus import documents
from microtune.data.text import Tokenizer
from microtune.data.vectors import read_vectors, write_vectors
from microtune.errors import CheckError, InputError
from microtune.nn.heads import VocabularyHead
from microtune.recipe import Recipe
from microtune.run.checks import Ledger
from microtune.run.classic.base import RECORD, ClassicModel, check_recipe, finish, unused
from microtune.run.disk import write_folder, write_json
from microtune.run.folder import RunFolder
from microtune.run.held_out import source_names
from microtune.run.pretrain import make_tokenizer
from microtune.run.session import Stage
from microtune.run.sources import Place
from microtune.run.vectors import FILE

LR = 0.025  # word2vec's own
USED = ("epochs", "lr", "threads")


class WordVectors(ClassicModel):
    """Vectors of words, with neighbours and analogies."""

    kind = "a model of word vectors"

    def __init__(self, place: Place, vectors: Vectors) -> None:
        super().__init__(place, None, None)
        self.vectors = vectors

    @property
    def parameters(self) -> int:
        """How many numbers there are."""
        return int(self.vectors.matrix.size)

    def neighbours(self, word: str, count: int = 10) -> list[tuple[str, float]]:
        """The nearest other words and their cosines, nearest first."""
        return self.vectors.neighbours(word, count)

    def analogy(self, a: str, b: str, c: str, count: int = 10) -> list[tuple[str, float]]:
        """Words d for which a is to b as c is to d, with cosines."""
        return self.vectors.analogy(a, b, c, count)

    def embed(self, texts: Sequence[str]) -> Tensor:
        """One vector `[B, width]` per text: the mean over its words that have one."""
        return torch.from_numpy(np.stack([self.vectors.mean(text) for text in texts]))

    def logits(self, ids: Sequence[Sequence[int]], targets: Sequence[Sequence[int]] | None = None) -> list[Tensor]:
        """There are none: an InputError."""
        self._refuse("no scores for tokens")

    def next_ids(
        self, ids: Sequence[int], *, max_new_tokens: int = 64, stop_ids: Sequence[int] = (), **options: Any
    ) -> Iterator[int]:
        """There are none: an InputError."""
        self._refuse("no text to generate")

    def vocabulary_head(self) -> VocabularyHead:
        """There is none: an InputError."""
        self._refuse("no text to generate; `microtune vectors` asks it for neighbours and analogies")

    def prompt_ids(self, prompt: str) -> list[int]:
        """There are none: an InputError."""
        self._refuse("no text to generate")


class Sentences:
    """The sentences of a corpus, as often as they are asked for."""

    def __init__(self, recipe: Recipe, tokenizer: Tokenizer | None) -> None:
        self.recipe, self.tokenizer = recipe, tokenizer
        self.counts = [0] * len(recipe.data.sources)  # words of each source, as of the last time

    def __iter__(self) -> Iterator[list[str]]:
        for number, source in enumerate(self.recipe.data.sources):
            self.counts[number] = 0
            generator = np.random.default_rng([self.recipe.seed, 4, number])
            for text in documents(source, self.recipe.data, self.recipe.limits):
                if source.epochs < 1 and generator.random() >= source.epochs:
                    continue
                words = self._words(text)
                self.counts[number] += len(words)
                yield from in_pieces(words)

    def _words(self, text: str) -> list[str]:
        if self.tokenizer is None:
            return words_of(text)
        backend = self.tokenizer.backend
        return [backend.id_to_token(i) or "" for i in self.tokenizer.encode(text, special=False)]


def pretrain_vectors(recipe: Recipe, folder: RunFolder) -> Iterator[Stage]:
    """Run a recipe with `model.classic: word2vec` in `folder` (already open); yields what happens."""
    assert recipe.model.classic is not None
    options = make_classic(recipe.model.classic)
    assert isinstance(options, Word2Vec)
    check_recipe(recipe)
    folder.notes += unused(recipe, USED)
    if recipe.train.epochs < 1:
        raise InputError(
            f"recipe: train.epochs is {recipe.train.epochs:g}, but word2vec makes whole passes, at least 1."
        )
    if recipe.model.tokenizer is not None and options.unit == "words":
        raise InputError("recipe: model.tokenizer is for unit: tokens; leave it out, or set model.classic.unit=tokens.")
    begun = time.perf_counter()
    tokenizer = None
    if options.unit == "tokens":
        yield Stage("tokenizer")
        tokenizer = make_tokenizer(recipe, folder.cache(recipe.data.cache))
    yield Stage("word vectors")
    sentences = Sentences(recipe, tokenizer)
    found = train(
        sentences,
        options,
        epochs=int(recipe.train.epochs),
        lr=recipe.train.lr or LR,
        seed=recipe.seed,
        threads=recipe.train.threads or 1,
    )
    seconds = time.perf_counter() - begun
    folder.write_metric("vectors", {"words": len(found), "seconds": round(seconds, 3), "read": sum(sentences.counts)})
    _save(recipe, folder, options, found, sentences, seconds)


def _save(
    recipe: Recipe, folder: RunFolder, options: Word2Vec, found: Vectors, sentences: Sentences, seconds: float
) -> None:
    def fill(work: Path) -> None:
        write_vectors(work / FILE, found.names, found.matrix)
        if sentences.tokenizer is not None:
            sentences.tokenizer.save(work)
        write_json(work / RECORD, {"classic": options.model_dump(), "facts": {"words": len(found)}})

    write_folder(folder.path / "model", fill)
    names, matrix = read_vectors(folder.path / "model" / FILE)
    if names != found.names or not np.array_equal(matrix, found.matrix):
        raise CheckError(f"{folder.path / 'model' / FILE}: not the vectors that were trained.", check="reload")
    names = source_names(recipe.data.sources)
    sources = [
        {"name": name, "language": s.language, "tokens": count, "share": min(s.epochs, 1.0)}
        for s, name, count in zip(recipe.data.sources, names, sentences.counts, strict=True)
    ]
    about = (
        f"Vectors of width {options.width} for {len(found):,} {options.unit}, {options.variant} with "
        f"{options.negative} negative samples, window {options.window}, {int(recipe.train.epochs)} passes, "
        f"{seconds:.0f} seconds"
    )
    made = Ledger()
    made.passed("reload")
    facts = {"about": about, "words": len(found), "parameters": int(found.matrix.size), "tokens": sum(sentences.counts)}
    finish(folder, {}, facts | {"seconds": round(seconds, 3), "sources": sources}, made)


def load_vectors(place: Place, *_: Any) -> WordVectors:
    """The vectors of a finished run."""
    return WordVectors(place, Vectors(*read_vectors(place.path / "model" / FILE)))
