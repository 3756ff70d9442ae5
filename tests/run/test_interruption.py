"""Whatever stops a run, at whichever write: the same command continues it, and the end is the same, bit for bit.

The shim of `faults` lets the n-th operation on the run's folder fail or kills there. Points are spread evenly over all
operations of an uninterrupted run, the ways to fail alternate.
"""

from __future__ import annotations

import errno
import os
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
from faults import KINDS, Faults, Killed
from tiny_runs import make_base, make_rows, picture, pretrain_recipe, run, tune_recipe

from microtune.errors import RunError
from microtune.recipe import Recipe
from microtune.run import disk
from microtune.run.folder import RunFolder
from microtune.run.train import Step

RECIPES: dict[str, dict[str, Any]] = {
    "top": {"method": "top"},
    "lora": {"method": "lora"},
    "muon": {"method": "top", "optimizer": "muon", "patience": 1, "epochs": 3},
}


pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture(scope="module")
def recipes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Recipe]:
    """The runs that are interrupted here, by name."""
    folder = tmp_path_factory.mktemp("inputs")
    base, data = make_base(folder / "base"), make_rows(folder / "rows.csv")
    made = {name: tune_recipe(base, data, **options) for name, options in RECIPES.items()}
    return made | {"pretrain": pretrain_recipe(folder)}


class Wholes:
    """Uninterrupted runs, made when first asked for: their log of operations and their end."""

    def __init__(self, recipes: dict[str, Recipe], folder: Path) -> None:
        self.recipes, self.folder = recipes, folder
        self.made: dict[str, tuple[list[str], dict[str, Any]]] = {}

    def __call__(self, name: str) -> tuple[list[str], dict[str, Any]]:
        if name not in self.made:
            path = self.folder / name
            with Faults(path) as counting:
                run(self.recipes[name], path)
            self.made[name] = counting.log, picture(path)
        return self.made[name]

    def path(self, name: str) -> Path:
        """The folder of a run, finished; to be read only."""
        self(name)
        return self.folder / name


@pytest.fixture(scope="module")
def whole(recipes: dict[str, Recipe], tmp_path_factory: pytest.TempPathFactory) -> Wholes:
    """name -> (operations, picture) of the uninterrupted run."""
    return Wholes(recipes, tmp_path_factory.mktemp("whole"))


