"""A base is more than its weights: fields or a tokenizer that changed under a run are noticed, begun or finished."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_runs import make_base, make_rows, tune_recipe

import microtune as mt
from microtune.data.text import train_bpe
from microtune.errors import InputError, RunError
from microtune.run.digest import first_difference
from microtune.run.verbs import tune_recipe as tune

pytestmark = pytest.mark.usefixtures("quick")


def epsilon(base: Path) -> None:
    config = json.loads((base / "config.json").read_text())
    config["rms_norm_eps"] = 0.5
    (base / "config.json").write_text(json.dumps(config))


def another_tokenizer(base: Path) -> None:
    train_bpe(["nothing of all that", "x y z"], 320).save(base)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return Path(make_base(tmp_path / "base"))


@pytest.mark.parametrize("change", [epsilon, another_tokenizer])
def test_a_run_does_not_go_on_beside_other_files(change: Callable[[Path], None], base: Path, tmp_path: Path) -> None:
    asked = tune_recipe(str(base), make_rows(tmp_path / "rows.csv"), "lora")
    asked = asked.model_copy(update={"out": str(tmp_path / "run")})

    def leave(event: object) -> None:
        if getattr(event, "step", 0) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune(asked, on_event=leave)
    kept = shutil.copytree(base, tmp_path / "kept")
    change(base)
    with pytest.raises(RunError, match=r"run: holds a different run \(the base model has changed\)"):
        tune(asked)
    shutil.copytree(kept, base, dirs_exist_ok=True)
    (base / "notes.txt").write_text("no file that is read")
    assert any(note.startswith("Resumed at step") for note in tune(asked).notes)


def test_a_finished_run_is_not_read_beside_other_fields(base: Path, tmp_path: Path) -> None:
    asked = tune_recipe(str(base), make_rows(tmp_path / "rows.csv"), "lora")
    tune(asked.model_copy(update={"out": str(tmp_path / "run")}))
    another_tokenizer(base)  # a run has its own
    texts = ["my card was declined"]
    before = mt.load_adapters(base, {"a": tmp_path / "run"}).predict(texts, "a")
    assert before == mt.Run(tmp_path / "run").predict(texts)
    epsilon(base)
    said = r"\[same-base\] .*model: config.json of the base model .* \(decoder.norm_eps was 1e-05 and is 0.5\); put"
    with pytest.raises(RunError, match=said):
        mt.load(tmp_path / "run")
    with pytest.raises((RunError, InputError), match=said):
        mt.load_adapters(base, {"a": tmp_path / "run"})


def test_fields_that_an_older_version_did_not_write_are_not_compared() -> None:
    assert first_difference({"a": 1, "b": {"c": [2]}}, {"a": 1, "b": {"c": [2], "d": 3}, "e": 4}) is None
    assert first_difference({"a": 1, "b": {"c": [2]}}, {"a": 1, "b": {"c": [3]}}) == ("b.c", "[2]", "[3]")
