"""The history of the field as a measured table: equal training time for an n-gram model, an LSTM and a Transformer.

    python benchmarks/history.py --text FOLDER --pairs FOLDER --minutes 20 --out history
    python benchmarks/history.py --text FOLDER --pairs FOLDER --minutes 1 --out smoke       to see that it works

--text: a folder with train.txt and test.txt; bits per byte of an n-gram model (counted once, however
long that takes), of an LSTM and of a Transformer of about equal size. --pairs: a folder with train.en.gz,
train.de.gz, val.* and test.* (the first that is found): BLEU (sacreBLEU 13a) of an RNN without attention, with additive
and with dot attention, and of the 2017 Transformer, over all sentences and by the length of the source.

Each row is a run in OUT that trains for `--minutes` and is then scored; rows that are done stay, so that the same
command goes on after an interruption. OUT/history.json has the figures, OUT/history.md the tables, OUT/history.png the
picture (with matplotlib).
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from microtune import load, pretrain, tune
from microtune.run.verbs import Run

BUCKETS = ((1, 9), (10, 12), (13, 15), (16, 20), (21, 10**6))  # words of the source
WIDTH = 256
ATTENTION = {"rnn-none": "none", "rnn-additive": "additive", "rnn-dot": "dot"}
TRANSFORMER = {"num_layers": 3, "hidden_size": WIDTH, "num_heads": 4, "intermediate_size": 4 * WIDTH}
POST = {"placement": "post", "final_norm": False, "activation": "relu", "dropout": 0.1}
SINUS = {"positions": "sinusoidal", "max_positions": 512, "embedding_scale": WIDTH**0.5}
ROTARY = {"positions": "rotary", "max_positions": 512, "causal": True}


def text_recipe(kind: str, folder: Path) -> dict[str, Any]:
    """A language model of one kind on train.txt."""
    if kind == "lstm":
        model: dict[str, Any] = {"family": "seq2seq-rnn", "spec": {"decoder": {"num_layers": 2, "hidden_size": 384}}}
    else:
        stack = {**TRANSFORMER, **ROTARY, "num_layers": 4, "norm": "rms", "mlp": "gated", "activation": "silu"}
        stack |= {"intermediate_size": 704} | {
            f"{part}_bias": False for part in ("query", "key", "value", "output", "mlp")
        }
        model = {"family": "llama", "spec": {"decoder": stack}}
    return {
        "task": "language-modelling",
        "method": "full",
        "seed": 1,
        "model": {**model, "tokenizer": {"vocab_size": 2048}},
        "data": {
            "folder": str(folder),
            "block_size": 128,
            "sources": [{"path": "train.txt", "held_out": "test.txt", "name": "text"}],
        },
        "train": {"lr": 2e-3, "epochs": 1000, "batch_size": 16, "schedule": "cosine"},
    }


def pair_options(kind: str) -> dict[str, Any]:
    """Task, model and training of a translator of one kind, from scratch."""
    if kind in ATTENTION:
        encoder = {"num_layers": 1, "hidden_size": 384, "cell": "gru", "bidirectional": True, "dropout": 0.2}
        decoder = {**encoder, "bidirectional": False, "attention": ATTENTION[kind]}
        model: dict[str, Any] = {"family": "seq2seq-rnn", "spec": {"encoder": encoder, "decoder": decoder}}
    else:
        stack = {**TRANSFORMER, **POST, **SINUS}
        sides = {"head_bias": True, "encoder": stack, "decoder": {**stack, "causal": True, "cross_attention": True}}
        sides["initializer_range"] = WIDTH**-0.5  # Glorot and Bengio, 2010; with 0.02 it does not find the source
        model = {"family": "marian", "spec": sides}
    train = {"lr": 1e-3, "epochs": 1000, "batch_size": 64, "schedule": "cosine", "patience": 0}
    if kind not in ATTENTION:  # as the paper trains it
        train |= {"schedule": "inverse-sqrt", "warmup": 0.1, "betas": [0.9, 0.98], "weight_decay": 0.0}
        train |= {"label_smoothing": 0.1}
    return {
        "task": {"name": "sequence-to-sequence", "max_new_tokens": 60},
        "method": "full",
        "seed": 1,
        "model": {**model, "source": None, "max_length": 100, "tokenizer": {"vocab_size": 6000}},
        "train": train,
    }


def find_pairs(folder: Path) -> dict[str, Any]:
    """The parallel files of a folder, English to German."""
    found: dict[str, Any] = {}
    for part, beginning in (("train", "train"), ("validation", "val"), ("test", "test")):
        one = sorted(folder.glob(f"{beginning}*.en.gz"))
        if not one:
            raise SystemExit(f"{folder}: no {beginning}*.en.gz in it")
        found[part] = {"source": str(one[0]), "target": str(one[0]).replace(".en.gz", ".de.gz")}
    return found


def measured_pairs(kind: str, options: argparse.Namespace, out: Path) -> dict[str, Any]:
    """Train a translator until its time is over, score it, and once more by length."""
    pairs = find_pairs(Path(options.pairs))
    values = pair_options(kind)
    values["train"] |= {"minutes": options.minutes}
    parts = {name: part for name, part in pairs.items() if name != "train"}
    run = tune(pairs["train"], **values, **parts, out=out, overwrite=True)
    return {
        "bleu": run.scores["test"]["bleu"],
        "parameters": run.model.parameters,
        "steps": steps_of(out),
        "by_length": by_length(run, pairs["test"]),
    }


def by_length(run: Run, test: dict[str, str]) -> dict[str, float]:
    """BLEU of the test sentences by the number of words of their source."""
    from sacrebleu.metrics import BLEU

    from microtune.data.sources import read_rows

    rows = read_rows(test)
    answers = [found.answer for found in run.predict([str(row.data["source"]) for row in rows])]
    scores = {}
    for low, high in BUCKETS:
        chosen = [i for i, row in enumerate(rows) if low <= len(str(row.data["source"]).split()) <= high]
        if chosen:
            wanted = [[str(rows[i].data["target"]) for i in chosen]]
            name = f"{low}-{high}" if high < 10**6 else f"{low}+"
            scores[name] = BLEU().corpus_score([str(answers[i]) for i in chosen], wanted).score
    return scores


def steps_of(out: Path) -> int:
    lines = (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return sum('"kind": "step"' in line for line in lines)


def measured_text(kind: str, options: argparse.Namespace, out: Path) -> dict[str, Any]:
    """Train a language model for the time; bits per byte of test.txt."""
    folder = Path(options.text)
    if kind == "ngram":
        return ngram(folder, out)
    values = text_recipe(kind, folder)
    values["train"] |= {"minutes": options.minutes}
    run = pretrain(values, out=out, overwrite=True)
    model = load(out / "model")
    return {
        "bits_per_byte": run.scores["text"]["bits_per_byte"],
        "parameters": model.parameters,
        "steps": steps_of(out),
    }


def ngram(folder: Path, out: Path) -> dict[str, Any]:
    """An n-gram model of order 5 on the same tokens."""
    values = text_recipe("lstm", folder)
    values["model"] = {"classic": "ngram:5", "tokenizer": values["model"]["tokenizer"]}
    values["train"] = {}
    start = time.monotonic()
    run = pretrain(values, out=out, overwrite=True)
    seconds = time.monotonic() - start
    bits, size = run.scores["text"]["bits_per_byte"], load(out).parameters
    return {"bits_per_byte": bits, "steps": 0, "parameters": size, "seconds": seconds}


def table(found: dict[str, Any], minutes: float) -> str:
    """Both tables as Markdown."""
    lines = [f"Each network trained for {minutes:g} minutes.", "", "| model | parameters | steps | bits per byte |"]
    lines += ["|---|---|---|---|"]
    for name, row in found.items():
        if "bits_per_byte" in row:
            lines.append(f"| {name} | {row['parameters']} | {row['steps']} | {row['bits_per_byte']:.3f} |")
    names = [f"{low}-{high}" if high < 10**6 else f"{low}+" for low, high in BUCKETS]
    lines += ["", "| model | parameters | steps | BLEU | " + " | ".join(f"{n} words" for n in names) + " |"]
    lines += ["|" + "---|" * (4 + len(names))]
    for name, row in found.items():
        if "bleu" in row:
            each = " | ".join(f"{row['by_length'].get(n, float('nan')):.1f}" for n in names)
            lines.append(f"| {name} | {row['parameters']} | {row['steps']} | {row['bleu']:.1f} | {each} |")
    return "\n".join(lines) + "\n"


def picture(found: dict[str, Any], path: Path) -> None:
    """Bars of bits per byte, and lines of BLEU by length."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        print("no picture: matplotlib is not installed")
        return
    figure = Figure(figsize=(11, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    bars = {name: row["bits_per_byte"] for name, row in found.items() if "bits_per_byte" in row}
    left.bar(list(bars), list(bars.values()))
    left.set_ylabel("bits per byte")
    for name, row in found.items():
        if "bleu" in row:
            right.plot(list(row["by_length"]), list(row["by_length"].values()), marker="o", label=name)
    right.set_xlabel("words of the source")
    right.set_ylabel("BLEU")
    if right.lines:
        right.legend()
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", help="folder with train.txt and test.txt")
    parser.add_argument("--pairs", help="folder with train.en.gz, train.de.gz, val.*, test.*")
    parser.add_argument("--minutes", type=float, default=20, help="of training for each network")
    parser.add_argument("--rows", nargs="*", help="only these rows")
    parser.add_argument("--out", default="history")
    options = parser.parse_args()
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    file = out / "history.json"
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    if found.setdefault("minutes", options.minutes) != options.minutes:
        raise SystemExit(f"{file}: rows of {found['minutes']:g} minutes; choose another --out.")
    rows: list[tuple[str, Any]] = []
    if options.text:
        rows += [(name, measured_text) for name in ("ngram", "lstm", "transformer")]
    if options.pairs:
        rows += [(name, measured_pairs) for name in (*ATTENTION, "transformer-2017")]
    for name, measure in rows:
        if name in found or (options.rows and name not in options.rows):
            continue
        found[name] = measure(name, options, out / name)
        file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        print(f"{name}: {found[name]}", flush=True)
    only = {name: row for name, row in found.items() if isinstance(row, dict)}
    text = table(only, options.minutes)
    (out / "history.md").write_text(text, encoding="utf-8")
    picture(only, out / "history.png")
    print(text)


if __name__ == "__main__":
    main()
