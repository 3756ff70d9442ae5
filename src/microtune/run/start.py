"""The model that a tuning starts from: a base by name, or one from scratch; and which methods can tune it."""

from __future__ import annotations

from microtune.adapt.base import Method
from microtune.classic.recurrent import Recurrent
from microtune.data.added_tokens import check_added
from microtune.errors import InputError
from microtune.nn.transformer import Transformer
from microtune.recipe import Recipe
from microtune.run import added
from microtune.run.load import Model, load
from microtune.run.prepare import Splits
from microtune.run.scratch import scratch_model
from microtune.tasks.base import Task


def starting_model(recipe: Recipe, task: Task, splits: Splits) -> tuple[Model, list[str]]:
    """The base with the recipe's added tokens, and notes about these; where there is a `model.spec`, a new network."""
    if recipe.model.spec is not None:
        return scratch_model(recipe, task, splits.rows["train"]), []
    if recipe.model.source is None:
        raise InputError('recipe: model.source is missing; name a base, for instance "sprout".')
    check_added(recipe.model.added_tokens)
    model = load(recipe.model.source, weights=recipe.model.weights, seed=recipe.seed)
    if model.tokenizer is not None:
        model.tokenizer.limits = recipe.limits
    if model.place is not None and model.place.kind == "adapter":
        raise InputError(f"{recipe.model.source}: an adapter; tuning it further is not supported yet. Name its base.")
    if model.task is not None:
        raise InputError(
            f"{recipe.model.source}: already tuned; tuning a run further is not supported yet. Name its base."
        )
    return model, added.add_to_model(model, recipe.model.added_tokens)


def check_method(method: Method, network: Transformer) -> None:
    """Layers of a recurrent network have none of the roles that most methods look for."""
    if not isinstance(network, Recurrent):
        return
    for name in (part.name for part in method.made):
        if name not in network.methods:
            raise InputError(f"method: a recurrent network is tuned by {', '.join(network.methods)}, not by {name}.")
