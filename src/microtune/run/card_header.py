"""The YAML header of a model card, as model hubs read it: language, licence, base, tags, scores.

The keys and values are those that the Hugging Face hub documents for model cards (model-index after Papers with Code);
ModelScope reads the same. Nothing is claimed that the run does not know: a licence that the base's card does not name
is "unknown", a language that cannot be told is left out, and so is a base that no hub knows: a hub refuses a card whose
`base_model` is the path of a folder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from microtune.plain import dumped
from microtune.recipe import Recipe
from microtune.run import hub
from microtune.run.html import visible
from microtune.run.mixture import data_title
from microtune.run.report.read import RunFiles, SplitScores

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
    run: RunFiles,
    recipe: Recipe,
    *,
    library: str = "microtune",
    relation: str = "",
    tags: Sequence[str] = (),
) -> str:
    """The header of a run's card, with its lines of `---`.

    library: what opens the files; relation: what they are to the base (adapter, finetune, quantized); tags: further
    ones.
    """
    model = run.facts.model
    pipeline = PIPELINES.get(recipe.task.name, "other")
    values: dict[str, Any] = {
        **({"language": list(run.facts.languages)} if run.facts.languages else {}),
        "license": model.license,
        "library_name": library,
        **based_on(model.base if model.base_kind == "hub" else "", relation),
        "pipeline_tag": pipeline,
        "tags": ["microtune", *tags, recipe.task.name, *recipe.method.title.split("+")],
    }
    scores = run.record.scores
    split = next((split for split in SPLIT if split in scores), None)
    if split is not None:
        values["metrics"] = list(scores[split].values)
        values["model-index"] = [{"name": visible(name), "results": [_result(recipe, pipeline, split, scores[split])]}]
    return between_lines(values)


def between_lines(values: Mapping[str, Any]) -> str:
    """Keys and values as YAML between lines of `---`."""
    return f"---\n{dumped(dict(values), width=120)}---\n"


def based_on(name: str, relation: str = "") -> dict[str, str]:
    """`base_model` where `name` is an id of the hub, and what the files are to it."""
    if not hub.is_id(name):
        return {}
    return {"base_model": visible(name), **({"base_model_relation": relation} if relation else {})}


def _result(recipe: Recipe, pipeline: str, split: str, score: SplitScores) -> dict[str, Any]:
    data = visible(data_title(recipe)).replace("\\", "/").rsplit("/", 1)[-1] or "data"
    return {
        "task": {"type": pipeline, "name": recipe.task.name},
        "dataset": {"name": data, "type": data, "split": split},
        "metrics": [
            _metric(name, value, score.intervals.get(name)) for name, value in score.values.items() if value is not None
        ],
    }


def _metric(name: str, value: float, interval: tuple[float, float] | None) -> dict[str, Any]:
    about = {} if interval is None else {"args": {"interval_95": [round(end, 6) for end in interval]}}
    return {"type": name, "value": round(value, 6), "name": name, **about}
