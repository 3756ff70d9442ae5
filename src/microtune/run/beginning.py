"""What a tuned model begins with: a base that is loaded, or a new network (scratch.py)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from microtune.data.added_tokens import check_added
from microtune.data.sources import Row
from microtune.errors import InputError
from microtune.nn.spec import LONGEST
from microtune.recipe import Recipe
from microtune.run import added
from microtune.run.continued import check_kept
from microtune.run.encoders import as_read
from microtune.run.load import Model, load
from microtune.run.networks import spec_of
from microtune.run.scratch import check_stacks, new_model
from microtune.run.unused import check_whole
from microtune.tasks.base import Task


def check_beginning(recipe: Recipe) -> None:
    """Refuse, before any row is read, a recipe that names no beginning, or two."""
    choice = recipe.model
    if choice.classic is not None:
        raise InputError("recipe: model.classic belongs to `microtune pretrain`; name a base with model.source.")
    if choice.spec is None:
        if choice.source is None:
            raise InputError(
                'recipe: model.source is missing; name a base, for instance "sprout", or describe a new network as '
                "model.spec."
            )
        check_kept(choice)
        return
    if choice.source is not None:
        raise InputError(
            f"recipe: model.spec describes a new network, but model.source names one to load ({choice.source}); write "
            "source: null, or leave the spec out."
        )
    check_whole(recipe)
    check_stacks(spec_of(choice.family, {"vocab_size": LONGEST, **choice.spec}))


def beginning(recipe: Recipe, task: Task, rows: Sequence[Row], cache: Path | None) -> tuple[Model, list[str]]:
    """The model and notes about it: the base with the recipe's added tokens, or a new one for `rows`.

    cache: folder of the run in which a new tokenizer is kept.
    """
    if recipe.model.source is None:
        model, notes = new_model(recipe, task, rows, cache)
        model.text.limits = recipe.limits
        return model, notes
    check_added(recipe.model.added_tokens)
    model = load(recipe.model.source, weights=recipe.model.weights, seed=recipe.seed)
    if model.tokenizer is not None:
        model.tokenizer.limits = recipe.limits
    if model.place is not None and model.place.kind == "adapter":
        raise InputError(f"{recipe.model.source}: an adapter; tuning it further is not supported yet. Name its base.")
    if model.task is not None and model.network is not None:  # a classic model says that it has none
        raise InputError(
            f"{recipe.model.source}: already tuned; tuning a run further is not supported yet. Name its base, or what "
            "`microtune merge RUN --out FOLDER` makes of the run."
        )
    model = as_read(model, task)
    return model, added.add_to_model(model, recipe.model.added_tokens)
