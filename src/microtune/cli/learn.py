"""`microtune tune` and `microtune pretrain`."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any

import typer

from microtune.cli.asked import corpus_of, recipe_of
from microtune.cli.console import EventPrinter, out, plain, show_note
from microtune.cli.language import language, said
from microtune.cli.nexts import after
from microtune.cli.pairs import (
    SourceFile,
    TargetFile,
    TestSource,
    TestTarget,
    ValidationSource,
    ValidationTarget,
    is_recipe,
    pair,
)
from microtune.cli.planning import show_plan
from microtune.cli.reporting import pages_again
from microtune.cli.words import (
    DataName,
    Encoding,
    Epochs,
    Header,
    LabelField,
    Lang,
    MethodName,
    ModelName,
    RunFolder,
    Split,
    TaskName,
    Test,
    TextField,
    Validation,
)

Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="recipe values, such as train.lr=3e-4")
]


def tune(
    data: DataName = None,
    overrides: Overrides = None,
    task: TaskName = None,
    model: ModelName = None,
    method: MethodName = None,
    epochs: Epochs = None,
    validation: Validation = None,
    test: Test = None,
    source: SourceFile = None,
    target: TargetFile = None,
    validation_source: ValidationSource = None,
    validation_target: ValidationTarget = None,
    test_source: TestSource = None,
    test_target: TestTarget = None,
    split: Split = None,
    text_field: TextField = None,
    label_field: LabelField = None,
    encoding: Encoding = None,
    header: Header = None,
    seed: Annotated[int | None, typer.Option(help="of everything random")] = None,
    run_folder: RunFolder = None,
    overwrite: Annotated[bool, typer.Option(help="replace what stands in the run folder")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="show memory and time, then stop")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="no progress")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="the scores as JSON on stdout")] = False,
    lang: Lang = None,
) -> None:
    """Adapt a model to a task on your data, evaluate it, save it. The same command resumes an unfinished run."""
    flags = {"task": task, "model": model, "method": method, "seed": seed, "out": run_folder, "epochs": epochs}
    fields: dict[str, Any] = {"validation": pair(validation_source, validation_target, "validation-") or validation}
    fields |= {"test": pair(test_source, test_target, "test-") or test, "split": split, "text_field": text_field}
    fields |= {"label_field": label_field, "encoding": encoding, "header": header}
    recipe = recipe_of(data, overrides, flags, fields, files=pair(source, target))
    if dry_run:
        show_plan(recipe, as_json=as_json)
        return
    from microtune.run.report.words import Words
    from microtune.run.verbs import tune_recipe

    Words(language(lang))  # refuses an unknown language before anything is trained
    with EventPrinter(quiet=quiet, silent=as_json) as printer:
        run = tune_recipe(recipe, overwrite=overwrite, on_event=printer)
    pages_again(run.path, lang)
    _finish(run, printer.told, as_json=as_json)


def pretrain(
    recipe: Annotated[str, typer.Argument(help="a recipe (.yaml), or text to learn from (file, glob)")],
    overrides: Overrides = None,
    model: Annotated[str | None, typer.Option(help="the model to go on from, such as sprout")] = None,
    text_field: Annotated[str | None, typer.Option(help="of a table: the field with the text [default: text]")] = None,
    run_folder: Annotated[str | None, typer.Option("--out", help="run folder")] = None,
    overwrite: Annotated[bool, typer.Option(help="replace what stands in the run folder")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="no progress")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="the scores as JSON on stdout")] = False,
    lang: Lang = None,
) -> None:
    """Train a base model from text. The same command resumes an unfinished run."""
    from microtune.run.report.words import Words
    from microtune.run.verbs import pretrain as run_pretrain

    Words(language(lang))
    values, rest = corpus_of(recipe, overrides, model, text_field)
    named = recipe if is_recipe(recipe) else values
    with EventPrinter(quiet=quiet, silent=as_json) as printer:
        run = run_pretrain(named, *rest, out=run_folder, overwrite=overwrite, on_event=printer)
    pages_again(run.path, lang)
    _finish(run, printer.told, as_json=as_json, base=True)


def _finish(run: Any, told: Collection[str], *, as_json: bool, base: bool = False) -> None:
    """What a reader should know at the end; told: the notes that stand above already."""
    if as_json:
        print(json.dumps({"path": str(run.path), "scores": run.scores, "intervals": run.intervals}, ensure_ascii=False))
        return
    for note in run.notes:
        if note not in told:
            show_note(note)
    page = plain(Path(run.path) / "report.html")
    out.print(said("saved: {path} (report: {report})", path=plain(run.path), report=page), soft_wrap=True)
    for line in after(Path(run.path), base=base):
        out.print(said("  next: {command}", command=plain(line)), soft_wrap=True)
