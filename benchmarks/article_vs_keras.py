"""The article's experiment in microtune and in Keras 3 on TensorFlow, in turn, on the same token ids (docs/article.md).

    python benchmarks/article_vs_keras.py train.csv validation.csv
    python benchmarks/article_vs_keras.py train.csv validation.csv --rows 64 --epochs 1 --light-epochs 2   a smoke test

Makes a throw-away environment (some 2 GB, deleted at the end; `--environment` keeps it for the next time) with keras
and tensorflow-cpu. Each side is a process of its own; figures are ms per sample of full training (the first epoch of
Keras, which traces its graph, apart), ms per sample of the frozen stage after its first epoch (medians of the epochs),
and the accuracy on validation after both stages. Keras gets rows padded to 128 tokens, and pools over the real ones; it
trains with the rate and the warm-up that microtune ended with, where those of the article learnt nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LENGTH, VOCABULARY, WIDTH, HEADS, INNER, LAYERS = 128, 10_000, 512, 8, 2048, 4
TARGETS = (("stage 1, everything", "ms_per_sample_later", 2.0), ("stage 2, head", "ms_per_sample_later", 10.0))


def ours(options: argparse.Namespace, work: Path) -> dict[str, Any]:
    """examples/article.py with these options."""
    out = work / "ours.json"
    command = [sys.executable, str(ROOT / "examples" / "article.py"), options.train, options.validation]
    command += ["--rows", str(options.rows), "--judged", str(options.judged), "--epochs", str(options.epochs)]
    command += ["--light-epochs", str(options.light_epochs), "--lr", str(options.lr), "--json", str(out)]
    command += ["--warmup", str(options.warmup)]
    for name in ("text_field", "label_field"):
        if getattr(options, name):
            command += [f"--{name.replace('_', '-')}", getattr(options, name)]
    subprocess.run(command, check=True)
    found = json.loads(out.read_text(encoding="utf-8"))
    return found if isinstance(found, dict) else {}


def write_ids(options: argparse.Namespace, path: Path) -> None:
    """The token ids and labels that microtune reads, padded to 128, for the other side."""
    import numpy as np

    sys.path.insert(0, str(ROOT / "examples"))
    from article import RECIPE, rows_of

    from microtune import recipe as recipes
    from microtune.run.tune import get_ready

    train, judged = rows_of(options.train, options.rows), rows_of(options.validation, options.judged)
    data = {"train": train, "validation": judged, "split": "none"}
    data |= {"text_field": options.text_field, "label_field": options.label_field}
    values = recipes.load(RECIPE) | {"data": data}
    events = get_ready(recipes.build(values), {"train": train, "validation": judged}, lambda _, decide: decide())
    while True:
        try:
            next(events)
        except StopIteration as end:
            ready = end.value
            break
    arrays: dict[str, Any] = {"labels": np.array(len(ready.task.labels))}
    for name in ("train", "validation"):
        items = ready.encoded[name].items
        ids = np.zeros((len(items), LENGTH), dtype=np.int32)
        lengths = np.zeros(len(items), dtype=np.int32)
        for i in range(len(items)):
            row = list(items[i].ids)[:LENGTH]
            ids[i, : len(row)], lengths[i] = row, len(row)
        arrays |= {f"{name}_ids": ids, f"{name}_lengths": lengths}
        arrays[f"{name}_labels"] = np.array([int(items[i].targets[0]) for i in range(len(items))])
    np.savez(path, **arrays)


def environment(folder: Path) -> Path:
    """A Python with Keras and TensorFlow in `folder`; made where it is not there yet."""
    python = folder / ("Scripts" if os.name == "nt" else "bin") / ("python.exe" if os.name == "nt" else "python")
    if not python.exists():
        venv.create(folder, with_pip=True)
        name = "tensorflow-cpu" if sys.platform.startswith("linux") else "tensorflow"
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", "keras>=3", name], check=True)
    return python


def keras_side(ids: str, options: dict[str, Any]) -> dict[str, Any]:
    """Runs in the other environment: the same network and the same two stages in Keras."""
    import time

    import keras  # type: ignore[import-not-found,unused-ignore]
    import numpy as np
    from keras import layers, ops

    keras.utils.set_random_seed(1)
    data = np.load(ids)
    tokens = keras.Input((LENGTH,), dtype="int32")
    lengths = keras.Input((), dtype="int32")
    there = layers.Lambda(lambda n: ops.arange(LENGTH)[None] < n[:, None], output_shape=(LENGTH,))(lengths)
    places = layers.Lambda(lambda t: ops.broadcast_to(ops.arange(LENGTH), ops.shape(t)), output_shape=(LENGTH,))(tokens)
    x = layers.Embedding(VOCABULARY, WIDTH)(tokens) + layers.Embedding(LENGTH, WIDTH)(places)
    x = layers.Dropout(0.1)(layers.LayerNormalization(epsilon=1e-5)(x))
    for _ in range(LAYERS):
        mask = layers.Reshape((1, LENGTH))(there)
        seen = layers.MultiHeadAttention(HEADS, WIDTH // HEADS)(x, x, attention_mask=mask)
        x = layers.LayerNormalization(epsilon=1e-5)(x + layers.Dropout(0.1)(seen))
        inner = layers.Dense(WIDTH)(layers.Dense(INNER, activation="relu")(x))
        x = layers.LayerNormalization(epsilon=1e-5)(x + layers.Dropout(0.1)(inner))
    pooled = layers.GlobalAveragePooling1D()(x, mask=there)
    logits = layers.Dense(int(data["labels"]), name="head")(layers.Dropout(0.1)(pooled))
    model = keras.Model([tokens, lengths], logits)
    seconds: list[float] = []
    steps = -(-len(data["train_ids"]) // 32) * options["epochs"]
    warm = max(int(np.ceil(options["warmup"] * steps)), 1)

    class Warmed(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc,unused-ignore]
        def __call__(self, step: Any) -> Any:
            return options["lr"] * ops.minimum((ops.cast(step, "float32") + 1) / warm, 1.0)

    class Clock(keras.callbacks.Callback):  # type: ignore[misc,unused-ignore]
        def on_epoch_begin(self, *_: Any) -> None:
            self.start = time.perf_counter()

        def on_epoch_end(self, *_: Any) -> None:
            seconds.append(time.perf_counter() - self.start)

    found = {}
    parts = {k: [data[f"{k}_ids"], data[f"{k}_lengths"]] for k in ("train", "validation")}
    stages = (
        ("stage 1, everything", Warmed(), options["epochs"]),
        ("stage 2, head", 1e-4, options["light_epochs"]),
    )
    for name, lr, epochs in stages:
        if name != "stage 1, everything":
            for layer in model.layers:
                layer.trainable = layer.name == "head"
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(lr), loss, metrics=["accuracy"])
        seconds.clear()
        model.fit(
            parts["train"], data["train_labels"], batch_size=32, epochs=int(epochs), verbose=0, callbacks=[Clock()]
        )
        each = [1000 * s / len(data["train_ids"]) for s in seconds]
        score = model.evaluate(parts["validation"], data["validation_labels"], verbose=0)
        found[name] = {
            "ms_per_sample_first_epoch": each[0],
            "ms_per_sample_later": float(np.median(each[1:] or each)),
            "accuracy": float(score[1]),
            "parameters": int(model.count_params()),
            "trainable": int(sum(np.prod(w.shape) for w in model.trainable_weights)),
        }
    return found


def theirs(options: argparse.Namespace, rate: dict[str, float], work: Path) -> dict[str, Any]:
    """The other side, in its own environment and process, with this rate and warm-up."""
    ids, out = work / "ids.npz", work / "keras.json"
    write_ids(options, ids)
    python = environment(Path(options.environment) if options.environment else work / "environment")
    asked = {**rate, "epochs": options.epochs, "light_epochs": options.light_epochs}
    command = [str(python), __file__, "--keras-side", str(ids), json.dumps(asked), str(out)]
    quiet = {**os.environ, "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": ""}
    subprocess.run(command, check=True, env=quiet)
    found = json.loads(out.read_text(encoding="utf-8"))
    return found if isinstance(found, dict) else {}


def main() -> None:
    if sys.argv[1:2] == ["--keras-side"]:
        found = keras_side(sys.argv[2], json.loads(sys.argv[3]))
        Path(sys.argv[4]).write_text(json.dumps(found), encoding="utf-8")
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train")
    parser.add_argument("validation")
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--judged", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--light-epochs", type=int, default=5)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--warmup", type=float, default=0.0)
    parser.add_argument("--text-field")
    parser.add_argument("--label-field")
    parser.add_argument("--environment", help="folder of the environment, kept for the next time")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        own = ours(options, work)
        sides = {"microtune": own, "Keras": theirs(options, own["settings"], work)}
    print("| stage | | ms per sample, first epoch | later | accuracy | parameters | trainable share |")
    print("|---|---|---|---|---|---|---|")
    for stage in ("stage 1, everything", "stage 2, head"):
        for side, found in sides.items():
            f = found[stage]
            share, count = f["trainable"] / f["parameters"], f["parameters"]
            first, later = f["ms_per_sample_first_epoch"], f["ms_per_sample_later"]
            print(f"| {stage} | {side} | {first:.2f} | {later:.3f} | {f['accuracy']:.3f} | {count} | {share:.2%} |")
    for stage, key, wanted in TARGETS:
        ratio = sides["Keras"][stage][key] / sides["microtune"][stage][key]
        print(f"{stage}: {ratio:.1f} times as fast as Keras (aim: {wanted:g})")


if __name__ == "__main__":
    main()
