"""Many adapters on one base: a mixed batch in one pass, against switching, and against as many merged models.

    python benchmarks/many_adapters.py                      8 adapters of rank 8 on sprout
    python benchmarks/many_adapters.py --base FOLDER        on another decoder

Rows name the adapters in turn. `score` computes the logits of all tokens of the rows, `write` continues one row of each
adapter greedily. `mixed` is one pass over all rows; `switched` one row after the other, with its adapter put on the
base; `merged` the same with a whole model for each adapter, its updates inside the weights. The ways take turns in
every repetition, medians are given. Memory is that of a process which does nothing else: by how much it grew for each
adapter (or merged model) after the first one, once all have answered; beside it stand the bytes of the tensors.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from microtune.adapt.lora import LoRA, LoRALinear
from microtune.run.adapters import Adapters, load_adapters
from microtune.run.export.merging import fold
from microtune.run.load import Model, load
from microtune.run.memory import resident
from microtune.run.peft import write_peft
from microtune.run.sources import locate


def make_adapters(folder: Path, base: Path, count: int, rank: int) -> dict[str, Path]:
    """Folders of peft with random updates on every linear role, which move the logits and keep them sane."""
    found = {}
    for number in range(count):
        model, method = load(base), LoRA(rank=rank)
        method.attach(model.network)
        torch.manual_seed(number)
        with torch.no_grad():
            for module in model.network.modules():
                if isinstance(module, LoRALinear):
                    module.lora_B.normal_(0, 0.02)
        found[f"adapter {number}"] = folder / str(number)
        write_peft(found[f"adapter {number}"], model, method, base_name=str(base))
    return found


def merged_model(path: Path) -> Model:
    """One adapter's model with its updates in the weights."""
    model = load(path)
    fold(model.network)
    return model


Work = dict[str, Callable[[], Any]]  # way -> what does the work once


def scoring(many: Adapters, merged: dict[str, Model], rows: list[list[int]], owners: list[str]) -> Work:
    """Logits of every row."""

    def switched() -> None:
        for row, name in zip(rows, owners, strict=True):
            many.logits([row], name)

    def grouped() -> None:
        for name in dict.fromkeys(owners):
            many.logits([row for row, owner in zip(rows, owners, strict=True) if owner == name], name)

    def whole() -> None:
        for row, name in zip(rows, owners, strict=True):
            merged[name].logits([row])

    return {
        "mixed": lambda: many.logits(rows, owners),
        "switched, row by row": switched,
        "switched, the rows of each together": grouped,
        "merged, row by row": whole,
    }


def writing(many: Adapters, merged: dict[str, Model], rows: list[list[int]], new: int) -> Work:
    """Greedy ids after one row of each adapter."""
    mixed, names = many._mixed, many.names

    def switched() -> None:
        for row, name in zip(rows, names, strict=True):
            with mixed.worn(name) as model:
                list(model.next_ids(row, max_new_tokens=new))

    def whole() -> None:
        for row, name in zip(rows, names, strict=True):
            list(merged[name].next_ids(row, max_new_tokens=new))

    together = lambda: mixed.continued_ids(rows, names, new)  # noqa: E731
    return {"mixed": together, "switched, row by row": switched, "merged, row by row": whole}


def timed(work: Work, repetitions: int) -> dict[str, float]:
    """Median seconds of each way; they take turns, after one round that is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for repetition in range(repetitions + 1):
        for name, run in work.items():
            begun = time.perf_counter()
            run()
            if repetition:
                seconds[name].append(time.perf_counter() - begun)
    return {name: statistics.median(found) for name, found in seconds.items()}


def memory(kind: str, base: str, folders: list[str]) -> dict[str, float]:
    """In a child: MB of tensors, and by which the process grew, for each adapter after the first one."""
    many, ids, kept = load_adapters(base), [[1, 2, 3, 4]], []
    before = 0
    for number, folder in enumerate(folders):
        if kind == "mixed":
            many.add(str(number), folder)
            many.logits(ids * (number + 2), [None, *many.names])
        else:
            kept.append(merged_model(Path(folder)))
            kept[-1].logits(ids)
        before = before or resident() or 0
    sizes = [sum(p.numel() * p.element_size() for p in model.network.parameters()) for model in kept]
    size = (sizes or list(many.bytes.values()))[-1]
    return {"tensors": size / 1e6, "process": ((resident() or 0) - before) / 1e6 / (len(folders) - 1)}


def main() -> None:
    """Prints two tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", default="sprout")
    parser.add_argument("--adapters", type=int, default=8)
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--length", type=int, default=32, help="tokens of a row")
    parser.add_argument("--new", type=int, default=16, help="tokens written after each of as many rows as adapters")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--memory", nargs="+", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.memory:
        print(json.dumps(memory(given.memory[0], given.base, given.memory[1:])))
        return
    with tempfile.TemporaryDirectory() as name:
        base = locate(given.base).path
        adapters = make_adapters(Path(name), base, given.adapters, given.rank)
        many = load_adapters(base, adapters)
        merged = {name: merged_model(path) for name, path in adapters.items()}
        generator = torch.Generator().manual_seed(0)
        rows = torch.randint(10, many._base.model.spec.vocab_size, (given.rows, given.length), generator=generator)
        owners = [many.names[i % given.adapters] for i in range(given.rows)]
        print("| work | way | tokens/s | against mixed |\n|---|---|---|---|")
        some = [row[:8] for row in rows.tolist()[: given.adapters]]
        for work, tokens, ways in (
            ("score", rows.numel(), scoring(many, merged, rows.tolist(), owners)),
            ("write", len(some) * given.new, writing(many, merged, some, given.new)),
        ):
            found = timed(ways, given.repetitions)
            for way, seconds in found.items():
                print(f"| {work} | {way} | {tokens / seconds:,.0f} | {found['mixed'] / seconds:.2f} |", flush=True)
        print("\n| each further | tensors, MB | process grew by, MB |\n|---|---|---|")
        for kind, what in (("mixed", "adapter"), ("merged", "merged model")):
            command = [sys.executable, __file__, "--base", str(base), "--memory", kind, *map(str, adapters.values())]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            seen = json.loads(done.stdout)
            print(f"| {what} | {seen['tensors']:.2f} | {seen['process']:.2f} |", flush=True)


if __name__ == "__main__":
    main()
