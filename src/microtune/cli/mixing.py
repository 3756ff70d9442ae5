"""`microtune predict BASE --adapter NAME=RUN ... --input FILE`: rows that each name their adapter, on one base."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from microtune.cli.console import show_note
from microtune.errors import InputError


def parsed(adapters: Sequence[str]) -> dict[str, str]:
    """`cards=runs/cards` ... as a mapping."""
    found: dict[str, str] = {}
    for one in adapters:
        name, sign, place = one.partition("=")
        if not sign or not name or not place:
            raise InputError(f'--adapter: "{one}" is not NAME=RUN; write for instance cards=runs/cards.')
        if name in found:
            raise InputError(f'--adapter: "{name}" stands twice; give each adapter a name of its own.')
        found[name] = place
    return found


def mixed(
    base: str,
    adapters: Sequence[str],
    file: str | None,
    field: str,
    decoding: dict[str, Any],
    min_confidence: float,
    max_new_tokens: int,
) -> Iterator[tuple[Any, Any]]:
    """The rows of a file and their predictions."""
    if file is None:
        raise InputError(f"--adapter answers rows that each name theirs in the field {field}; give --input.")
    if decoding:
        raise InputError("--decoding: with --adapter each task writes as its own run says; leave it out.")
    named = parsed(adapters)
    from microtune.data.sources import read_rows
    from microtune.run.adapters import load_adapters
    from microtune.run.mixed_rows import predict_rows

    rows = read_rows(file)
    many = load_adapters(base, named)
    for note in many.notes:
        show_note(note)
    answers = predict_rows(many, rows, field, min_confidence=min_confidence, max_new_tokens=max_new_tokens)
    return zip(rows, answers, strict=True)
