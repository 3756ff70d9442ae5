"""Classic models under the verbs of all models: what trains each one, and what loads it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from microtune.classic import make_classic
from microtune.classic.base import Classic
from microtune.recipe import Recipe
from microtune.registry import Registry
from microtune.run.classic.base import ClassicModel, read_classic
from microtune.run.classic.counted import pretrain_ngram
from microtune.run.classic.ngram import load_ngram
from microtune.run.classic.vectors import load_vectors, pretrain_vectors
from microtune.run.folder import RunFolder
from microtune.run.sources import Place

__all__ = ["check_classic", "load_classic", "loaders", "pretrain_classic", "trainers"]

Trainer = Callable[[Recipe, RunFolder], Iterator[Any]]

trainers: Registry[Trainer] = Registry("classic model")
loaders: Registry[Callable[[Place, Classic, dict[str, Any]], ClassicModel]] = Registry("classic model")
trainers.add("ngram", pretrain_ngram)
trainers.add("word2vec", pretrain_vectors)
loaders.add("ngram", load_ngram)
loaders.add("word2vec", load_vectors)


def pretrain_classic(recipe: Recipe, folder: RunFolder) -> Iterator[Any]:
    """Run a recipe with `model.classic` in `folder` (already open); yields what happens."""
    assert recipe.model.classic is not None
    return trainers[recipe.model.classic.name](recipe, folder)


def load_classic(place: Place) -> ClassicModel:
    """The model of a finished run of `pretrain_classic`."""
    options, facts = read_classic(place)
    return loaders[options.name](place, options, facts)


def check_classic(recipe: Recipe) -> None:
    """Refuse wrong options before anything is made."""
    if recipe.model.classic is not None:
        make_classic(recipe.model.classic)
