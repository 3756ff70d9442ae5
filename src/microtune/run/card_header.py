"""The YAML header of a model card, as model hubs read it: language, licence, base, tags, scores.

The keys and values are those that the Hugging Face hub documents for model cards (model-index after Papers with Code);
ModelScope reads the same. Nothing is claimed that the run does not know: a licence that the base's card does not name
is "unknown", a language that cannot be told is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from microtune.plain import dumped
from microtune.recipe import Recipe
from microtune.run.evaluate import Score
from microtune.run.html import visible
from microtune.run.mixture import data_title

PIPELINES = {
    "classification": "text-classification",
    "regression": "text-classification",
    "token-labelling": "token-classification",
    "question-answering": "question-answering",
    "multiple-choice": "multiple-choice",
    "sequence-to-sequence": "text2text-generation",
    "instruction": "text-generation",
    "preference": "text-generation",
    "language-modelling": "text-generation",
    "similarity": "sentence-similarity",
}
SPLIT = ("test", "validation")


def header(
    name: str,
    recipe: Recipe,
    base: str,
    scores: Mapping[str, Score],
    *,
    languages: Sequence[str] = (),
    license_name: str = "unknown",
) -> str:
    """The header with its lines of `---`."""
    pipeline = PIPELINES.get(recipe.task.name, "other")
    values: dict[str, Any] = {
        **({"language": list(languages)} if languages else {}),
        "license": license_name,
        "library_name": "microtune",
        **({"base_model": visible(base)} if base else {}),
        "pipeline_tag": pipeline,
        "tags": ["microtune", recipe.task.name, *(part for part in recipe.method.title.split("+"))],
    }
    split = next((split for split in SPLIT if split in scores), None)
    if split is not None:
        values["metrics"] = list(scores[split].values)
        values["model-index"] = [{"name": visible(name), "results": [_result(recipe, pipeline, split, scores[split])]}]
    return f"---\n{dumped(values, width=120)}---\n"


def _result(recipe: Recipe, pipeline: str, split: str, score: Score) -> dict[str, Any]:
    data = visible(data_title(recipe)).replace("\\", "/").rsplit("/", 1)[-1] or "data"
    return {
        "task": {"type": pipeline, "name": recipe.task.name},
        "dataset": {"name": data, "type": data, "split": split},
        "metrics": [_metric(name, value, score.intervals.get(name)) for name, value in score.values.items()],
    }


def _metric(name: str, value: float, interval: tuple[float, float] | None) -> dict[str, Any]:
    about = {} if interval is None else {"args": {"interval_95": [round(end, 6) for end in interval]}}
    return {"type": name, "value": round(value, 6), "name": name, **about}
