"""Preference from rows to a run that is resumed, loaded and scored again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_runs
import torch

import microtune
from microtune.data.batches import collate
from microtune.data.sources import Row
from microtune.errors import InputError
from microtune.recipe import build
from microtune.run.disk import read_tensors
from microtune.run.load import load
from microtune.run.reference import log_probabilities
from microtune.tasks.preference import Preference

pytestmark = pytest.mark.usefixtures("quick")

GOOD, BAD = "yes it has arrived", "my card was declined"


def pairs(count: int = 40) -> list[dict[str, Any]]:
    """Prompts with the same better and the same worse answer."""
    return [{"prompt": f"the transfer {i} at the shop", "chosen": GOOD, "rejected": BAD} for i in range(count)]


def flags(count: int = 40) -> list[dict[str, Any]]:
    """The same, each answer alone."""
    return [
        {"prompt": f"the transfer {i} at the shop", "completion": BAD if i % 2 else GOOD, "label": i % 2 == 0}
        for i in range(count)
    ]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The tiny Llama of the other runs."""
    return tiny_runs.make_base(tmp_path_factory.mktemp("base"))


def recipe(base: str, folder: Path, rows: list[dict[str, Any]], method: Any, **train: Any) -> Any:
    """A recipe on a file of rows."""
    file = folder / "rows.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    settings = {"epochs": 4, "batch_size": 8, "lr": 0.02, "precision": "float32", "checkpoint_steps": 3, **train}
    data = {"train": str(file), "split": {"validation": 0.2, "test": 0.2}}
    return build({"task": "preference", "model": base, "data": data, "method": method, "train": settings})


@pytest.mark.parametrize(("method", "rows"), [("full", pairs()), ("lora:4", pairs()), ("lora:4", flags())])
def test_a_planted_preference_is_learnt(base: str, tmp_path: Path, method: str, rows: list[dict[str, Any]]) -> None:
    """The test pairs are told apart, the first step begins at log 2, and the loaded run gives the same scores."""
    events: list[Any] = []
    folder = tiny_runs.run(recipe(base, tmp_path, rows, method), tmp_path / "run", event=events.append)
    steps = [e for e in events if type(e).__name__ == "Step"]
    begin = np.log(2) if "chosen" in rows[0] else 0.5
    assert abs(steps[0].loss - begin) < 1e-3
    done = microtune.Run(folder.path)
    scores = done.scores["test"]
    assert scores["preference_accuracy"] >= 0.95
    assert scores["margin"] > 0.1
    assert scores["loss"] < begin
    assert scores["drift"] > 0
    again = done.evaluate(rows).values
    assert again["preference_accuracy"] >= 0.95
    assert abs(again["drift"] - scores["drift"]) < 0.5 * scores["drift"]
    assert isinstance(done.predict("the transfer 3 at the shop", max_new_tokens=4)[0].answer, str)


@pytest.mark.parametrize("rows", [pairs(), flags()])
def test_a_resumed_run_is_bit_equal(base: str, tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    """Killed after a checkpoint and run again: the weights of the run that nobody disturbed."""

    class Killed(BaseException):
        """The process dies."""

    def die(event: Any) -> None:
        if type(event).__name__ == "Step" and event.step == 7:
            raise Killed

    plan = recipe(base, tmp_path, rows, {"name": "lora", "rank": 2, "dropout": 0.1})
    tiny_runs.run(plan, tmp_path / "whole")
    with pytest.raises(Killed):
        tiny_runs.run(plan, tmp_path / "broken", event=die)
    tiny_runs.run(plan, tmp_path / "broken")
    one, other = (read_tensors(tmp_path / n / "model" / "trained.safetensors") for n in ("whole", "broken"))
    assert one
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_references_are_those_of_the_base(base: str) -> None:
    """log p of each answer token, against the softmax of all logits, to 1e-6; grouped with others or alone."""
    model = load(base, dtype="float64")
    task = Preference().prepare({"train": _rows(pairs(5))}, text_field=None, label_field=None)
    items = task.encode_all(_rows(pairs(5)), model.text, 64, training=True).items
    found = log_probabilities(model.network, items)
    for item, logs in zip(items, found, strict=True):
        batch = collate([item])
        hidden = model.network(batch.inputs, readout=batch.readout)
        exact = torch.log_softmax(model.network.head(hidden).double(), -1)
        exact = exact[torch.arange(len(batch.targets)), batch.targets].detach().numpy()
        assert np.abs(exact - logs).max() < 1e-6


def test_the_references_are_kept_and_the_micro_batches_change_nothing(base: str, tmp_path: Path) -> None:
    """KTO compares over the whole batch: cut in pieces of one row it gives the same run, up to rounding."""
    kept: set[Path] = set()

    def look(_: object) -> None:
        kept.update((tmp_path / "whole" / "cache").glob("references-*/values.bin"))

    whole = tiny_runs.run(recipe(base, tmp_path, flags(), "lora:2", max_steps=4), tmp_path / "whole", event=look)
    parts = tiny_runs.run(recipe(base, tmp_path, flags(), "lora:2", max_steps=4, micro_tokens=8), tmp_path / "parts")
    one, other = (read_tensors(f.path / "model" / "trained.safetensors") for f in (whole, parts))
    assert max(float((one[n] - other[n]).abs().max()) for n in one) < 1e-4
    assert len(kept) == 3, "of train, validation and test; gone with the cache of the finished run"


def test_refusals(base: str, tmp_path: Path) -> None:
    """No base to hold on to, smoothed targets."""
    plan = recipe(base, tmp_path, pairs(), "full")
    plan = plan.model_copy(update={"model": plan.model.model_copy(update={"weights": "random"})})
    with pytest.raises(InputError, match="learnt against a base"):
        tiny_runs.run(plan, tmp_path / "random")
    with pytest.raises(InputError, match=r"task\.label_smoothing"):
        tiny_runs.run(recipe(base, tmp_path, pairs(), "lora:2", label_smoothing=0.1), tmp_path / "smooth")


def _rows(data: list[dict[str, Any]]) -> list[Row]:
    return [Row(row, "rows.jsonl", i + 1) for i, row in enumerate(data)]
