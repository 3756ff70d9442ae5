"""Trackers read steps and scores through stand-ins of their libraries; whatever they do, the run goes on."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from tiny_runs import make_base, make_rows, tune_recipe

from microtune.errors import InputError
from microtune.recipe import Recipe, build
from microtune.run import evaluate
from microtune.run.session import Scored
from microtune.run.track import MODULES, Trackers
from microtune.run.train import Step
from microtune.run.verbs import tune_recipe as tune

ALL = ["tensorboard", "mlflow", "wandb"]


class Calls:
    """Records what is called; raises at the `at`-th call of the name `fail`."""

    def __init__(self, fail: str = "", at: int = 1) -> None:
        self.made: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self.fail, self.at = fail, at

    def __call__(self, name: str, result: Any = None) -> Any:
        def record(*args: Any, **options: Any) -> Any:
            self.made.append((name, args, options))
            if name == self.fail and len(self.of(name)) >= self.at:
                raise RuntimeError(f"{name}\nis down")
            return result

        return record

    def of(self, name: str) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
        return [(args, options) for called, args, options in self.made if called == name]


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Fake libraries in sys.modules."""

    def install(calls: Calls) -> Calls:
        def module(name: str, **members: Any) -> None:
            made = ModuleType(name)
            made.__dict__.update(members)
            monkeypatch.setitem(sys.modules, name, made)

        writer = SimpleNamespace(add_scalar=calls("add_scalar"), close=calls("close"))
        module(MODULES["tensorboard"], SummaryWriter=calls("SummaryWriter", writer))
        names = ("start_run", "log_params", "log_metrics", "end_run")
        module("mlflow", **{name: calls(name) for name in names})
        module("wandb", init=calls("init", SimpleNamespace(log=calls("log"), finish=calls("finish"))))
        return calls

    return install


def recipe() -> Recipe:
    return build({"task": "classification", "data": "x.csv"})


def steps(count: int) -> list[Any]:
    made: list[Any] = [Step(i + 1, 0.5, 1.0 / (i + 1), 0.1, 2.0, 10, 5, 0.1) for i in range(count)]
    return [*made, Scored("validation", count, {"accuracy": 0.5, "loss": float("nan")})]


def test_a_run_is_told_to_every_tracker(stand_in: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "RESAMPLES", 10)
    calls = stand_in(Calls())
    base, rows = make_base(tmp_path / "base"), make_rows(tmp_path / "rows.csv")
    asked = tune_recipe(base, rows, track=ALL).model_copy(update={"out": str(tmp_path / "run")})
    run = tune(asked)
    logged = [(args[0], options["step"]) for args, options in calls.of("log")]
    assert logged == [(args[0], options["step"]) for args, options in calls.of("log_metrics")]
    assert [step for values, step in logged if "train/loss" in values] == list(range(1, 9))
    assert [step for values, step in logged if "validation/accuracy" in values] == [4, 8]
    final = {name: value for values, _ in logged for name, value in values.items() if name.startswith("final test/")}
    assert final == {f"final test/{name}": value for name, value in run.scores["test"].items()}
    scalars = [(args[0], args[2]) for args, _ in calls.of("add_scalar")]
    assert scalars == [(name, step) for values, step in logged for name in values]
    assert calls.of("SummaryWriter")[0][1] == {"log_dir": str(tmp_path / "run" / "tensorboard")}
    assert calls.of("log_params")[0][0][0]["train.lr"] == "0.01"
    assert calls.of("init")[0][1]["config"]["train"]["lr"] == 0.01
    assert [len(calls.of(name)) for name in ("close", "end_run", "finish")] == [1, 1, 1]
    assert not [note for note in run.notes if "tracker" in note]


def test_one_that_fails_in_the_middle_of_a_run(stand_in: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "RESAMPLES", 10)
    calls = stand_in(Calls("log", at=3))
    base, rows = make_base(tmp_path / "base"), make_rows(tmp_path / "rows.csv")
    run = tune(tune_recipe(base, rows, track=["wandb"]).model_copy(update={"out": str(tmp_path / "run")}))
    assert len(calls.of("log")) == 3
    note = "The tracker wandb failed at step 3 and was left out (RuntimeError: log is down)."
    assert note in run.notes
    assert note in (tmp_path / "run" / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("fail", "name", "what"),
    [
        ("SummaryWriter", "tensorboard", "could not start"),
        ("log_params", "mlflow", "could not start"),
        ("init", "wandb", "could not start"),
        ("add_scalar", "tensorboard", "failed at step 1"),
        ("log_metrics", "mlflow", "failed at step 1"),
        ("finish", "wandb", "could not be closed"),
    ],
)
def test_one_that_fails_is_left_out_and_the_others_go_on(
    fail: str, name: str, what: str, stand_in: Any, tmp_path: Path
) -> None:
    calls = stand_in(Calls(fail))
    notes: list[str] = []
    trackers = Trackers(ALL, notes)
    trackers.start(tmp_path, recipe())
    for event in steps(3):
        trackers.read(event)
    trackers.close()
    assert notes == [f"The tracker {name} {what} and was left out (RuntimeError: {fail} is down)."]
    told = {"tensorboard": len(calls.of("add_scalar")), "mlflow": len(calls.of("log_metrics"))}
    told["wandb"] = len(calls.of("log"))
    whole = {"tensorboard": 3 * 6 + 1, "mlflow": 4, "wandb": 4}  # a loss that is no number is not passed on
    del told[name], whole[name]
    assert told == whole


@pytest.mark.parametrize("name", ALL)
def test_a_library_that_is_missing_is_named_before_anything_is_done(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, MODULES[name], None)
    asked = tune_recipe("base", "rows.csv", track=[name]).model_copy(update={"out": str(tmp_path / "run")})
    monkeypatch.setattr("microtune.run.verbs.hashes", lambda data: {})
    monkeypatch.setattr("microtune.run.verbs.base_hash", lambda recipe: {})
    with pytest.raises(InputError, match=rf'train.track: {name} is not installed; pip install "microtune\[track\]"'):
        tune(asked)
    assert not (tmp_path / "run").exists()


def test_nothing_is_imported_unasked() -> None:
    """Neither by importing the module nor by a run without trackers."""
    before = set(sys.modules)
    trackers = Trackers([], [])
    trackers.start(Path("."), recipe())
    for event in steps(2):
        trackers.read(event)
    trackers.close()
    assert not {name for name in set(sys.modules) - before if name.split(".")[0] in ("mlflow", "wandb", "tensorboard")}


def test_an_unknown_tracker_is_refused() -> None:
    with pytest.raises(InputError, match=r"train\.track"):
        build({"task": "classification", "train": {"track": ["neptune"]}})