def spread(count: int, operations: int) -> list[tuple[int, str]]:
    """`count` points over all operations, with the kinds of failure alternating."""
    return [(1 + i * operations // count, KINDS[i % len(KINDS)]) for i in range(count)]


def break_off(recipe: Recipe, path: Path, at: int, kind: str, **options: Any) -> None:
    """Run with a fault at operation `at`; a living process ends well, or with one sentence and nothing half-written."""
    ended: BaseException | None = None
    with Faults(path, at, kind) as faults:
        try:
            run(recipe, path, **options)
        except (Killed, RunError) as error:
            ended = error
    assert faults.fired
    assert isinstance(ended, Killed) == (kind in ("kill", "power"))
    if isinstance(ended, RunError):
        assert ended.exit_code == 2
        assert len(str(ended).splitlines()) == 1
        assert str(path) in str(ended)
        assert not faults.full or "the disk is full" in str(ended)
    if not isinstance(ended, Killed):
        assert not list(path.rglob("*.part")), "half-written files of a living process"


def finish(recipe: Recipe, path: Path) -> dict[str, Any]:
    """The same command again, without a fault; a run that was finished says so (and tidies up)."""
    if RunFolder(path).finished:
        with pytest.raises(RunError, match="this run is finished; choose another folder with --out"):
            run(recipe, path)
    else:
        run(recipe, path)
    return picture(path)


def check_points(recipe: Recipe, points: list[tuple[int, str]], expected: dict[str, Any], folder: Path) -> None:
    """Every point: break off, run again, compare with the uninterrupted run."""
    for at, kind in points:
        path = folder / f"{at}-{kind}"
        break_off(recipe, path, at, kind)
        assert finish(recipe, path) == expected, f"{kind} at operation {at}"


@pytest.mark.parametrize(("name", "count"), [("top", 30), ("lora", 20), ("muon", 10)])
def test_60_points(name: str, count: int, recipes: dict[str, Recipe], whole: Wholes, tmp_path: Path) -> None:
    log, expected = whole(name)
    check_points(recipes[name], spread(count, len(log)), expected, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "count"), [("top", 400), ("lora", 400), ("muon", 200)])
def test_1000_points(name: str, count: int, recipes: dict[str, Recipe], whole: Wholes, tmp_path: Path) -> None:
    log, expected = whole(name)
    check_points(recipes[name], spread(count, len(log)), expected, tmp_path)


def test_pretrain_at_10_points(recipes: dict[str, Recipe], whole: Wholes, tmp_path: Path) -> None:
    log, expected = whole("pretrain")
    check_points(recipes["pretrain"], spread(10, len(log)), expected, tmp_path)


@pytest.mark.slow
def test_pretrain_at_200_points(recipes: dict[str, Recipe], whole: Wholes, tmp_path: Path) -> None:
    log, expected = whole("pretrain")
    check_points(recipes["pretrain"], spread(200, len(log)), expected, tmp_path)


def test_the_shim_sees_the_whole_run(recipes: dict[str, Recipe], whole: Wholes) -> None:
    """The uninterrupted runs are what they should be: otherwise equality with them would mean little."""
    log, expected = whole("top")
    assert len(log) > 150
    assert {line.split()[0] for line in log} >= {
        "open",
        "write",
        "flush",
        "fsync",
        "rename",
        "mkdir",
        "unlink",
        "rmdir",
    }
    assert [m["step"] for m in expected["metrics"] if m["kind"] == "step"] == list(range(1, 9))
    assert [m["split"] for m in expected["metrics"] if m.get("final")] == ["validation", "test"]
    assert 0.1 < expected["scores"]["test"]["values"]["loss"] < 2
    assert not [name for name in expected["files"] if name.startswith(("checkpoints", "cache")) or ".part" in name]
    assert expected["model"]["model/trained.safetensors"] != whole("muon")[1]["model"]["model/trained.safetensors"]


def test_killed_again_and_again(recipes: dict[str, Recipe], whole: Wholes, tmp_path: Path) -> None:
    """The run that resumes is killed too, and the next one, at random places."""
    expected = whole("lora")[1]
    random.seed(0)
    for chain in range(3):
        for _ in range(6):
            if not RunFolder(tmp_path / str(chain)).finished:
                with Faults(tmp_path / str(chain), random.randrange(1, 100), "power"), pytest.raises(Killed):
                    run(recipes["lora"], tmp_path / str(chain))
        assert finish(recipes["lora"], tmp_path / str(chain)) == expected


@pytest.mark.parametrize(("old", "count"), [("top", 7), ("lora", 3)])
def test_overwriting_at_10_points(
    old: str, count: int, recipes: dict[str, Recipe], whole: Wholes, tmp_path: Path
) -> None:
    """While a finished run (of another or the same recipe) is being replaced, too."""
    expected = whole("lora")[1]
    whole(old)
    shutil.copytree(whole.folder / old, tmp_path / "count")
    with Faults(tmp_path / "count") as counting:
        run(recipes["lora"], tmp_path / "count", overwrite=True)
    assert picture(tmp_path / "count") == expected
    clearing = counting.log.index("open environment.json.part") + 1
    for at, kind in [*((5 + at, kind) for at, kind in spread(count - 1, clearing - 5)), (clearing + 100, "kill")]:
        path = tmp_path / f"{at}-{kind}"
        shutil.copytree(whole.folder / old, path)
        break_off(recipes["lora"], path, at, kind, overwrite=True)
        if not RunFolder(path).finished or picture(path) != expected:
            run(recipes["lora"], path, overwrite=True)
        assert picture(path) == expected, f"{kind} at operation {at}"


def test_nothing_is_learnt_twice_after_the_last_checkpoint(
    recipes: dict[str, Recipe], whole: Wholes, tmp_path: Path
) -> None:
    """Killed between the model and its scores: the run evaluates again, but does not train again."""
    log, expected = whole("top")
    steps: list[Any] = []
    break_off(recipes["top"], tmp_path / "run", log.index("rename scores.json") + 1, "kill")
    assert (tmp_path / "run" / "model" / "manifest.json").is_file()
    run(recipes["top"], tmp_path / "run", event=lambda e: steps.append(e) if isinstance(e, Step) else None)
    assert steps == []
    assert picture(tmp_path / "run") == expected


@pytest.mark.parametrize(("kind", "later"), [("kill", 2), ("power", 2), ("kill", 7)])
def test_killed_after_everything_was_written(
    kind: str, later: int, recipes: dict[str, Recipe], whole: Wholes, tmp_path: Path
) -> None:
    log, expected = whole("top")
    break_off(recipes["top"], tmp_path / "run", log.index("rename scores.json") + later, kind)
    assert list((tmp_path / "run").glob("checkpoints*")), "something is left to tidy up"
    assert finish(recipes["top"], tmp_path / "run") == expected


def test_disk_full_while_writing_a_checkpoint(recipes: dict[str, Recipe], whole: Wholes, tmp_path: Path) -> None:
    """One sentence, exit code 2, the checkpoint before intact, nothing half-written; later the same command resumes."""
    log, expected = whole("top")
    path = tmp_path / "run"
    at = log.index("write checkpoints/step-00000006.part/state.safetensors.part") + 1
    break_off(recipes["top"], path, at, "enospc")
    assert [p.name for p in (path / "checkpoints").iterdir()] == ["step-00000003"]
    assert disk.verify_folder(path / "checkpoints" / "step-00000003") is None
    steps: list[int] = []
    folder = run(recipes["top"], path, event=lambda e: steps.append(e.step) if isinstance(e, Step) else None)
    assert steps == [4, 5, 6, 7, 8]
    assert folder.notes == ["Resumed at step 3 of 8."]
    assert picture(path) == expected


def test_disk_full_while_the_trunk_is_stored(
    recipes: dict[str, Recipe], whole: Wholes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cache is written through memory, where a full disk would kill the process without a word."""

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(disk, "_allocate", full)
        with pytest.raises(RunError, match="the disk is full"):
            run(recipes["top"], tmp_path / "run")
    assert not list((tmp_path / "run" / "cache").iterdir())
    run(recipes["top"], tmp_path / "run")
    assert picture(tmp_path / "run") == whole("top")[1]
