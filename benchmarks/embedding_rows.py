"""Full tuning with gradients and moments for the embedding rows in use alone, against all rows: time and memory.

    python benchmarks/embedding_rows.py                     MiniLM, texts of 12 tokens out of 3,000 words
    python benchmarks/embedding_rows.py --words 15000       of which half the vocabulary is in use

The same random texts and weights on both sides; steps take turns, medians of `--steps` after three for warming up.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

WARMING_UP = 3


def training(narrowed: bool, precision: Any, arguments: argparse.Namespace) -> Any:
    """A training of everything, on random labelled texts."""
    import numpy as np

    import microtune as mt
    from microtune.adapt.full import Full
    from microtune.data.batches import Item
    from microtune.recipe import Train
    from microtune.run.rows import narrow
    from microtune.run.train import Training
    from microtune.tasks.classification import Classification

    task = Classification(labels=tuple(f"label {i}" for i in range(20)), text_field="text", label_field="label")
    network = mt.load(arguments.model).network
    task = task.fitted(network.spec)
    network.head = task.make_head(network.spec)
    generator = np.random.default_rng(0)
    words = generator.permutation(network.spec.vocab_size)[: arguments.words]
    count = arguments.batch * (arguments.steps + WARMING_UP)
    items = []
    for row in range(count):
        ids = generator.choice(words, 12).tolist()
        items.append(Item(ids, range(12), [int(generator.integers(20))], row=row))
    attachment = Full().attach(network)
    if narrowed:
        narrow(network, attachment, items)
    settings = Train(epochs=1, batch_size=arguments.batch)
    return Training(network, task, Full(), attachment, items, settings, seed=0, precision=precision)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--words", type=int, default=3000)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=15)
    arguments = parser.parse_args()
    print("| products in | rows | ms a step | optimizer state, MB |", "| --- | --- | --- | --- |", sep="\n")
    for precision in ("float32", "bfloat16"):
        sides = {name: training(name == "in use", precision, arguments) for name in ("all", "in use")}
        steps = {name: side.fit() for name, side in sides.items()}
        seconds: dict[str, list[float]] = {name: [] for name in sides}
        for _ in range(arguments.steps + WARMING_UP):
            for name, found in steps.items():
                start = time.perf_counter()
                next(found)
                seconds[name].append(time.perf_counter() - start)
        for name, side in sides.items():
            median = 1000 * statistics.median(seconds[name][WARMING_UP:])
            print(f"| {precision} | {name} | {median:.0f} | {side.optimizers.state_bytes() / 1e6:.0f} |", flush=True)


if __name__ == "__main__":
    main()
