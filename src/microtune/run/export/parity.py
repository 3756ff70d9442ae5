"""What an exported model must agree with: our own outputs for stored texts, and how far a reader may be from them.

The texts are English and Chinese and the same for every model; a run adds some rows of its test split. Whoever reads
the exported files gets the same ids, and its answers are compared number by number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from microtune.data.objects import read_object
from microtune.errors import CheckError, InputError, MicrotuneError
from microtune.nn.heads import LabelHead, pool_mean
from microtune.nn.own_heads import OwnHead
from microtune.ragged import Ragged
from microtune.recipe import build
from microtune.recipe import load as load_recipe
from microtune.run.given import hashes
from microtune.run.load import Model
from microtune.run.mixture import data_of
from microtune.run.prepare import items_limit, make_splits, make_task
from microtune.run.reference import scored_against_base
from microtune.tasks.base import Encoded

Kind = Literal["label", "vocabulary", "sentence", "hidden"]
COMPARED = {"label": "label scores", "vocabulary": "logits", "sentence": "embeddings", "hidden": "hidden states"}
PROMPTS = (
    "my card was charged twice at the shop",
    "The quick brown fox jumps over the lazy dog.",
    "How many parcels (12 or 345) did you send on 3 May?",
    "One line,\n  then an indented one: café, naïve; 价格 42 元。",
    "退款还没有到账，请帮我查一下。",
    "今天天气很好，我们去公园散步吧！",
)
LONGEST = 128  # tokens of a stored row
RUN_ROWS = 8
ROUNDING = 5e-5  # of the largest value: float32 rounding over the depth of a model; a wrong field costs 1e-3 and more


@dataclass(frozen=True)
class Parity:
    """What came of reading exported files.

    gap: the largest difference between our outputs and the reader's; bound: how much was allowed, and reason: why that
    much. independent: whether the reader is another program than the one that wrote; if not, note says what to install.
    """

    format: str
    reader: str
    independent: bool
    compared: str
    rows: int
    gap: float
    bound: float
    reason: str
    note: str = ""
    facts: tuple[tuple[str, Any], ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the gap is within the bound; a gap that is no number is not."""
        return self.gap <= self.bound

    def with_facts(self, **facts: Any) -> Parity:
        """The same with further things to know."""
        return replace(self, facts=(*self.facts, *facts.items()))

    def record(self) -> dict[str, Any]:
        """For parity.json; an infinite gap is written as null."""
        values = asdict(self)
        facts = dict(values.pop("facts"))
        values["gap"] = self.gap if math.isfinite(self.gap) else None
        return {**values, "passed": self.passed, **facts}

    def require(self) -> Parity:
        """Itself where it passed, or a CheckError."""
        if not self.passed:
            raise CheckError(
                f"The exported {self.format} files do not compute what the model does: {self.reader} gives "
                f"{self.compared} that differ by {self.gap:.3g}, and {self.bound:.3g} is allowed ({self.reason}). "
                "Nothing was written.",
                check="export",
            )
        return self


def kind_of(model: Model) -> Kind:
    """What the model gives: label scores, logits of a vocabulary, one vector per text, or hidden states."""
    if isinstance(model.network.head, OwnHead):
        name = "This task" if model.task is None else f"The task {model.task.name}"
        raise InputError(f"{name} has a head of its own, which no exported form has yet; the run itself can be loaded.")
    if isinstance(model.network.head, LabelHead):
        return "label"
    if model.network.decoder is None and model.spec.pooling == "mean":
        return "sentence"
    return "hidden" if model.missing_head else "vocabulary"


def stored_rows(model: Model, items: Encoded | None = None) -> list[list[int]]:
    """Rows of ids: the stored texts and the first of `items`; of a model without a tokenizer, ids made up."""
    limit = min(x for x in (LONGEST, model.max_length, model.room) if x)
    if model.tokenizer is None:
        size = model.spec.vocab_size
        rows = [[(7 * i * i + 3 * k + 1) % size for i in range(min(limit, 4 + 3 * k))] for k in range(len(PROMPTS))]
    else:
        rows = [model.text.encode_cut(text, limit)[0] for text in PROMPTS]
    if items is not None:
        rows += [list(items.items[i].ids)[:limit] for i in range(min(RUN_ROWS, len(items.items)))]
    return [row for row in rows if row]


@torch.inference_mode()
def outputs(model: Model, rows: Sequence[Sequence[int]]) -> list[Tensor]:
    """What the model gives for each row, in float32: `[labels]`, `[T, V]`, `[D]` or `[T, D]` by its kind.

    The decoder of an encoder-decoder reads the same row as its encoder.
    """
    network, kind = model.network.eval(), kind_of(model)
    inputs = Ragged.from_lists(rows)
    both = network.encoder is not None and network.decoder is not None
    hidden = network(inputs, sources=inputs if both else None)
    parts = hidden.split(inputs.lengths.tolist())
    if kind == "sentence":
        pooled = pool_mean(hidden, inputs.lengths)
        found = list(F.normalize(pooled, dim=-1) if model.normalize else pooled)
    elif kind == "label":
        head = network.head
        assert isinstance(head, LabelHead)
        counts = inputs.lengths if head.pooling == "mean" else torch.ones_like(inputs.lengths)
        first = inputs.starts if head.pooling == "first" else inputs.starts + inputs.lengths - 1
        found = list(head(hidden if head.pooling == "mean" else hidden[first], counts))
    else:
        found = [network.head(part) if kind == "vocabulary" else part for part in parts]
    return [tensor.float() for tensor in found]


def gap_of(wanted: Sequence[Tensor], got: Sequence[Tensor]) -> float:
    """The largest difference; infinite where shapes differ or a value is no number."""
    if [tuple(t.shape) for t in wanted] != [tuple(t.shape) for t in got]:
        return math.inf
    gap = max((float((a - b.float()).abs().max()) for a, b in zip(wanted, got, strict=True)), default=0.0)
    return gap if math.isfinite(gap) else math.inf


def largest(found: Sequence[Tensor]) -> float:
    """The largest absolute value, and at least 1: what a relative bound is multiplied with."""
    return max([1.0, *(float(t.abs().max()) for t in found)])


def run_items(model: Model) -> tuple[Encoded | None, str]:
    """Items of the test split of the run that `model` was loaded from, or None and the reason why there are none."""
    place = model.place
    if place is None or place.kind != "run" or model.task is None:
        return None, "the model is no run"
    try:
        recipe = build(load_recipe(place.path / "recipe.yaml"))
        data = data_of(recipe)
        if any(value == "<memory>" for value in data.values()):
            return None, "its rows were given in memory"
        known = read_object(place.path / "environment.json").get("data")
        if not isinstance(known, dict) or any(known.get(name) != value for name, value in hashes(data).items()):
            return None, "its data has changed"
        rows = make_splits(recipe, make_task(recipe), data)[1].rows.get("test")
        if not rows:
            return None, "it has no test split"
        limit = items_limit(model, None, model.network.virtual_tokens)
        encoded = model.task.encode_all(rows, model.text, limit, training=False)
        return scored_against_base(model, model.task, encoded), ""
    except MicrotuneError as error:
        return None, str(error).rstrip(".")
