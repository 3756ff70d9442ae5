"""An n-gram model on the corpus of a recipe: bits per byte on each held-out source, seconds, memory.

    python benchmarks/ngram.py recipes/sprout.yaml --folder FOLDER
    python benchmarks/ngram.py recipes/sprout.yaml --folder FOLDER --share 0.1 --beside sprout

It stands beside the table of the base model that the recipe trains: the same sources and held-out texts, scored in the
same way, and by default the same tokenizer. A source that the recipe sees more than once is counted once; --share
takes that part of the texts of every source. --beside scores a model on the same held-out texts.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any


class Memory:
    """The largest resident size of this process in each stage, in GB, looked at 20 times a second.

    Pages of mapped files count, although the system may take them back.
    """

    def __init__(self) -> None:
        import psutil

        self.process = psutil.Process()
        self.stage, self.peaks = "start", {"start": 0.0}
        threading.Thread(target=self._look, daemon=True).start()

    def _look(self) -> None:
        while True:
            self.peaks[self.stage] = max(self.peaks.get(self.stage, 0.0), self.process.memory_info().rss / 1e9)
            time.sleep(0.05)


def recipe_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """The recipe with an n-gram model in place of its network."""
    from microtune import recipe as recipes

    values = recipes.load(arguments.recipe)
    values.pop("train", None)
    values.pop("method", None)
    tokenizer = arguments.tokenizer if arguments.unit == "tokens" else {"vocab_size": 8192}
    classic = {"name": "ngram", "order": arguments.order, "unit": arguments.unit}
    values["model"] = {"classic": classic, "tokenizer": tokenizer}
    data = values["data"] | ({"folder": arguments.folder} if arguments.folder else {})
    sources = [s | {"epochs": min(s.get("epochs", 1.0), 1.0) * arguments.share} for s in data["sources"]]
    return values | {"data": data | {"sources": sources}}


def beside(name: str, values: dict[str, Any]) -> dict[str, float]:
    """Bits per byte of another model on the same held-out texts, as pretraining scores it."""
    import microtune as mt
    from microtune.recipe import build
    from microtune.run.held_out import HeldOut
    from microtune.tasks.language_modelling import LanguageModelling

    model = mt.load(name)
    data = values["data"]
    if model.room is not None:
        data = data | {"block_size": min(build(values).data.block_size, model.room)}
    held_out = HeldOut(build(values | {"data": data}), LanguageModelling(), model.text)
    scores = held_out.scores(model.network, 0, intervals=False)
    return {scored.split: scored.values["bits_per_byte"] for scored in scores}


def main() -> None:
    """Counts, scores, prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", help="a recipe with data.sources, such as recipes/sprout.yaml")
    parser.add_argument("--folder", help="data.folder of the recipe")
    parser.add_argument("--order", type=int, default=5)
    parser.add_argument("--unit", choices=["tokens", "characters"], default="tokens")
    parser.add_argument("--tokenizer", default="sprout", help="base or folder whose tokens are counted")
    parser.add_argument("--share", type=float, default=1.0, help="part of the texts of every source")
    parser.add_argument("--beside", help="a model to score on the same texts, such as sprout")
    parser.add_argument("--out", type=Path, help="keep the run here")
    arguments = parser.parse_args()
    import microtune as mt

    values = recipe_of(arguments)
    with tempfile.TemporaryDirectory() as work:
        out = arguments.out or Path(work) / "run"
        begun, memory, seconds = time.perf_counter(), Memory(), {}

        def show(event: Any) -> None:
            memory.stage = getattr(event, "name", "score")
            seconds.setdefault(memory.stage, time.perf_counter() - begun)
            print(f"{time.perf_counter() - begun:7.0f} s  {event}", file=sys.stderr)

        run = mt.pretrain(values, out=out, on_event=show)
        model: Any = run.model
        size = sum(p.stat().st_size for p in (run.path / "model").iterdir())
        print(
            f"order {model.table.order}, {model.table.tokens:,} {arguments.unit}, {model.parameters:,} n-grams "
            f"({', '.join(f'{n:,}' for n in model.table.sizes)}), {size / 1e6:.0f} MB on disk"
        )
        print(f"seconds at which each stage began: {', '.join(f'{name} {at:.0f}' for name, at in seconds.items())}")
        print(f"and its peak memory: {', '.join(f'{name} {gb:.2f} GB' for name, gb in memory.peaks.items())}")
        others = beside(arguments.beside, values) if arguments.beside else {}
    print(f"\n| held-out text | order {arguments.order} |" + (f" {arguments.beside} |" if others else ""))
    print("|---|---|" + ("---|" if others else ""))
    for name, score in run.scores.items():
        more = f" {others[name]:.3f} |" if others else ""
        print(f"| {name} | {score['bits_per_byte']:.3f} |{more}")


if __name__ == "__main__":
    main()
