"""Pretraining: a corpus becomes a base model that loads, and every token is learnt from once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import microtune as mt
from microtune.data.corpus import Blocks, documents
from microtune.data.store import RaggedStore
from microtune.data.text import CORE_TOKENS, train_bpe
from microtune.errors import InputError
from microtune.recipe import Data, Limits, Source, build
from microtune.run import held_out
from microtune.run.objective import pretraining_task

STACK = {
    "num_layers": 2,
    "hidden_size": 32,
    "num_heads": 2,
    "intermediate_size": 48,
    "causal": True,
    "norm": "rms",
    "mlp": "gated",
    "activation": "silu",
    "positions": "rotary",
    "max_positions": 64,
    **{f"{name}_bias": False for name in ("query", "key", "value", "output", "mlp")},
}


def _recipe(folder: Path) -> dict[str, Any]:
    rows = [{"text": f"the {a} cat saw the {b} dog and said 你好{a}", "kind": "a"} for a in range(9) for b in range(9)]
    (folder / "a.jsonl").write_text("\n".join(json.dumps(r, ensure_ascii=False) for r in rows), encoding="utf-8")
    turns = [{"role": "user", "content": "hello"}, {"role": "sys", "content": "how can i help"}]
    (folder / "b.jsonl").write_text(json.dumps({"messages": turns}) * 1 + "\n", encoding="utf-8")
    return {
        "task": "language-modelling",
        "method": "full",
        "model": {"source": None, "family": "llama", "tokenizer": {"vocab_size": 360}, "spec": {"decoder": STACK}},
        "data": {
            "folder": str(folder),
            "block_size": 16,
            "sources": [
                {"path": "a.jsonl", "where": {"kind": ["a"]}, "epochs": 1.5, "language": "en", "held_out": "a.jsonl"},
                {"path": "b.jsonl", "fields": ["messages.chat"], "epochs": 1},
            ],
        },
        "train": {"epochs": 2, "batch_size": 8, "lr": 3e-3, "optimizer": "muon", "precision": "float32"},
    }


def test_pretraining_makes_a_base_that_loads_and_has_learnt(tmp_path: Path) -> None:
    losses: list[float] = []
    run = mt.pretrain(
        _recipe(tmp_path), out=tmp_path / "run", on_event=lambda e: losses.append(getattr(e, "loss", 0.0))
    )
    losses = [value for value in losses if value]
    assert losses[0] == pytest.approx(np.log(360), abs=0.3)
    assert losses[-1] < 0.7 * losses[0]
    (name,) = run.scores
    assert name.endswith("(en)")
    assert run.scores[name]["bits_per_byte"] < 4
    model = mt.load(tmp_path / "run" / "model")
    assert model.spec.tied
    assert len(model.text) <= model.spec.vocab_size
    assert isinstance(model.generate("the", max_new_tokens=4), str)
    assert model.text.backend.token_to_id("<|sentinel_31|>") == 39
    tuned = mt.tune(
        [{"text": f"cat {i}", "label": "c"} for i in range(20)]
        + [{"text": f"dog {i}", "label": "d"} for i in range(20)],
        task="classification",
        model=str(tmp_path / "run" / "model"),
        method="top:1",
        out=tmp_path / "tuned",
    )
    assert set(tuned.scores) == {"validation", "test"}


def test_blocks_cover_every_token_and_mix_by_epochs(tmp_path: Path) -> None:
    first = RaggedStore.write(tmp_path / "x", [np.arange(1, 34)], dtype="uint16")  # 32 targets: 4 blocks of 8
    second = RaggedStore.write(tmp_path / "y", [np.arange(100, 117)], dtype="uint16")  # 2 blocks
    blocks = Blocks([first, second], [2.0, 0.5], 8, seed=0)
    targets = sorted(int(t) for i in range(len(blocks)) for t in blocks[i].targets)
    assert len(blocks) == 2 * 4 + 1
    assert [t for t in targets if t < 100] == sorted([*range(2, 34), *range(2, 34)])
    for i in range(len(blocks)):
        item = blocks[i]
        assert list(item.ids[1:]) == list(item.targets[:-1])


def test_a_corpus_says_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "one"}\n', encoding="utf-8")
    data = Data(folder=str(tmp_path))
    with pytest.raises(InputError, match=r'a\.jsonl, line 1: there is no field "body"; the row has text'):
        list(documents(Source(path="a.jsonl", fields=["body"]), data, Limits()))
    with pytest.raises(InputError, match="no row has text"):
        list(documents(Source(path="a.jsonl", where={"text": ["two"]}), data, Limits()))
    recipe = _recipe(tmp_path)
    with pytest.raises(InputError, match=r'model\.decoder: unknown key "num_layer"\. Did you mean "num_layers"\?'):
        mt.pretrain(
            recipe | {"model": recipe["model"] | {"spec": {"decoder": {"num_layer": 1}}}}, out=tmp_path / "wrong"
        )
    assert not (tmp_path / "wrong").exists()


def test_held_out_text_is_spread_over_its_documents_and_read_as_training_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of every text the same share; a dialogue's marks are the tokens that they name, not letters."""
    recipe = build({**_recipe(tmp_path), "out": None})
    plain, dialogue = recipe.data.sources
    source = dialogue.model_copy(update={"held_out": "b.jsonl"})
    recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update={"sources": [plain, source]})})
    texts = list(documents(plain, recipe.data, recipe.limits))
    tokenizer = train_bpe(texts, 360)
    monkeypatch.setattr(held_out, "CHARACTERS", sum(map(len, texts)) // 2)
    encoded = held_out.HeldOut(recipe, pretraining_task(recipe), tokenizer).encoded
    assert len({item.row for item in encoded[0].items}) == len(texts)
    sizes = [float(item.extra) for item in encoded[0].items if item.extra]
    assert sum(sizes) == pytest.approx(sum(len(text.encode()) for text in texts) / 2, rel=0.1)
    marks = [tokenizer.encode(CORE_TOKENS[role], special=False, parse=True) for role in ("user", "assistant")]
    assert [len(ids) for ids in marks] == [1, 1]
    assert {ids[0] for ids in marks} <= set(encoded[1].items[0].ids)


def test_threads_asked_for_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They were only in plans."""
    asked: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    recipe = _recipe(tmp_path)
    mt.pretrain(recipe | {"train": recipe["train"] | {"threads": 3, "max_steps": 1}}, out=tmp_path / "run")
    assert asked[-1] == 3
