"""`microtune vectors`: neighbours of a word, and analogies."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from microtune.cli.console import out, plain
from microtune.errors import InputError


def vectors(
    source: Annotated[str, typer.Argument(help="run folder of word2vec, or a file of vectors in its text format")],
    words: Annotated[list[str], typer.Argument(help="one word: its neighbours; three, A B C: A is to B as C is to ?")],
    count: Annotated[int, typer.Option(help="answers")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout")] = False,
) -> None:
    """Neighbours of a word, or the word that completes an analogy."""
    if len(words) not in (1, 3):
        raise InputError(f"{len(words)} words; give one for its neighbours, or three for an analogy: A B C.")
    from microtune.run.vectors import load_word_vectors

    found = load_word_vectors(source)
    answers = (
        found.neighbours(words[0], count) if len(words) == 1 else found.analogy(words[0], words[1], words[2], count)
    )
    if as_json:
        print(json.dumps([{"word": word, "cosine": round(cosine, 6)} for word, cosine in answers], ensure_ascii=False))
        return
    for word, cosine in answers:
        out.print(f"{cosine:6.3f}  {plain(word)}", soft_wrap=True)
