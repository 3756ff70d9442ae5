"""`microtune demo`: the tour on the embedded model and data, in about two minutes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from microtune.cli.console import EventPrinter, cell, out, plain, table
from microtune.cli.language import said, word
from microtune.cli.reporting import pages_again

MESSAGES = (
    "my parcel has been 'out for delivery' since tuesday, what is going on",
    "The blender came with a cracked jug.",
    "怎么开发票啊，公司要报销",
    "验证码一直收不到，登不上去",
    "can i still swap the colour before you ship it?",
)
PROMPT = "The customer asked"


def demo(
    folder: Annotated[str, typer.Option("--out", help="where everything is saved")] = "runs/demo",
    model: Annotated[str, typer.Option(help="the base to tune")] = "sprout",
    epochs: Annotated[float, typer.Option(help="passes over the training rows")] = 4,
) -> None:
    """Show the data, tune the embedded model lightly, compare, predict, generate."""
    from microtune.run import tour

    start = time.perf_counter()
    parts = tour.tickets()
    _show_data(parts)
    rows = []
    with EventPrinter() as printer:
        for contender in tour.contenders(parts, Path(folder), model, epochs, _progress(printer)):
            rows.append(contender)
            printer.line(
                said("{name}: done in {seconds} s", name=word(contender.name), seconds=f"{contender.seconds:.1f}")
            )
    pages_again(folder, None)
    _show_table(parts["test"], rows)
    _show_answers(Path(folder) / "lora", model)
    form = "\nThe tour took {seconds} s; everything is saved in {path}."
    out.print(said(form, seconds=f"{time.perf_counter() - start:.0f}", path=plain(folder)))
    out.print(word("Three things to try next:"))
    out.print(f'  microtune predict {plain(folder)}/lora "where is my order?" "退款什么时候到账"', soft_wrap=True)
    out.print("  microtune tune YOUR_DATA.csv --task classification --method top:2", soft_wrap=True)
    out.print(f"  microtune evaluate {plain(folder)}/lora --data YOUR_DATA.csv", soft_wrap=True)


def _progress(printer: EventPrinter) -> Any:
    """Pass on progress; leave out each run's own tables."""
    from microtune.run.session import Stage
    from microtune.run.train import Step

    return lambda event: printer(event) if isinstance(event, (Stage, Step)) else None


def _show_data(parts: dict[str, list[Any]]) -> None:
    from rich.cells import cell_len

    counts = parts.items()
    sizes = word(", ").join(said("{count} {split}", count=len(rows), split=word(name)) for name, rows in counts)
    labels = sorted({row.data["intent"] for row in parts["train"]})
    form = "tickets: customer messages in English and Chinese, {count} intents; {sizes}\n"
    out.print(said(form, count=len(labels), sizes=sizes))
    shown = table("", {"intent": "left", "a message": "left"})
    for number, label in enumerate(labels):
        language = ("en", "zh")[number % 2]
        same = [r for r in parts["train"] if r.data["intent"] == label and r.data["language"] == language]
        example = min(same, key=lambda r: abs(cell_len(r.data["text"]) - 55))
        shown.add_row(cell(label), cell(example.data["text"]))
    out.print(shown)
    out.print("")


def _show_table(test: list[Any], rows: list[Any]) -> None:
    heads = {"": "left", "English": "right", "Chinese": "right", "trains": "right", "seconds": "right"}
    shown = table(word("accuracy on the test split [95 % interval]"), heads)
    for row in rows:
        cells = []
        for language in ("en", "zh"):
            share, low, high = row.accuracy(test, language)
            cells.append(f"{share:.3f} [{low:.2f}, {high:.2f}]")
        trains = "-" if not row.share or row.path is None else f"{row.share:.2%}"
        shown.add_row(cell(word(row.name)), *cells, trains, f"{row.seconds:.1f}")
    out.print(shown)
    out.print(cell(word("random weights: the better of two learning rates on validation, seconds of both"), "dim"))


def _show_answers(path: Path, model: str) -> None:
    from microtune.run.load import load
    from microtune.run.verbs import Run

    out.print("")
    shown = table(word("the tuned model answers"), {"message": "left", "intent": "left", "confidence": "right"})
    for text, answer in zip(MESSAGES, Run(path).predict(MESSAGES), strict=True):
        shown.add_row(cell(text), cell(answer.answer), f"{answer.confidence:.2f}")
    out.print(shown)
    words = load(model).generate(PROMPT, max_new_tokens=40, temperature=0.7, top_p=0.9, seed=3)
    text = plain(PROMPT) + plain(" ".join(words.split("\n")))
    out.print(said("\nthe base model continues: {text}", text=text), soft_wrap=True)
