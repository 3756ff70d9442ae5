"""`microtune lint`: what a file is for, and what is wrong with it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from microtune.cli.console import EventPrinter, cell, lines, out
from microtune.cli.language import language
from microtune.cli.pairs import SourceFile, TargetFile, TestSource, TestTarget, pair
from microtune.cli.words import Encoding, Header, LabelField, ModelName, TextField
from microtune.errors import InputError

WIDTH = 80
REFUSALS = ("unreadable", "recipe-stops")  # findings that hold the sentence of a refusal
PIECE = 200  # characters of a piece in the terminal


def lint(
    data: Annotated[str | None, typer.Argument(help="data (file, glob, folder, or `tickets`)")] = None,
    test: Annotated[str | None, typer.Option("--test", help="rows whose copies are looked for in the data")] = None,
    task: Annotated[str | None, typer.Option("--task", help="instead of the guess")] = None,
    model: ModelName = None,
    source: SourceFile = None,
    target: TargetFile = None,
    test_source: TestSource = None,
    test_target: TestTarget = None,
    text_field: TextField = None,
    label_field: LabelField = None,
    encoding: Encoding = None,
    header: Header = None,
    full: Annotated[bool, typer.Option("--full", help="look at all rows where otherwise 20,000 are sampled")] = False,
    lang: Annotated[
        str | None, typer.Option(help="language of the report: en or zh [default: MICROTUNE_LANG, or en]")
    ] = None,
    folder: Annotated[str | None, typer.Option("--out", help="folder for lint.json, lint.html and recipe.yaml")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="exit with 1 if there is an error or a warning")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="no progress")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="the report as JSON on stdout")] = False,
) -> None:
    """Guess the task of a file, measure what is wrong with it, and print a recipe; nothing is trained."""
    rows = _source(data, pair(source, target))
    from microtune.run.lint import lint as run_lint

    with EventPrinter(quiet=quiet, silent=as_json) as printer:
        report = run_lint(
            rows,
            test=pair(test_source, test_target, "test-") or test,
            task=task,
            model=None if model == "none" else model or "sprout",
            text_field=text_field,
            label_field=label_field,
            encoding=encoding,
            header=header,
            full=full,
            lang=language(lang),  # type: ignore[arg-type]
            on_event=printer,
        )
    _give(_refusals_too(report), folder, as_json=as_json)
    if strict and report.strict_failure:
        raise typer.Exit(1)


def _source(data: str | None, files: dict[str, str] | None) -> Any:
    """What is read: DATA, two files, or a folder with pairs of files."""
    if data is None and files is None:
        raise InputError("Name the data: one file, folder or glob, or two files with --source and --target.")
    if data is None or files is None:
        return files or data
    if not Path(data).is_dir():
        raise InputError(f"{data}: beside --source and --target, DATA is a folder with parallel files.")
    return {"folder": data, **files}


def _refusals_too(report: Any) -> Any:
    """In a Chinese report the refusals that stand in its findings are said in Chinese too."""
    if report.lang != "zh":
        return report
    from microtune.cli.chinese import translated

    told = []
    for one in report.findings:
        said, colon, refusal = one.message.partition("：")
        message = f"{said}{colon}{translated(refusal)}" if one.kind in REFUSALS else one.message
        told.append(replace(one, message=message))
    return replace(report, findings=told)


def _give(report: Any, folder: str | None, *, as_json: bool) -> None:
    """Write and print the report."""
    from microtune.run.lint.report import words

    if folder is not None:
        report.save(folder)
    if as_json:
        print(json.dumps(report.record(), ensure_ascii=False))
        return
    _show(report)
    if folder is not None:
        said = words(report.lang, "PAGE")["saved"]
        colon = "：" if report.lang == "zh" else ": "
        out.print(cell(f"{said}{colon}{folder}/lint.html, {folder}/lint.json"), soft_wrap=True)


def _line(text: str, style: str = "") -> None:
    out.print(cell(text, style), width=min(WIDTH, out.console.width))


def _show(report: Any) -> None:
    """The summary: task, findings, three rows, the recipe."""
    from microtune.run.lint.proposal import recipe_text
    from microtune.run.lint.report import where, words

    w = words(report.lang, "PAGE")
    colon, comma = ("：", "，") if report.lang == "zh" else (": ", ", ")
    others = f" ({w['others']} {', '.join(report.others)})" if report.others else ""
    _line(f"{w['task']}{colon}{report.task}{others}", "bold")
    _line(f"{w['why']}{colon}{report.why}")
    roles = "; ".join(f"{role} = {v if isinstance(v, str) else ', '.join(v)}" for role, v in report.fields.items())
    _line(f"{w['fields']}{colon}{roles}")
    tests = f"{comma}{report.test_rows:,} {w['test_rows']}" if report.test_rows else ""
    found = w["found" if len(report.findings) != 1 else "found_one"]
    _line(f"{report.rows:,} {w['rows']}{tests}{comma}{len(report.findings)} {found}")
    styles = {"error": "red", "warning": "yellow", "note": ""}
    for told in report.findings:
        _line("")
        _line(f"{w[told.severity]} [{told.kind}] {told.message}", styles[told.severity])
        for place in told.places[:3]:
            _line(f"  {where(report, place)}{colon}{place.text}", "dim")
        _line(f"  -> {told.advice}")
    if not report.findings:
        _line(w["none"])
    for remark in report.remarks:
        _line(remark, "dim")
    _line("")
    _line(w["rendered"], "bold")
    for number, pieces in enumerate(report.rendered, 1):
        for piece in pieces:
            text = piece.text[:PIECE].replace("\n", " / ")
            _line(f"{number} {piece.role}: {f'[[{text}]]' if piece.supervised else text}", "green" * piece.supervised)
    _line("")
    _line(w["recipe"], "bold")
    if report.recipe is None:
        _line(w["no_recipe"])
    else:
        out.print(lines(recipe_text(report.recipe).rstrip()), soft_wrap=True)
