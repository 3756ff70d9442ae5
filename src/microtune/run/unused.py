"""Options that do nothing in a run of a kind are refused: whoever sets one believes that it does something.

Nobody would notice their absence: such a run ends as well as any other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from microtune.data.steps import TextStep, make_step, steps
from microtune.errors import InputError
from microtune.recipe import Recipe

SOURCES = "a corpus stands in data.sources"
HELD_OUT = "held-out text stands in data.sources.held_out"
FIELDS = "fields stand in data.sources.fields"
PRETRAINING = {
    "data.train": SOURCES,
    "data.examples": "train.max_steps ends a run early",
    **dict.fromkeys(("data.validation", "data.test", "data.split"), HELD_OUT),
    **dict.fromkeys(("data.split_by", "data.split_seed", "data.overlap"), HELD_OUT),
    **dict.fromkeys(("data.text_field", "data.label_field"), FIELDS),
    "data.header": "tables of a corpus have a header",
    "train.patience": "held-out text is scored and chooses nothing",
}
NETWORKS = {"train.cache": "nothing is frozen there"}  # a model without a network says so in a note
TUNING = {
    "train.average": "it is for pretraining",
    "train.compile": "it is for pretraining",
    "train.evaluate_tokens": "it is for pretraining, and validation rows are scored after every epoch",
    "data.sources": "rows stand in data.train",
    "data.folder": "it is for data.sources",
    "data.cache": "it is for data.sources",
    "data.documents": "it is for data.sources",
}
FAMILY = {"model.family": "it is for a new network, which model.spec describes"}
BLOCKS = {"data.block_size": "it is for language modelling; model.max_length cuts rows"}


def check_pretraining(recipe: Recipe) -> None:
    """Refuse what pretraining does not read."""
    if recipe.model.spec is not None and recipe.model.classic is None:
        if recipe.model.max_length is not None:
            _refuse("model.max_length", "pretraining", "data.block_size is the length of a row")
        check_whole(recipe)
    _check_steps(recipe)
    options = PRETRAINING if recipe.model.classic is not None else PRETRAINING | NETWORKS
    _check(recipe, {**options, **_of_beginning(recipe)}, "pretraining")


def _check_steps(recipe: Recipe) -> None:
    """Refuse steps that choose rows: a corpus is read text by text."""
    for choice in recipe.data.steps:
        step = make_step(choice.model_dump())
        step.check()
        if not isinstance(step, TextStep):
            texts = ", ".join(name for name, kind in steps.items() if issubclass(kind, TextStep))
            raise InputError(
                f"recipe: data.steps: {step.name} chooses among rows, and pretraining reads a corpus text by text; "
                f"steps that change texts are {texts}."
            )


def check_tuning(recipe: Recipe) -> None:
    """Refuse what tuning does not read."""
    options = TUNING if recipe.task.name == "language-modelling" else TUNING | BLOCKS
    _check(recipe, {**options, **_of_beginning(recipe)}, "tuning")


def check_whole(recipe: Recipe) -> None:
    """Refuse a method that leaves most of a new network as it is: random."""
    if recipe.method.name != "full":
        raise InputError(
            f"recipe: a new network (model.spec) has nothing yet that could stay as it is; take method: full, not "
            f"{recipe.method.title}."
        )


def _of_beginning(recipe: Recipe) -> Mapping[str, str]:
    """What does nothing where a model that has a family of its own is the beginning."""
    return FAMILY if recipe.model.spec is None and recipe.model.source is not None else {}


def _check(recipe: Recipe, options: Mapping[str, str], kind: str) -> None:
    for option, instead in options.items():
        name, _, field = option.partition(".")
        section = getattr(recipe, name)
        if _differs(getattr(section, field), getattr(type(section)(), field)):
            _refuse(option, kind, instead)


def _differs(value: Any, default: Any) -> bool:
    return type(value) is not type(default) or (value is not None and bool(value != default))


def _refuse(option: str, kind: str, instead: str) -> None:
    raise InputError(f"recipe: {option} does nothing in {kind}: {instead}. Leave it out.")
