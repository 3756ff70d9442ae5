"""Whole runs with the options of full, head, top and reinit: saved, loaded by a fresh process, broken off, planned."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from read_afresh import check_read_afresh
from safetensors.torch import load_file
from test_interruption import Wholes, check_points, spread
from tiny_exports import BERT, TEXTS, VOCAB, stir
from tiny_runs import make_base, make_rows, run, tune_recipe

import microtune as mt
from microtune.data.text import train_bpe
from microtune.errors import InputError
from microtune.families.base import save_folder
from microtune.nn.heads import LabelHead
from microtune.nn.hidden_layer import HiddenLayer
from microtune.nn.transformer import Transformer
from microtune.recipe import Choice, Recipe
from microtune.run import session
from microtune.run.foresee import plan
from microtune.run.load import load
from microtune.run.tune import Prepared

pytestmark = pytest.mark.usefixtures("quick")
GRADUAL: dict[str, Any] = {"name": "top", "blocks": 2, "unfreeze": "gradual"}
RUNS: dict[str, tuple[str, dict[str, Any]]] = {  # name -> (base, method)
    "gradual": ("llama", GRADUAL),
    "gradual full": ("bert", {"name": "full", "unfreeze": "gradual", "layer_decay": 0.7}),
    "decay": ("llama", {"name": "top", "blocks": 2, "layer_decay": 0.5, "norms": True, "embeddings": True}),
    "hidden": ("bert", {"name": "head", "hidden": 8, "activation": "tanh", "dropout": 0.1}),
    "pooler": ("bert", {"name": "reinit", "pooler": True, "head": True, "train_blocks": 2}),
}


def make_pooled(folder: Path) -> str:
    """A BERT whose files hold its pooler and no head."""
    network = Transformer(BERT)
    network.head = LabelHead(BERT, 2)
    stir(network)
    body = {name: t for name, t in network.state_dict().items() if not name.startswith("head.out.")}
    save_folder(folder, BERT, body, family="bert", head="none")
    train_bpe(TEXTS, VOCAB - 10).save(folder)
    return str(folder)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("inputs")
    rows = make_rows(folder / "rows.csv")
    return {"llama": make_base(folder / "llama"), "bert": make_pooled(folder / "bert"), "rows": rows}


def recipe_of(inputs: dict[str, str], name: str, **train: Any) -> Recipe:
    base, method = RUNS[name]
    plain = tune_recipe(inputs[base], inputs["rows"], **{"keep": "last", **train})
    return plain.model_copy(update={"method": Choice(**method)})


@pytest.fixture(scope="module")
def wholes(inputs: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Wholes:
    return Wholes({name: recipe_of(inputs, name) for name in RUNS}, tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def finished(wholes: Wholes) -> dict[str, Path]:
    """One run of each kind; every check of a run has passed, the reloaded outputs among them."""
    return {name: wholes.path(name) for name in RUNS}


def test_a_fresh_process_gives_the_same_outputs(finished: dict[str, Path], tmp_path: Path) -> None:
    check_read_afresh(finished.values(), tmp_path)


def test_the_reported_count_is_that_of_the_end(inputs: dict[str, str], tmp_path: Path) -> None:
    counts = []

    def read(event: Any) -> None:
        if isinstance(event, Prepared):
            counts.append(event.summary.trainable)

    for method in (GRADUAL, {**GRADUAL, "unfreeze": "at-once"}):
        recipe = recipe_of(inputs, "gradual").model_copy(update={"method": Choice(**method)})
        run(recipe, tmp_path / method["unfreeze"], event=read)
    assert counts[0] == counts[1] > 0
    sizes = {n: t.numel() for n, t in load_file(tmp_path / "gradual" / "model" / "trained.safetensors").items()}
    assert sum(sizes.values()) == counts[0]


def test_whatever_stops_a_gradual_run_changes_nothing(wholes: Wholes, tmp_path: Path) -> None:
    """Eight steps of which the fifth is the first of the second stage; checkpoints after 3, 6 and 8."""
    log, expected = wholes("gradual")
    check_points(wholes.recipes["gradual"], spread(6, len(log)), expected, tmp_path)


def notes_of(path: Path) -> list[str]:
    found = json.loads((path / "scores.json").read_text(encoding="utf-8"))["notes"]
    return [note for note in found if "method.unfreeze" in note]


def test_a_run_that_is_too_short_says_so(finished: dict[str, Path], inputs: dict[str, str], tmp_path: Path) -> None:
    assert notes_of(finished["gradual"]) == []
    said: list[str] = []

    def read(event: Any) -> None:
        if isinstance(event, Prepared):
            said.extend(note for note in event.notes if "method.unfreeze" in note)

    run(recipe_of(inputs, "gradual", epochs=1), tmp_path / "run", event=read)
    wanted = (
        "method.unfreeze: after step 4, in epoch 1 of the 2 that gradual unfreezing takes, decoder.blocks.0 had not "
        "begun to train and are as in the base. Raise train.epochs to 2 or more."
    )
    assert said == notes_of(tmp_path / "run") == [wanted]
    start, trained = load(inputs["llama"]).network, load_file(tmp_path / "run" / "model" / "trained.safetensors")
    low = {n: t for n, t in trained.items() if n.startswith("decoder.blocks.0.")}
    assert low
    assert all(torch.equal(t, start.get_parameter(n)) for n, t in low.items())


def test_best_weights_of_an_early_epoch_are_kept_with_a_note(
    inputs: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the second epoch is no better, the weights are of the first, when one block had not begun."""
    monkeypatch.setattr(session.Choice, "better", lambda choice, *_: math.isnan(choice.value))
    run(recipe_of(inputs, "gradual", keep="best"), tmp_path / "run")
    assert len(notes_of(tmp_path / "run")) == 1
    assert notes_of(tmp_path / "run")[0].startswith("method.unfreeze: after step 4, in epoch 1 of the 2 ")


