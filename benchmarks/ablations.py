"""What each idea of the engine is worth: one training step with it and without it, interleaved, as ratios of medians.

    python benchmarks/ablations.py                       all ideas, on a Llama of 135 M parameters; about 15 minutes
    python benchmarks/ablations.py --ideas int8 fused    some of them
    python benchmarks/ablations.py --quick               a tiny model, to see that the script works

Workload: LoRA of rank 16 on all linear roles (or the top 2 blocks), rows of about 120 prompt and 60 answer tokens, 8
rows per step, loss on the answers. Every run is a process of its own that makes the same random weights and rows, takes
`--steps` steps after one for warming up, and reports the median of non-pad tokens per second and its peak memory. The
two sides of an idea alternate `--repeats` times; the ratio is that of the medians. Weights are random, which changes no
speed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from typing import Any

SHAPE = {"num_layers": 30, "hidden_size": 576, "num_heads": 9, "num_kv_heads": 3, "intermediate_size": 1536}
TINY = {"num_layers": 4, "hidden_size": 64, "num_heads": 4, "num_kv_heads": 2, "intermediate_size": 128}
BASE: dict[str, Any] = {"form": "bfloat16", "method": "lora", "micro": 0, "path": "fused", "loss": "chunked", "env": {}}
KEEPING = {"MALLOC_MMAP_THRESHOLD_": str(2**30), "MALLOC_TRIM_THRESHOLD_": str(2**33)}
IDEAS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "fused": ("whole-block gradient against module by module", {}, {"path": "plain"}),
    "prepared": ("frozen weights prepared once against cast at every use", {}, {"form": "cast"}),
    "readout": ("last block and head at supervised positions only against all tokens", {}, {"loss": "everywhere"}),
    "chunked": ("loss in chunks by formula against whole logits and the library", {}, {"loss": "whole"}),
    "bfloat16": ("bfloat16 against float32", {}, {"form": "float32"}),
    "int8": ("frozen weights in int8 against bfloat16", {"form": "int8"}, {}),
    "attention": ("plain products and softmax against the library's attention", {"path": "plain"}, {"path": "sdpa"}),
    "cache": ("top 2: trunk from storage against computed anew", {"method": "top-cached"}, {"method": "top"}),
    "prefix": (
        "a prompt of 200 tokens common to all rows: once against every time",
        {"method": "prefix"},
        {"method": "prefix-apart"},
    ),
    "micro-512": ("micro-batches of 512 tokens against the default", {"micro": 512}, {}),
    "micro-2048": ("micro-batches of 2048 tokens against the default", {"micro": 2048}, {}),
    "passive": ("threads that sleep while waiting against spinning", {"env": {"OMP_WAIT_POLICY": "PASSIVE"}}, {}),
    "malloc": ("large buffers kept by the allocator against given back", {"env": KEEPING}, {}),
}


def rows(count: int, vocabulary: int, prefix: int) -> list[Any]:
    """Items of a prompt (with a common beginning of `prefix` tokens) and an answer that is supervised."""
    import numpy as np

    from microtune.data.batches import Item

    generator = np.random.default_rng(0)
    first = generator.integers(10, vocabulary, prefix)
    found = []
    for index in range(count):
        prompt = int(np.clip(generator.normal(120, 60), 16, 400)) if not prefix else 40
        answer = int(np.clip(generator.normal(60, 40), 8, 300)) if not prefix else 20
        ids = np.concatenate([first, generator.integers(10, vocabulary, prompt + answer)])
        start = prefix + prompt
        found.append(Item(ids[:-1], np.arange(start - 1, len(ids) - 1), ids[start:], row=index))  # type: ignore[arg-type]
    return found


def training(job: dict[str, Any], folder: str) -> Any:
    """A Training as the job describes it; parts of the engine are switched off by putting the plain form in place."""
    import torch

    from microtune.adapt import make_method
    from microtune.nn import attention, transformer
    from microtune.nn.heads import VocabularyHead
    from microtune.nn.parameters import initialize
    from microtune.nn.spec import ModelSpec, StackSpec
    from microtune.recipe import Choice, Train
    from microtune.run.precision import HeldBase
    from microtune.run.train import Training
    from microtune.tasks.language_modelling import LanguageModelling

    if job["path"] != "fused":
        transformer.fusible = lambda *_: False
    if job["path"] == "sdpa":
        attention.FUSED_FROM = 0
    if job["loss"] == "whole":
        VocabularyHead.loss = lambda head, hidden, targets, weights=None: torch.nn.functional.cross_entropy(  # type: ignore[method-assign]
            head(hidden).float(), targets, reduction="sum"
        )
    torch.manual_seed(0)
    kind = {"causal": True, "norm": "rms", "mlp": "gated", "activation": "silu", "positions": "rotary"}
    biases = dict.fromkeys(("query_bias", "key_bias", "value_bias", "output_bias", "mlp_bias"), False)
    stack = StackSpec(**(TINY if job["quick"] else SHAPE), **kind, **biases)  # type: ignore[arg-type]
    vocabulary = 500 if job["quick"] else 49152
    network = transformer.Transformer(ModelSpec(vocab_size=vocabulary, decoder=stack))
    initialize(network, 0.02, num_layers=stack.num_layers)
    top = job["method"].startswith("top")
    attachment = make_method(Choice(name="top", blocks=2) if top else Choice(name="lora", rank=16))
    attached = attachment.attach(network)
    form = job["form"]
    if form != "cast":
        HeldBase(network, form, lambda: network)
    items = rows(8 * (job["steps"] + 1), vocabulary, 200 if job["method"].startswith("prefix") else 0)
    if job["loss"] == "everywhere":
        network.forward = everywhere(network)  # type: ignore[method-assign]
    settings = Train(epochs=1, batch_size=8, micro_tokens=job["micro"], lr=1e-4)
    precision = "bfloat16" if form == "cast" else form
    made = Training(network, LanguageModelling(), attachment, attached, items, settings, seed=0, precision=precision)
    if job["method"] == "top-cached":
        made.trunk = filled(network, items, precision, folder)
    if job["method"] == "prefix-apart":
        Training.shares = False  # type: ignore[method-assign, assignment]
    return made


def everywhere(network: Any) -> Any:
    """`forward` that computes the last block for all tokens and then selects."""
    forward = network.forward
    return lambda inputs, *, readout, **other: forward(inputs, **other)[readout]


def filled(network: Any, items: list[Any], precision: Any, folder: str) -> Any:
    """Storage of the trunk's states; filling it is not part of the steps."""
    from pathlib import Path

    from microtune.run.trunk import TrunkCache

    trunk = TrunkCache(network, items, Path(folder) / "trunk.bin", precision, 10**10)
    for _ in trunk.fill():
        pass
    network.train()
    return trunk


