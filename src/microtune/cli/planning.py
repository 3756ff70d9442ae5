"""`microtune plan`: memory and time of a run before it begins."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated, Any

import typer

from microtune.cli.asked import recipe_of
from microtune.cli.console import cell, out, show_note, table
from microtune.cli.language import asked_for, said, word
from microtune.cli.pairs import SourceFile, TargetFile, pair
from microtune.cli.words import (
    DataName,
    Encoding,
    Epochs,
    Header,
    LabelField,
    ModelName,
    Split,
    TaskName,
    Test,
    TextField,
    Validation,
)


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
    validation: Validation = None,
    test: Test = None,
    split: Split = None,
    text_field: TextField = None,
    label_field: LabelField = None,
    encoding: Encoding = None,
    header: Header = None,
    as_json: Annotated[bool, typer.Option("--json", help="the plan as JSON on stdout")] = False,
) -> None:
    """Predict memory and time of `tune` (or, for a recipe with sources, `pretrain`); nothing is trained or written."""
    flags = {"task": task, "model": model, "method": method, "epochs": epochs}
    fields: dict[str, Any] = {"validation": validation, "test": test, "split": split, "text_field": text_field}
    fields |= {"label_field": label_field, "encoding": encoding, "header": header}
    show_plan(recipe_of(data, overrides, flags, fields, files=pair(source, target)), as_json=as_json)


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
    shown = table(word("time on this machine"), {"part": "left", "time": "right"})
    for name, seconds in (
        (word("frozen trunk, once"), pace.once),
        (said("one epoch, {steps} steps", steps=f"{pace.steps_per_epoch:,}"), pace.epoch),
        (word("scoring validation, after each epoch"), pace.judging),
    ):
        if seconds:
            shown.add_row(cell(name), _time(seconds))
    shown.add_row(cell(said("together, {epochs} epochs", epochs=f"{pace.epochs:g}"), "bold"), _time(pace.total))
    out.print(shown)
    fast = said("{fast} of {blocks} blocks on the fast path", fast=found.fast_blocks, blocks=found.blocks)
    counts = {"rows": f"{found.rows:,}", "tokens": f"{found.tokens:,}"}
    form = "{rows} rows, {tokens} tokens an epoch; {precision}; {fast}"
    out.print("\n" + said(form, **counts, precision=found.precision, fast=fast))


def _show_memory(memory: Any) -> None:
    from microtune.run.memory import in_words

    shown = table(word("memory at the peak"), {"part": "left", "size": "right"})
    for part in memory.parts:
        if part.bytes and part.where == "memory":
            shown.add_row(cell(_part(part.name)), in_words(part.bytes))
    shown.add_row(cell(word("together"), "bold"), in_words(memory.peak))
    out.print(shown)
    disk = sum(part.bytes for part in memory.parts if part.where == "disk")
    if disk:
        out.print(said("on disk while it runs: {size}", size=in_words(disk)))
    if memory.limit is not None:
        form = "limit: {size}; {tokens} tokens are computed at once"
        out.print(said(form, size=in_words(memory.limit), tokens=f"{memory.micro_tokens:,}"))
    out.print("")


def _part(name: str) -> str:
    """What takes memory, as refusals say it."""
    if not asked_for():
        return name
    from microtune.cli.chinese.memory import part

    return part(name)


def _time(seconds: float) -> str:
    """12.3 -> `12 s`; 4000 -> `1 h 7 min`."""
    if seconds < 90:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
