"""What `mt.load` promises about weights that two names share."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from tiny_runs import SPEC, make_base, run

import microtune as mt
from microtune.nn.transformer import Transformer, count_parameters
from microtune.recipe import build


@pytest.mark.parametrize("dtype", [None, "float64", "bfloat16"])
def test_a_tied_head_shares_the_embedding_after_loading(tmp_path: Path, dtype: str | None) -> None:
    model = mt.load(make_base(tmp_path), dtype=dtype)
    assert SPEC.tied
    assert model.network.head.out.weight is model.network.tokens.weight
    assert model.parameters == count_parameters(Transformer(SPEC))[0]


def test_full_tuning_keeps_the_head_tied_and_saves_it_once(tmp_path: Path) -> None:
    base = make_base(tmp_path / "base")
    rows = [{"prompt": f"my card {i} ", "completion": "was declined"} for i in range(8)]
    values = {
        "task": "instruction",
        "model": base,
        "method": "full",
        "epochs": 1,
        "split": "none",
        "data": {"train": rows},
    }
    folder = run(build(values), tmp_path / "run")
    files = list((folder.path / "model").glob("*.safetensors"))
    names = [name for file in files for name in safe_open(file, "pt").keys()]  # noqa: SIM118 - not a dict
    assert len([name for name in names if name.endswith(("tokens.weight", "head.out.weight"))]) == 1, names
    tuned, before = mt.load(folder.path), mt.load(base)
    assert tuned.network.head.out.weight is tuned.network.tokens.weight
    assert not torch.equal(tuned.network.tokens.weight, before.network.tokens.weight)


def test_head_tuning_refuses_a_tied_vocabulary_head(tmp_path: Path) -> None:
    base = make_base(tmp_path / "base")
    rows = [{"prompt": f"my card {i} ", "completion": "was declined"} for i in range(8)]
    values = {"task": "instruction", "model": base, "method": "head", "split": "none", "data": {"train": rows}}
    with pytest.raises(mt.InputError, match="shares its weights"):
        run(build(values), tmp_path / "run")
