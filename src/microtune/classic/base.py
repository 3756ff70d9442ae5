"""What the classic models share: a section of options each, found by name in `model.classic` of a recipe.

They have the verbs of the other models (pretrain, evaluate, predict, load), but no network that a method could adapt.
How each one is trained and loaded stands in `run/classic`.
"""

from __future__ import annotations

from typing import ClassVar

from microtune.errors import InputError
from microtune.recipe import Choice, Section, validated
from microtune.registry import Registry


class Classic(Section):
    """Base of the options of a classic model; subclasses are frozen sections registered by name."""

    name: str
    short: ClassVar[str | None] = None  # the field that N of the short form `name:N` stands for


classics: Registry[type[Classic]] = Registry("classic model")


def make_classic(choice: Choice) -> Classic:
    """`model.classic` of a recipe -> checked options; a mistake is one sentence that names the key."""
    kind = classics[choice.name]
    options = choice.options
    if "size" in options and "size" not in kind.model_fields:
        if kind.short is None:
            raise InputError(f"recipe: {choice.name} takes no number; write model.classic={choice.name}.")
        options[kind.short] = options.pop("size")
    return validated(kind, {"name": choice.name, **options}, "recipe: model.classic")
