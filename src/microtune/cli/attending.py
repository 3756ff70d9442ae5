"""`microtune attention`: where a recurrent model looks while it writes."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from microtune.cli.console import out, plain
from microtune.cli.language import said


def attention(
    source: Annotated[str, typer.Argument(metavar="RUN", help="run of a seq2seq-rnn with attention, or such a model")],
    text: Annotated[str, typer.Argument(help="what it reads")],
    picture: Annotated[str, typer.Option("--out", help="PNG file to write")] = "attention.png",
    answer: Annotated[str | None, typer.Option(help="what it writes [default: its own answer]")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="the matrix as JSON on stdout, no picture")] = False,
) -> None:
    """Draw the attention matrix of a seq2seq-rnn: what it looked at for each token that it wrote."""
    from microtune.run.attention import attention_of, draw
    from microtune.run.load import load

    found = attention_of(load(source), text, answer)
    if as_json:
        print(json.dumps({"sources": found.sources, "written": found.written, "weights": found.weights.tolist()}))
        return
    draw(found, picture)
    out.print(plain("".join(found.written[:-1])), soft_wrap=True)
    out.print(said("saved: {path}", path=plain(picture)), soft_wrap=True)
