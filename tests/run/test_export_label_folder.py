"""A classifier that comes as a folder of transformers is exported with its label head, not as another model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_exports import make, make_run, opened
from torch.testing import assert_close

import microtune as mt
from microtune.errors import InputError
from microtune.run.export import parity
from microtune.run.export.label_folder import with_its_labels
from microtune.tasks.classification import Classification
from microtune.tasks.regression import Regression

transformers = pytest.importorskip("transformers")
pytestmark = [pytest.mark.parity, pytest.mark.usefixtures("quick")]


@pytest.fixture(scope="module", params=["llama", "bert"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier as `export --format hf` writes it."""
    place = tmp_path_factory.mktemp("made")
    run = make_run(place / "run", make(place / "base", request.param))
    return mt.export(run, format="hf", out=place / "whole").path


def test_its_head_goes_along(folder: Path, tmp_path: Path) -> None:
    done = mt.export(folder, format="hf", out=tmp_path / "again")
    assert (done.parity.compared, done.parity.rows) == ("label scores", 6)
    one, two = (load_file(place / "model.safetensors") for place in (folder, done.path))
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(done.path)
    assert theirs.config.id2label == {0: "card", 1: "transfer"}
    model = with_its_labels(opened(folder))
    rows = parity.stored_rows(model)
    with torch.no_grad():
        wanted = [theirs.eval()(input_ids=torch.tensor([row])).logits[0] for row in rows]
    assert_close(parity.outputs(model, rows), wanted, rtol=1e-5, atol=1e-5)
    assert "print(labels[int(scores.argmax())])" in (done.path / "README.md").read_text(encoding="utf-8")


def changed(folder: Path, target: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    """The folder with another config.json."""
    target.mkdir()
    for file in folder.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    values = json.loads((folder / "config.json").read_text())
    change(values)
    (target / "config.json").write_text(json.dumps(values))
    return target


def test_what_config_says_of_the_task(folder: Path, tmp_path: Path) -> None:
    several = changed(folder, tmp_path / "a", lambda c: c.update(problem_type="multi_label_classification"))
    task = with_its_labels(opened(several)).task
    assert isinstance(task, Classification)
    assert (task.form, task.labels) == ("multi", ("card", "transfer"))
    without = changed(folder, tmp_path / "b", lambda c: [c.pop(key) for key in ("id2label", "label2id")])
    task = with_its_labels(opened(without)).task
    assert isinstance(task, Classification)
    assert task.labels == ("LABEL_0", "LABEL_1")
    settings = {"problem_type": "regression", "target_mean": 3.0, "target_deviation": 0.5}
    number = changed(folder, tmp_path / "c", lambda c: c.update(settings))
    task = with_its_labels(opened(number)).task
    assert isinstance(task, Regression)
    assert (task.mean, task.deviation) == (3.0, 0.5)
    odd = changed(
        folder, tmp_path / "d", lambda c: c.update(problem_type="regression", target_mean="x", target_deviation=-1)
    )
    task = with_its_labels(opened(odd)).task
    assert isinstance(task, Regression)
    assert (task.mean, task.deviation) == (0.0, 1.0)


def test_half_a_head_is_refused(folder: Path, tmp_path: Path) -> None:
    broken = changed(folder, tmp_path / "broken", lambda _: None)
    state = load_file(broken / "model.safetensors")
    lost = next((name for name in state if "pooler" in name), None)
    if lost is None:
        pytest.skip("its head is one matrix")
    del state[lost]
    save_file(state, broken / "model.safetensors", metadata={"format": "pt"})
    sentence = (
        r'broken: its label head is not the one that config.json describes \("pooler.bias"\); save the model again\.$'
    )
    with pytest.raises(InputError, match=sentence):
        mt.export(broken, format="hf", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
