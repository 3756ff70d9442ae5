"""The loop around training that every run shares: resume, checkpoints, choosing by validation, stopping on a signal.

Like training itself it is a generator: it yields `Step`s and, after each epoch, `Scored`. Whoever reads them may stop
at any time; the next run continues from the last checkpoint.
"""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from pydantic import Field
from torch import Tensor

from microtune.errors import MicrotuneError, RunError
from microtune.recipe import Section, validated
from microtune.run.folder import RunFolder
from microtune.run.train import Step, Training


@dataclass(frozen=True)
class Stage:
    """A part of the work begins, or advances (`done` of `total`)."""

    name: str
    done: int = 0
    total: int = 0
    unit: str = "rows"


@dataclass(frozen=True)
class Scored:
    """Scores of a split at some point of the run."""

    split: str
    step: int
    values: dict[str, float]
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    best: bool = False


class TrainingRecord(Section):
    """What `Training.state` says beside its tensors."""

    step: int = Field(ge=0)
    optimizers: list[dict[str, dict[str, Any]]]
    frozen: str


class ChoiceRecord(Section):
    """What `Choice.plain` says."""

    value: float | None
    step: int = Field(ge=0)
    epochs_without_gain: int = Field(ge=0)


class CheckpointRecord(Section):
    """`state.json` of a checkpoint."""

    training: TrainingRecord
    choice: ChoiceRecord


class Interrupted(MicrotuneError):  # noqa: N818 - an event rather than an error
    """The run was asked to stop; everything up to the last step is saved."""

    exit_code = 130


@dataclass
class Choice:
    """Which weights are the best so far, by the validation split alone."""

    primary: str
    greater_is_better: bool
    value: float = math.nan
    step: int = 0
    epochs_without_gain: int = 0
    weights: dict[str, Tensor] | None = None

    def better(self, value: float) -> bool:
        """Whether `value` beats the best so far."""
        if math.isnan(self.value):
            return True
        return value > self.value if self.greater_is_better else value < self.value

    def plain(self) -> dict[str, Any]:
        """What a checkpoint keeps beside the weights."""
        value = None if math.isnan(self.value) else self.value
        return {"value": value, "step": self.step, "epochs_without_gain": self.epochs_without_gain}


def run_training(
    training: Training,
    folder: RunFolder,
    choice: Choice,
    evaluate: Callable[[], Scored] | None,
) -> Iterator[Step | Scored]:
    """Train to the end from wherever the folder's last checkpoint stands; leaves the chosen weights in the model."""
    _resume(training, folder, choice)
    settings = training.settings
    every = settings.checkpoint_steps or training.steps_per_epoch
    stopped_early = bool(settings.patience) and choice.epochs_without_gain >= settings.patience
    with _signals() as asked_to_stop:
        for step in () if stopped_early else training.fit():
            folder.write_metric("step", step)
            yield step
            epoch_ends = training.step % training.steps_per_epoch == 0 or training.step == training.total_steps
            if evaluate is not None and epoch_ends:
                scored = _judge(evaluate(), choice, training, folder)
                yield scored
            enough = bool(settings.patience) and choice.epochs_without_gain >= settings.patience
            last = enough or training.step == training.total_steps
            if last or training.step % every == 0 or asked_to_stop.is_set():
                _save(training, folder, choice)
            if asked_to_stop.is_set():
                done = f"{training.step} of {training.total_steps}"
                raise Interrupted(f"Stopped at step {done}; run the same command to resume.")
            if enough:
                break
    if settings.keep == "best" and choice.weights is not None:
        training.attachment.load_state(choice.weights)


def _judge(scored: Scored, choice: Choice, training: Training, folder: RunFolder) -> Scored:
    value = scored.values[choice.primary]
    gained = choice.better(value)
    if gained:
        choice.value, choice.step, choice.epochs_without_gain = value, training.step, 0
        if training.settings.keep == "best":
            choice.weights = training.attachment.state()
    else:
        choice.epochs_without_gain += 1
    folder.write_metric("score", {"split": scored.split, "step": scored.step, "best": gained, **scored.values})
    return Scored(scored.split, scored.step, scored.values, scored.intervals, gained)


def _save(training: Training, folder: RunFolder, choice: Choice) -> None:
    tensors, plain = training.state(copies=False)
    tensors |= {f"best.{name}": value for name, value in (choice.weights or {}).items()}
    folder.save_checkpoint(training.step, tensors, {"training": plain, "choice": choice.plain()})


def _resume(training: Training, folder: RunFolder, choice: Choice) -> None:
    found = folder.load_checkpoint()
    if found is None:
        folder.rewind_metrics(0)
        return
    tensors = found[0]
    record = validated(CheckpointRecord, found[1], f"{folder.path}: state.json of the checkpoint")
    if record.training.step > training.total_steps:
        raise RunError(
            f"{folder.path}: its checkpoint is of a longer run; delete its folder checkpoints to begin anew."
        )
    best = {k.removeprefix("best."): v for k, v in tensors.items() if k.startswith("best.")}
    training.load_state({k: v for k, v in tensors.items() if not k.startswith("best.")}, dict(record.training))
    kept = record.choice
    choice.value = math.nan if kept.value is None else kept.value
    choice.step, choice.epochs_without_gain = kept.step, kept.epochs_without_gain
    choice.weights = best or None
    folder.rewind_metrics(training.step)
    folder.notes.append(f"Resumed at step {training.step} of {training.total_steps}.")


@contextmanager
def _signals() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set, and a second one stops at once."""
    event = threading.Event()

    def ask(*_: object) -> None:
        if event.is_set():
            raise KeyboardInterrupt
        event.set()

    with _handled(ask):
        yield event


def stoppable() -> AbstractContextManager[None]:
    """Outside the steps (reading, loading, judging, saving) SIGINT and SIGTERM stop at once, with the same sentence."""

    def stop(*_: object) -> None:
        raise Interrupted("Stopped; run the same command to resume.")

    return _handled(stop)


@contextmanager
def _handled(handler: Callable[..., None]) -> Iterator[None]:
    """`handler` for SIGINT and SIGTERM; only the main thread can listen."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, signal.SIG_DFL if earlier is None else earlier)
