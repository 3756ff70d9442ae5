"""Whole runs with DoRA: what moves, what a fresh process and a merged copy give, and what an interruption changes."""

from __future__ import annotations

from pathlib import Path

import pytest
from read_afresh import check_read_afresh
from test_interruption import Wholes, check_points, spread
from tiny_runs import make_base, make_rows, tune_recipe

import microtune as mt
from microtune.adapt.lora import DoRALinear
from microtune.recipe import Recipe
from microtune.run.export.merging import merged
from microtune.run.foresee import plan
from microtune.run.load import load

pytestmark = pytest.mark.usefixtures("quick")
ROLES = 2 * 7


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    folder = tmp_path_factory.mktemp("inputs")
    return tune_recipe(make_base(folder / "base"), make_rows(folder / "rows.csv"), "dora")


@pytest.fixture(scope="module")
def wholes(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Wholes:
    return Wholes({"dora": recipe}, tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def finished(wholes: Wholes) -> Path:
    return wholes.path("dora")


def test_every_magnitude_has_moved_and_the_base_has_not(finished: Path) -> None:
    found = load(finished)
    updates = [m for m in found.network.modules() if isinstance(m, DoRALinear)]
    assert len(updates) == ROLES
    for update in updates:
        moved = (update.magnitude.detach() - update.base.weight.detach().norm(dim=1)).abs()
        assert 1e-4 < float(moved.max()) < 0.1  # eight steps of at most 0.01
    assert {p.name for p in (finished / "model" / "adapter").iterdir()} >= {"adapter_config.json"}


def test_a_fresh_process_gives_the_same_outputs(finished: Path, tmp_path: Path) -> None:
    check_read_afresh([finished], tmp_path)


def test_the_merged_copy_gives_what_the_run_gives(finished: Path, tmp_path: Path) -> None:
    made = merged(finished)
    assert (made.updates, made.before["accuracy"]) == (ROLES, made.after["accuracy"])
    assert 0 <= made.gap < 1e-5
    assert not any(isinstance(m, DoRALinear) for m in made.model.network.modules())
    done = mt.merge(finished, out=tmp_path / "merged")  # read back by transformers
    assert done.parity.gap < 2e-5


def test_plan_counts_the_magnitudes_and_names_the_fast_path(recipe: Recipe) -> None:
    forecast = plan(recipe)
    parts = {part.name: part.bytes for part in forecast.memory.parts}
    plain = plan(recipe.model_copy(update={"method": recipe.method.model_copy(update={"variant": "plain"})}))
    before = {part.name: part.bytes for part in plain.memory.parts}
    magnitudes = 4 * 2 * (5 * 16 + 2 * 24)  # q, k, v, o and down; gate and up
    assert parts["gradients"] - before["gradients"] == magnitudes
    assert forecast.fast_blocks == forecast.blocks == 2


def test_whatever_stops_a_run_changes_nothing(recipe: Recipe, wholes: Wholes, tmp_path: Path) -> None:
    log, expected = wholes("dora")
    check_points(recipe, spread(6, len(log)), expected, tmp_path)
