"""An option that does nothing in a run is refused before anything is written, and says where it belongs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import microtune as mt
from microtune.cli.chinese import translated
from microtune.errors import InputError

ROWS = [{"text": f"row {i}", "label": "ab"[i % 2]} for i in range(20)]


def refusal(work: Any, out: Path) -> str:
    with pytest.raises(InputError) as caught:
        work()
    assert not out.exists()
    return str(caught.value)


@pytest.mark.parametrize(
    ("option", "value", "instead"),
    [
        ("data.steps", ["html"], "texts of a corpus are prepared before"),
        ("data.train", "a.txt", "a corpus stands in data.sources"),
        ("data.test", "a.txt", "held-out text stands in data.sources.held_out"),
        ("data.text_field", "body", "fields stand in data.sources.fields"),
        ("data.examples", 5, "train.max_steps ends a run early"),
        ("train.patience", 2, "held-out text is scored and chooses nothing"),
        ("train.cache", False, "nothing is frozen there"),
    ],
)
def test_pretraining(option: str, value: Any, instead: str, tmp_path: Path) -> None:
    section, _, name = option.partition(".")
    recipe: dict[str, Any] = {"task": "language-modelling", "model": "sprout", "method": "full"}
    recipe |= {"data": {"sources": [{"path": "a.txt"}]}, "train": {}}
    recipe[section][name] = value
    said = refusal(lambda: mt.pretrain(recipe, out=tmp_path / "run"), tmp_path / "run")
    assert said == f"recipe: {option} does nothing in pretraining: {instead}. Leave it out."
    assert option in translated(said)
    assert "预训练中不起作用" in translated(said)


@pytest.mark.parametrize("option", [{"average": 3}, {"compile": True}, {"evaluate_tokens": 100}])
def test_tuning(option: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "run"
    said = refusal(lambda: mt.tune(ROWS, task="classification", method="head", train=option, out=out), out)
    assert said.startswith(f"recipe: train.{next(iter(option))} does nothing in tuning: it is for pretraining")


def test_comparing(tmp_path: Path) -> None:
    out = tmp_path / "run"
    said = refusal(
        lambda: mt.compare(ROWS, task="classification", methods=["head"], train={"compile": True}, out=out), out
    )
    assert said == "recipe: train.compile does nothing in tuning: it is for pretraining. Leave it out."
