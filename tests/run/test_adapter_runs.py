"""Whole runs with PiSSA (and LoRA+) and with bottleneck adapters: reload, merge, resume, number formats, accumulation,
and a base that is no longer the one that an adapter was made on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import test_accumulation as accumulation
import torch
from read_afresh import check_read_afresh
from safetensors.torch import load_file, save_file
from test_interruption import Wholes, check_points, spread
from tiny_runs import make_base, make_rows, run, tune_recipe
from torch.testing import assert_close

import microtune as mt
from microtune.adapt.bottleneck import BottleneckAdapter
from microtune.adapt.lora import LoRALinear, PiSSALinear
from microtune.errors import InputError, RunError
from microtune.nn.frozen import FrozenLinear
from microtune.recipe import Recipe
from microtune.run.export.merging import merged
from microtune.run.foresee import plan
from microtune.run.load import load

pytestmark = pytest.mark.usefixtures("quick")
NAMES = ("pissa", "bottleneck")
each = pytest.mark.parametrize("name", NAMES)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    folder = tmp_path_factory.mktemp("inputs")
    return make_base(folder / "base"), make_rows(folder / "rows.csv")


@pytest.fixture(scope="module")
def recipes(inputs: tuple[str, str]) -> dict[str, Recipe]:
    return {name: tune_recipe(*inputs, name) for name in NAMES}


@pytest.fixture(scope="module")
def wholes(recipes: dict[str, Recipe], tmp_path_factory: pytest.TempPathFactory) -> Wholes:
    return Wholes(recipes, tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def finished(wholes: Wholes) -> dict[str, Path]:
    return {name: wholes.path(name) for name in NAMES}


def test_what_a_run_keeps(finished: dict[str, Path], inputs: tuple[str, str]) -> None:
    """PiSSA: A, B and what they began as; the frozen rest follows from the base, to the bit."""
    model, base = finished["pissa"] / "model", load(inputs[0]).network
    trained, start = load_file(model / "trained.safetensors"), load_file(model / "start.safetensors")
    assert sum(name.endswith(("lora_A", "lora_B")) for name in trained) == len(start) == 2 * 2 * 7
    again = load(finished["pissa"]).network
    for role, update in again.named_modules():
        if isinstance(update, PiSSALinear):
            weight = base.get_parameter(f"{role}.weight")
            assert torch.equal(update.base.weight, update.held(weight))
            assert not torch.equal(update.lora_A, update.start_A)
            assert not torch.equal(update.lora_B, update.start_B)
    assert not (finished["bottleneck"] / "model" / "start.safetensors").exists()
    kept = load(finished["bottleneck"]).network
    assert sum(isinstance(m, BottleneckAdapter) for m in kept.modules()) == 4


@each
def test_on_random_weights_the_run_holds_everything_itself(
    name: str, recipes: dict[str, Recipe], tmp_path: Path
) -> None:
    """The run checks that it reloads to equal outputs."""
    recipe = recipes[name]
    random = recipe.model.model_copy(update={"weights": "random"})
    run(recipe.model_copy(update={"model": random}), tmp_path / "run")
    assert (tmp_path / "run" / "model" / "frozen.safetensors").is_file()
    kind = PiSSALinear if name == "pissa" else BottleneckAdapter
    assert any(isinstance(m, kind) for m in load(tmp_path / "run").network.modules())


def test_nothing_is_decomposed_to_load_a_run(finished: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("microtune.adapt.lora.principal", lambda *_: pytest.fail("singular vectors were computed"))
    load(finished["pissa"])


def test_factors_that_do_not_fit(finished: dict[str, Path], tmp_path: Path) -> None:
    """A damaged folder says which tensor."""
    shutil.copytree(finished["pissa"], tmp_path / "run")
    file = tmp_path / "run" / "model" / "start.safetensors"
    start = load_file(file)
    first = min(start)
    for changed in ({n: t for n, t in start.items() if n != first}, start | {first: start[first][:1].clone()}):
        save_file(changed, file)
        (tmp_path / "run" / "model" / "manifest.json").write_text(json.dumps({"files": {}}))
        with pytest.raises(RunError, match=first):
            load(tmp_path / "run")


def test_a_fresh_process_gives_the_same_outputs(finished: dict[str, Path], tmp_path: Path) -> None:
    check_read_afresh(finished.values(), tmp_path)


def test_the_merged_copy_of_pissa_gives_what_the_run_gives(finished: dict[str, Path], tmp_path: Path) -> None:
    made = merged(finished["pissa"])
    assert (made.updates, made.before["accuracy"]) == (14, made.after["accuracy"])
    assert 0 <= made.gap < 1e-5
    done = mt.merge(finished["pissa"], out=tmp_path / "merged")  # read back by transformers
    assert done.parity.gap < 2e-5


@pytest.mark.parametrize("form", ["merge", "hf", "peft", "gguf", "onnx"])
def test_adapters_between_layers_are_not_exported(form: str, finished: dict[str, Path], tmp_path: Path) -> None:
    run, out = finished["bottleneck"], tmp_path / "out"
    with pytest.raises(InputError, match="cannot be folded into weights, and no exported form holds them"):
        mt.merge(run, out=out) if form == "merge" else mt.export(run, format=form, out=out)
    assert not list(tmp_path.iterdir())


@each
@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
def test_other_number_formats(name: str, precision: str, inputs: tuple[str, str], tmp_path: Path) -> None:
    """The losses stay near those in float32 (8 % after eight steps: Adam enlarges what int8 rounds of small gradients);
    the run ends with the base's own bits, and reloads (which it checks)."""
    losses: dict[str, list[float]] = {}
    for kind in ("float32", precision):
        steps = losses[kind] = []
        recipe = tune_recipe(*inputs, name, precision=kind)
        run(recipe, tmp_path / kind, event=lambda e, s=steps: s.append(e.loss) if hasattr(e, "grad_norm") else None)
    assert losses[precision] == pytest.approx(losses["float32"], rel=0.08)
    network, base = load(tmp_path / precision).network, load(inputs[0]).network
    assert not any(isinstance(m, FrozenLinear) for m in network.modules())
    for role, module in network.named_modules():
        if isinstance(module, torch.nn.Linear) and ".blocks." in role and ".slot." not in role:
            weight = base.get_parameter(f"{role.removesuffix('.base')}.weight")
            owner = network.get_submodule(role.removesuffix(".base"))
            assert torch.equal(module.weight, owner.held(weight) if isinstance(owner, PiSSALinear) else weight)


