"""Tune real models on real tasks, beside the baselines that they must beat, and print the tables of docs/benchmarks.md.

    python benchmarks/real_tasks.py --data FOLDER --output table.md     every task of microtune, on small parts: an hour
    python benchmarks/real_tasks.py --data FOLDER --tasks snips-slots c3-dialogues --models sprout
    python benchmarks/real_tasks.py --data FOLDER --output table.md --table                what has been measured so far
    python benchmarks/real_tasks.py --data FOLDER --tasks classes       every method on six sets: hours
    python benchmarks/real_tasks.py --data FOLDER --tasks banking77 --models minilm --methods head --rows 300
    python benchmarks/real_tasks.py --data FOLDER --tasks snips --models sprout --methods full --set task.pooling=mean

FOLDER holds one folder per data set; `all_tasks/sets.py` says which files and fields. None of them comes with
microtune; they are the sets of those names that their authors publish. Every run is a process of its own, so that its
peak memory is its own; it counts the libraries and the pages of memory-mapped files. Seconds are those of the whole
run: reading, loading, training, evaluation, saving. All choices (epoch, strength of regularisation, threshold) are
made on the validation split; the test split is read once. Training and validation rows that stand in the test split
are left out, for the baselines too. Results are kept beside the table, in a file of the same name with the ending
.json: the same command goes on where it was stopped, and measures again what has been changed. Needs
`pip install "microtune[metrics]"`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from all_tasks import table
from all_tasks.baselines import baseline
from all_tasks.reading import read
from all_tasks.running import peak_megabytes, tuned, untuned
from all_tasks.sets import CLASSES, EVERY, WORKS
from all_tasks.works import Run, Work

METHODS = ("head", "top:2", "lora:8", "full")
MODELS = ("sprout", "minilm")
EPOCHS = {"head": 20}  # cheap ones: the frozen trunk is computed once
DEFAULT_EPOCHS = 3
GROUPS = {"every": EVERY, "classes": CLASSES}


def asked_works(arguments: argparse.Namespace) -> list[Work]:
    """The sets that were named, or those of named groups; capped by --rows."""
    found = [work for name in arguments.tasks for work in (GROUPS[name] if name in GROUPS else [WORKS[name]])]
    once = {work.name: work for work in found}
    return [capped(work, arguments.rows) for work in once.values()]


def capped(work: Work, rows: int | None) -> Work:
    """A set with at most so many training rows, and validation and test rows as where sets are capped."""
    if rows is None:
        return work
    return replace(work, train=rows, validation=min(work.validation or 500, 500), test=min(work.test or 2000, 2000))


def runs_of(work: Work, arguments: argparse.Namespace) -> Iterator[Run]:
    """What is run on a set: what it says, or every model and method."""
    if work.runs and not arguments.methods:
        found = [run for run in work.runs if run.model in arguments.models]
    else:
        named = [(model, method) for model in arguments.models for method in arguments.methods or METHODS]
        found = [Run(model, method, EPOCHS.get(method, DEFAULT_EPOCHS)) for model, method in named]
    yield from (replace(run, settings=tuple(arguments.set), seed=arguments.seed) for run in found)


def child(folder: str, name: str, rows: int | None, what: str, run: dict[str, Any] | None) -> None:
    """One row of the table; its result as JSON on stdout."""
    from microtune.errors import MicrotuneError

    start = time.perf_counter()
    work = capped(WORKS[name], rows)
    try:
        parts = read(Path(folder), work)
        if run is None:
            result = baseline(what, parts, work)
        else:
            asked = Run(**run)
            result = untuned(parts, work, asked) if asked.method == "untuned" else tuned(parts, work, asked)
        result["rows"] = f"{len(parts['train'])} / {len(parts['test'])}"
    except MicrotuneError as error:
        result = {"state": f"refused: {error}"}
    print(json.dumps({**result, "seconds": time.perf_counter() - start, "peak": peak_megabytes()}))


def measured(arguments: argparse.Namespace, work: Work, what: str, run: Run | None) -> dict[str, Any]:
    """`child` in a process of its own."""
    plain = None if run is None else {**vars(run), "train": dict(run.train)}
    call = {"folder": arguments.data, "name": work.name, "rows": arguments.rows, "what": what, "run": plain}
    command = [sys.executable, __file__, "--child", json.dumps(call)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        return {"state": f"failed with exit code {done.returncode}"}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def run_all(arguments: argparse.Namespace) -> list[str]:
    """Every row that is not known yet; table and results are written after each."""
    output = Path(arguments.output) if arguments.output else None
    kept = None if output is None else output.with_suffix(".json")
    results = table.load(kept)
    lines = [table.HEADER, "| --- " * table.HEADER.count(" | ") + "| --- |"]
    for work in asked_works(arguments):
        rows: list[tuple[str, str, Run | None]] = [("", name, None) for name in work.baselines]
        rows += [(run.model, run.method, run) for run in runs_of(work, arguments)]
        for model, what, run in rows:
            name, mark = f"{work.name} | {model} | {what}", table.digest(work, what, run)
            known = results.get(name)
            if known is not None and known.get("digest") != mark:
                known = None
            if known is None and arguments.table:
                continue
            if known is None:
                known = {**measured(arguments, work, what, run), "digest": mark, "date": time.strftime("%Y-%m-%d")}
                if not known.get("state", "").startswith("failed"):
                    results[name] = known
                table.save(kept, results)
            lines.append(table.line(work, model, what, known))
            if arguments.table:
                continue
            print(lines[-1], file=sys.stderr, flush=True)
            if output is not None:
                output.write_text("\n".join([*lines, "", table.environment()]) + "\n", encoding="utf-8")
    return [*lines, "", table.environment()]


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="folder of the data sets")
    parser.add_argument("--tasks", nargs="+", choices=[*GROUPS, *WORKS], default=["every"], metavar="NAME")
    parser.add_argument("--models", nargs="+", help="names or folders [default: those installed]")
    parser.add_argument("--methods", nargs="+", help="[default: those of each set]")
    parser.add_argument("--rows", type=int, help="cap on training rows [default: per data set]")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="recipe values: task, method, train")
    parser.add_argument("--seed", type=int, default=0, help="of everything random in a tuned run")
    parser.add_argument("--output", help="file for the table, written after every run")
    parser.add_argument("--table", action="store_true", help="only show what has been measured so far")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(**json.loads(arguments.child))
        return
    if not arguments.data or not Path(arguments.data).is_dir():
        parser.error("--data must name a folder")
    if arguments.models is None:
        from microtune.run.sources import bases

        arguments.models = [name for name in MODELS if bases[name].find() is not None]
    print("\n".join(run_all(arguments)))


if __name__ == "__main__":
    main()
