"""`microtune report`: the page of a finished run, written again from the files in its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from microtune.cli.console import out, plain
from microtune.cli.language import language, said
from microtune.cli.words import Lang


def report(
    run: Annotated[str, typer.Argument(help="run folder")],
    lang: Lang = None,
) -> None:
    """Write report.html of a run again: recipe, data, curves, scores, answers, errors, time. One file, no network."""
    from microtune.run.report import write_report

    out.print(said("written: {path}", path=plain(write_report(run, lang=language(lang)))), soft_wrap=True)


def pages_again(folder: str | Path, lang: str | None) -> None:
    """The pages of the runs in a folder again, where they are wanted in another language than English."""
    if language(lang) == "en":
        return
    from microtune.run.report import write_report
    from microtune.run.report.pages import pages_in_chinese

    pages_in_chinese(Path(folder))
    for page in sorted(Path(folder).rglob("report.html")):
        write_report(page.parent, lang=language(lang))
        pages_in_chinese(page.parent)