@each
def test_whatever_stops_a_run_changes_nothing(name: str, wholes: Wholes, tmp_path: Path) -> None:
    log, expected = wholes(name)
    check_points(wholes.recipes[name], spread(4, len(log)), expected, tmp_path)


@pytest.mark.parametrize(
    "method",
    [{"name": "lora", "rank": 2, "variant": "pissa", "loraplus": 4}, {"name": "bottleneck", "reduction": 4}],
    ids=NAMES,
)
def test_accumulation_is_the_full_batch(method: dict[str, Any]) -> None:
    """float64; 1e-10 after six steps, as for the other methods."""
    single, whole = (accumulation.make(accumulation.TASKS["label"], method, tokens) for tokens in (1, 4096))
    found = [[step.loss for step in training.fit()] for training in (single, whole)]
    assert len(found[0]) == 6
    assert_close(*found, rtol=0, atol=1e-10)
    assert_close(accumulation.weights(single), accumulation.weights(whole), rtol=0, atol=1e-8)


@each
def test_plan_names_the_path_and_counts_what_is_kept(name: str, recipes: dict[str, Recipe]) -> None:
    forecast = plan(recipes[name])
    parts = {part.name: part.bytes for part in forecast.memory.parts}
    assert forecast.blocks == 2
    assert forecast.fast_blocks == (2 if name == "pissa" else 0)  # what stands between the layers runs the plain way
    if name == "pissa":
        assert parts["weights as they were, for undoing"] == 4 * 2 * (4 * 16 * 16 + 3 * 16 * 24)
    else:
        adapter = 2 * 16 * 4 + 4 + 16
        assert parts["gradients"] == 4 * (2 * 2 * adapter + 2 * 16)  # and the head


class TestAnotherBase:
    """The folder for peft knows the weights that it was made on; a folder of another tool is not asked."""

    @pytest.fixture
    def moved(self, tmp_path: Path) -> tuple[Path, Path]:
        """A base of its own, and an adapter folder on it."""
        base, data = make_base(tmp_path / "base"), make_rows(tmp_path / "rows.csv")
        run(tune_recipe(base, data, "lora"), tmp_path / "run")
        return Path(base), tmp_path / "run"

    def test_it_is_refused(self, moved: tuple[Path, Path], tmp_path: Path) -> None:
        base, made = moved
        exported = mt.export(made, format="peft", out=tmp_path / "peft").path
        for folder in (made / "model" / "adapter", exported):
            assert any(isinstance(m, LoRALinear) for m in load(folder).network.modules())
        file = base / "model.safetensors"
        state = load_file(file)
        first = min(state)
        save_file(state | {first: state[first] + 1e-3}, file, metadata={"format": "pt"})
        with pytest.raises(RunError, match="has changed since this run"):
            load(made)
        for folder in (made / "model" / "adapter", exported):
            with pytest.raises(InputError, match="made on other weights than those of its base") as error:
                load(folder)
            assert error.value.check == "same-base"
            assert "\n" not in str(error.value)
            weights = folder / "adapter_model.safetensors"
            save_file(load_file(weights), weights, metadata={"format": "pt"})  # as another tool writes it
            assert any(isinstance(m, LoRALinear) for m in load(folder).network.modules())
