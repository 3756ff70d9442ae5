"""Tune with `train.adjust` advise and act on real tasks and print both scores side by side: act must not be worse.

    python benchmarks/adjust.py --data FOLDER --rows 300
    python benchmarks/adjust.py --data FOLDER --tasks snips ag_news --method full --epochs 10

FOLDER is laid out as benchmarks/real_tasks.py says; the same rows, splits and baselines' rules. Everything else is the
default, so the table says what a user gets who only adds `train.adjust=act`. Each run is a process of its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from all_tasks.reading import read
from all_tasks.sets import CLASSES, WORKS
from real_tasks import capped

DATA = ("banking77", "ag_news", "movie_reviews", "snips", "cold_offensive")
HEADER = "| data | advise: test score (95 % interval) | act: test score (95 % interval) | decisions of act | worse? |"


def child(folder: str, name: str, mode: str, rows: int | None, options: dict[str, Any]) -> None:
    """One run; its test score, and what was decided, as JSON on stdout."""
    import microtune as mt

    task = capped(WORKS[name], rows)
    parts = read(Path(folder), task)
    with tempfile.TemporaryDirectory() as place:
        run = mt.tune(
            parts["train"],
            validation=parts["validation"],
            test=parts["test"],
            task=task.kind,
            text_field=task.text,
            label_field=task.label,
            out=Path(place) / "run",
            train={"adjust": mode, "precision": "float32"},  # auto may choose another format in each run
            **options,
        )
        record = json.loads((run.path / "scores.json").read_text(encoding="utf-8"))
    rules = [decision["rule"] for decision in record["decisions"]]
    print(json.dumps({"values": run.scores["test"], "intervals": run.intervals["test"], "rules": rules}))


def result(arguments: argparse.Namespace, name: str, mode: str) -> dict[str, Any]:
    """Run `child` in a process of its own."""
    options = {"model": arguments.model, "method": arguments.method, "epochs": arguments.epochs}
    call = {"folder": arguments.data, "name": name, "mode": mode, "rows": arguments.rows, "options": options}
    command = [sys.executable, __file__, "--child", json.dumps(call)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def line(name: str, results: dict[str, dict[str, Any]]) -> str:
    """A row of the table; worse: act's score lies below the interval of advise's."""
    metric = "accuracy" if "accuracy" in results["act"]["values"] else "token_accuracy"
    cells, values = [], []
    for mode in ("advise", "act"):
        value, (low, high) = results[mode]["values"][metric], results[mode]["intervals"][metric]
        cells.append(f"{value:.3f} ({low:.3f}-{high:.3f})")
        values.append((value, low))
    worse = "YES" if values[1][0] < values[0][1] else "no"
    return f"| {name} | {cells[0]} | {cells[1]} | {', '.join(results['act']['rules']) or 'none'} | {worse} |"


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="folder of the data sets")
    parser.add_argument("--tasks", nargs="+", choices=[work.name for work in CLASSES], default=list(DATA))
    parser.add_argument("--rows", type=int, help="cap on training rows [default: per data set]")
    parser.add_argument("--model", default="sprout")
    parser.add_argument("--method", default="lora")
    parser.add_argument("--epochs", type=float, default=None)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(**json.loads(arguments.child))
        return
    if not arguments.data or not Path(arguments.data).is_dir():
        parser.error("--data must name a folder")
    print(HEADER, "| --- | --- | --- | --- | --- |", sep="\n", flush=True)
    for name in arguments.tasks:
        print(line(name, {mode: result(arguments, name, mode) for mode in ("advise", "act")}), flush=True)


if __name__ == "__main__":
    main()
