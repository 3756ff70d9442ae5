"""Trackers: TensorBoard, MLflow and Weights & Biases as readers of a run's steps and scores.

Each library is imported only when `train.track` names it. A tracker that fails, at its start or in the middle, is left
out from then on and a note of the run says so; training never depends on it. A resumed run begins a new record there.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from microtune.errors import InputError
from microtune.recipe import Recipe
from microtune.run.session import Scored
from microtune.run.train import Step
from microtune.run.tune import Evaluated

PROJECT = "microtune"  # of MLflow's experiment and of W&B's project, where the user's environment names none
MODULES = {"tensorboard": "torch.utils.tensorboard", "mlflow": "mlflow", "wandb": "wandb"}
STEP_FIELDS = ("loss", "lr", "grad_norm", "epoch", "tokens", "seconds")


class Tracker(Protocol):
    """Takes numbers by name at a step."""

    def log(self, values: Mapping[str, float], step: int) -> None: ...

    def close(self) -> None: ...


class TensorBoard:
    """Event files in the run's folder `tensorboard`."""

    def __init__(self, module: Any, folder: Path, recipe: Recipe) -> None:
        self._writer = module.SummaryWriter(log_dir=str(folder / "tensorboard"))

    def log(self, values: Mapping[str, float], step: int) -> None:
        """One scalar per name."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()


class MLflow:
    """A run of the experiment `microtune`, or of the one that MLFLOW_EXPERIMENT_NAME names."""

    def __init__(self, module: Any, folder: Path, recipe: Recipe) -> None:
        self._mlflow = module
        module.start_run(run_name=folder.name)
        module.log_params(flat(recipe))

    def log(self, values: Mapping[str, float], step: int) -> None:
        """All names in one call."""
        self._mlflow.log_metrics(dict(values), step=step)

    def close(self) -> None:
        """End the run there."""
        self._mlflow.end_run()


class WandB:
    """A run of the project `microtune`; its files lie in the run's folder."""

    def __init__(self, module: Any, folder: Path, recipe: Recipe) -> None:
        config = recipe.model_dump(mode="json")
        self._run = module.init(project=PROJECT, name=folder.name, dir=str(folder), config=config)

    def log(self, values: Mapping[str, float], step: int) -> None:
        """All names in one call."""
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        """End the run there."""
        self._run.finish()


KINDS: dict[str, Callable[[Any, Path, Recipe], Tracker]] = {
    "tensorboard": TensorBoard,
    "mlflow": MLflow,
    "wandb": WandB,
}


class Trackers:
    """All trackers of a run; reads its events and never raises."""

    def __init__(self, names: Sequence[str], notes: list[str]) -> None:
        """Import what is asked for; a library that is not installed is an InputError before anything is done."""
        self.notes = notes
        self._modules = {name: imported(name) for name in dict.fromkeys(names)}
        self._open: dict[str, Tracker] = {}
        self._step = 0

    def start(self, folder: Path, recipe: Recipe) -> None:
        """Begin a record in each."""
        for name, module in self._modules.items():
            try:
                self._open[name] = KINDS[name](module, folder, recipe)
            except Exception as error:
                self._left_out(name, error, "could not start")

    def read(self, event: Any) -> None:
        """Pass on a Step, a Scored or an Evaluated; other events say nothing in numbers."""
        if isinstance(event, Step):
            self._step = event.step
            self._log({f"train/{name}": getattr(event, name) for name in STEP_FIELDS})
        elif isinstance(event, Scored):
            self._log({f"{event.split}/{name}": value for name, value in event.values.items()})
        elif isinstance(event, Evaluated):
            self._log({f"final {event.split}/{name}": value for name, value in event.score.values.items()})

    def close(self) -> None:
        """End every record."""
        for name, tracker in list(self._open.items()):
            try:
                tracker.close()
            except Exception as error:
                self._left_out(name, error, "could not be closed")
        self._open = {}

    def _log(self, values: Mapping[str, float]) -> None:
        finite = {name: float(value) for name, value in values.items() if math.isfinite(value)}
        for name, tracker in list(self._open.items()):
            try:
                tracker.log(finite, self._step)
            except Exception as error:
                self._left_out(name, error, f"failed at step {self._step}")

    def _left_out(self, name: str, error: Exception, what: str) -> None:
        self._open.pop(name, None)
        reason = " ".join(str(error).split())[:200]
        self.notes.append(f"The tracker {name} {what} and was left out ({type(error).__name__}: {reason}).")


def imported(name: str) -> Any:
    """The tracker's library, or an InputError that names the extra to install."""
    try:
        return importlib.import_module(MODULES[name])
    except ImportError as error:
        raise InputError(
            f'train.track: {name} is not installed; pip install "microtune[track]", or leave {name} out.'
        ) from error


def flat(recipe: Recipe) -> dict[str, str]:
    """The recipe as `train.lr` -> "0.01", as MLflow wants its parameters (at most 500 characters each)."""
    found: dict[str, str] = {}

    def walk(value: Any, place: str) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(inner, f"{place}.{key}" if place else str(key))
        else:
            found[place] = str(value)[:500]

    walk(recipe.model_dump(mode="json", exclude={"limits"}), "")
    return found
