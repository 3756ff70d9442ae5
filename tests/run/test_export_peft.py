"""The adapter of a run as a folder for peft, its base with it where it has no name of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_exports import make, make_run, opened, report
from torch.testing import assert_close

import microtune as mt
from microtune.errors import CheckError, InputError
from microtune.run.export import parity, peft_folder

peft = pytest.importorskip("peft")
pytestmark = [
    pytest.mark.parity,
    pytest.mark.usefixtures("quick"),
    pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning"),  # peft 0.21 with transformers 5
]
METHODS: dict[str, dict[str, Any]] = {
    "plain": {"name": "lora", "rank": 2},
    "rslora": {"name": "lora", "rank": 3, "variant": "rslora", "roles": ["q", "v", "down"]},
    "rslora everywhere": {"name": "lora", "rank": 2, "alpha": 5.0, "variant": "rslora"},
    "dora": {"name": "lora", "rank": 2, "variant": "dora"},
    "dora above": {"name": "lora", "rank": 2, "alpha": 5.0, "variant": "dora", "roles": ["k", "up"], "first_block": 1},
    "rslora above": {"name": "lora", "rank": 2, "variant": "rslora", "roles": ["k", "up"], "first_block": 1},
}


PAIRS = [*(("llama", name) for name in METHODS), ("gpt2", "plain"), ("gpt2", "rslora"), ("bert", "rslora everywhere")]
PAIRS += [("gpt2", "dora"), ("gpt2", "dora above"), ("bert", "dora")]


@pytest.mark.parametrize(("kind", "method"), PAIRS)
def test_peft_reads_the_adapter_of_a_run(kind: str, method: str, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", make(tmp_path / kind, kind), method=METHODS[method])
    done = mt.export(run, format="peft", out=tmp_path / "out")
    assert done.parity.reader.startswith(f"peft {peft.__version__}")
    assert (done.parity.compared, done.parity.rows) == ("label scores", 14)
    assert 0 <= done.parity.gap < 1e-5
    config = json.loads((done.path / "adapter_config.json").read_text())
    assert config["use_rslora"] == method.startswith("rslora")
    assert config["use_dora"] == method.startswith("dora")
    assert config["base_model_name_or_path"] == str(tmp_path / kind)
    model, again = opened(run), opened(done.path)
    rows = parity.stored_rows(model)
    assert_close(parity.outputs(again, rows), parity.outputs(model, rows), rtol=1e-5, atol=1e-5)
    other = mt.export(done.path, format="peft", out=tmp_path / "again")  # from an adapter folder
    again_config = json.loads((other.path / "adapter_config.json").read_text())
    assert [again_config[key] for key in ("use_rslora", "use_dora")] == [config["use_rslora"], config["use_dora"]]
    assert mt.merge(done.path, out=tmp_path / "merged").parity.gap < 2e-5


def test_an_embedded_base_travels_along(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", Path("sprout"), method={"name": "lora", "rank": 1, "roles": ["q"]})
    done = mt.export(run, format="peft", out=tmp_path / "out")
    assert done.facts == {"base": "base"}
    assert report(done.path)["passed"] is True
    assert (done.path / "base" / "model.safetensors").is_file()
    done.path.rename(tmp_path / "moved")
    model, again = opened(run), opened(tmp_path / "moved")
    rows = parity.stored_rows(model)
    assert_close(parity.outputs(again, rows), parity.outputs(model, rows), rtol=1e-5, atol=1e-5)


def test_a_broken_writer_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(tmp_path / "run", make(tmp_path / "llama", "llama"), method=METHODS["rslora"])
    real = peft_folder.write_peft

    def broken(folder: Path, *arguments: Any, **options: Any) -> None:
        real(folder, *arguments, **options)
        path = folder / "adapter_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"use_rslora": False}))

    monkeypatch.setattr(peft_folder, "write_peft", broken)
    with pytest.raises(CheckError, match="label scores that differ by"):
        mt.export(run, format="peft", out=tmp_path / "out")
    assert not list(tmp_path.glob("out*"))


def test_what_is_no_adapter_is_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", make(tmp_path / "llama", "llama"), method={"name": "top", "blocks": 1})
    with pytest.raises(InputError, match="tuned with top, which has no PEFT form; use --format hf"):
        mt.export(run, format="peft", out=tmp_path / "out")
