"""What a pretrained model begins with: random weights, word vectors, or another model, from which it goes on.

A recipe without `model.spec` goes on from the model that `model.source` names, which keeps its tokenizer, its family
and what its config.json says besides.
"""

from __future__ import annotations

from pathlib import Path

import torch

from microtune.data.text import Tokenizer
from microtune.data.vectors import token_vectors
from microtune.errors import InputError
from microtune.nn.heads import VocabularyHead
from microtune.nn.transformer import Transformer
from microtune.recipe import Limits, ModelChoice, Recipe
from microtune.run.load import Model, load
from microtune.run.objective import check_network
from microtune.tasks.language_modelling import LanguageModelling


def base_of(recipe: Recipe) -> Model | None:
    """The model to go on from, or None where `model.spec` describes a new one; InputError where it cannot be."""
    choice = recipe.model
    if choice.classic is not None:
        raise InputError(
            f"recipe: model.classic {choice.classic.name} has no network whose memory and time could be planned."
        )
    if choice.spec is not None:
        return None
    if choice.source is None:
        raise InputError(
            "recipe: model.spec is missing: the shape of the model to pretrain; or name a model to go on from as "
            "model.source."
        )
    check_kept(choice)
    for name in ("added_tokens", "max_length"):
        if getattr(choice, name):
            raise InputError(f"recipe: model.{name} belongs to tuning; leave it out.")
    model = load(choice.source, weights=choice.weights, seed=recipe.seed)
    if model.task is not None:
        raise InputError(f"{choice.source}: a tuned run; go on from a base model, or from what export makes of it.")
    if model.place is not None and model.place.kind == "adapter":
        raise InputError(f"{choice.source}: an adapter; go on from its base, or from what export makes of it.")
    if not isinstance(model.network.head, VocabularyHead) or model.missing_head:
        raise InputError(f"{choice.source}: it has no vocabulary head, by which language modelling could go on.")
    if model.tokenizer is None:
        raise InputError(f"{choice.source}: it has no tokenizer, so no text can be read for it.")
    return model


def check_kept(choice: ModelChoice) -> None:
    """Refuse, beside a model that is loaded, what only a new one can be given."""
    for name in ("tokenizer", "vectors"):
        if getattr(choice, name) is not None:
            raise InputError(f"recipe: model.{name} is for a new model; {choice.source} keeps what it has.")


def goes_on(recipe: Recipe, task: LanguageModelling, base: Model) -> Transformer:
    """The network of the base, after a look at whether it can learn by this objective from blocks of this size."""
    check_network(recipe, task, base.spec)
    return base.network


@torch.no_grad()
def begin_with_vectors(network: Transformer, path: Path, tokenizer: Tokenizer, limits: Limits) -> str:
    """Give the tokens that are words of a file of word vectors their vectors, at the scale of the others.

    Their mean is taken out and their spread made that of random weights, so that a model begins as it would without.
    A tied head begins with the same rows. Returns a note that says how many there are.
    """
    width = network.spec.output_stack.embedding_width
    ids, rows = token_vectors(path, tokenizer, width, limits)
    found = torch.from_numpy(rows)
    found = found - found.mean(0)
    spread = float(found.std())
    network.tokens.weight[torch.from_numpy(ids)] = found * (network.spec.initializer_range / max(spread, 1e-12))
    return f"{len(ids):,} of {len(network.tokens.weight):,} token embeddings begin with {path}; the others at random."


def as_written(recipe: Recipe, base: Model | None) -> Recipe:
    """The recipe with the family of the model that went on, as which it is written."""
    if base is None:
        return recipe
    return recipe.model_copy(update={"model": recipe.model.model_copy(update={"family": base.family})})
