"""`microtune compare`: which method pays on these data, within a budget."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from microtune.cli.asked import recipe_of
from microtune.cli.console import EventPrinter, again, cell, err, out, plain, show_note, table
from microtune.cli.language import asked_for, said, word
from microtune.cli.nexts import asking
from microtune.cli.reporting import pages_again
from microtune.cli.words import DataName, Epochs, LabelField, ModelName, TaskName, Test, TextField, Validation
from microtune.errors import InputError


def compare(
    data: DataName = None,
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="recipe values, such as train.batch_size=32")
    ] = None,
    task: TaskName = None,
    methods: Annotated[str | None, typer.Option(help="such as head,top:2,lora:8,full; two at least")] = None,
    budget: Annotated[str, typer.Option(help="time for everything, such as 90s, 10m, 1h")] = "10m",
    memory: Annotated[str | None, typer.Option(help="of each run, such as 4GB [default: what is free]")] = None,
    seeds: Annotated[int, typer.Option(help="runs of each method")] = 1,
    curve: Annotated[
        str | None, typer.Option(help="a learning curve at so many examples per label, such as 8,32,128")
    ] = None,
    general: Annotated[
        str | None, typer.Option(help="texts by which forgetting is measured [default: 500 embedded ones]")
    ] = None,
    model: ModelName = None,
    epochs: Epochs = None,
    validation: Validation = None,
    test: Test = None,
    split: Annotated[str | None, typer.Option(help="name of a field that says train, validation or test")] = None,
    text_field: TextField = None,
    label_field: LabelField = None,
    seed: Annotated[int | None, typer.Option(help="of everything random; the first of --seeds")] = None,
    folder: Annotated[
        str | None, typer.Option("--out", help="folder of the comparison [default: runs/compare-<data>-<task>-<hash>]")
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="replace what stands in the folder")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="no progress")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="the result as JSON on stdout")] = False,
) -> None:
    """Train several methods on the same split within a time budget and say which one pays; resumes when unfinished."""
    began = time.monotonic()
    flags = {"task": task, "model": model, "seed": seed, "out": folder, "epochs": epochs}
    fields = {"validation": validation, "test": test, "split": split}
    fields |= {"text_field": text_field, "label_field": label_field}
    assignments = [*(overrides or []), *([f"train.memory={memory}"] if memory else [])]
    recipe = recipe_of(data, assignments, flags, fields, leave_out="method")
    from microtune.run.compare import Question, compare_recipe

    question = Question(_methods(methods), budget, seeds, _sizes(curve), general, began)
    with ComparisonPrinter(quiet=quiet or as_json) as printer:
        found = compare_recipe(recipe, question, overwrite=overwrite, on_event=printer)
    pages_again(found.path, None)
    if as_json:
        print(json.dumps({"path": str(found.path), **found.results.plain()}, ensure_ascii=False))
    else:
        show_comparison(found)


def _methods(text: str | None) -> tuple[str, ...]:
    if text is None:
        raise InputError("Say what to compare, for instance --methods head,top:2,lora:8.")
    return tuple(name.strip() for name in text.replace("，", ",").split(",") if name.strip())


def _sizes(text: str | None) -> tuple[int, ...]:
    parts = [part.strip() for part in (text or "").split(",") if part.strip()]
    if any(not part.isascii() or not part.isdigit() or len(part) > 9 for part in parts):
        raise InputError(f'--curve: "{text}" is not a list of numbers; write for instance --curve 8,32,128,512.')
    return tuple(int(part) for part in parts)


class ComparisonPrinter:
    """Shows the progress of a comparison: a bar for the run that is at work, and a line for what has been decided."""

    def __init__(self, *, quiet: bool) -> None:
        self.quiet = quiet
        self._runs = EventPrinter(quiet=quiet, silent=True) if quiet else EventPrinter()

    def __enter__(self) -> ComparisonPrinter:
        self._runs.__enter__()
        return self

    def __exit__(self, *details: object) -> None:
        self._runs.__exit__(*details)

    def __call__(self, event: Any) -> None:
        """Show one event."""
        from microtune.run.compare.contest import Begun, Planned, Ranked, Skipped
        from microtune.run.session import Stage
        from microtune.run.train import Step

        if self.quiet:
            return
        if isinstance(event, (Stage, Step)):
            self._runs(event)
        elif isinstance(event, Skipped):
            self._runs.line(said("{method}: left out. {reason}", method=event.method, reason=again(event.reason)))
        elif isinstance(event, Planned):
            _show_plan(event)
        elif isinstance(event, Begun):
            form = "  {run}: to step {steps} (rung {rung} of {rungs})"
            self._runs.line(said(form, run=event.run, steps=event.steps, rung=event.rung, rungs=event.rungs))
        elif isinstance(event, Ranked):
            _show_ranking(event)


def _show_plan(event: Any) -> None:
    from microtune.run.compare.budget import in_time

    heat = event.heats[-1]
    shortened = said("; shortened to {share} by the budget", share=f"{event.scale:.0%}") if event.scale < 1 else ""
    count = sum(len(h.entries) for h in event.heats)
    candidates = said("{count} candidates, up to {steps} steps each", count=count, steps=heat.total_steps)
    err.print(cell(candidates + shortened + said("; about {time} in all", time=in_time(event.seconds))))


def _show_ranking(event: Any) -> None:
    shown = ", ".join(f"{name} {'-' if value is None else f'{value:.4g}'}" for name, value in event.scores)
    heat = "" if event.heat == "all" else said("{count} examples, ", count=event.heat)
    stopped = said("; stopped: {methods}", methods=", ".join(event.stopped)) if event.stopped else ""
    form = "rung {rung} of {rungs}, validation: {scores}"
    line = said(form, rung=event.rung + 1, rungs=event.rungs, scores=shown)
    err.print(cell(f"{heat}{line}{stopped}"), soft_wrap=True)


def show_comparison(found: Any) -> None:
    """The table, the curve, the recommendation, what to know."""
    from microtune.run.compare.results import by_size
    from microtune.run.compare.table import SHORT, curve_rows, endings, short_rows

    results = found.results
    if by_size(results):
        heads, body = curve_rows(results)
        shown = table(
            said("{metric} by training examples per label, with 95 % intervals", metric=results.metric),
            dict.fromkeys(heads, "left"),
        )
        for line in body:
            shown.add_row(*(cell(text) for text in line))
        out.print(shown)
        out.print("")
    shown = table(
        results.metric, {head: "left" if head in ("method", "on", "forgetting") else "right" for head in SHORT}
    )
    for line in short_rows(results):
        shown.add_row(*(cell(word(text) if head == "on" else text) for head, text in zip(SHORT, line, strict=True)))
    out.print(shown)
    for name, *parts in endings(results):
        out.print(cell((": ", "：")[asked_for()].join([name, *map(again, parts)])), soft_wrap=True)
    if results.recommendation is not None:
        out.print("")
        out.print(cell(said("recommended: {reason}", reason=again(found.reason)), "bold"), soft_wrap=True)
    for note in results.notes:
        show_note(note)
    out.print(said("saved: {path}", path=plain(found.path)), soft_wrap=True)
    usable = [line for line in results.lines if line.method == found.recommended and line.stored]
    if usable:
        command = asking(Path(found.path) / usable[-1].runs[0])
        out.print(said("  next: {command}", command=plain(command)), soft_wrap=True)
