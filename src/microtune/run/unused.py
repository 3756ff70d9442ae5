"""Options that the verb at hand has no use for: refused where they say anything, for nobody would notice their absence.

A recipe that a run has written holds every option; those that stand at their defaults say nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from microtune.errors import InputError
from microtune.recipe import Data, ModelChoice, Recipe, Section, Train

KINDS: Mapping[str, type[Section]] = {"data": Data, "train": Train, "model": ModelChoice}
PRETRAINING = (
    *("data.sources", "data.folder", "data.documents", "data.cache"),
    *("train.evaluate_tokens", "train.average", "train.compile"),
)
TUNING = (
    *("data.train", "data.validation", "data.test", "data.split", "data.split_by", "data.split_seed"),
    *("data.text_field", "data.label_field", "data.header", "data.overlap", "data.examples", "data.steps"),
    *("data.tasks", "data.temperature"),
)
BLOCKS = ("language-modelling",)  # tasks that read blocks of `data.block_size`


def check_tuning(recipe: Recipe) -> None:
    """Refuse what only pretraining reads, and blocks where a task has none."""
    for name in _said(recipe, PRETRAINING):
        raise InputError(f"recipe: {name} is for `microtune pretrain`; leave it out.")
    for name in _said(recipe, () if recipe.task.name in BLOCKS else ("data.block_size",)):
        raise InputError(f"recipe: {name} is for language-modelling, not for {recipe.task.name}; leave it out.")
    _check_family(recipe)


def check_pretraining(recipe: Recipe) -> None:
    """Refuse what only tuning reads: a corpus stands in `data.sources`."""
    for name in _said(recipe, TUNING):
        raise InputError(f"recipe: {name} is for tuning (a corpus stands in data.sources); leave it out.")
    _check_family(recipe)
    if recipe.model.spec is None or recipe.model.classic is not None:
        return
    if recipe.model.max_length is not None:
        raise InputError("recipe: model.max_length belongs to tuning; leave it out.")
    check_whole(recipe)


def check_whole(recipe: Recipe) -> None:
    """Refuse a method that leaves most of a new network as it is: random."""
    if recipe.method.name != "full":
        raise InputError(
            f"recipe: a new network (model.spec) has nothing yet that could stay as it is; take method: full, not "
            f"{recipe.method.title}."
        )


def _check_family(recipe: Recipe) -> None:
    if recipe.model.spec is None and recipe.model.source is not None:
        for name in _said(recipe, ("model.family",)):
            raise InputError(f"recipe: {name} is for a new network, which model.spec describes; leave it out.")


def _said(recipe: Recipe, names: Sequence[str]) -> list[str]:
    """Those of the options that differ from their defaults."""
    found = []
    for name in names:
        section, _, key = name.partition(".")
        default = KINDS[section].model_fields[key].get_default(call_default_factory=True)
        if getattr(getattr(recipe, section), key) != default:
            found.append(name)
    return found
