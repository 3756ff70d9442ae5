"""A classifier that comes as a folder of transformers: with its label head and the names of its labels, not without.

`load` leaves the head aside, since a new task brings its own; an export that did so would be another model in silence.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from microtune.errors import InputError
from microtune.nn.heads import LabelHead
from microtune.run.load import Model
from microtune.tasks.base import Task
from microtune.tasks.classification import Classification
from microtune.tasks.regression import Regression

OUT = "head.out.weight"
FORMS = {"multi_label_classification": "multi"}


def with_its_labels(model: Model) -> Model:
    """`model`, on which the label head that its files hold stands now; InputError where that head is not whole."""
    weight = model.spare.get(OUT)
    if model.task is not None or weight is None:
        return model
    head = LabelHead(model.spec, len(weight))
    given = {name.removeprefix("head."): tensor for name, tensor in model.spare.items()}
    wanted = head.state_dict()
    wrong = next((n for n in sorted(wanted.keys() | given.keys()) if _shape(wanted, n) != _shape(given, n)), None)
    if wrong is not None:
        where = model.place.name if model.place is not None else "model"
        raise InputError(
            f'{where}: its label head is not the one that config.json describes ("{wrong}"); save the model again.'
        )
    head.load_state_dict(given)
    model.network.head = head.to(next(model.network.parameters()))
    model.missing_head = ()
    model.task = _task(model, len(weight))
    return model


def _shape(state: Mapping[str, Any], name: str) -> list[int] | None:
    return list(state[name].shape) if name in state else None


def _task(model: Model, count: int) -> Task:
    """The task that config.json speaks of."""
    config, names = model.config, model.config.get("id2label")
    known = isinstance(names, dict) and sorted(map(str, names)) == sorted(map(str, range(count)))
    labels = [str(names[str(i)]) if known and names else f"LABEL_{i}" for i in range(count)]
    problem = config.get("problem_type")
    if problem == "regression" or (problem is None and count == 1):
        deviation = _number(config.get("target_deviation"), 1.0)
        return Regression(
            text_field="text",
            label_field=labels[0],
            mean=_number(config.get("target_mean"), 0.0),
            deviation=deviation if deviation > 0 else 1.0,
            pooling=model.spec.pooling,
        )
    form: Any = FORMS.get(str(problem), "single")
    return Classification(labels=tuple(labels), text_field="text", form=form, pooling=model.spec.pooling)


def _number(value: Any, otherwise: float) -> float:
    known = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if known else otherwise
