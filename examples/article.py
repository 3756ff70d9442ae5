"""The experiment of the article that this project starts from, for real (docs/article.md).

    python examples/article.py train.csv validation.csv
    python examples/article.py train.csv validation.csv --light --base sprout

Stage 1 trains recipes/article.yaml from scratch. Stage 2 freezes all but the last part of the same network and trains 5
epochs at 1e-4 on the same rows. --light adds what light tuning is meant for: a base that has read other text.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from microtune import recipe as recipes
from microtune.adapt.base import make_method
from microtune.data.sources import read_rows
from microtune.errors import RunError
from microtune.nn.parameters import count_parameters
from microtune.recipe import Choice
from microtune.run.evaluate import evaluate_items
from microtune.run.rows import widen
from microtune.run.train import Training
from microtune.run.tune import get_ready, make_trunks
from microtune.run.verbs import tune_recipe

RECIPE = Path(__file__).resolve().parent.parent / "recipes" / "article.yaml"


def rows_of(path: str, count: int) -> list[dict[str, Any]]:
    """The first rows of a file, as plain dicts."""
    return [row.data for row in read_rows(path)[:count]]


def data_of(train_rows: Any, judged_rows: Any, options: argparse.Namespace) -> dict[str, Any]:
    """The section data of both recipes."""
    fields = {"text_field": options.text_field, "label_field": options.label_field}
    return {"train": train_rows, "validation": judged_rows, "split": "none", **fields}


def train(training: Training, judged: Any, trunks: dict[str, Any]) -> dict[str, Any]:
    """Run a training to its end; ms per sample of every epoch, and the accuracy on the judged rows."""
    spent = [0.0]
    for name, trunk in trunks.items():
        start = time.perf_counter()
        for _ in trunk.fill():
            pass
        spent[0] += time.perf_counter() - start if name == "train" else 0.0
    training.trunk = trunks.get("train")
    start = time.perf_counter()
    for step in training.fit():
        if step.step % training.steps_per_epoch == 0 or step.step == training.total_steps:
            spent[-1] += time.perf_counter() - start
            spent.append(0.0)
            start = time.perf_counter()
    loss = step.loss
    for trunk in trunks.values():
        trunk.close()
    score = evaluate_items(training.model, training.task, judged, intervals=False)
    whole, moving = count_parameters(training.model)
    each = [1000 * seconds / len(training.items) for seconds in spent[:-1]]
    return {
        "ms_per_sample_first_epoch": each[0],
        "ms_per_sample_later": statistics.median(each[1:] or each),
        "accuracy": score.values["accuracy"],
        "last_loss": loss,
        "parameters": whole,
        "trainable": moving,
        "labels": len(getattr(training.task, "labels", ())),
    }


def article(train_rows: Any, judged_rows: Any, options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Stages 1 and 2 in one network."""
    settings: dict[str, Any] = {"epochs": options.epochs, "lr": options.lr, "warmup": options.warmup}
    values = recipes.load(RECIPE)
    values["train"] |= settings
    values["data"] = data_of(train_rows, judged_rows, options)
    recipe = recipes.build(values)
    events = get_ready(recipe, {"train": train_rows, "validation": judged_rows}, lambda _, decide: decide())
    while True:
        try:
            next(events)
        except StopIteration as end:
            ready = end.value
            break
    judged = ready.encoded["validation"]
    found = {"stage 1, everything": train(ready.training, judged, {})}
    widen(ready.model.network, ready.narrowed)  # training moved only the embedding rows in use
    whole = count_parameters(ready.model.network)[0]
    found["stage 1, everything"] |= {"parameters": whole, "trainable": whole}
    ready.training.attachment.merge()
    method = make_method(Choice(name=options.last, **({"blocks": 1} if options.last == "top" else {})))
    attachment = method.attach(ready.model.network)
    later = recipe.train.model_copy(update={"epochs": options.light_epochs, "lr": 1e-4})
    items = ready.encoded["train"].items
    second = Training(
        ready.model.network, ready.task, method, attachment, items, later, seed=recipe.seed, precision="float32"
    )
    found[f"stage 2, {options.last}"] = train(second, judged, make_trunks(second, folder, ready.encoded))
    return found


def light(train_rows: Any, judged_rows: Any, options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """A base that has read other text, and its last block on the rows."""
    recipe = recipes.build(
        {
            "task": "classification",
            "model": options.base,
            "method": "top:1",
            "data": data_of(train_rows, judged_rows, options),
            "train": {"epochs": options.light_epochs, "batch_size": 32, "precision": "float32"},
            "out": str(folder / "light"),
        }
    )
    run = tune_recipe(recipe)
    return {"accuracy": run.scores["validation"]["accuracy"], "base": options.base}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train")
    parser.add_argument("validation")
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--judged", type=int, default=1000)
    parser.add_argument("--epochs", type=float, default=10)
    parser.add_argument("--light-epochs", type=float, default=5)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--warmup", type=float, default=0.0)
    parser.add_argument("--last", choices=["head", "top"], default="head")
    parser.add_argument("--text-field")
    parser.add_argument("--label-field")
    parser.add_argument("--light", action="store_true")
    parser.add_argument("--base", default="sprout")
    parser.add_argument("--json", help="file for the figures")
    options = parser.parse_args()
    rows, judged = rows_of(options.train, options.rows), rows_of(options.validation, options.judged)
    with tempfile.TemporaryDirectory() as work:
        try:
            found = article(rows, judged, options, Path(work))
            first = found["stage 1, everything"]
            stuck = first["accuracy"] < 1.2 / first["labels"]
        except RunError as error:
            print(f"Adam at {options.lr:g} without warm-up: {error}")
            found, stuck = {}, True
        if stuck and options.warmup == 0:
            print(f"Adam at {options.lr:g} without warm-up learns nothing here {found}; again with 1e-4, warmed up.")
            options.lr, options.warmup = 1e-4, 0.1
            found = {"as in the article": found, **article(rows, judged, options, Path(work))}
        found["settings"] = {"lr": options.lr, "warmup": options.warmup}
        if options.light:
            found["light tuning of a pretrained base"] = light(rows, judged, options, Path(work))
    print(json.dumps(found, indent=1))
    if options.json:
        Path(options.json).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
