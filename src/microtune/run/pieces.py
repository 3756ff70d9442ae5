"""From new ids to text: in pieces as the ids come, or whole; up to a stop text, of which nothing is given.

A piece is given as soon as its last character is whole and no stop text could begin in it. Each is decoded from the few
ids since the piece before the last, so that the time per token does not grow.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from microtune.data.text import Tokenizer

DAMAGED = "\ufffd"  # what stands for a character of which bytes are missing


def whole_characters(new: Iterable[int], tokenizer: Tokenizer, stops: Sequence[str] = ()) -> Iterator[str]:
    """The text of new ids in pieces; joined they are the text of all of them, up to a stop."""
    pieces = _decoded(new, tokenizer)
    return _until(pieces, stops) if stops else pieces


def _decoded(new: Iterable[int], tokenizer: Tokenizer) -> Iterator[str]:
    ids: list[int] = []  # from the piece before the last on: its text says how the next one begins
    known = 0
    for chosen in new:
        ids.append(chosen)
        shown = tokenizer.decode(ids[:known]) if known else ""
        text = tokenizer.decode(ids)
        if not text.endswith(DAMAGED) and len(text) > len(shown):
            yield text[len(shown) :]
            ids = ids[known:]
            known = len(ids)


def _until(pieces: Iterable[str], stops: Sequence[str]) -> Iterator[str]:
    held = ""
    for piece in pieces:
        held += piece
        place = first_stop(held, stops)
        if place is not None:
            held = held[:place]
            break
        kept = max(_begun(held, stop) for stop in stops)
        given, held = held[: len(held) - kept], held[len(held) - kept :]
        if given:
            yield given
    if held:
        yield held


def _begun(text: str, stop: str) -> int:
    """How many characters at the end of `text` could be the beginning of `stop`."""
    return next((size for size in range(min(len(text), len(stop) - 1), 0, -1) if stop.startswith(text[-size:])), 0)


def first_stop(text: str, stops: Sequence[str]) -> int | None:
    """Where the first of the stops begins, or None."""
    return min((place for stop in stops if (place := text.find(stop)) >= 0), default=None)


def ended(text: str, stops: Sequence[str]) -> str:
    """The text before the first stop."""
    return text[: first_stop(text, stops)]
