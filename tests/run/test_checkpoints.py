"""When a checkpoint is written, what stands in it, and which recipes of older versions still resume."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from tiny_runs import make_base, make_rows, picture, run, tune_recipe

from microtune.run import session
from microtune.run.disk import read_tensors
from microtune.run.session import Spacing
from microtune.run.train import Step

pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    folder = tmp_path_factory.mktemp("inputs")
    return make_base(folder / "base"), make_rows(folder / "rows.csv")


def leaving(step: int) -> Any:
    def read(event: Any) -> None:
        if isinstance(event, Step) and event.step == step:
            raise KeyboardInterrupt

    return read


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(session.time, "perf_counter", lambda: now[0])
    return now


def written(spacing: Spacing, clock: list[float], cost: float) -> None:
    with spacing:
        clock[0] += cost


def test_dear_checkpoints_stand_ten_times_their_cost_apart(clock: list[float]) -> None:
    spacing = Spacing(always=False)
    assert spacing.due()  # nothing is known of the cost
    written(spacing, clock, 2.0)
    clock[0] += 19.9
    assert not spacing.due()
    clock[0] += 0.2
    assert spacing.due()


def test_the_first_one_is_foreseen_from_its_bytes(clock: list[float]) -> None:
    """90 MB at 150 MB/s are 0.6 s: due after 6 s, and from then on by what it took; 10 MB are always due."""
    spacing = Spacing(always=False, size=90_000_000)
    clock[0] += 5.9
    assert not spacing.due()
    clock[0] += 0.2
    assert spacing.due()
    written(spacing, clock, 0.2)
    clock[0] += 2.1
    assert spacing.due()
    assert Spacing(always=False, size=10_000_000).due()
    assert Spacing(always=True, size=10**12).due()


def test_cheap_and_asked_for_ones_are_always_due(clock: list[float]) -> None:
    cheap, asked = Spacing(always=False), Spacing(always=True)
    written(cheap, clock, 0.05)
    written(asked, clock, 5.0)
    assert cheap.due()
    assert asked.due()


@pytest.mark.parametrize("dear", [False, True])
def test_best_weights_stand_once_and_come_back(
    dear: bool, inputs: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With every checkpoint too dear, only the first of the run is there to go on from; the result is the same."""
    recipe = tune_recipe(*inputs, "top", checkpoint_steps=0, epochs=4)
    run(recipe, tmp_path / "whole")
    monkeypatch.setattr(session, "CHEAP_SECONDS", -1.0 if dear else 1e9)  # however slow the disk is
    monkeypatch.setattr(session, "LEAST_SHARE", 1e9)
    monkeypatch.setattr(session, "WRITE_RATE", 1e18)  # the first one is taken to cost nothing
    with pytest.raises(KeyboardInterrupt):
        run(recipe, tmp_path / "run", event=leaving(13))
    found = sorted((tmp_path / "run" / "checkpoints").iterdir())
    assert len(found) == (1 if dear else 2)
    tensors = read_tensors(found[0] / "state.safetensors")
    here = yaml.safe_load((found[0] / "state.json").read_text(encoding="utf-8"))["choice"]["here"]
    assert here == (not any(name.startswith("best.") for name in tensors))
    run(recipe, tmp_path / "run")
    ours, theirs = picture(tmp_path / "run"), picture(tmp_path / "whole")
    assert ours["model"] == theirs["model"]


@pytest.mark.parametrize("asked", [0, 4])
def test_one_that_is_foreseen_as_dear_waits(
    asked: int, inputs: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before its first checkpoint a run begins anew, and ends the same; asked for, checkpoints are written."""
    recipe = tune_recipe(*inputs, "top", checkpoint_steps=asked, epochs=4)
    run(recipe, tmp_path / "whole")
    monkeypatch.setattr(session, "WRITE_RATE", 1.0)  # bytes a second
    with pytest.raises(KeyboardInterrupt):
        run(recipe, tmp_path / "run", event=leaving(13))
    folder = tmp_path / "run" / "checkpoints"
    found = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    assert found == (["step-00000008", "step-00000012"] if asked else [])
    again = run(recipe, tmp_path / "run")
    assert again.notes == (["Resumed at step 12 of 16."] if asked else [])
    ours, theirs = picture(tmp_path / "run"), picture(tmp_path / "whole")
    assert ours["model"] == theirs["model"]


def test_a_recipe_of_an_older_version_resumes(inputs: tuple[str, str], tmp_path: Path) -> None:
    """Fields that did not exist then have their defaults; a field that says something else is another run."""
    recipe = tune_recipe(*inputs, "top")
    with pytest.raises(KeyboardInterrupt):
        run(recipe, tmp_path / "run", event=leaving(7))
    path = tmp_path / "run" / "recipe.yaml"
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    del values["model"]["added_tokens"], values["train"]["track"]
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    assert run(recipe, tmp_path / "run").notes == ["Resumed at step 6 of 8."]
