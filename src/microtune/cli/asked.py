"""What a command line asks for, as a recipe: `tune`, `compare` and `plan` read their options in the same way."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from microtune.cli.pairs import data_of, is_recipe
from microtune.cli.words import NO_TASK
from microtune.errors import InputError

if TYPE_CHECKING:
    from microtune.recipe import Recipe


def recipe_of(
    data: str | None,
    overrides: list[str] | None,
    flags: Mapping[str, Any],
    fields: Mapping[str, Any] | None = None,
    *,
    files: dict[str, str] | None = None,
    leave_out: str = "",
) -> Recipe:
    """The recipe of DATA (rows, or a recipe file) under flags, options of the section `data`, and overrides.

    What is None was not asked. files: parallel files that stand for rows; leave_out: a key that a recipe file may have
    and the command makes for itself.
    """
    from microtune import recipe as recipes

    for option in ("validation", "test", "split"):
        _no_share(option, flags.get(option) or (fields or {}).get(option))
    values, assignments = data_of(data, overrides, files)
    values.pop(leave_out, None)
    values = recipes.override(values | {key: value for key, value in flags.items() if value is not None}, [])
    given = {key: value for key, value in (fields or {}).items() if value is not None}
    if given:
        values["data"] = (values.get("data") or {}) | given
    values = recipes.override(values, assignments)
    if "task" not in values:
        raise InputError(NO_TASK)
    return recipes.build(values, where=str(data) if is_recipe(data) else "recipe")


def corpus_of(
    given: str, overrides: list[str] | None, model: str | None, text_field: str | None = None
) -> tuple[dict[str, Any], list[str]]:
    """Values of the recipe that `pretrain` is given, or of the one that stands for text files, and the overrides.

    model: the one to go on from; text_field: of tables, the field that is read. Beside text files somebody has to say
    which model learns from them.
    """
    from microtune import recipe as recipes

    rest = [*([] if model is None else [f"model.source={model}"]), *(overrides or [])]
    if is_recipe(given):
        if text_field is not None:
            raise InputError(f"{given}: --text-field is for a table; in a recipe a source names its `fields`.")
        return recipes.load(given), rest
    if not any(re.match(r"model(\.(source|classic|spec)\b|=)", one) for one in rest):
        raise InputError(
            f"{given}: say which model learns from this text: --model sprout goes on from one, model.classic=ngram:5 "
            "counts n-grams; a new network is described in a recipe (.yaml)."
        )
    source = {"path": given} | ({} if text_field is None else {"fields": [text_field]})
    return {"task": "language-modelling", "method": "full", "data": {"sources": [source]}}, rest


def _no_share(option: str, value: Any) -> None:
    """A number where a file or a field is to be named: it was meant as a share of the rows."""
    if not isinstance(value, str) or not re.fullmatch(r"0?\.\d{1,6}|\d{1,2}%", value) or Path(value).exists():
        return
    share = float(value[:-1]) / 100 if value.endswith("%") else float(value)
    shares = {"validation": 0.1, "test": 0.1} | {"test" if option == "split" else option: share}
    first, second = f"{shares['validation']:g}", f"{shares['test']:g}"
    if option == "split":
        raise InputError(
            f"--split names a field, not a share; to cut from the data, write data.split.validation={first} "
            f"data.split.test={second}."
        )
    raise InputError(
        f"--{option} names a file of rows, not a share; to cut from the data, write data.split.validation={first} "
        f"data.split.test={second}."
    )
