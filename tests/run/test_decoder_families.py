"""Models of the decoder-only families through whole runs: adapted, saved, reloaded, and asked for tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import WORDS, make_rows

import microtune as mt
from microtune.data.text import train_bpe
from microtune.families import families, save_folder
from microtune.nn.parameters import initialize
from microtune.nn.transformer import Transformer
from microtune.run.generate import generate_ids

pytestmark = pytest.mark.usefixtures("quick")

SIZES = {"vocab_size": 320, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2}
HEADS = {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8, "max_position_embeddings": 64}
DYNAMIC = {"rope_type": "dynamic", "factor": 4.0}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt_neox": ("gpt_neox", {"rotary_pct": 0.5}),  # parallel residuals
    "olmo2": ("olmo2", {}),  # norms behind the branches
    "gemma3_text": ("gemma3_text", {"sliding_window": 4, "query_pre_attn_scalar": 8, "sliding_window_pattern": 2}),
    "glm4": ("glm4", {}),  # neighbours turn together
    "internlm3": ("internlm3", {"rope_scaling": DYNAMIC, "max_position_embeddings": 16}),  # angles follow the row
}
each = pytest.mark.parametrize("name", CASES)


def make_base(folder: Path, name: str) -> str:
    """A random model of a family with its tokenizer, from nothing but a configuration."""
    family, fields = CASES[name]
    config = SIZES | HEADS | {"tie_word_embeddings": False} | fields
    if family == "gpt_neox":
        del config["head_dim"], config["num_key_value_heads"]
    spec = families[family].to_spec(config)
    tokenizer = train_bpe(WORDS.values(), spec.vocab_size)
    torch.manual_seed(3)
    network = Transformer(spec)
    initialize(network, 0.2, num_layers=2)
    save_folder(folder, spec, network.state_dict(), family=family)
    tokenizer.save(folder)
    return str(folder)


@each
@pytest.mark.parametrize("method", ["full", "lora:2"])
def test_a_run_trains_and_comes_back(name: str, method: str, tmp_path: Path) -> None:
    base, data = make_base(tmp_path / "base", name), make_rows(tmp_path / "rows.csv")
    train = {"lr": 0.01, "batch_size": 8, "precision": "float32"}
    run = mt.tune(data, task="classification", model=base, method=method, epochs=1, train=train, out=tmp_path / "run")
    found = run.predict(list(WORDS.values()))
    assert {row.answer for row in found} <= set(WORDS)
    assert mt.load(str(tmp_path / "run")).family == name


@each
def test_generation_equals_whole_passes(name: str, tmp_path: Path) -> None:
    """Greedy with a cache, against one whole pass per token over a row that has its final length already."""
    model = mt.load(make_base(tmp_path, name), dtype="float64")
    ids = model.text.encode("my card was declined at the shop", special=False)[:8]
    steps = 12
    found = list(generate_ids(model.network, ids, max_new_tokens=steps, stop_ids=[]))
    wanted = list(ids)
    for _ in found:
        row = wanted + [1] * (len(ids) + steps - len(wanted))
        wanted.append(int(model.logits([row])[0][len(wanted) - 1].argmax()))
    assert found == wanted[len(ids) :]
    assert len(ids) < 16 < len(ids) + steps, "longer than the first training of the one with dynamic angles"
