"""Whole runs with virtual tokens: how they begin, what is left for texts, what is saved, resumed and refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from read_afresh import check_read_afresh
from safetensors.torch import load_file
from test_interruption import Wholes, check_points, spread
from tiny_runs import WORDS, make_base, make_rows, picture, run, tune_recipe

import microtune as mt
from microtune.errors import InputError
from microtune.recipe import Choice, Recipe
from microtune.run.export.parity import outputs, stored_rows
from microtune.run.foresee import plan
from microtune.run.load import load

pytestmark = pytest.mark.usefixtures("quick")
TEXT = "which card or transfer is it"
METHODS: dict[str, dict[str, Any]] = {
    "prompt": {"name": "prompt", "tokens": 4, "init": "text", "text": TEXT},
    "prefix": {"name": "prefix", "tokens": 4, "init": "vocabulary"},
    "prefix above": {"name": "prefix", "tokens": 4, "init": "vocabulary", "first_block": 1},
    "projected": {"name": "prefix", "tokens": 4, "projection": 6},
}
P, D, KV = 4, 16, 16  # tokens, width, keys of one block
SIZES = {"prompt": P * D, "prefix": 2 * 2 * P * KV, "prefix above": 2 * P * KV}
SIZES["projected"] = P * D + (D + 1) * 6 + (6 + 1) * 2 * 2 * KV
each = pytest.mark.parametrize("name", list(METHODS))


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    folder = tmp_path_factory.mktemp("inputs")
    return make_base(folder / "base"), make_rows(folder / "rows.csv")


def recipe_of(inputs: tuple[str, str], name: str, *, model: dict[str, Any] | None = None, **train: Any) -> Recipe:
    recipe = tune_recipe(*inputs, **train)
    chosen = recipe.model.model_copy(update=model or {})
    return recipe.model_copy(update={"method": Choice(**METHODS[name]), "model": chosen})


@pytest.fixture(scope="module")
def wholes(inputs: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Wholes:
    return Wholes({name: recipe_of(inputs, name) for name in METHODS}, tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def finished(wholes: Wholes) -> dict[str, Path]:
    return {name: wholes.path(name) for name in METHODS}


@each
def test_what_is_saved(name: str, finished: dict[str, Path]) -> None:
    saved = load_file(finished[name] / "model" / "trained.safetensors")
    own = {n: t for n, t in saved.items() if not n.startswith("head.")}
    assert sum(t.numel() for t in own.values()) == SIZES[name]
    assert all(n.startswith("decoder.virtual.") and t.dtype == torch.float32 for n, t in own.items())
    model = load(finished[name])
    assert (model.network.virtual_tokens, model.room) == (P, 64 - P)
    for n, tensor in own.items():
        assert torch.equal(model.network.get_parameter(n), tensor)


def test_a_text_is_where_they_begin(inputs: tuple[str, str], tmp_path: Path) -> None:
    """A rate that moves nothing but the last digits leaves the embeddings of the text's first tokens."""
    run(recipe_of(inputs, "prompt", lr=1e-6), tmp_path / "run")
    base = load(inputs[0])
    ids = base.text.encode(TEXT, special=False)
    saved = load_file(tmp_path / "run" / "model" / "trained.safetensors")["decoder.virtual.weight"]
    assert len(ids) > P
    assert float((saved - base.network.tokens.weight.detach()[ids[:P]]).abs().max()) < 1e-5
    notes = json.loads((tmp_path / "run" / "scores.json").read_text())["notes"]
    assert f"method.text: has {len(ids)} tokens, of which 4 virtual ones could begin as the first." in notes


def test_a_fresh_process_gives_the_same_outputs(finished: dict[str, Path], tmp_path: Path) -> None:
    check_read_afresh(finished.values(), tmp_path)


@pytest.mark.parametrize("name", ["prompt", "prefix above"])
def test_whatever_stops_a_run_changes_nothing(name: str, wholes: Wholes, tmp_path: Path) -> None:
    log, expected = wholes(name)
    check_points(wholes.recipes[name], spread(4, len(log)), expected, tmp_path)


def test_the_trunk_below_a_prefix_is_computed_once(inputs: tuple[str, str], tmp_path: Path) -> None:
    """With and without stored states the run takes the same steps, to the order of sums (float32)."""
    losses = []
    for cache in (True, False):
        run(recipe_of(inputs, "prefix above", cache=cache), tmp_path / str(cache))
        steps = [line for line in picture(tmp_path / str(cache))["metrics"] if line["kind"] == "step"]
        losses.append([line["loss"] for line in steps])
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
    assert len(losses[0]) == 8


@pytest.mark.parametrize(("name", "precision"), [("prompt", "int8"), ("prefix", "bfloat16")])
def test_other_number_formats(name: str, precision: str, inputs: tuple[str, str], tmp_path: Path) -> None:
    done = run(recipe_of(inputs, name, precision=precision), tmp_path / "run")
    assert 0 <= json.loads((done.path / "scores.json").read_text())["scores"]["test"]["values"]["accuracy"] <= 1


