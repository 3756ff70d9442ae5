"""`method: auto`: chosen on validation, trained in full, remembered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import make_base, make_rows, tune_recipe

from microtune.errors import InputError
from microtune.recipe import Choice, Recipe
from microtune.run import auto
from microtune.run.compare import contest
from microtune.run.load import load
from microtune.run.session import Interrupted, Stage
from microtune.run.train import Step
from microtune.run.verbs import tune_recipe as tune_in_full

pytestmark = pytest.mark.usefixtures("quick")


def auto_recipe(folder: Path, **options: Any) -> Recipe:
    recipe = tune_recipe(make_base(folder / "base"), make_rows(folder / "rows.csv"), checkpoint_steps=0)
    method = Choice(name="auto", **options)
    return recipe.model_copy(update={"method": method, "out": str(folder / "run")})


def test_it_chooses_then_trains_in_full(tmp_path: Path) -> None:
    """Interrupted while it chooses and while it trains: the candidates train once, the choice stays."""
    recipe = auto_recipe(tmp_path)
    events: list[Any] = []

    def stop(event: Any, at: str) -> None:
        events.append(event)
        if (isinstance(event, Stage) and event.name.startswith(at)) or (isinstance(event, Step) and at == "step"):
            raise Interrupted("Stopped.")

    with pytest.raises(Interrupted):
        tune_in_full(recipe, on_event=lambda event: stop(event, "choosing a method: lora:8"))
    progress = tmp_path / "run" / "cache" / "choosing" / "progress.json"
    assert json.loads(progress.read_text(encoding="utf-8"))["seats"]["head"]["rungs"] == 1
    with pytest.raises(Interrupted):
        tune_in_full(recipe, on_event=lambda event: stop(event, "step"))
    events.clear()
    run = tune_in_full(recipe, on_event=events.append)
    assert not any(isinstance(event, Stage) and event.name.startswith("choosing") for event in events)
    assert [event.step for event in events if isinstance(event, Step)] == list(range(1, 9))
    decided = json.loads((run.path / "plan.json").read_text(encoding="utf-8"))["method"]
    assert decided["method"] in ("head", "top:1", "lora:8")
    note = next(note for note in run.notes if note.startswith("method auto chose"))
    assert note == decided["reason"]
    assert all(f"{name} " in note for name in ("head", "top:1", "lora:8"))
    assert note.replace("|", "\\|") in (run.path / "README.md").read_text(encoding="utf-8")
    assert "name: auto" in (run.path / "recipe.yaml").read_text(encoding="utf-8")
    made = json.loads((run.path / "model" / "model.json").read_text(encoding="utf-8"))["method"]
    assert decided["method"].startswith(made["name"])
    assert not (run.path / "cache").exists()
    assert load(run.path).task is not None


def test_own_candidates_and_those_that_do_not_fit(tmp_path: Path) -> None:
    recipe = auto_recipe(tmp_path, candidates=["head", {"name": "lora", "rank": 2}, "top:7"], budget="1m")
    run = tune_in_full(recipe)
    note = next(note for note in run.notes if note.startswith("method auto chose"))
    assert "top:7 was left out: method: 7 blocks were asked for, the model has 2." in note


def test_nothing_is_read_of_the_test_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    run = contest.Contest.run
    monkeypatch.setattr(contest.Contest, "run", lambda self: seen.append(self.asked.test) or run(self))
    tune_in_full(auto_recipe(tmp_path, candidates=["head", "top:1"]))
    assert seen == [False]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"budget": "10 parsecs"}, "a time is a number and a unit, such as 90s or 5m"),
        ({"candidates": ["head", "lorra:2"]}, 'Unknown method "lorra". Did you mean "lora"'),
        ({"candidates": ["head"]}, "a comparison needs two methods at least"),
        ({"budgets": "5m"}, 'unknown key "budgets". Did you mean "budget"'),
        ({"budget": "0.01s"}, r"The budget of 0.01 s is too small"),
    ],
)
def test_bad_options(options: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=sentence):
        tune_in_full(auto_recipe(tmp_path, **options))
    assert not (tmp_path / "run").exists()


def test_the_options_are_a_section() -> None:
    assert auto.Auto().budget == "2m"
