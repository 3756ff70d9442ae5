"""What the number format of the frozen weights costs in quality: the same runs in float32, bfloat16 and int8.

    python benchmarks/number_formats.py                         sprout on the embedded tickets
    python benchmarks/number_formats.py --data FOLDER           and MiniLM on FOLDER/banking77/{train,validation}.*

LoRA of rank 8 with the defaults of `microtune tune`, the same seed, rows and steps; the loss on validation at the end,
with the base as its files have it (what a user of the run gets) and, for int8, also as training computed it. Runs of
one model follow each other in one process; seconds are those of the steps.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

FORMATS = ("float32", "bfloat16", "int8")


def measure(data: Any, validation: Any, model: str, precision: str, **fields: str) -> dict[str, Any]:
    """One run: validation loss and accuracy, seconds of its steps, the note about int8."""
    import microtune as mt
    from microtune.run.train import Step

    seconds: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        run = mt.tune(
            data,
            validation=validation,
            split="none" if validation is not None else {"validation": 0.2},
            task={"name": "classification", "pooling": "mean"},
            model=model,
            method="lora:8",
            epochs=3,
            train={"precision": precision, "keep": "last"},
            out=Path(folder) / "run",
            on_event=lambda event: seconds.append(event.seconds) if isinstance(event, Step) else None,
            **fields,
        )
    values = run.scores["validation"]
    note = next((n for n in run.notes if n.startswith("int8:")), "")
    return {"loss": values["loss"], "accuracy": values["accuracy"], "seconds": sum(seconds), "note": note}


def main() -> None:
    """All formats on all models; prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="folder that holds banking77; default: tickets alone")
    parser.add_argument("--rows", type=int, default=3000, help="training rows of banking77")
    arguments = parser.parse_args()
    from microtune.data.sources import read_rows
    from microtune.run.tour import tickets

    parts = {name: [row.data for row in rows] for name, rows in tickets().items()}
    names = {"text_field": "text", "label_field": "intent"}
    sets = [("sprout", parts["train"], parts["validation"], names)]
    if arguments.data:
        bank = Path(arguments.data) / "banking77"
        rows = {p: [r.data for r in read_rows(str(next(bank.glob(f"{p}.*"))))] for p in ("train", "validation")}
        some = rows["train"][:: max(1, len(rows["train"]) // arguments.rows)]
        sets.append(("minilm", some, rows["validation"], {"text_field": "text", "label_field": "category"}))
    print("| model | format | validation loss | against float32 | accuracy | seconds of the steps |\n|" + " --- |" * 6)
    for model, train, validation, fields in sets:
        exact = None
        for precision in FORMATS:
            found = measure(train, validation, model, precision, **fields)
            exact = found["loss"] if exact is None else exact
            cells = f"{found['loss']:.4f} | {found['loss'] / exact - 1:+.2%} | {found['accuracy']:.3f}"
            print(f"| {model} | {precision} | {cells} | {found['seconds']:.0f} | {found['note']}", flush=True)


if __name__ == "__main__":
    main()
