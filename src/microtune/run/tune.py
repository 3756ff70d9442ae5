"""Tuning: adapt, train, choose, calibrate, evaluate, save, check what was saved.

A generator of events, like training itself: whoever reads them shows a progress bar, writes a page, or does nothing.
The test split is read once, at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from microtune.adapt.base import Attachment, Method, make_method
from microtune.data.batches import collate
from microtune.errors import CheckError, InputError
from microtune.nn.heads import LabelHead
from microtune.recipe import Recipe
from microtune.run import precision as number_format
from microtune.run.card import write_card
from microtune.run.evaluate import Score, evaluate_items, predict_items
from microtune.run.folder import RunFolder
from microtune.run.load import Model, load
from microtune.run.plan import fitted
from microtune.run.precision import HeldBase
from microtune.run.prepare import Splits, encode_splits, make_splits, make_task
from microtune.run.saved import save_run
from microtune.run.session import Choice, Scored, Stage, run_training
from microtune.run.summary import Summary, summarize
from microtune.run.train import Step, Training
from microtune.run.trunk import TrunkCache
from microtune.tasks.base import Encoded, Task
from microtune.tasks.classification import Classification

CACHE_BYTES = 8_000_000_000
RELOADED_ROWS = 16


@dataclass(frozen=True)
class Prepared:
    """Before training: what was read, what trains, what a reader should know."""

    summary: Summary
    sizes: dict[str, int]
    notes: list[str]
    labels: tuple[Any, ...]


@dataclass(frozen=True)
class Evaluated:
    """After training: the score of the test split (or of validation, where there is no test split)."""

    split: str
    score: Score
    task: Task


Event = Stage | Prepared | Step | Scored | Evaluated


def tune(recipe: Recipe, folder: RunFolder, data: Mapping[str, Any]) -> Iterator[Event]:
    """Run a tuning recipe in `folder` (already open) on `data` (train, validation, test)."""
    ready = yield from get_ready(recipe, data, folder.remembered)
    model, task, encoded, splits, training = ready.model, ready.task, ready.encoded, ready.splits, ready.training
    yield from _fit(training, folder, encoded)
    yield Stage("evaluating")
    ready.held.release()
    task, scores = _judge(model, task, encoded, training)
    model.task = task
    yield from (Evaluated(name, score, task) for name, score in scores.items())
    save_run(folder.path, model, ready.method, training.attachment, recipe.model, recipe.seed)
    _check_reloaded(folder, model, task, encoded["train"])
    _finish(recipe, folder, model, training.attachment, scores, splits)


@dataclass(frozen=True)
class Ready:
    """Everything that stands before the first step."""

    model: Model
    task: Task
    splits: Splits
    encoded: dict[str, Encoded]
    method: Method
    held: HeldBase
    training: Training


def get_ready(
    recipe: Recipe, data: Mapping[str, Any], remembered: Callable[[str, Callable[[], Any]], Any]
) -> Generator[Stage | Prepared, None, Ready]:
    """Read, load, encode, attach.

    remembered: (name, decide) -> what the run decided about this machine before, or `decide()` where it has not yet.
    """
    if recipe.train.threads:
        torch.set_num_threads(recipe.train.threads)
    yield Stage("reading data")
    task, splits = make_splits(recipe, make_task(recipe), data)
    yield Stage("loading the model")
    model = _model(recipe)
    task = task.fitted(model.spec)
    encoded = encode_splits(task, splits, model, recipe.model.max_length)
    method, attachment = _attach(recipe, model, task)
    yield _prepared(model, attachment, encoded, splits, task)
    precision = remembered("precision", lambda: _precision(recipe, model, encoded["train"]))
    held = HeldBase(model.network, precision, lambda: _model(recipe).network)
    items = encoded["train"].items
    training = Training(
        model.network, task, method, attachment, items, recipe.train, seed=recipe.seed, precision=precision
    )
    return Ready(model, task, splits, encoded, method, held, training)


def _model(recipe: Recipe) -> Model:
    if recipe.model.source is None:
        raise InputError('recipe: model.source is missing; name a base, for instance "sprout".')
    model = load(recipe.model.source, weights=recipe.model.weights, seed=recipe.seed)
    if model.tokenizer is not None:
        model.tokenizer.limits = recipe.limits
    if model.place is not None and model.place.kind == "adapter":
        raise InputError(f"{recipe.model.source}: an adapter; tuning it further is not supported yet. Name its base.")
    if model.task is not None:
        raise InputError(
            f"{recipe.model.source}: already tuned; tuning a run further is not supported yet. Name its base."
        )
    return model


def _attach(recipe: Recipe, model: Model, task: Task) -> tuple[Method, Attachment]:
    torch.manual_seed(recipe.seed)
    head = task.make_head(model.spec)
    if head is not None:
        model.network.head = head
        if isinstance(head, LabelHead) and head.pooler is not None and "head.pooler.weight" in model.spare:
            head.pooler.load_state_dict({k: model.spare[f"head.pooler.{k}"] for k in ("weight", "bias")})
    elif model.missing_head:
        raise InputError(f"The files of this model hold no vocabulary head, which the task {task.name} needs.")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.network.to(device)
    method = make_method(recipe.method)
    return method, method.attach(model.network)


def _prepared(
    model: Model, attachment: Attachment, encoded: Mapping[str, Encoded], splits: Splits, task: Task
) -> Prepared:
    sizes = {name: part.report.rows for name, part in encoded.items()}
    return Prepared(summarize(model, attachment), sizes, splits.notes, tuple(getattr(task, "labels", ())))


def _precision(recipe: Recipe, model: Model, encoded: Encoded) -> number_format.Precision:
    """What products run in."""
    device = next(model.network.parameters()).device
    per_step = encoded.report.tokens * recipe.train.batch_size // max(encoded.report.items, 1)
    rows = max(1, min(per_step, recipe.train.micro_tokens))
    return number_format.resolve(recipe.train.precision, device, width=model.spec.hidden_size, rows=rows, ragged=True)


def make_trunks(training: Training, folder: Path, encoded: Mapping[str, Encoded]) -> dict[str, TrunkCache]:
    """Storage for what the frozen trunk says of the rows that are read in every epoch; {} where it does not pay."""
    if not training.settings.cache or training.total_steps <= training.steps_per_epoch:
        return {}
    found, room = {}, CACHE_BYTES
    for name in ("train", "validation"):
        if name in encoded:
            path = folder / f"{name}.bin"
            trunk = TrunkCache(training.model, encoded[name].items, path, training.precision, room)
            if trunk.usable:
                found[name], room = trunk, room - trunk.bytes
    return found


def _fit(training: Training, folder: RunFolder, encoded: Mapping[str, Encoded]) -> Iterator[Stage | Step | Scored]:
    trunks = make_trunks(training, folder.path / "cache", encoded)
    judged = [encoded[name].items for name in ("validation", "test") if name in encoded]
    training.compute_at_once(folder.remembered("micro_tokens", lambda: fitted(training, trunks, judged)))
    training.trunk = trunks.get("train")
    try:
        for name, trunk in trunks.items():
            for done in trunk.fill():
                yield Stage(f"frozen trunk, {name}", done, len(encoded[name].items))
        yield from _epochs(training, folder, encoded.get("validation"), trunks.get("validation"))
    finally:
        for trunk in trunks.values():
            trunk.close()


def _epochs(
    training: Training, folder: RunFolder, judged: Encoded | None, trunk: TrunkCache | None
) -> Iterator[Stage | Step | Scored]:
    yield Stage("training", training.step, training.total_steps, "steps")
    task = training.task

    def evaluate() -> Scored:
        assert judged is not None
        score = evaluate_items(training.model, task, judged, precision=training.precision, intervals=False, trunk=trunk)
        return Scored("validation", training.step, score.values)

    choice = Choice(task.primary, task.greater_is_better)
    yield from run_training(training, folder, choice, evaluate if judged is not None else None)


def _judge(
    model: Model, task: Task, encoded: Mapping[str, Encoded], training: Training
) -> tuple[Task, dict[str, Score]]:
    """Calibrate on validation, then score validation and test."""
    scores: dict[str, Score] = {}
    if "validation" in encoded:
        if isinstance(task, Classification):
            task = task.calibrated(list(predict_items(model.network, task, encoded["validation"])))
        scores["validation"] = evaluate_items(model.network, task, encoded["validation"])
    if "test" in encoded:
        scores["test"] = evaluate_items(model.network, task, encoded["test"])
    return task, scores


def _check_reloaded(folder: RunFolder, model: Model, task: Task, encoded: Encoded) -> None:
    """The saved run, loaded anew, gives the very same hidden states."""
    count = min(RELOADED_ROWS, len(encoded.items))
    batch = collate([encoded.items[i] for i in range(count)])
    again = load(folder.path)
    device = next(model.network.parameters()).device
    with torch.inference_mode():
        outputs = []
        for network in (model.network, again.network.to(device)):
            network.eval()
            there = batch.to(device)
            hidden = network(there.inputs, readout=there.readout, sources=there.sources, types=there.types)
            outputs.append(hidden if not isinstance(network.head, LabelHead) else network.head(hidden, there.counts))
    if not torch.equal(*outputs):
        gap = float((outputs[0] - outputs[1]).abs().max())
        raise CheckError(f"{folder.path}: the saved model gives other outputs than the trained one (gap {gap:.2g}).")


def _finish(
    recipe: Recipe,
    folder: RunFolder,
    model: Model,
    attachment: Attachment,
    scores: Mapping[str, Score],
    splits: Splits,
) -> None:
    plain = {
        name: {"values": score.values, "intervals": {k: list(v) for k, v in score.intervals.items()}}
        for name, score in scores.items()
    }
    for name, score in scores.items():
        folder.write_metric("score", {"split": name, "final": True, **score.values})
    notes = [*splits.notes, *folder.notes]
    removed = [{"path": row.path, "line": row.line} for row in splits.removed]
    write_card(folder.path, recipe, summarize(model, attachment), scores, model.task, notes)
    folder.finish({"scores": plain, "notes": notes, "removed": removed})


def without_memory(recipe: Recipe) -> tuple[Recipe, dict[str, Any]]:
    """The recipe with rows in memory replaced by a name, and the data itself."""
    data = {name: getattr(recipe.data, name) for name in ("train", "validation", "test")}
    named = {k: v if v is None or isinstance(v, str) else "<memory>" for k, v in data.items()}
    return recipe.model_copy(update={"data": recipe.data.model_copy(update=named)}), data


__all__ = ["Evaluated", "Event", "Prepared", "tune", "without_memory"]
