"""The loop around training that every run shares: resume, checkpoints, choosing by validation, stopping on a signal.

Like training itself it is a generator: it yields `Step`s and, after each epoch, `Scored`. Whoever reads them may stop
at any time; the next run continues from the last checkpoint.
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from microtune.errors import MicrotuneError, RunError
from microtune.recipe import Section, validated
from microtune.run.adjust import Decision, Watch, WatchRecord
from microtune.run.diverged import check_weights
from microtune.run.folder import RunFolder
from microtune.run.train import Step, Training

CHEAP_SECONDS, LEAST_SHARE = 0.1, 10  # of a checkpoint: what is always written; steps between, in times of writing
WRITE_RATE = 1.5e8  # bytes a second, flushed to a plain disk: what the first one is taken to cost before it is known


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
    settled: dict[str, float] = field(default_factory=dict)  # fields of the task that follow from it


class TrainingRecord(Section):
    """What `Training.state` says beside its tensors."""

    step: int = Field(ge=0)
    seconds: float = Field(default=0.0, ge=0)
    optimizers: list[dict[str, dict[str, Any]]]
    frozen: str


class ChoiceRecord(Section):
    """What `Choice.plain` says."""

    value: float | None
    step: int = Field(ge=0)
    epochs_without_gain: int = Field(ge=0)
    tie: float | None = None
    loss: float | None = None
    settled: dict[str, float] = Field(default_factory=dict)
    here: bool = False  # the best weights are those of the checkpoint itself


class CheckpointRecord(Section):
    """`state.json` of a checkpoint."""

    training: TrainingRecord
    choice: ChoiceRecord
    watch: WatchRecord = WatchRecord()


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
    tie: float | None = None  # the loss of the best weights
    loss: float | None = None  # the lowest so far, whatever the primary metric is
    weights: dict[str, Tensor] | None = None
    settled: dict[str, float] = field(default_factory=dict)  # of the weights that the run ends with

    def better(self, value: float, loss: float | None = None) -> bool:
        """Whether `value`, or between equals `loss`, beats the best so far; what is no number beats nothing."""
        if math.isnan(value):
            return False
        if math.isnan(self.value):
            return True
        if value == self.value:  # common on small splits
            return loss is not None and self.tie is not None and loss < self.tie
        return value > self.value if self.greater_is_better else value < self.value

    def lower(self, loss: float | None) -> bool:
        """Whether `loss` is the lowest so far, which it is from then on."""
        if loss is None or not math.isfinite(loss) or (self.loss is not None and loss >= self.loss):
            return False
        self.loss = loss
        return True

    def plain(self) -> dict[str, Any]:
        """What a checkpoint keeps beside the weights."""
        value = None if math.isnan(self.value) else self.value
        plain = {"value": value, "step": self.step, "epochs_without_gain": self.epochs_without_gain}
        return {**plain, "tie": self.tie, "loss": self.loss, "settled": self.settled}


@dataclass
class Sitting:
    """How far a run goes this time: to its end, to a step, or until a time; and whether it then ends or rests.

    A run that ends is evaluated and saved as it stands. One that rests has a checkpoint, and the next sitting continues
    it bit for bit; a look at validation in the middle of an epoch, for whoever ranks runs, leaves no trace in it.
    """

    steps: int | None = None  # rest or end after so many steps of the run
    until: float = math.inf  # on `clock`: no step is begun that would probably end later
    ends: bool = True
    test: bool = True  # whether the test split is read at the end
    clock: Callable[[], float] = time.monotonic
    longest: float = 0.0  # seconds of the longest step

    @property
    def late(self) -> bool:
        """Whether there is no time for one more step."""
        return self.clock() + self.longest >= self.until

    def over(self, step: int) -> bool:
        """Whether it stops after `step`."""
        return self.late or (self.steps is not None and step >= self.steps)


def run_training(
    training: Training,
    folder: RunFolder,
    choice: Choice,
    evaluate: Callable[[], Scored] | None,
    sitting: Sitting | None = None,
) -> Iterator[Step | Scored | Decision]:
    """Train from wherever the folder's last checkpoint stands, as far as the sitting goes.

    Where it ends, the chosen weights are in the model.
    """
    sitting = sitting or Sitting()
    watch = Watch(training, judged=evaluate is not None)
    _resume(training, folder, choice, watch)
    settings = training.settings
    every = settings.checkpoint_steps or training.steps_per_epoch
    spacing = Spacing(always=settings.checkpoint_steps > 0, size=_checkpoint_bytes(training))
    with _signals() as asked_to_stop:
        done, looked = _enough(training, choice), _epoch_ends(training)
        for step in () if done or sitting.over(training.step) else training.fit():
            decision = watch.after_step(step, choice.weights)
            folder.write_metric("step", step)
            yield step
            yield from _noted(decision, folder)
            sitting.longest = max(sitting.longest, step.seconds)
            stops = sitting.over(training.step)
            looked = _epoch_ends(training) or (stops and sitting.ends)
            if evaluate is not None and looked:
                scored = _judge(evaluate(), choice, training, folder)
                yield scored
                if not _enough(training, choice):
                    yield from _noted(watch.after_look(scored.values.get("loss"), scored.best, choice.weights), folder)
            elif evaluate is not None and stops:
                yield evaluate()
            done = stops or _enough(training, choice)
            last = done or training.step == training.total_steps
            due = training.step % every == 0 and spacing.due()
            if last or due or asked_to_stop.is_set():
                with spacing:
                    _save(training, folder, choice, watch)
            if asked_to_stop.is_set():
                so_far = f"{training.step} of {training.total_steps}"
                raise Interrupted(f"Stopped at step {so_far}; run the same command to resume.")
            if done:
                break
    if sitting.ends:
        yield from _end(training, folder, choice, None if looked else evaluate)


def _end(
    training: Training, folder: RunFolder, choice: Choice, evaluate: Callable[[], Scored] | None
) -> Iterator[Scored]:
    """The chosen weights; `evaluate` is given where the run had rested in the middle of an epoch."""
    if evaluate is not None:
        yield _judge(evaluate(), choice, training, folder)
    if training.settings.keep == "best" and choice.weights is not None:
        training.attachment.load_state(choice.weights)


class Spacing:
    """Whether the work since the last checkpoint is worth another: of epochs that take a second, not each is.

    At most a tenth of the time goes into writing, and a kill loses at most ten times what a checkpoint takes. What the
    first one takes follows from its `size` in bytes.
    """

    def __init__(self, *, always: bool, size: int = 0) -> None:
        self.always, self.cost, self.since = always, size / WRITE_RATE, time.perf_counter()

    def due(self) -> bool:
        """Whether one should be written now."""
        cheap = self.always or self.cost < CHEAP_SECONDS
        return cheap or time.perf_counter() - self.since >= LEAST_SHARE * self.cost

    def __enter__(self) -> None:
        self._start = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.since = time.perf_counter()
        self.cost = self.since - self._start


def _checkpoint_bytes(training: Training) -> int:
    """Bytes of a checkpoint: what trains, and what the optimizers keep of it."""
    return sum(p.nbytes for _, p in training.attachment.parameters()) + training.optimizers.state_bytes()


def _epoch_ends(training: Training) -> bool:
    return training.step % training.steps_per_epoch == 0 or training.step == training.total_steps


def _enough(training: Training, choice: Choice) -> bool:
    """Whether `train.patience` is at its end."""
    patience = training.settings.patience
    return bool(patience) and choice.epochs_without_gain >= patience


def _noted(decision: Decision | None, folder: RunFolder) -> Iterator[Decision]:
    if decision is not None:
        folder.write_metric("decision", decision)
        yield decision


def _judge(scored: Scored, choice: Choice, training: Training, folder: RunFolder) -> Scored:
    value, settings = scored.values[choice.primary], training.settings
    loss = scored.values.get("loss")
    gained = choice.better(value, loss)
    learning = choice.lower(loss)
    choice.epochs_without_gain = 0 if gained or learning else choice.epochs_without_gain + 1
    if gained:
        choice.value, choice.tie, choice.step = value, loss, training.step
        if settings.keep == "best" or settings.adjust == "act":
            choice.weights = training.attachment.state()
    if gained or settings.keep == "last":
        choice.settled = scored.settled
    folder.write_metric("score", {"split": scored.split, "step": scored.step, "best": gained, **scored.values})
    return Scored(scored.split, scored.step, scored.values, scored.intervals, gained, scored.settled)


def _save(training: Training, folder: RunFolder, choice: Choice, watch: Watch) -> None:
    check_weights(training)
    tensors, plain = training.state(copies=False)
    best = choice.weights or {}
    here = bool(best) and all(torch.equal(value, tensors[f"weights.{name}"]) for name, value in best.items())
    if not here:
        tensors |= {f"best.{name}": value for name, value in best.items()}
    record = {"training": plain, "choice": {**choice.plain(), "here": here}, "watch": watch.plain().model_dump()}
    folder.save_checkpoint(training.step, tensors, record)


def _resume(training: Training, folder: RunFolder, choice: Choice, watch: Watch) -> None:
    found = folder.load_checkpoint()
    if found is None:
        folder.rewind_metrics(0)
        return
    tensors = found[0]
    record = validated(CheckpointRecord, found[1], f"{folder.path}: state.json")
    if record.training.step > training.total_steps:
        raise RunError(
            f"{folder.path}: its checkpoint is of a longer run; delete its folder checkpoints to begin anew."
        )
    best = {k.removeprefix("best."): v for k, v in tensors.items() if k.startswith("best.")}
    training.load_state({k: v for k, v in tensors.items() if not k.startswith("best.")}, dict(record.training))
    watch.load(record.watch)
    kept = record.choice
    choice.value = math.nan if kept.value is None else kept.value
    choice.step, choice.epochs_without_gain = kept.step, kept.epochs_without_gain
    choice.tie, choice.loss = kept.tie, kept.loss
    choice.weights, choice.settled = training.attachment.state() if kept.here else best or None, kept.settled
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
