"""The recipe: the choices that a reader asks for first, and the whole of it folded away."""

from __future__ import annotations

from typing import Any

from microtune.plain import dumped
from microtune.run.html import Markup, el, folded, section, table
from microtune.run.report.read import RunFiles
from microtune.run.report.words import Words

FIRST = (
    *("task", "model.source", "model.weights", "model.max_length", "method"),
    *("data.train", "data.validation", "data.test", "data.split", "data.steps"),
    *("train.epochs", "train.batch_size", "train.lr", "train.optimizer", "train.schedule", "train.precision", "seed"),
)


def recipe(run: RunFiles, say: Words) -> Markup:
    """A table of the first choices, then all of them as YAML."""
    rows = [(el("code", key), _shown(_at(run.recipe, key))) for key in FIRST if _at(run.recipe, key) not in (None, [])]
    whole = dumped(run.recipe, width=100)
    return section(
        say("recipe"),
        el("p", say("recipe_about"), " ", say("recipe_only")),
        table([say("recipe_key"), say("recipe_value")], rows),
        folded(say("recipe_whole"), el("pre", whole)),
        name="recipe",
    )


def _at(values: Any, key: str) -> Any:
    for part in key.split("."):
        values = values.get(part) if isinstance(values, dict) else None
    return values


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k}: {_shown(v)}" for k, v in value.items() if v not in (None, [], "", {}))[:500]
    if isinstance(value, list):
        return "; ".join(map(_shown, value))[:500]
    return f"{value:g}" if isinstance(value, float) else str(value)[:500]
