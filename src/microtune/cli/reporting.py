"""`microtune report`: the page of a finished run, written again from the files in its folder."""

from __future__ import annotations

from typing import Annotated

import typer

from microtune.cli.console import out, plain
from microtune.cli.words import Lang


def report(
    run: Annotated[str, typer.Argument(help="run folder")],
    lang: Lang = "en",
) -> None:
    """Write report.html of a run again: recipe, data, curves, scores, answers, errors, time. One file, no network."""
    from microtune.run.report import write_report

    out.print(f"written: {plain(write_report(run, lang=lang))}", soft_wrap=True)
