"""A folder of tiny models, data, runs and adapters, and the sentence with which a command refuses them in Chinese."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from command import Answer, call
from safetensors.torch import load_file, save_file
from test_bad_corpora import STACK

import tiny_adapters
from microtune.data.text import train_bpe
from microtune.families import families, save_folder
from microtune.nn.transformer import Transformer
from microtune.run.export import export
from tiny_model import TEXTS, make_model, rows

FAST = "train.precision=float32 train.batch_size=8 --epochs 1 --quiet --out out"
SHORT = {  # what a command of a table may begin with
    "LABELS": f"tune d.jsonl --task classification --model m {FAST}",
    "TEXT": f"tune c.txt --task language-modelling --model m data.block_size=16 split=none {FAST}",
    "ANSWERS": f"tune i.jsonl --task instruction --model m {FAST}",
    "COMPARE": "compare d.jsonl --task classification --model m --out cmp",
}
VOCAB = 320
_BERT = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
_PAIR = {"d_model": 16, "decoder_start_token_id": 0, "is_encoder_decoder": True}
OTHERS: dict[str, dict[str, Any]] = {
    "bert": {**_BERT, "max_position_embeddings": 64, "type_vocab_size": 2},
    "gpt2": {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64},
    "t5": {**_PAIR, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2, "relative_attention_num_buckets": 8},
    "bart": {
        **_PAIR,
        **{f"{side}_{name}": 2 for side in ("encoder", "decoder") for name in ("layers", "attention_heads")},
        "encoder_ffn_dim": 24,
        "decoder_ffn_dim": 24,
        "max_position_embeddings": 40,
    },
}
MADE = ("out", "ex", "cb", "mg", "cmp")  # what a command may write
RUNS: dict[str, dict[str, Any]] = {
    "r_lora": {"name": "lora", "rank": 2},
    "r_lora2": {"name": "lora", "rank": 2, "seed": 2},
    "r_full": {"name": "full", "rank": None},
    "r_head": {"name": "head", "rank": None, "hidden": 8},
    "r_prompt": {"name": "prompt", "rank": None, "tokens": 3},
    "r_bottle": {"name": "bottleneck", "rank": None},
    "r_ia3": {"name": "ia3", "rank": None},
    "r_dora": {"name": "lora", "rank": 2, "variant": "dora"},
    "r_talk": {"name": "lora", "rank": 2, "task": tiny_adapters.ANSWERS},
    "r_pre1": {"name": "prefix", "rank": None, "tokens": 3, "first_block": 1},
}


def fill(folder: Path) -> Path:
    """Models m (Llama), bert, gpt2, bart and t5; rows d, i and p .jsonl; texts c and two .txt; vectors; runs r_*."""
    make_model(folder / "m")
    for family, fields in OTHERS.items():
        config = {"model_type": family, "vocab_size": VOCAB} | fields
        spec = families[family].to_spec(config)
        save_folder(folder / family, spec, Transformer(spec).state_dict(), family=family, config=config)
        train_bpe(TEXTS, VOCAB).save(folder / family)
    write_jsonl(folder / "d.jsonl", rows(40))
    write_jsonl(folder / "i.jsonl", [{"prompt": f"say {i}", "completion": f"it is {i}"} for i in range(40)])
    write_jsonl(folder / "p.jsonl", [{"en": f"one {i}", "de": f"eins {i}"} for i in range(48)])
    texts = {"c.txt": "the cat sat on the mat and the dog ran\n" * 40, "two.txt": "a b\n" * 100, "afile": "1"}
    texts |= {"bad.vec": "3 2\ncat 1 2\ndog 1 x\n", "short.vec": "3 2\ncat 1 2\n", "ok.vec": "2 2\ncat 1 2\ndog 2 1\n"}
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "mine").mkdir()
    (folder / "mine" / "letter").write_text("1", encoding="utf-8")
    for name, options in RUNS.items():
        tiny_adapters.make_run(folder / name, folder / "m", **{"seed": 1, **options})
    return folder


def write_jsonl(path: Path, values: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(value) + "\n" for value in values), encoding="utf-8")


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """What a command says in Chinese in the folder where we are; it writes nothing."""
    for name in MADE:
        shutil.rmtree(name, ignore_errors=True)
    answer = call(capsys, *arguments)
    assert answer.code == 2, answer.err
    assert answer.out == ""
    assert answer.err.startswith("错误：")
    assert answer.err.endswith("\n")
    assert not [name for name in MADE if Path(name).exists()]
    return answer.err.removeprefix("错误：")[:-1].split("\n错误：")[-1]


def sentence(answer: Answer) -> str:
    """What a refusal says: one line on stderr, exit code 2, nothing on stdout."""
    assert answer.code == 2, answer.err
    assert answer.out == ""
    assert answer.err.startswith("错误：")
    assert answer.err.count("\n") == 1, answer.err
    return answer.err.removeprefix("错误：").removesuffix("\n")


def words(asked: str) -> list[str]:
    """The arguments of a table's command, of which the first may be one of SHORT; `~` stands for a blank in one."""
    first, _, rest = asked.partition(" ")
    return [word.replace("~", " ") for word in f"{SHORT.get(first, first)} {rest}".split()]


def recipe(path: str, values: dict[str, Any]) -> str:
    Path(path).write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


def pretraining(**values: Any) -> str:
    """A recipe to pretrain a tiny Llama on c.txt, with other `values`."""
    said = {
        "task": "language-modelling",
        "method": "full",
        "model": {"source": None, "tokenizer": {"vocab_size": 320}, "spec": {"decoder": STACK}},
        "data": {"block_size": 16, "sources": [{"path": "c.txt"}]},
        "train": {"epochs": 1, "batch_size": 8, "precision": "float32"},
    }
    return recipe("pre.yaml", said | values)


def configured(base: str, fields: dict[str, Any]) -> None:
    """A copy `k` of a model with other fields in its config.json; None takes one away."""
    shutil.rmtree("k", ignore_errors=True)
    shutil.copytree(base, "k")
    edited(Path("k/config.json"), fields)


def edited(file: Path, fields: dict[str, Any]) -> None:
    values = json.loads(file.read_text(encoding="utf-8")) | fields
    file.write_text(json.dumps({k: v for k, v in values.items() if v is not None}), encoding="utf-8")


def foreign(fields: dict[str, Any], tensors: str = "") -> None:
    """An adapter folder `ad` of PEFT with other fields, or with tensors that are `dropped`, `odd`, of no number."""
    if not Path("peft").is_dir():
        export("r_lora", out="peft", format="peft")
    shutil.rmtree("ad", ignore_errors=True)
    shutil.copytree("peft", "ad")
    edited(Path("ad/adapter_config.json"), fields)
    file = Path("ad/adapter_model.safetensors")
    found = load_file(file)
    first = min(found)
    changes: dict[str, dict[str, torch.Tensor]] = {
        "nan": {first: torch.full_like(found[first], torch.nan)},
        "shape": {first: torch.zeros(2, 3)},
        "stray": {"base_model.model.zzz": torch.zeros(2)},
        "other": {"zzz": torch.zeros(2)},
    }
    if tensors == "dropped":
        found.pop(sorted(found)[1])
    elif tensors == "headless":
        found = {name: tensor for name, tensor in found.items() if "lora" in name}
    save_file(found | changes.get(tensors, {}), file)
