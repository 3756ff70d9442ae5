"""`microtune plan`: memory and time of a run before it begins."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated, Any

import typer

from microtune.cli.asked import recipe_of
from microtune.cli.console import cell, out, show_note, table
from microtune.cli.pairs import SourceFile, TargetFile, pair
from microtune.cli.words import DataName, Epochs, ModelName, TaskName


def plan(
    data: DataName = None,
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="recipe values, such as train.memory=4GB")
    ] = None,
    task: TaskName = None,
    model: ModelName = None,
    method: Annotated[str | None, typer.Option(help="full, head, top:2, lora:8, head+bitfit [default: lora]")] = None,
    epochs: Epochs = None,
    source: SourceFile = None,
    target: TargetFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="the plan as JSON on stdout")] = False,
) -> None:
    """Predict memory and time of `tune` (or, for a recipe with sources, `pretrain`); nothing is trained or written."""
    flags = {"task": task, "model": model, "method": method, "epochs": epochs}
    show_plan(recipe_of(data, overrides, flags, files=pair(source, target)), as_json=as_json)


def show_plan(recipe: Any, *, as_json: bool) -> None:
    """Two tables: memory by parts, and time."""
    from microtune.run.foresee import plan as foresee

    found = foresee(recipe)
    memory, pace = found.memory, found.pace
    if as_json:
        totals = {"peak": memory.peak, "limit": memory.limit, "seconds": pace.total}
        print(json.dumps(asdict(found) | totals, ensure_ascii=False))
        return
    for note in found.notes:
        show_note(note)
    _show_memory(memory)
    shown = table("time on this machine", {"part": "left", "time": "right"})
    for name, seconds in (
        ("frozen trunk, once", pace.once),
        (f"one epoch, {pace.steps_per_epoch:,} steps", pace.epoch),
        ("scoring validation, after each epoch", pace.judging),
    ):
        if seconds:
            shown.add_row(cell(name), _time(seconds))
    shown.add_row(cell(f"together, {pace.epochs:g} epochs", "bold"), _time(pace.total))
    out.print(shown)
    fast = f"{found.fast_blocks} of {found.blocks} blocks on the fast path"
    out.print(f"\n{found.rows:,} rows, {found.tokens:,} tokens an epoch; {found.precision}; {fast}")


def _show_memory(memory: Any) -> None:
    from microtune.run.memory import in_words

    shown = table("memory at the peak", {"part": "left", "size": "right"})
    for part in memory.parts:
        if part.bytes and part.where == "memory":
            shown.add_row(cell(part.name), in_words(part.bytes))
    shown.add_row(cell("together", "bold"), in_words(memory.peak))
    out.print(shown)
    disk = sum(part.bytes for part in memory.parts if part.where == "disk")
    if disk:
        out.print(f"on disk while it runs: {in_words(disk)}")
    if memory.limit is not None:
        out.print(f"limit: {in_words(memory.limit)}; {memory.micro_tokens:,} tokens are computed at once")
    out.print("")


def _time(seconds: float) -> str:
    """12.3 -> `12 s`; 4000 -> `1 h 7 min`."""
    if seconds < 90:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