@pytest.mark.parametrize("name", list(RUNS))
def test_plan_is_as_without_a_schedule(name: str, inputs: dict[str, str]) -> None:
    """The most that a run takes is what it takes at its end."""
    recipe = recipe_of(inputs, name)
    found = plan(recipe)
    assert found.pace.total > 0
    assert any("method.unfreeze" in note for note in found.notes) == name.startswith("gradual")
    if name.startswith("gradual"):
        other = plan(recipe.model_copy(update={"method": recipe.method.model_copy(update={"unfreeze": "at-once"})}))
        parts = {p.name: p.bytes for p in found.memory.parts}
        for p in other.memory.parts:
            if "librar" not in p.name:
                assert parts[p.name] == p.bytes


def test_the_pooler_started_anew(finished: dict[str, Path], inputs: dict[str, str]) -> None:
    """Far from that of the files after eight steps of at most 0.01, which are near a draw of deviation 0.02."""
    files = load(inputs["bert"]).spare["head.pooler.weight"]
    trained = load_file(finished["pooler"] / "model" / "trained.safetensors")
    assert float(files.std()) > 0.15
    assert float(trained["head.pooler.weight"].std()) < 0.06
    assert {n.split(".")[2] for n in trained if ".blocks." in n} == {"0", "1"}


def test_a_hidden_layer_is_no_part_of_transformers(finished: dict[str, Path], tmp_path: Path) -> None:
    assert isinstance(load(finished["hidden"]).network.head.out, HiddenLayer)
    sentence = (
        r"hidden layer of 8 under its scores, which a BertForSequenceClassification has not: .* method\.hidden 0\.$"
    )
    with pytest.raises(InputError, match=sentence):
        mt.export(finished["hidden"], format="hf", out=tmp_path / "hf")
    with pytest.raises(InputError, match="nothing to merge"):
        mt.merge(finished["hidden"], out=tmp_path / "merged")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_onnx_holds_the_hidden_layer(finished: dict[str, Path], tmp_path: Path) -> None:
    """Read back by onnxruntime, and compared there."""
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    assert mt.export(finished["hidden"], format="onnx", out=tmp_path / "onnx").parity.gap < 1e-5
