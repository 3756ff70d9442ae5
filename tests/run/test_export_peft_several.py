"""Lists of methods as an adapter of peft: parts of one kind and label heads have a form, everything else is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_exports import make, make_run, opened
from tiny_runs import WORDS
from torch import nn
from torch.testing import assert_close

import microtune as mt
from microtune.adapt.base import make_method
from microtune.errors import InputError
from microtune.nn.heads import LabelHead
from microtune.recipe import Choice
from microtune.run.export import parity
from microtune.run.export.peft_parts import carrier, trains_vocabulary_head

LORA = {"name": "lora", "rank": 2}
BELOW, ABOVE = {**LORA, "last_block": 0}, {**LORA, "rank": 3, "alpha": 5.0, "first_block": 1}
WRITTEN: dict[str, list[Any]] = {
    "head and lora": [{"name": "head"}, LORA],
    "lora twice": [BELOW, {**ABOVE, "variant": "rslora"}],
    "dora twice": [{**BELOW, "variant": "dora"}, {**ABOVE, "variant": "dora"}],
    "head and ia3": ["head", "ia3"],
    "prefix and head": [{"name": "prefix", "tokens": 3}, "head"],
}
PAIRS = [("gpt2", "head and lora"), ("bert", "head and lora"), *(("llama", name) for name in list(WRITTEN)[1:])]


@pytest.mark.parity
@pytest.mark.usefixtures("quick")
@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # peft 0.21 with transformers 5
@pytest.mark.parametrize(("kind", "parts"), PAIRS)
def test_peft_reads_several_as_one_adapter(kind: str, parts: str, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    run = make_run(tmp_path / "run", make(tmp_path / kind, kind), method=WRITTEN[parts])  # type: ignore[arg-type]
    done = mt.export(run, format="peft", out=tmp_path / "out")
    assert done.parity.reader.startswith(f"peft {peft.__version__}")
    assert (done.parity.compared, done.parity.rows) == ("label scores", 14)
    assert 0 <= done.parity.gap < 1e-5
    model, again = opened(run), opened(done.path)
    rows = parity.stored_rows(model)
    assert_close(parity.outputs(again, rows), parity.outputs(model, rows), rtol=1e-5, atol=1e-5)
    config = json.loads((done.path / "adapter_config.json").read_text())
    if "head" in parts and kind != "bert":
        assert config["modules_to_save"] == ["score"]
    if parts == "lora twice":
        assert {config["r"], *config["rank_pattern"].values()} == {2, 3}


def several(*parts: Any) -> Any:
    return make_method(Choice.model_validate({"name": "several", "parts": list(parts)}))


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        (["lora", "bitfit"], r"^r: tuned with lora\+bitfit, of which bitfit has no PEFT form; use --format hf\.$"),
        (["head", "norms"], r"^r: tuned with head\+norms, of which norms has no PEFT form"),
        (["prefix", "lora"], r"^r: tuned with prefix\+lora; one adapter of peft cannot hold prefix and lora together"),
        ([BELOW, {**ABOVE, "variant": "dora"}], "cannot hold lora and dora together"),
    ],
)
def test_the_part_without_a_form_is_named(parts: list[Any], sentence: str) -> None:
    labels = LabelHead.__new__(LabelHead)
    with pytest.raises(InputError, match=sentence):
        carrier(several(*parts), labels, "r")


def test_a_vocabulary_head_that_was_trained_goes_with_lora_and_ia3() -> None:
    head = nn.Linear(1, 1)
    assert carrier(several("head", "lora"), head, "r").name == "lora"
    assert trains_vocabulary_head(several("head", "ia3"), head)
    assert not trains_vocabulary_head(several("bitfit", "lora"), head)
    assert not trains_vocabulary_head(several("head", "lora"), LabelHead.__new__(LabelHead))
    with pytest.raises(InputError, match=r"tuned with head\+prefix, of which head has no PEFT form"):
        carrier(several("head", "prefix"), head, "r")
    with pytest.raises(InputError, match="r: tuned with top, which has no PEFT form"):
        carrier(make_method(Choice(name="top")), head, "r")


@pytest.mark.parity
@pytest.mark.usefixtures("quick")
@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
@pytest.mark.parametrize("kind", ["llama", "llama tied"])
def test_a_run_whose_vocabulary_head_has_learnt(kind: str, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    base = make(tmp_path / kind, kind)
    rows = [{"prompt": f"{text} {i}", "completion": name} for name, text in WORDS.items() for i in range(12)]
    done = mt.tune(
        rows,
        task="instruction",
        model=str(base),
        method=["head", LORA],
        epochs=1,
        train={"lr": 0.02, "precision": "float32"},
        split={"validation": 0.2},
        out=tmp_path / "run",
    )
    found = mt.export(done.path, format="peft", out=tmp_path / "out")
    assert 0 <= found.parity.gap < 1e-5
    assert json.loads((found.path / "adapter_config.json").read_text())["modules_to_save"] == ["lm_head"]
    model, again = opened(done.path), opened(found.path)
    rows_of = parity.stored_rows(model)
    assert_close(parity.outputs(again, rows_of), parity.outputs(model, rows_of), rtol=1e-5, atol=1e-5)
    assert not torch.equal(again.network.head.out.weight, opened(base).network.head.out.weight)
