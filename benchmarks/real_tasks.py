"""Tune real models on real tasks, beside the baselines that they must beat, and print the table of docs/benchmarks.md.

    python benchmarks/real_tasks.py --data FOLDER                                 all of it; --rows 300 for a quick look
    python benchmarks/real_tasks.py --data FOLDER --tasks banking77 --models minilm --methods head
    python benchmarks/real_tasks.py --data FOLDER --models sprout --methods full --set train.epochs=4 task.pooling=mean

FOLDER holds one folder per data set, each with the files `train.*`, `validation.*` and `test.*` (jsonl, csv or tsv,
plain or gzip-compressed; the fields are those of `TASKS` below):

    banking77/        text, category                    ag_news/          label, title, description
    movie_reviews/    text, label                       snips/            text, intent
    thucnews_titles/  no header: title TAB class        cold_offensive/   label, TEXT
    alpaca_en/        instruction, input, output

None of them comes with microtune; they are the sets of those names that their authors publish. Every run is a process
of its own, so that its peak memory is its own; it counts the libraries and the pages of memory-mapped files. Seconds
are those of the whole run: reading, loading, training, evaluation, saving. All choices (epoch, strength of
regularisation) are made on the validation split; the test split is read once. Training and validation rows that stand
in the test split are left out, for the baselines too. Without --rows, training rows are capped as `TASKS` says; where
they are, validation and test rows are capped at `EVALUATION_ROWS`, all after one fixed shuffle. Needs scikit-learn.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

METHODS = ("head", "top:2", "lora:8", "full")
MODELS = ("sprout", "minilm")
BASELINES = ("majority", "tf-idf")
EPOCHS = {"head": 20}  # cheap ones: the frozen trunk is computed once
DEFAULT_EPOCHS = 3
EVALUATION_ROWS = {"validation": 500, "test": 2000}
STRENGTHS = (1.0, 10.0, 100.0)  # C of the logistic regression
HEADER = "| data | model | method | validation | test score (95 % interval) | trainable | seconds | peak MB |"

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Task:
    """A data set: its fields, its language, and how many training rows the table uses (None: all)."""

    text: str
    label: str
    rows: int | None
    chinese: bool = False
    header: bool | None = None
    kind: str = "classification"


TASKS = {
    "banking77": Task("text", "category", None),
    "ag_news": Task("description", "label", 2000),
    "movie_reviews": Task("text", "label", 400),
    "snips": Task("text", "intent", 4000),
    "thucnews_titles": Task("column_1", "column_2", 4000, chinese=True, header=False),
    "cold_offensive": Task("TEXT", "label", 3000, chinese=True),
    "alpaca_en": Task("instruction", "output", 1500, kind="instruction"),
}


def read(folder: Path, name: str, rows: int | None, task: Task | None = None) -> dict[str, Rows]:
    """The rows of a data set by split: without copies of test rows, and capped after a fixed shuffle.

    task: of a data set that does not stand in `TASKS`; then there is no cap but `rows`.
    """
    from microtune.data.sources import read_rows
    from microtune.data.splits import remove_overlap

    task, cap = (TASKS[name], rows or TASKS[name].rows) if task is None else (task, rows)
    parts: dict[str, Rows] = {}
    found = {
        part: read_rows(_file(folder / name, part), header=task.header) for part in ("train", "validation", "test")
    }
    for part, members in found.items():
        if part != "test":
            members = remove_overlap(members, found["test"], lambda row: str(row.data[task.text]))[0]
        parts[part] = [row.data for row in members]
        if cap is not None:
            random.Random(0).shuffle(parts[part])
            parts[part] = parts[part][: EVALUATION_ROWS.get(part, cap)]
    return with_known_labels(parts, task.label) if task.kind == "classification" else parts


def with_known_labels(parts: dict[str, Rows], label: str) -> dict[str, Rows]:
    """Without the rows whose class no training row has: nobody could give their label."""
    known = {row[label] for row in parts["train"]}
    return {part: [row for row in members if row[label] in known] for part, members in parts.items()}


def _file(folder: Path, part: str) -> Path:
    files = sorted(folder.glob(f"{part}.*"))
    if len(files) != 1:
        raise SystemExit(f"{folder}: expected one file {part}.*, found {len(files)}.")
    return files[0]


def tuned(
    parts: dict[str, Rows], name: str, model: str, method: str, settings: Sequence[str] = (), seed: int = 0
) -> dict[str, Any]:
    """Tune and judge on test; settings: recipe values of the sections task, method and train."""
    import microtune as mt
    from microtune.recipe import override, parse_short
    from microtune.run.tune import Prepared

    seen: dict[str, float] = {}

    def listen(event: Any) -> None:
        if isinstance(event, Prepared):
            seen["share"] = event.summary.share

    task = TASKS[name]
    values = override({"task": {"name": task.kind}, "method": parse_short(method), "train": {}}, settings)
    with tempfile.TemporaryDirectory() as folder:
        run = mt.tune(
            parts["train"],
            validation=parts["validation"],
            test=parts["test"],
            task=values["task"],
            model=model,
            method=values["method"],
            train={"epochs": EPOCHS.get(method, DEFAULT_EPOCHS), **values["train"]},
            text_field=task.text,
            label_field=task.label,
            seed=seed,
            out=Path(folder) / "run",
            on_event=listen,
        )
        scores = {"values": run.scores["test"], "intervals": run.intervals["test"]}
        return {**scores, "share": seen["share"], "validation": run.scores["validation"].get("accuracy")}


def untuned(parts: dict[str, Rows], name: str, model: str) -> dict[str, Any]:
    """What the base makes of the answers of the test rows before it has seen any."""
    import microtune as mt
    from microtune.data.sources import Row
    from microtune.run.evaluate import evaluate_items
    from microtune.run.prepare import items_limit
    from microtune.tasks.instruction import Instruction

    base = mt.load(model)
    rows = {part: [Row(row, part, i + 1) for i, row in enumerate(parts[part])] for part in ("train", "test")}
    task = Instruction().prepare(rows, text_field=TASKS[name].text, label_field=TASKS[name].label)
    encoded = task.encode_all(rows["test"], base.text, items_limit(base, None, 0), training=False)
    score = evaluate_items(base.network, task, encoded)
    return {"values": score.values, "intervals": score.intervals, "share": 0.0}


def baseline(parts: dict[str, Rows], name: str, method: str) -> dict[str, Any]:
    """The most frequent label, or TF-IDF (words; characters in Chinese) with logistic regression (C by validation)."""
    from microtune.run.evaluate import wilson

    task = TASKS[name]
    texts = {part: [str(row[task.text]) for row in rows] for part, rows in parts.items()}
    labels = {part: [str(row[task.label]) for row in rows] for part, rows in parts.items()}
    if method == "majority":
        most = Counter(labels["train"]).most_common(1)[0][0]
        accuracy = labels["test"].count(most) / len(labels["test"])
        return {"values": {"accuracy": accuracy}, "intervals": {"accuracy": wilson(accuracy, len(labels["test"]))}}
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    analyzer, grams = ("char", (1, 3)) if task.chinese else ("word", (1, 2))
    vectorizer = TfidfVectorizer(analyzer=analyzer, ngram_range=grams, sublinear_tf=True)
    vectorizer.fit(texts["train"])
    features = {part: vectorizer.transform(values) for part, values in texts.items()}
    models = [LogisticRegression(C=c, max_iter=1000).fit(features["train"], labels["train"]) for c in STRENGTHS]
    best = max(models, key=lambda model: model.score(features["validation"], labels["validation"]))
    accuracy = float(best.score(features["test"], labels["test"]))
    seen = float(best.score(features["validation"], labels["validation"]))
    interval = wilson(accuracy, len(labels["test"]))
    return {"values": {"accuracy": accuracy}, "intervals": {"accuracy": interval}, "validation": seen}


def peak_megabytes() -> float:
    """The most memory that this process has had."""
    if sys.platform == "win32":
        import psutil

        return float(psutil.Process().memory_info().peak_wset) / 1e6
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def child(
    folder: str, name: str, model: str, method: str, rows: int | None, settings: Sequence[str], seed: int
) -> None:
    """One run; its result as JSON on stdout."""
    from microtune.errors import MicrotuneError

    start = time.perf_counter()
    try:
        parts = read(Path(folder), name, rows)
        if not model:
            result = baseline(parts, name, method)
        elif method == "untuned":
            result = untuned(parts, name, model)
        else:
            result = tuned(parts, name, model, method, settings, seed)
    except MicrotuneError as error:
        result = {"refused": str(error)}
    print(json.dumps({**result, "seconds": time.perf_counter() - start, "peak": peak_megabytes()}))


def plan(arguments: argparse.Namespace) -> Iterator[tuple[str, str, str]]:
    """(data, model, method) of every row of the table; a baseline has no model."""
    for name in arguments.tasks:
        if TASKS[name].kind == "classification":
            yield from ((name, "", method) for method in BASELINES)
        for model in arguments.models:
            if TASKS[name].kind == "instruction":
                if model == "minilm":  # an encoder; it cannot write
                    continue
                yield (name, model, "untuned")
            yield from ((name, model, method) for method in arguments.methods)


def line(name: str, model: str, method: str, result: dict[str, Any]) -> str:
    """A row of the table."""
    score = "refused: see below" if "refused" in result else "; ".join(_scores(result))
    share = f"{result['share']:.2%}" if "share" in result else "-"
    label = Path(model).name if model else "-"
    seen = "-" if result.get("validation") is None else f"{result['validation']:.3f}"
    cost = f"{share} | {result['seconds']:.0f} | {result['peak']:.0f}"
    return f"| {name} | {label} | {method} | {seen} | {score} | {cost} |"


def _scores(result: dict[str, Any]) -> Iterator[str]:
    names = ("accuracy",) if "accuracy" in result["values"] else ("loss", "token_accuracy")
    for name in names:
        low, high = result["intervals"][name]
        title = "" if name == "accuracy" else f"{name.replace('_', ' ')} "
        yield f"{title}{result['values'][name]:.3f} ({low:.3f}-{high:.3f})"


def run_all(arguments: argparse.Namespace) -> list[str]:
    """Every run in a process of its own; the lines of the table so far go to --output after each."""
    lines = [HEADER, "| --- | --- | --- | --- | --- | --- | --- | --- |"]
    refusals: list[str] = []
    for name, model, method in plan(arguments):
        call = {"folder": arguments.data, "name": name, "model": model, "method": method, "rows": arguments.rows}
        call |= {"settings": arguments.set, "seed": arguments.seed}
        done = subprocess.run(
            [sys.executable, __file__, "--child", json.dumps(call)], stdout=subprocess.PIPE, text=True, check=False
        )
        if done.returncode:
            print(f"{name} {model} {method}: failed with exit code {done.returncode}", file=sys.stderr)
            lines.append(f"| {name} | {model or '-'} | {method} | - | failed | - | - | - |")
        else:
            result = json.loads(done.stdout.splitlines()[-1])
            lines.append(line(name, model, method, result))
            if "refused" in result:
                refusals += ["", f"{name}, {Path(model).name}, {method}: {result['refused']}"]
        print(lines[-1], file=sys.stderr, flush=True)
        if arguments.output:
            Path(arguments.output).write_text("\n".join([*lines, *refusals]) + "\n", encoding="utf-8")
    return [*lines, *refusals]


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="folder of the data sets")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--models", nargs="+", help="names or folders [default: those installed]")
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--rows", type=int, help="cap on training rows [default: per data set]")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="recipe values: task, method, train")
    parser.add_argument("--seed", type=int, default=0, help="of everything random in a tuned run")
    parser.add_argument("--output", help="file for the table, written after every run")
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