def child(job: dict[str, Any]) -> None:
    """One run; its figures as JSON on stdout."""
    import tempfile

    import psutil

    with tempfile.TemporaryDirectory() as folder:
        made = training(job, folder)
        steps = list(made.fit())
    memory = psutil.Process().memory_info()
    peak = getattr(memory, "peak_wset", None) or peak_bytes()
    later = [step.tokens / step.seconds for step in steps[1:]]
    print(json.dumps({"rate": statistics.median(later), "peak": peak / 1e6, "loss": steps[-1].loss}))


def peak_bytes() -> float:
    """The most resident memory this process has had."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def measure(side: dict[str, Any], arguments: argparse.Namespace) -> dict[str, float]:
    """Run one side of an idea in a process of its own."""
    job = {**BASE, **side, "steps": arguments.steps, "quick": arguments.quick}
    done = subprocess.run(
        [sys.executable, __file__, "--child", json.dumps(job)],
        env={**os.environ, **job["env"]},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Interleave the two sides of every idea and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ideas", nargs="+", choices=IDEAS, default=list(IDEAS))
    parser.add_argument("--steps", type=int, default=5, help="steps after the first")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="a tiny model, two steps, once")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(json.loads(arguments.child))
        return
    if arguments.quick:
        arguments.steps, arguments.repeats = 2, 1
    print("| idea | tokens/s with | without | gain | peak MB with | without | loss with | without |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |", flush=True)
    started = time.perf_counter()
    for name in arguments.ideas:
        title, *sides = IDEAS[name]
        found: list[list[dict[str, float]]] = [[], []]
        for repeat in range(arguments.repeats):
            for side in (0, 1) if repeat % 2 == 0 else (1, 0):
                found[side].append(measure(sides[side], arguments))
        rate, peak, loss = (
            [statistics.median(run[key] for run in side) for side in found] for key in ("rate", "peak", "loss")
        )
        cells = [f"{rate[0]:.0f}", f"{rate[1]:.0f}", f"{rate[0] / rate[1]:.2f}", f"{peak[0]:.0f}", f"{peak[1]:.0f}"]
        print(f"| {name}: {title} | {' | '.join(cells)} | {loss[0]:.4f} | {loss[1]:.4f} |", flush=True)
    print(f"\n{time.perf_counter() - started:.0f} s in all", file=sys.stderr)


if __name__ == "__main__":
    main()
