"""Whole runs with BitFit, norms, IA3 and several methods: saved and loaded, resumed, merged, planned, named."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from read_afresh import check_read_afresh
from test_interruption import Wholes, check_points, spread
from tiny_runs import SPEC, WORDS, make_base, make_rows, tune_recipe

import microtune as mt
from microtune.data.text import train_bpe
from microtune.errors import InputError
from microtune.families.base import save_folder
from microtune.nn.parameters import initialize
from microtune.nn.transformer import Transformer
from microtune.recipe import Recipe, build
from microtune.run.export.merging import merged
from microtune.run.folder import default_name
from microtune.run.foresee import plan

pytestmark = pytest.mark.usefixtures("quick")
METHODS = ("bitfit", "norms", "ia3", "several")


def make_biased_base(folder: Path) -> str:
    """A random GPT-2 with its tokenizer; biases of the size that training gives them."""
    assert SPEC.decoder is not None
    stack = replace(
        SPEC.decoder, norm="layer", mlp="plain", activation="gelu_tanh", positions="learned",
        query_bias=True, key_bias=True, value_bias=True, output_bias=True, mlp_bias=True,
    )  # fmt: skip
    spec = replace(SPEC, decoder=stack, tied=True)
    torch.manual_seed(3)
    network = Transformer(spec)
    initialize(network, 0.2, num_layers=2)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith(".bias"):
                parameter.normal_(0, 0.1)
    save_folder(folder, spec, network.state_dict(), family="gpt2")
    train_bpe(WORDS.values(), SPEC.vocab_size).save(folder)
    return str(folder)


@pytest.fixture(scope="module")
def recipes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Recipe]:
    folder = tmp_path_factory.mktemp("inputs")
    plain, biased = make_base(folder / "base"), make_biased_base(folder / "biased")
    rows = make_rows(folder / "rows.csv")
    found = {name: tune_recipe(plain, rows, name) for name in METHODS if name != "bitfit"}
    bitfit = tune_recipe(biased, rows, "ia3").model_dump() | {"method": "bitfit"}
    mixed = tune_recipe(biased, rows, "ia3", precision="bfloat16").model_dump() | {"method": "lora:2+bitfit"}
    return found | {"bitfit": build(bitfit), "lora+bitfit in bfloat16": build(mixed)}


@pytest.fixture(scope="module")
def wholes(recipes: dict[str, Recipe], tmp_path_factory: pytest.TempPathFactory) -> Wholes:
    return Wholes(recipes, tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def finished(wholes: Wholes) -> dict[str, Path]:
    return {name: wholes.path(name) for name in wholes.recipes}


def test_fresh_processes_give_the_same_outputs(finished: dict[str, Path], tmp_path: Path) -> None:
    check_read_afresh(finished.values(), tmp_path)


def test_what_a_run_says_of_its_method(recipes: dict[str, Recipe], finished: dict[str, Path]) -> None:
    record = json.loads((finished["several"] / "model" / "model.json").read_text())["method"]
    assert [part["name"] for part in record["parts"]] == ["head", "lora"]
    assert record["parts"][1]["alpha"] is None
    assert "method head+lora;" in (finished["several"] / "README.md").read_text(encoding="utf-8")
    name = default_name(recipes["several"], "rows")
    assert re.fullmatch(r"rows-classification-head\+lora-[0-9a-f]{8}", name)
    strange = build({"task": "classification", "method": ["head", {"name": "../x"}]})
    assert "/" not in default_name(strange, "rows")


def test_factors_merge_and_single_weights_have_nothing_to_merge(finished: dict[str, Path], tmp_path: Path) -> None:
    made = merged(finished["ia3"])
    assert made.updates == 2 * 3
    assert made.before["accuracy"] == made.after["accuracy"]
    assert 0 <= made.gap < 1e-5
    assert mt.merge(finished["several"], out=tmp_path / "merged").parity.gap < 2e-5
    with pytest.raises(InputError, match="there is nothing to merge"):
        merged(finished["bitfit"])


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # peft 0.21 with transformers 5
def test_factors_go_out_in_the_form_of_peft(finished: dict[str, Path], tmp_path: Path) -> None:
    """Read back by peft itself; and every run keeps such a copy where transformers has its head."""
    done = mt.export(finished["ia3"], format="peft", out=tmp_path / "adapter")
    assert done.parity.gap < 1e-5
    assert json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())["peft_type"] == "IA3"
    assert {p.name for p in (finished["ia3"] / "model" / "adapter").iterdir()} >= {"adapter_config.json"}
    with pytest.raises(InputError, match="tuned with bitfit, which has no PEFT form; use --format hf"):
        mt.export(finished["bitfit"], format="peft", out=tmp_path / "none")
    assert mt.export(finished["bitfit"], format="hf", out=tmp_path / "whole").parity.gap < 1e-5


def test_plan_names_the_fast_path_and_counts_what_trains(recipes: dict[str, Recipe]) -> None:
    sizes = {
        "norms": 4 * (3 * 16 + 2 * 16),  # two norms of the upper block and the final one; the head
        "ia3": 4 * (2 * (16 + 16 + 24) + 2 * 16),
        "bitfit": 4 * (2 * (4 * 16 + 24 + 16 + 2 * 16) + 16 + 2 * 16),
    }
    for name, size in sizes.items():
        forecast = plan(recipes[name])
        assert {part.name: part.bytes for part in forecast.memory.parts}["gradients"] == size
        assert forecast.fast_blocks == forecast.blocks


@pytest.mark.parametrize("name", METHODS)
def test_whatever_stops_a_run_changes_nothing(name: str, wholes: Wholes, tmp_path: Path) -> None:
    log, expected = wholes(name)
    check_points(wholes.recipes[name], spread(3, len(log)), expected, tmp_path)


def test_the_command_line_and_python_name_the_same(recipes: dict[str, Recipe], tmp_path: Path) -> None:
    """Text, list and mapping; an explicit rate is for all."""
    values: dict[str, Any] = {"task": "classification", "model": recipes["ia3"].model.source, "epochs": 1}
    data = str(recipes["ia3"].data.train)
    one = mt.tune(data, **values, method="ia3+norms", out=tmp_path / "text")
    two = mt.tune(data, **values, method=["ia3", {"name": "norms"}], out=tmp_path / "list")
    assert one.scores == two.scores
    with pytest.raises(InputError, match="two methods for one role: ia3 and lora both change decoder"):
        mt.tune(data, **values, method="ia3+lora", out=tmp_path / "refused")
    assert not (tmp_path / "refused").exists()
    with pytest.raises(InputError, match=r"no linear role \(q, k, v, o, up, gate, down\) and no norm"):
        mt.tune(data, **values, method="bitfit", out=tmp_path / "refused")
    assert InputError.exit_code == 2
