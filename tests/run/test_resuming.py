"""Real signals, real kills, damaged checkpoints, second processes, refusals, and bit rot in a finished run."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import child_command, make_base, make_rows, picture, run, tune_recipe

import fresh_process
from microtune.data.sources import Row
from microtune.errors import MicrotuneError, RunError
from microtune.recipe import Recipe
from microtune.run import evaluate, verbs
from microtune.run.folder import RunFolder, default_name
from microtune.run.load import load
from microtune.run.session import Interrupted
from microtune.run.train import Step
from microtune.run.tune import Evaluated

pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """The folder of a random base, the file with the rows."""
    folder = tmp_path_factory.mktemp("inputs")
    return make_base(folder / "base"), make_rows(folder / "rows.csv")


@pytest.fixture(scope="module")
def recipe(inputs: tuple[str, str]) -> Recipe:
    """Eight steps, checkpoints after 3, 6 and 8."""
    return tune_recipe(*inputs, "top")


@pytest.fixture(scope="module")
def finished(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The uninterrupted run."""
    path = tmp_path_factory.mktemp("finished") / "run"
    run(recipe, path)
    return path


@pytest.fixture(scope="module")
def begun(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """The same run left after its first and after its seventh step; to be copied."""
    folder = tmp_path_factory.mktemp("begun")
    for step in (1, 7):
        with pytest.raises(KeyboardInterrupt):
            run(recipe, folder / str(step), event=at_step(step, leave))
    return {step: folder / str(step) for step in (1, 7)}


def at_step(number: int, act: Callable[[], Any]) -> Callable[[Any], None]:
    """A reader of events that acts after one step."""

    def read(event: Any) -> None:
        if isinstance(event, Step) and event.step == number:
            act()

    return read


def leave() -> None:
    """Ctrl-C in a place that nobody handles."""
    raise KeyboardInterrupt


def same(path: Path, finished: Path) -> bool:
    """Whether two finished runs are equal but for the resamples of their intervals."""
    ours, theirs = picture(path), picture(finished)
    for one in (ours, theirs):
        one["scores"] = {name: score["values"] for name, score in one["scores"].items()}
    return ours == theirs


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("step", [2, 8])
def test_a_signal_saves_and_says_how_to_resume(
    number: signal.Signals, step: int, recipe: Recipe, finished: Path, tmp_path: Path
) -> None:
    before = signal.getsignal(number)
    with pytest.raises(Interrupted, match=f"Stopped at step {step} of 8; run the same command to resume") as caught:
        run(recipe, tmp_path / "run", event=at_step(step, lambda: signal.raise_signal(number)))
    assert caught.value.exit_code == 130
    assert signal.getsignal(number) is before
    assert (tmp_path / "run" / "checkpoints" / f"step-{step:08d}").is_dir()
    assert not list((tmp_path / "run").glob("cache/*.bin"))
    folder = run(recipe, tmp_path / "run")
    assert folder.notes == [f"Resumed at step {step} of 8."]
    assert same(tmp_path / "run", finished)


def test_a_second_signal_stops_at_once(recipe: Recipe, finished: Path, tmp_path: Path) -> None:
    def twice() -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run(recipe, tmp_path / "run", event=at_step(5, twice))
    run(recipe, tmp_path / "run")
    assert same(tmp_path / "run", finished)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_outside_the_steps_stops_with_the_same_sentence(
    recipe: Recipe, finished: Path, tmp_path: Path, number: signal.Signals
) -> None:
    def while_judging(event: object) -> None:
        if isinstance(event, Evaluated):
            signal.raise_signal(number)

    there = recipe.model_copy(update={"out": str(tmp_path / "run")})
    with pytest.raises(Interrupted, match=r"^Stopped; run the same command to resume\.$") as caught:
        verbs.tune_recipe(there, on_event=while_judging)
    assert caught.value.exit_code == 130
    verbs.tune_recipe(there)
    assert picture(tmp_path / "run")["model"] == picture(finished)["model"]


def steps_logged(path: Path) -> int:
    """Whole lines about steps in a metrics file that another process is writing."""
    file = path / "metrics.jsonl"
    return file.read_bytes().count(b'"kind": "step"') if file.is_file() else 0


def wait_for(condition: Callable[[], bool], child: fresh_process.Child) -> None:
    """Until the condition holds; the child must not end before."""
    for _ in range(6000):  # two minutes, in which this process waits: a pause of both is none
        if condition():
            return
        assert child.poll() is None, child.communicate()
        time.sleep(0.02)
    raise AssertionError("the child has not come so far")


def test_processes_killed_stopped_and_refused(
    recipe: Recipe, inputs: tuple[str, str], finished: Path, tmp_path: Path
) -> None:
    """kill -9 after 1, 4 and 7 steps, SIGTERM after 2; while the first lives, nobody else may have its folder."""
    points = {1: "kill", 2: "term", 4: "kill", 7: "kill"}  # all run at the same time, and rest where they are stopped
    pauses = {"kill": 60.0, "term": 0.5}  # a signal does not end a pause
    children = {
        step: fresh_process.start(*child_command(tmp_path / str(step), *inputs, step, pauses[how]))
        for step, how in points.items()
    }
    try:
        for step, how in points.items():
            path, child = tmp_path / str(step), children[step]
            wait_for(lambda path=path, step=step: steps_logged(path) >= step, child)  # type: ignore[misc]
            if step == 1:
                for overwrite in (False, True):
                    with pytest.raises(RunError, match=rf"another process \(pid {child.pid}\) is working on this run"):
                        run(recipe, path, overwrite=overwrite)
            child.send_signal(signal.SIGKILL if how == "kill" else signal.SIGTERM)
            out, err = child.communicate(timeout=60)
            assert child.returncode == (-signal.SIGKILL if how == "kill" else 130), err
            assert how == "kill" or re.fullmatch(r"Stopped at step \d of 8; run the same command to resume\.\n", out)
        for step in points:  # only now: the one that was asked to stop would come to its end meanwhile
            run(recipe, tmp_path / str(step))
            assert same(tmp_path / str(step), finished)
    finally:
        for child in children.values():
            child.kill()
            child.communicate()


def flip(path: Path) -> None:
    """Change one byte in the middle."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGE: dict[str, Callable[[Path], None]] = {
    "a flipped byte": lambda folder: flip(folder / "state.safetensors"),
    "cut short": lambda folder: os.truncate(folder / "state.safetensors", 100),
    "no manifest": lambda folder: (folder / "manifest.json").unlink(),
    "an empty manifest": lambda folder: os.truncate(folder / "manifest.json", 0),
    "a missing file": lambda folder: (folder / "state.json").unlink(),
    "a changed number": lambda folder: flip(folder / "state.json"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_checkpoint_is_passed_over(
    damage: str, begun: dict[int, Path], recipe: Recipe, finished: Path, tmp_path: Path
) -> None:
    path = shutil.copytree(begun[7], tmp_path / "run")
    assert sorted(p.name for p in (path / "checkpoints").iterdir()) == ["step-00000003", "step-00000006"]
    DAMAGE[damage](path / "checkpoints" / "step-00000006")
    folder = run(recipe, path)
    assert re.fullmatch(r"Checkpoint step-00000006 is damaged \(.+\); using the one before it\.", folder.notes[0]), (
        folder.notes
    )
    assert folder.notes[1] == "Resumed at step 3 of 8."
    assert folder.notes[0] in (path / "README.md").read_text(encoding="utf-8")
    assert same(path, finished)


def test_without_a_whole_checkpoint_the_run_starts_anew(
    begun: dict[int, Path], recipe: Recipe, finished: Path, tmp_path: Path
) -> None:
    path = shutil.copytree(begun[7], tmp_path / "run")
    for folder in (path / "checkpoints").iterdir():
        flip(folder / "state.safetensors")
    notes = run(recipe, path).notes
    assert len(notes) == 2
    assert notes[1].startswith("Checkpoint step-00000003 is damaged")
    assert notes[1].endswith("no other is left, so the run starts anew.")
    assert same(path, finished)


def test_another_base_is_noticed(recipe: Recipe, inputs: tuple[str, str], tmp_path: Path) -> None:
    """The base is not part of the recipe, but a checkpoint only fits the weights that it was trained beside."""
    base = shutil.copytree(inputs[0], tmp_path / "base")
    own = tune_recipe(str(base), inputs[1])
    with pytest.raises(KeyboardInterrupt):
        run(own, tmp_path / "run", event=at_step(4, leave))
    weights = bytearray((base / "model.safetensors").read_bytes())
    weights[8 + int.from_bytes(weights[:8], "little") + 1000] ^= 1  # in the token embedding, which is frozen
    (base / "model.safetensors").write_bytes(weights)
    with pytest.raises(RunError, match="The base model has changed since this run began"):
        run(own, tmp_path / "run")


def test_finished_and_different_runs_are_refused(
    recipe: Recipe, inputs: tuple[str, str], finished: Path, tmp_path: Path
) -> None:
    before = picture(finished)
    with pytest.raises(
        RunError, match=r"this run is finished; choose another folder with --out, .* --overwrite"
    ) as done:
        run(recipe, finished)
    other = tune_recipe(*inputs, "top", lr=0.5, epochs=4)
    with pytest.raises(RunError, match=r"holds a different run .* --out, .* --overwrite") as different:
        run(other, finished)
    assert "train.lr: 0.01 there, 0.5 now" in str(different.value)
    assert "train.epochs: 2" in str(different.value)
    assert done.value.exit_code == different.value.exit_code == 2
    rows = Path(shutil.copy(inputs[1], tmp_path / "rows.csv"))
    moved = tune_recipe(inputs[0], str(rows))
    with pytest.raises(KeyboardInterrupt):
        run(moved, tmp_path / "run", event=at_step(2, leave))
    rows.write_text(rows.read_text(encoding="utf-8") + "one more,card\n", encoding="utf-8")
    with pytest.raises(RunError, match="data train has changed"):
        run(moved, tmp_path / "run")
    assert picture(finished) == before


def test_a_run_that_learnt_nothing_yet_gives_way(inputs: tuple[str, str], tmp_path: Path) -> None:
    """A mistake in recipe or data can be put right without --overwrite as long as nothing is lost."""
    bad = tune_recipe(inputs[0], str(Path(inputs[1]).parent / "none.csv"))
    with pytest.raises(MicrotuneError):
        run(bad, tmp_path / "run")
    run(tune_recipe(*inputs), tmp_path / "run")
    assert RunFolder(tmp_path / "run").finished


@pytest.mark.parametrize("overwrite", [False, True])
def test_other_folders_are_not_touched(overwrite: bool, recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "love.txt").write_text("dear", encoding="utf-8")
    with pytest.raises(RunError, match="exists and is not a run; choose another folder with --out"):
        run(recipe, tmp_path / "letters", overwrite=overwrite)
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(RunError, match="is not a folder"):
        run(recipe, tmp_path / "file", overwrite=overwrite)
    assert [p.name for p in (tmp_path / "letters").iterdir()] == ["love.txt"]


@pytest.mark.parametrize("name", ["recipe.yaml", "environment.json"])
@pytest.mark.parametrize("content", [b"", b"\xff\xfe: [", b"[1, 2]", b"{" * 5000, b"data: *x"])
def test_a_damaged_record_is_one_sentence(
    name: str, content: bytes, begun: dict[int, Path], recipe: Recipe, tmp_path: Path
) -> None:
    path = shutil.copytree(begun[1], tmp_path / "run")
    (path / name).write_bytes(content)
    with pytest.raises(RunError, match=r"cannot be read; choose another folder with --out, .* --overwrite") as caught:
        run(recipe, path)
    assert len(str(caught.value).splitlines()) == 1


def test_overwrite_resumes_what_the_same_command_began(
    begun: dict[int, Path], recipe: Recipe, finished: Path, tmp_path: Path
) -> None:
    shutil.copytree(begun[7], tmp_path / "run")
    assert run(recipe, tmp_path / "run", overwrite=True).notes == ["Resumed at step 6 of 8."]
    assert same(tmp_path / "run", finished)


def test_default_names(inputs: tuple[str, str]) -> None:
    """Data, task, method and a hash of the recipe in which `out` does not count."""
    recipe = tune_recipe(*inputs)
    name = default_name(recipe, "rows")
    assert re.fullmatch(r"rows-classification-top-[0-9a-f]{8}", name)
    assert default_name(tune_recipe(*inputs), "rows") == name
    assert default_name(recipe.model_copy(update={"out": "elsewhere"}), "rows") == name
    assert default_name(tune_recipe(*inputs, lr=0.5), "rows") != name
    assert default_name(recipe, "../a b:c*\n").startswith("---a-b-c---classification")


def test_60_flipped_bits_in_a_finished_run(finished: Path, tmp_path: Path) -> None:
    """Bit rot is refused with a sentence, or changes no prediction."""
    path = tmp_path / "run"
    shutil.copytree(finished, path)
    rows = [Row({"text": text}, "test", 1) for text in ("my card was declined", "the transfer has not arrived")]

    def predictions() -> list[Any]:
        model = load(path)
        assert model.task is not None
        items = model.task.encode_all(rows, model.text, 64, training=False)
        return [p.scores for p in evaluate.predict_items(model.network, model.task, items)]

    expected = predictions()
    random.seed(1)
    files = sorted(p for p in (path / "model").rglob("*") if p.is_file() and p.stat().st_size < 64_000)
    assert len(files) >= 4
    refused = 0
    for number in range(60):
        file = files[number % len(files)]
        good = file.read_bytes()
        bad = bytearray(good)
        bad[random.randrange(len(bad))] ^= 1 << random.randrange(8)
        file.write_bytes(bad)
        try:
            assert predictions() == expected
        except MicrotuneError as error:
            refused += 1
            assert len(str(error).splitlines()) == 1  # noqa: PT017
            assert "damaged" in str(error)  # noqa: PT017
        file.write_bytes(good)
    assert refused > 50
