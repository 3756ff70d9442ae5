"""`microtune combine`: several LoRA adapters as one, with weights."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from microtune.cli.console import out, plain, show_note
from microtune.cli.language import said
from microtune.errors import InputError


def combine(
    runs: Annotated[list[str], typer.Argument(metavar="RUN RUN...", help="runs or LoRA folders of peft, on one base")],
    folder: Annotated[str, typer.Option("--out", help="folder to write")],
    weights: Annotated[
        str | None, typer.Option(help="one for each run, such as 0.7,0.3 [default: equal shares]")
    ] = None,
    how: Annotated[str, typer.Option(help="linear: exact, ranks add up; svd: the nearest update of --rank")] = "linear",
    rank: Annotated[int | None, typer.Option(help="of svd [default: the largest of the runs]")] = None,
    overwrite: Annotated[bool, typer.Option(help="replace an earlier combination")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="the result as JSON on stdout")] = False,
) -> None:
    """Add the updates of LoRA runs, each with its weight; the result answers and is exported as a run is."""
    given = None if weights is None else _numbers(weights)
    from microtune.run.adapters import combine as run_combine

    made = run_combine(runs, out=folder, weights=given, how=how, rank=rank, overwrite=overwrite)  # type: ignore[arg-type]
    if as_json:
        print(json.dumps({"path": str(made.path), "rank": made.rank, "lost": made.lost}, ensure_ascii=False))
        return
    for note in made.notes:
        show_note(note)
    form = "{count} adapters combined, rank {rank} ({how}, {lost} of the updates lost)"
    if how == "linear":
        form = "{count} adapters combined, rank {rank} ({how}, exact)"
    facts = {"count": len(runs), "rank": made.rank, "how": how, "lost": f"{made.lost:.2%}"}
    out.print(said(form, **facts), soft_wrap=True)
    out.print(said("saved: {path}", path=plain(made.path)), soft_wrap=True)


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise InputError(
            f'--weights: "{text[:60]}" is not a list of numbers; write one for each run, as in 0.7,0.3.'
        ) from None
