"""Tuning: adapt, train, choose, calibrate, evaluate, save, check what was saved.

A generator of events, like training itself: whoever reads them shows a progress bar, writes a page, or does nothing.
The test split is read once, at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from microtune.adapt.added import attach
from microtune.adapt.base import Attachment, Method, make_method
from microtune.data.parallel import is_pair
from microtune.errors import InputError
from microtune.nn.heads import LabelHead
from microtune.nn.rows import UsedRows
from microtune.recipe import Recipe
from microtune.run import added, virtual
from microtune.run import precision as number_format
from microtune.run.adjust import Decision, decisions
from microtune.run.answers import Answers, settled
from microtune.run.baselines import baseline_notes, below_chance, has_chance, tempered
from microtune.run.beginning import beginning, check_beginning
from microtune.run.checks import Warned
from microtune.run.cores import use_threads
from microtune.run.diagnosis import Diagnosis, diagnose, points
from microtune.run.diverged import good_checkpoints
from microtune.run.evaluate import Score, evaluate_items
from microtune.run.final import Probe
from microtune.run.folder import RunFolder, read_metrics
from microtune.run.invariants import check_rates, check_tied
from microtune.run.load import Model
from microtune.run.memory import give_back
from microtune.run.mixture import PARTS, by_task, data_of
from microtune.run.networks import check_method
from microtune.run.persistence import beside_the_one_before
from microtune.run.plan import fitted
from microtune.run.precision import HeldBase
from microtune.run.prepare import Splits, encode_splits, make_splits, make_task
from microtune.run.prompts import check_prompts
from microtune.run.reach import notes_on_reach
from microtune.run.reference import check_base, with_references
from microtune.run.report import write_report
from microtune.run.report.card import write_card
from microtune.run.report.facts import score_record, write_facts
from microtune.run.rows import narrow, widen
from microtune.run.saved import save_run
from microtune.run.session import Choice, Scored, Sitting, Stage, run_training
from microtune.run.sharing import Rows, Sharing
from microtune.run.summary import Summary, summarize
from microtune.run.train import Step, Training, micro_tokens
from microtune.run.trunk import TrunkCache
from microtune.tasks.base import Encoded, Task

CACHE_BYTES = 8_000_000_000
AT_THE_END = ("finite", "tied", "no-effect", "reload", "fits", "same-base", "nothing-to-score")


@dataclass(frozen=True)
class Prepared:
    """Before training: what was read, what trains, what a reader should know."""

    summary: Summary
    sizes: dict[str, int]
    notes: list[str]
    labels: tuple[Any, ...]
    fields: dict[str, str]  # role -> the field of the data that plays it


@dataclass(frozen=True)
class Evaluated:
    """After training: the score of the test split (or of validation, where there is no test split)."""

    split: str
    score: Score
    task: Task


Event = Stage | Prepared | Step | Scored | Warned | Decision | Evaluated | Diagnosis


def tune(
    recipe: Recipe,
    folder: RunFolder,
    data: Mapping[str, Any],
    *,
    sharing: Sharing | None = None,
    sitting: Sitting | None = None,
) -> Iterator[Event]:
    """Run a tuning recipe in `folder` (already open) on `data` (train, validation, test).

    sharing: what other runs on the same data hand on. sitting: how far it goes this time; default: to the end.
    """
    sitting = sitting or Sitting()
    ready = yield from get_ready(recipe, data, folder.remembered, sharing, folder.path / "cache")
    model, task, encoded, splits, training = ready.model, ready.task, ready.encoded, ready.splits, ready.training
    _check_before(training, model, encoded["train"], splits)
    choice = Choice(*task.chosen_by())
    trunks = make_trunks(training, folder.path / "cache", encoded, sharing)
    if not (yield from _fit(training, folder, encoded, choice, trunks, sitting)):
        return
    yield Stage("evaluating")
    kept = choice.step if choice.weights is not None and recipe.train.keep == "best" else training.step
    training.movement.finish(training.step, kept)
    if kept < training.total_steps and (late := training.unfreezing.not_begun(kept)):  # else said at the start
        folder.notes.append(late)
    _release(ready, folder)
    ready.probe.check_effect()
    check_tied(model.network)
    task = model.task = task.model_copy(update=choice.settled)
    names = ("validation", "test") if sitting.test else ("validation",)
    scores: dict[str, Score] = {}
    for name in (name for name in names if name in encoded):
        answers = Answers(model, task, encoded[name], splits.rows[name])
        yield from (Stage(f"writing answers, {name}", done, len(answers.asked)) for done in answers.fill())
        scores[name] = evaluate_items(model.network, task, encoded[name], answers=answers.columns)
    summary = summarize(model, training.attachment)
    save_run(folder.path, model, ready.method, training.attachment, recipe.model, recipe.seed)
    ready.probe.check_reloaded(folder.path)
    apart = by_task(task, scores, splits.rows)
    yield from (Evaluated(name, score, task) for name, score in (scores | apart).items())
    splits.ledger.passed(*AT_THE_END, *training.movement.made)
    _note_baselines(task, scores, encoded.get("validation"), folder, splits)
    lines = read_metrics(folder.path / "metrics.jsonl")
    diagnosis = tempered(diagnose(*points(lines), new_head=task.reads == "hidden"), task, scores)
    yield diagnosis
    write_facts(folder.path, task, model, summary, splits, encoded, scores)
    _finish(folder, task, scores | apart, splits, diagnosis, decisions(lines))


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
    probe: Probe
    narrowed: UsedRows | None


def get_ready(
    recipe: Recipe,
    data: Mapping[str, Any],
    remembered: Callable[[str, Callable[[], Any]], Any],
    sharing: Sharing | None = None,
    cache: Path | None = None,
) -> Generator[Stage | Prepared, None, Ready]:
    """Read, load, encode, attach.

    remembered: (name, decide) -> what the run decided about this machine before, or `decide()` where it has not yet.
    cache: folder in which the run keeps a tokenizer of its own.
    """
    use_threads(recipe.train.threads)
    method = make_method(recipe.method)
    model, (task, splits, encoded) = yield from get_rows(recipe, data, sharing, method.virtual_tokens, cache)
    attachment = _attach(recipe, method, model, task)
    splits.notes.extend([*virtual.begin(method, model), *virtual.notes_on(method, model, encoded)])
    splits.notes.extend(added.notes_on(model, attachment, encoded["train"].items))
    splits.notes.extend(notes_on_reach(recipe, task, model.network, attachment, len(encoded["train"].items)))
    yield _prepared(model, attachment, encoded, splits, task)
    probe = Probe(model.network, attachment, encoded["train"].items)
    precision = remembered("precision", lambda: _precision(recipe, model, encoded["train"]))
    held = HeldBase(model.network, precision, lambda: beginning(recipe, task, splits.rows["train"], cache)[0].network)
    items = encoded["train"].items
    narrowed = narrow(model.network, attachment, items)
    training = Training(
        model.network, task, method, attachment, items, recipe.train, seed=recipe.seed, precision=precision
    )
    return Ready(model, task, splits, encoded, method, held, training, probe, narrowed)


def get_rows(
    recipe: Recipe,
    data: Mapping[str, Any],
    sharing: Sharing | None,
    taken: int = 0,
    cache: Path | None = None,
) -> Generator[Stage, None, tuple[Model, Rows]]:
    """The base, and rows in its ids; what another run has read already is not read again.

    taken: positions that the method has taken, so that less is left for a row than under other methods.
    """
    check_beginning(recipe)
    sharing = None if taken else sharing
    known = None if sharing is None else sharing.rows(recipe)
    if known is None:
        yield Stage("reading data")
        task, splits = make_splits(recipe, make_task(recipe), data)
    else:
        task, splits, _ = known
    yield Stage("loading the model")
    model, notes = beginning(recipe, task, splits.rows["train"], cache)
    if known is None:
        splits.notes.extend([*model.notes, *notes])
        task = settled(task, model)
        check_base(task, model, recipe.model)
        encoded = encode_splits(task, splits, model, recipe.model.max_length, taken)
        encoded = with_references(model.network, task, encoded, cache)
        known = task, splits, encoded
        if sharing is not None:
            sharing.keep(recipe, *known)
    return model, known


def _attach(recipe: Recipe, method: Method, model: Model, task: Task) -> Attachment:
    torch.manual_seed(recipe.seed)
    head = task.make_head(model.spec)
    if head is not None:
        model.network.head = head
        if isinstance(head, LabelHead):
            head.take(model.spare)
    elif model.missing_head:
        raise InputError(f"The files of this model hold no vocabulary head, which the task {task.name} needs.")
    check_method(method, model.network)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.network.to(device)
    return attach(method, model.network, model.added)


def _check_before(training: Training, model: Model, encoded: Encoded, splits: Splits) -> None:
    """The last checks before the first step."""
    rows = splits.rows["train"]
    training.rows = rows
    check_tied(model.network)
    check_rates(training.optimizers)
    splits.ledger.passed("tied", "rate-zero")
    if check_prompts(model, training.task, encoded, rows):
        splits.ledger.passed("prompt-ids")


def _note_baselines(
    task: Task, scores: Mapping[str, Score], validation: Encoded | None, folder: RunFolder, splits: Splits
) -> None:
    """Notes on what needs no model: always the same answer, and labels that are never answered."""
    ledger = splits.ledger
    if validation is not None and has_chance(task):
        ledger.passed("chance")
        if (sentence := below_chance(task, validation, folder.path)) is not None:
            splits.notes.append(ledger.warned("chance", sentence))
    splits.notes += [*baseline_notes(task, scores, ledger), *beside_the_one_before(task, scores, splits)]


def _prepared(
    model: Model, attachment: Attachment, encoded: Mapping[str, Encoded], splits: Splits, task: Task
) -> Prepared:
    sizes = {name: part.report.rows for name, part in encoded.items()}
    labels = tuple(getattr(task, "labels", ()))
    return Prepared(summarize(model, attachment), sizes, splits.notes, labels, task.known_fields)


def _precision(recipe: Recipe, model: Model, encoded: Encoded) -> number_format.Precision:
    """What products run in."""
    device = next(model.network.parameters()).device
    per_step = encoded.report.tokens * recipe.train.batch_size // max(encoded.report.items, 1)
    rows = max(1, min(per_step, recipe.train.micro_tokens or micro_tokens(model.spec, model.network.cut, device)))
    return number_format.resolve(recipe.train.precision, device, width=model.spec.hidden_size, rows=rows, ragged=True)


def make_trunks(
    training: Training, folder: Path, encoded: Mapping[str, Encoded], sharing: Sharing | None = None
) -> dict[str, TrunkCache]:
    """Storage for what the frozen trunk says of the rows that are read in every epoch; {} where it does not pay."""
    if not training.settings.cache or training.total_steps <= training.steps_per_epoch:
        return {}
    found, room = {}, CACHE_BYTES
    for name in ("train", "validation"):
        if name in encoded:
            if sharing is None:
                path = folder / f"{name}.bin"
                trunk = TrunkCache(training.model, encoded[name].items, path, training.precision, room)
            else:
                trunk = sharing.trunk(training.model, encoded[name].items, training.precision, room)
            if trunk.usable:
                found[name], room = trunk, room - trunk.bytes
    return found


def _fit(
    training: Training,
    folder: RunFolder,
    encoded: Mapping[str, Encoded],
    choice: Choice,
    trunks: Mapping[str, TrunkCache],
    sitting: Sitting,
) -> Generator[Event, None, bool]:
    """Train as far as the sitting goes; whether the run is to end now."""
    judged = [encoded[name].items for name in ("validation", "test") if name in encoded]
    training.compute_at_once(folder.remembered("micro_tokens", lambda: fitted(training, trunks, judged)))
    training.trunk = trunks.get("train")
    try:
        for name, trunk in trunks.items():
            for done in trunk.fill():
                yield Stage(f"frozen trunk, {name}", done, len(encoded[name].items))
                if sitting.late and not sitting.ends:
                    return False
        return (yield from _epochs(training, folder, encoded.get("validation"), trunks, choice, sitting))
    finally:
        for trunk in trunks.values():
            trunk.close()


def _epochs(
    training: Training,
    folder: RunFolder,
    judged: Encoded | None,
    trunks: Mapping[str, TrunkCache],
    choice: Choice,
    sitting: Sitting,
) -> Generator[Event, None, bool]:
    yield Stage("training", training.step, training.total_steps, "steps")
    task, trunk = training.task, trunks.get("validation")

    def evaluate() -> Scored:
        assert judged is not None
        score = evaluate_items(
            training.model, task, judged, precision=training.precision, intervals=False, settle=True, trunk=trunk
        )
        return Scored("validation", training.step, score.values, settled=score.settled)

    with good_checkpoints(training, folder):
        for event in run_training(training, folder, choice, evaluate if judged is not None else None, sitting):
            yield event
            first = isinstance(event, Scored) and event.step <= training.steps_per_epoch
            if first and judged is not None and (sentence := below_chance(task, judged, folder.path)) is not None:
                yield Warned("chance", f"[chance] {sentence}")
    return sitting.ends


def _release(ready: Ready, folder: RunFolder) -> None:
    """The base as its files have it, the embedding whole; what int8 made of the loss on validation is noted."""
    training, encoded = ready.training, ready.encoded
    measured = training.precision == "int8" and "validation" in encoded
    rounded = _loss(training, encoded["validation"], "int8") if measured else 0.0
    training.optimizers.zero_grad()
    widen(training.model, ready.narrowed)
    give_back()
    ready.held.release()
    if measured:
        exact = _loss(training, encoded["validation"], "float32")
        folder.notes.append(
            f"int8: validation loss {rounded:.4f} with the frozen weights in int8, {exact:.4f} with those of the files."
        )


def _loss(training: Training, encoded: Encoded, precision: number_format.Precision) -> float:
    """Loss on a split with products in `precision`."""
    return evaluate_items(training.model, training.task, encoded, precision=precision, intervals=False).values["loss"]


def _finish(
    folder: RunFolder,
    task: Task,
    scores: Mapping[str, Score],
    splits: Splits,
    diagnosis: Diagnosis,
    decided: Sequence[Decision],
) -> None:
    for name, score in scores.items():
        folder.write_metric("score", {"split": name, "final": True, **score.values})
    record = {
        "scores": {name: score_record(task, score) for name, score in scores.items()},
        "notes": [*splits.notes, *folder.notes],
        "removed": [{"path": row.path, "line": row.line} for row in splits.removed],
        "checks": splits.ledger.record(),
        "diagnosis": diagnosis.plain(),
        "decisions": [asdict(decision) for decision in decided],
    }
    write_card(folder.path, record)
    write_report(folder.path, record=record)
    folder.finish(record)


def without_memory(recipe: Recipe) -> tuple[Recipe, dict[str, Any]]:
    """The recipe with rows in memory replaced by a name, and the data itself."""
    data = data_of(recipe)
    named = {
        k: v if v is None or isinstance(v, str) or is_pair(v) else "<memory>" for k, v in data.items() if k in PARTS
    }
    return recipe.model_copy(update={"data": recipe.data.model_copy(update=named)}), data


__all__ = ["Evaluated", "Event", "Prepared", "tune", "without_memory"]
