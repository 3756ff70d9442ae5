"""Which method pays on which task: two bases tuned by every method, several seeds each; the table of docs/methods.md.

    python benchmarks/methods.py --data FOLDER --out results               all of it: some hours on one core
    python benchmarks/methods.py --data FOLDER --out results --tasks banking77 --methods head lora:8 --seeds 1
    python benchmarks/methods.py --out results --table                     the tables of what has been measured so far

FOLDER is laid out as benchmarks/real_tasks.py says, with two sets more:

    cola/        no header: source TAB label TAB mark TAB sentence        unfair_tos/      sentence, unfair

Every run is a process of its own (its peak memory is its own), its result a line of results/rows.jsonl: stop at any
time, the same command goes on. Each seed has its own order, head and dropout and its own draw of the training rows;
validation and test rows stay. All choices (which epoch) are made on the validation split. Everything else is what a
user gets who names the method. Forgetting is measured from the saved runs afterwards, with one reading of the base.

The runs share one cache of the states of frozen trunks (run/shared_trunk.py) in results/states, of at most STATES_BYTES
and deleted when all rows are there. Of one data set, base and seed the methods with the lowest cut come first, so that
the others go on from their states. What a run was spared is added to its CPU time again: the table says what a method
takes for whoever runs it alone; `--alone` shares nothing.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from all_tasks.reading import read, with_known_labels
from all_tasks.running import peak_megabytes
from all_tasks.works import Rows, Work, parts_in

METHODS = (
    *("full", "head", "top:2", "reinit:1", "lora:8", "bitfit", "norms", "ia3", "bottleneck", "prefix", "prompt"),
    "head+norms",
)
WRITTEN = {  # what a short form cannot say; to be named with --methods, as top:1 is, beside which reinit:1 belongs
    "reinit:1-full": {"name": "reinit", "blocks": 1, "then": "full"},
}
STATES_BYTES = 2_000_000_000
FORGETTING_SEEDS = 1  # by how many seeds forgetting is measured: it hardly differs between them
EPOCHS = {"head": 20}  # the trunk's states are computed once, an epoch costs next to nothing


@dataclass(frozen=True)
class Task:
    """A data set: its fields, the score that counts, and how many rows are used."""

    text: str
    label: str
    metric: str = "accuracy"
    rows: int = 600
    test: int = 600
    kind: str = "classification"
    header: bool | None = None
    english: bool = True


TASKS = {
    "banking77": Task("text", "category", rows=1000),
    "cola": Task("column_4", "column_2", header=False),
    "thucnews_titles": Task("column_1", "column_2", header=False, english=False),
    "unfair_tos": Task("sentence", "unfair", metric="f1"),
    "alpaca_en": Task("instruction", "output", metric="perplexity", rows=400, test=300, kind="instruction"),
}
MODELS = {
    "sprout": tuple(TASKS),
    "minilm": tuple(n for n, t in TASKS.items() if t.english and t.metric != "perplexity"),
}


def parts_of(folder: Path, name: str, seed: int) -> dict[str, Rows]:
    """Training rows drawn by `seed`, the same validation and test rows for every seed."""
    task = TASKS[name]
    language = "en" if task.english else "zh"
    whole = Work(name, task.kind, language, parts_in(f"{name}/{{}}.*"), task.text, task.label, header=task.header)
    parts = read(folder, whole)
    random.Random(f"rows {seed}").shuffle(parts["train"])
    for part, cap in (("validation", 300), ("test", task.test)):
        random.Random(0).shuffle(parts[part])
        parts[part] = parts[part][:cap]
    parts["train"] = parts["train"][: task.rows]
    return with_known_labels(parts, task.label) if task.kind == "classification" else parts


def child(
    folder: str, name: str, model: str, method: str, seed: int, place: str, states: str | None = None
) -> dict[str, Any]:
    """One run. states: folder of the states of frozen trunks that runs leave to each other."""
    from microtune.errors import InputError
    from microtune.recipe import build
    from microtune.run.sharing import Sharing
    from microtune.run.tune import Prepared
    from microtune.run.verbs import tune_recipe

    seen: dict[str, float] = {}

    def listen(event: Any) -> None:
        if isinstance(event, Prepared):
            seen.update(share=event.summary.share, trainable=event.summary.trainable)

    task, parts = TASKS[name], parts_of(Path(folder), name, seed)
    sharing = None if states is None else Sharing(Path(states), limit=STATES_BYTES)
    start, cpu = time.perf_counter(), time.process_time()
    try:
        recipe = build(
            {
                "task": task.kind,
                "model": model,
                "method": WRITTEN.get(method, method),
                "data": {**parts, "text_field": task.text, "label_field": task.label},
                "train": {"epochs": EPOCHS[method]} if method in EPOCHS else {},
                "seed": seed,
                "out": place,
            },
            where=method,
        )
        run = tune_recipe(recipe, overwrite=True, on_event=listen, sharing=sharing)
    except InputError as error:
        return {"refused": str(error)}
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    values = dict(run.scores["test"])
    if task.metric == "f1":
        values["f1"] = f1(run, parts["test"], task, positive="1")
    shared = {} if sharing is None else {"spared": sharing.saved_cpu, "states": dict(sharing.counts)}
    return {"values": values, **seen, "seconds": seconds, "cpu": cpu, "peak": peak_megabytes(), **shared}


def f1(run: Any, rows: Rows, task: Task, positive: str) -> float:
    """F1 of one class."""
    given = [str(row[task.label]) for row in rows]
    found = [str(prediction.answer) for prediction in run.predict([str(row[task.text]) for row in rows])]
    hits = sum(a == b == positive for a, b in zip(given, found, strict=True))
    return 2 * hits / max(given.count(positive) + found.count(positive), 1)


def forget(places: list[str], model: str, general: str | None) -> list[dict[str, Any]]:
    """Forgetting of saved runs of one base."""
    import microtune as mt
    from microtune.run.forgetting import compare, reference

    if general:
        texts = [json.loads(line)["text"] for line in Path(general).read_text(encoding="utf-8").splitlines()]
    else:
        from microtune.run.general import general_texts

        texts = general_texts()
    base, found = reference(mt.load(model), texts), []
    for place in places:
        one = compare(base, mt.load(place))
        found.append({"place": place, "kind": one.kind, "before": one.before, "after": one.after, "texts": one.texts})
    return found


def plan(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Every row, all methods of a seed before the next seed, those of one data set and base after each other."""
    for seed in range(arguments.seeds):
        for model in arguments.models:
            for name in (name for name in arguments.tasks if name in MODELS[model]):
                for method in sorted(arguments.methods, key=trained_blocks, reverse=True):
                    yield {"name": name, "model": model, "method": method, "seed": seed}


