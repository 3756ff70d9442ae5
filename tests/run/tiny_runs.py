"""Runs small enough to be repeated a thousand times: a two-block Llama, 48 rows, eight steps."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from microtune.data.text import train_bpe
from microtune.families.base import save_folder
from microtune.nn.parameters import initialize
from microtune.nn.spec import ModelSpec, StackSpec
from microtune.nn.transformer import Transformer
from microtune.recipe import Recipe, build
from microtune.run.folder import RunFolder
from microtune.run.given import hashes
from microtune.run.pretrain import pretrain, source_hashes
from microtune.run.tune import tune, without_memory

Event = Callable[[Any], None]
SPEC = ModelSpec(
    vocab_size=320,
    decoder=StackSpec(
        num_layers=2,
        hidden_size=16,
        num_heads=2,
        intermediate_size=24,
        causal=True,
        norm="rms",
        mlp="gated",
        activation="silu",
        positions="rotary",
        max_positions=64,
        query_bias=False,
        key_bias=False,
        value_bias=False,
        output_bias=False,
        mlp_bias=False,
    ),
)
METHODS: dict[str, dict[str, Any]] = {
    "full": {"name": "full"},
    "top": {"name": "top", "blocks": 1},  # a frozen trunk, hence cached states
    "lora": {"name": "lora", "rank": 2, "dropout": 0.1},  # dropout: the random state matters
    "dora": {"name": "lora", "rank": 2, "dropout": 0.1, "variant": "dora"},
    "norms": {"name": "norms", "first_block": 1},
    "ia3": {"name": "ia3"},
    "several": {  # as the text head+lora makes it
        "name": "several",
        "parts": [{"name": "head"}, {"name": "lora", "rank": 2, "dropout": 0.1, "first_block": 1}],
    },
    "pissa": {"name": "lora", "rank": 2, "variant": "pissa", "loraplus": 4},
    "bottleneck": {"name": "bottleneck", "reduction": 4},
}
WORDS = {"card": "my card was declined at the shop number", "transfer": "the transfer has not arrived in account"}


def make_base(folder: Path) -> str:
    """A random Llama with its tokenizer, in Hugging Face form."""
    tokenizer = train_bpe(WORDS.values(), SPEC.vocab_size)
    torch.manual_seed(3)
    network = Transformer(SPEC)
    initialize(network, 0.2, num_layers=2)
    save_folder(folder, SPEC, network.state_dict(), family="llama")
    tokenizer.save(folder)
    return str(folder)


def make_rows(path: Path) -> str:
    """48 rows of two classes."""
    with open(path, "w", encoding="utf-8", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(["text", "label"])
        labels = list(WORDS)
        for i in range(24):  # every fifth pair has its labels swapped, so that no score is perfect
            for number, text in enumerate(WORDS.values()):
                rows.writerow([f"{text} {i} {'so ' * (i % 4)}", labels[number ^ (i % 5 == 0)]])
    return str(path)


def tune_recipe(base: str, data: str, method: str = "top", **train: Any) -> Recipe:
    """Two epochs of four steps, checkpoints after steps 3, 6 and 8, scored on validation after each epoch."""
    settings = {"epochs": 2, "batch_size": 8, "lr": 0.01, "checkpoint_steps": 3, "precision": "float32", **train}
    return build(
        {
            "task": "classification",
            "model": {"source": base},
            "data": {"train": data, "split": {"validation": 0.17, "test": 0.17}},
            "method": METHODS[method],
            "train": settings,
        }
    )


def pretrain_recipe(folder: Path) -> Recipe:
    """A corpus of a hundred lines, one block, one held-out file."""
    lines = [f"{text} {i}" for i in range(50) for text in WORDS.values()]
    (folder / "corpus.txt").write_text("\n".join(lines), encoding="utf-8")
    (folder / "held.txt").write_text("\n".join(lines[:5]), encoding="utf-8")
    spec = SPEC.to_dict()
    spec["decoder"]["num_layers"] = 1
    return build(
        {
            "task": "language-modelling",
            "model": {"spec": spec, "tokenizer": {"vocab_size": 320}},
            "data": {
                "folder": str(folder),
                "block_size": 16,
                "sources": [{"path": "corpus.txt", "held_out": "held.txt", "name": "tiny"}],
            },
            "method": "full",
            "train": {"epochs": 1, "batch_size": 32, "lr": 0.01, "checkpoint_steps": 1, "precision": "float32"},
        }
    )


def run(recipe: Recipe, path: Path, *, overwrite: bool = False, event: Event | None = None) -> RunFolder:
    """What the command `microtune tune` (or `pretrain`) does: open the folder, work, close it."""
    folder = RunFolder(path)
    recipe, data = without_memory(recipe)
    corpus = bool(recipe.data.sources)
    try:
        folder.open(recipe, source_hashes(recipe) if corpus else hashes(data), overwrite=overwrite)
        events: Iterator[Any] = pretrain(recipe, folder) if corpus else tune(recipe, folder, data)
        for happened in events:
            if event is not None:
                event(happened)
        folder.close()
    except BaseException as error:
        if type(error).__name__ != "Killed":
            folder.close()
        raise
    finally:
        if folder._lock.is_locked:  # as the kernel does for a dead process
            folder._lock.release(force=True)
    return folder


def picture(path: Path) -> dict[str, Any]:
    """Everything of a finished run that must not depend on interruptions."""
    names = sorted(str(p.relative_to(path).as_posix()) for p in path.rglob("*") if p.is_file())
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return {
        "files": names,
        "model": {n: (path / n).read_bytes() for n in names if n.startswith("model/")},
        "recipe": (path / "recipe.yaml").read_bytes(),
        "metrics": [{k: v for k, v in line.items() if k not in ("seconds", "time")} for line in lines],
        "scores": json.loads((path / "scores.json").read_text(encoding="utf-8"))["scores"],
    }


CHILD = """
import sys, time
sys.path.insert(0, sys.argv[1])
import torch
torch.set_num_threads(1)
from pathlib import Path
from microtune.errors import MicrotuneError
from microtune.run.train import Step
from tiny_runs import run, tune_recipe

def rest(event):
    if isinstance(event, Step) and event.step >= int(sys.argv[5]):
        time.sleep(float(sys.argv[6]))

try:
    run(tune_recipe(sys.argv[3], sys.argv[4]), Path(sys.argv[2]), event=rest)
except MicrotuneError as error:
    print(error)
    sys.exit(error.exit_code)
"""


def child_command(path: Path, base: str, data: str, step: int, pause: float) -> list[str]:
    """Code and arguments of a process that makes `tune_recipe(base, data)` in `path`, resting from a step on."""
    return [CHILD, str(Path(__file__).parent), str(path), base, data, str(step), str(pause)]