def test_texts_have_the_room_that_is_left(inputs: tuple[str, str], tmp_path: Path) -> None:
    recipe = recipe_of(inputs, "prompt")
    many = recipe.model_copy(update={"method": Choice(name="prompt", tokens=56)})
    run(many, tmp_path / "run")
    notes = " ".join(json.loads((tmp_path / "run" / "scores.json").read_text())["notes"])
    assert "texts of the train split are longer than 8 tokens and were cut" in notes
    assert "56 virtual tokens take that many of the 64 positions of this model: 8 are left." in notes
    model = load(tmp_path / "run")
    with pytest.raises(InputError, match=r"Row 0 has 9 tokens, .* 64 positions, of which virtual tokens take 56"):
        model.checked([[1] * 9])
    answers = mt.Run(tmp_path / "run").predict([" ".join(WORDS.values())])
    assert answers[0].answer in WORDS
    for tokens, asked, message in (
        (64, None, "64 virtual tokens leave no room for a text; there are 64 positions"),
        (16, 60, "model.max_length: 60 is more than the 48 positions that 16 virtual tokens leave of the 64"),
    ):
        method = Choice(name="prefix", tokens=tokens)
        chosen = recipe.model.model_copy(update={"max_length": asked})
        with pytest.raises(InputError, match=message):
            run(recipe.model_copy(update={"method": method, "model": chosen}), tmp_path / str(tokens))


def test_plan_names_the_path_of_each_block(inputs: tuple[str, str]) -> None:
    found = {name: plan(recipe_of(inputs, name)) for name in ("prompt", "prefix", "prefix above")}
    assert {name: forecast.fast_blocks for name, forecast in found.items()} == {
        "prompt": 2,
        "prefix": 0,
        "prefix above": 1,
    }
    for name, forecast in found.items():
        parts = {part.name: part.bytes for part in forecast.memory.parts}
        assert parts["gradients"] == 4 * (SIZES[name] + 2 * D)  # two labels


@pytest.mark.parametrize("name", ["prompt", "prefix"])
def test_an_instruction_run_answers(name: str, inputs: tuple[str, str], tmp_path: Path) -> None:
    rows = [{"prompt": f"{label} {i}", "completion": text} for i in range(20) for label, text in WORDS.items()]
    done = mt.tune(
        rows,
        task="instruction",
        model=inputs[0],
        method=METHODS[name],
        split={"validation": 0.2},
        train={"epochs": 1, "batch_size": 8, "precision": "float32"},
        out=str(tmp_path / "run"),
    )
    model = load(done.path)
    ids = model.text.encode("card 3", special=False)
    found = list(model.next_ids(ids, max_new_tokens=5, stop_ids=()))
    row = list(ids)
    for token in found:  # the cache, and the full pass
        assert int(model.logits([row])[0][-1].argmax()) == token
        row.append(token)
    assert len(list(model.next_ids([1] * (64 - P - 2), max_new_tokens=9, stop_ids=()))) == 2  # to the last position
    with pytest.raises(InputError, match=r"The prompt has 60 tokens, but the model has 64 positions, of which virtual"):
        model.next_ids([1] * 60)


REFUSED = "Virtual tokens .* cannot be folded into weights; keep them beside their base"


@each
def test_no_plain_weights_hold_it(name: str, finished: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=REFUSED):
        mt.merge(finished[name], out=tmp_path / "merged")
    for form in ("hf", "gguf", "onnx"):
        with pytest.raises(InputError, match=REFUSED):
            mt.export(finished[name], format=form, out=tmp_path / form)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # peft 0.21 with transformers 5
@pytest.mark.parametrize("name", ["prompt", "prefix", "projected"])
def test_peft_reads_the_tokens_of_a_run(name: str, finished: dict[str, Path], inputs: Any, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    done = mt.export(finished[name], format="peft", out=tmp_path / "out")
    assert done.parity.reader.startswith(f"peft {peft.__version__}")
    assert 0 <= done.parity.gap < 1e-5
    model, again = load(finished[name]), load(done.path)
    rows = stored_rows(model)
    torch.testing.assert_close(outputs(again, rows), outputs(model, rows), rtol=1e-6, atol=1e-6)
    other = mt.export(done.path, format="peft", out=tmp_path / "again")  # from an adapter folder
    assert other.parity.gap < 1e-5
    config = json.loads((other.path / "adapter_config.json").read_text())
    assert config["num_virtual_tokens"] == P
    with pytest.raises(InputError, match=REFUSED):
        mt.merge(done.path, out=tmp_path / "merged")


def test_a_prefix_of_some_blocks_has_no_peft_form(finished: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="stands in the blocks from 1 on only"):
        mt.export(finished["prefix above"], format="peft", out=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