def trained_blocks(method: str) -> int:
    """How many blocks at the top a method leaves above its cut, as far as its name says it: a wrong guess costs time.

    `head` leaves none, methods in all blocks have no trunk that could be shared and come first.
    """
    found = re.fullmatch(r"(top|reinit):([0-9]{1,4})", method)
    return int(found[2]) if found else 0 if method == "head" else 10_000


def key_of(row: dict[str, Any]) -> tuple[Any, ...]:
    """What makes a row."""
    return tuple(row[part] for part in ("name", "model", "method", "seed"))


def lines_of(path: Path) -> list[dict[str, Any]]:
    """The results so far."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []


def call(function: str, options: dict[str, Any]) -> Any:
    """One of the functions above in a process of its own."""
    command = [sys.executable, __file__, "--child", json.dumps([function, options])]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    return json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else None


def run_all(arguments: argparse.Namespace) -> None:
    """What is missing, row by row."""
    out = Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    path, states = out / "rows.jsonl", None if arguments.alone else str(out / "states")
    for row in plan(arguments):
        if key_of(row) in {key_of(done) for done in lines_of(path)}:
            continue
        place = out / "runs" / "-".join(str(part).replace(":", "") for part in key_of(row))
        shutil.rmtree(place, ignore_errors=True)
        result = call("child", {"folder": arguments.data, "place": str(place), "states": states, **row})
        if result is None:
            print(f"{key_of(row)}: failed", file=sys.stderr)
            continue
        shutil.rmtree(place / "checkpoints", ignore_errors=True)
        with open(path, "a", encoding="utf-8") as file:  # a short line: whole, or not there
            file.write(json.dumps({**row, **result, "place": str(place)}) + "\n")
        print(f"{key_of(row)}: {result.get('values', result)}", file=sys.stderr, flush=True)
    shutil.rmtree(out / "states", ignore_errors=True)


def forget_all(arguments: argparse.Namespace) -> None:
    """Forgetting of every run that has none yet."""
    out = Path(arguments.out)
    path = out / "forgetting.jsonl"
    known = {line["place"] for line in lines_of(path)}
    for model in arguments.models:
        rows = [r for r in lines_of(out / "rows.jsonl") if r["model"] == model and "values" in r]
        rows = [r for r in rows if r["seed"] < FORGETTING_SEEDS]
        places = [r["place"] for r in rows if r["place"] not in known and Path(r["place"]).is_dir()]
        found = call("forget", {"places": places, "model": model, "general": arguments.general}) if places else []
        with open(path, "a", encoding="utf-8") as file:
            file.writelines(json.dumps(line) + "\n" for line in found or [])


def tables(out: Path) -> Iterator[str]:
    """One table for each base: a line a method, a column a task."""
    forgotten = {line["place"]: line for line in lines_of(out / "forgetting.jsonl")}
    rows = lines_of(out / "rows.jsonl")
    for model, names in MODELS.items():
        shown = [n for n in names if any(r["model"] == model and r["name"] == n for r in rows)]
        heads = [f"{name}, {TASKS[name].metric}" for name in shown]
        yield f"\n| {model} | trainable | {' | '.join(heads)} | CPU seconds | peak MB | forgetting |"
        yield "| --- " * (len(heads) + 5) + "|"
        for method in dict.fromkeys([*METHODS, *(r["method"] for r in rows)]):
            mine = [r for r in rows if r["model"] == model and r["method"] == method]
            if mine:
                yield line_of(method, mine, shown, forgotten)
        reasons = {r["method"]: r["refused"] for r in rows if r["model"] == model and "refused" in r}
        yield from ("", *(f"{method}: {reason}" for method, reason in reasons.items()))


def line_of(method: str, rows: list[dict[str, Any]], names: list[str], forgotten: dict[str, dict[str, Any]]) -> str:
    """Mean and deviation over seeds; CPU time, memory and forgetting over all runs of the method that learn labels."""
    good = [r for r in rows if "values" in r]
    if not good:
        return f"| {method} | {' | '.join('-' for _ in range(len(names) + 4))} |"
    cells = []
    for name in names:
        values = [r["values"][TASKS[name].metric] for r in good if r["name"] == name]
        digits = 2 if TASKS[name].metric == "perplexity" else 3
        spread = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
        cells.append(f"{statistics.mean(values):.{digits}f}{spread}" if values else "-")
    labelled = [r for r in good if TASKS[r["name"]].kind == "classification"] or good
    share = statistics.median(r["share"] for r in labelled)
    digits = 2 if share > 0.0005 else 3
    seconds = statistics.median(r["cpu"] + r.get("spared", 0.0) for r in labelled)
    peak = statistics.median(r["peak"] for r in labelled)
    lost = [f["after"] - f["before"] for r in good if (f := forgotten.get(r["place"])) is not None]
    last = f"{statistics.mean(lost):+.3f}" if lost else "-"
    return f"| {method} | {share:.{digits}%} | {' | '.join(cells)} | {seconds:.0f} | {peak:.0f} | {last} |"


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="folder of the data sets")
    parser.add_argument("--out", default="results", help="folder of the results")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--general", help="JSONL of general texts, field `text` [default: those that come along]")
    parser.add_argument("--forgetting", action="store_true", help="measure forgetting of the saved runs, no more")
    parser.add_argument("--alone", action="store_true", help="share no states of frozen trunks between runs")
    parser.add_argument("--table", action="store_true", help="print what there is, no more")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        function, options = json.loads(arguments.child)
        print(json.dumps({"child": child, "forget": forget}[function](**options)))
        return
    if not arguments.table:
        if not arguments.forgetting:
            if not arguments.data or not Path(arguments.data).is_dir():
                parser.error("--data must name a folder")
            run_all(arguments)
        forget_all(arguments)
    print("\n".join(tables(Path(arguments.out))))


if __name__ == "__main__":
    main()
