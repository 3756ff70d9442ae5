"""What `mt.load` promises about weights that two names share."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import transformers
from safetensors import safe_open
from tiny_runs import SPEC, make_base, run

import microtune as mt
from microtune.families.base import save_folder
from microtune.nn.parameters import count_parameters
from microtune.nn.transformer import Transformer
from microtune.recipe import build

pytestmark = pytest.mark.usefixtures("quick")


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


def test_head_tuning_parts_a_tied_vocabulary_head(tmp_path: Path) -> None:
    """The run keeps the head alone, reloads to it, and a model saved from it says that it is not tied."""
    base = make_base(tmp_path / "base")
    rows = [{"prompt": f"my card {i} ", "completion": "was declined"} for i in range(8)]
    values = {"task": "instruction", "model": base, "method": "head", "split": "none", "data": {"train": rows}}
    path = run(build(values), tmp_path / "run").path
    with safe_open(path / "model" / "trained.safetensors", "pt") as file:
        assert list(file.keys()) == ["head.out.weight"]
    tuned, before = mt.load(path), mt.load(base)
    assert torch.equal(tuned.network.tokens.weight, before.network.tokens.weight)
    assert not torch.equal(tuned.network.head.out.weight, before.network.tokens.weight)
    state = {name: value.detach() for name, value in tuned.network.state_dict().items()}
    save_folder(tmp_path / "saved", tuned.spec, state, family=tuned.family)
    assert json.loads((tmp_path / "saved" / "config.json").read_text())["tie_word_embeddings"] is False
    again, ids = mt.load(tmp_path / "saved"), [[5, 8, 2], [7, 1]]
    for one, other in zip(again.logits(ids), tuned.logits(ids), strict=True):
        assert torch.equal(one, other)
    reference = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "saved")
    assert reference.lm_head.weight is not reference.model.embed_tokens.weight
    with torch.no_grad():
        theirs = reference(torch.tensor(ids[:1])).logits[0]
    torch.testing.assert_close(tuned.logits(ids[:1])[0], theirs, rtol=0, atol=1e-5)
