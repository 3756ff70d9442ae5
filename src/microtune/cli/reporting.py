"""`microtune report`: the pages of a finished run or comparison, written again from the files in its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from microtune.cli.console import out, plain
from microtune.cli.language import language, said
from microtune.cli.words import Lang


def report(
    run: Annotated[str, typer.Argument(help="run folder, or that of a comparison")],
    lang: Lang = None,
) -> None:
    """Write report.html and the model card of a run again, from its own files, in English or Chinese; no network."""
    from microtune.run.pages import write_pages

    for page in write_pages(run, language(lang)):
        out.print(said("written: {path}", path=plain(page)), soft_wrap=True)


def pages_again(folder: str | Path, lang: str | None) -> None:
    """The pages of a folder and of the runs in it again, where they are wanted in another language than English."""
    if language(lang) == "en":
        return
    from microtune.run.pages import write_pages

    place = Path(folder)
    if (place / "compare.json").is_file():
        write_pages(place, language(lang))
        return
    for page in sorted(place.rglob("report.html")):
        write_pages(page.parent, language(lang))
