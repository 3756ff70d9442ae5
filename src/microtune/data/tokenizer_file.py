"""`tokenizer.json`: read with the `tokenizers` library, after a look at what its Rust code takes on trust.

Hostile values there end in a panic, which is no `Exception` for Python, or grow a text without bound. What is known to
do so is refused here; `sound` turns every other failure of the library into one sentence.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tokenizers

from microtune.data.objects import first_line, read_object
from microtune.errors import InputError

MOST_BYTES = 256_000_000
PARTS = 64  # normalizers, pre-tokenizers, decoders and post-processors together
GROWTH = 64  # characters that a normalizer may make of one


def read_backend(path: Path) -> tokenizers.Tokenizer:
    """The tokenizer of a file, which has answered once; whatever does not work is an InputError."""
    values = read_object(path, most=MOST_BYTES) | {"truncation": None, "padding": None}
    _check(values, path)
    with sound(f"{path}: not a usable tokenizer file"):
        backend = tokenizers.Tokenizer.from_file(str(path))
        backend.no_padding()
        backend.no_truncation()
        backend.decode(backend.encode("a b 1").ids)
        backend.encode("a", "b")
    return backend


def largest_id(backend: tokenizers.Tokenizer) -> int:
    """The largest id that it can give: of its vocabulary, or of what it puts around a text."""
    known = max(backend.get_vocab(with_added_tokens=True).values(), default=-1)
    around = (backend.encode("").ids, backend.encode("a").ids, backend.encode("a", "b").ids)
    return max(known, *(max(ids, default=-1) for ids in around))


@contextmanager
def sound(what: str) -> Iterator[None]:
    """A failure of the library inside, a Rust panic included, as an InputError that begins with `what`."""
    try:
        yield
    except Exception as error:  # the library raises bare Exception
        raise InputError(f"{what} ({first_line(error)}).") from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise InputError(f"{what} ({first_line(error)}).") from error


def _check(values: dict[str, Any], path: Path) -> None:
    parts = [
        part for key in ("normalizer", "pre_tokenizer", "post_processor", "decoder") for part in _parts(values.get(key))
    ]
    if len(parts) > PARTS:
        raise InputError(f"{path}: more than {PARTS} steps of normalising and splitting; no tokenizer needs so many.")
    growth = 1
    for part in parts:
        kind = part.get("type")
        if kind == "Replace":
            pattern, content = part.get("pattern"), part.get("content")
            old = pattern.get("String") if isinstance(pattern, dict) else None
            size = len(content) if isinstance(content, str) else 1
            growth *= max(1, -(-size // len(old)) if isinstance(old, str) and old else size + 1)
        elif kind == "TemplateProcessing":
            _check_template(part, path)
        elif kind == "Strip" and not all(part.get(key, 0) in range(100) for key in ("start", "stop")):
            raise InputError(f"{path}: a decoder that strips more than 100 characters cannot be used.")
    if growth > GROWTH:
        raise InputError(f"{path}: its normalizers make more than {GROWTH} characters of one.")


def _check_template(part: dict[str, Any], path: Path) -> None:
    """Every special token that a template names must be given in it."""
    known = part.get("special_tokens")
    for side in ("single", "pair"):
        pieces = part.get(side)
        for piece in pieces if isinstance(pieces, list) else ():
            token = piece.get("SpecialToken") if isinstance(piece, dict) else None
            name = token.get("id") if isinstance(token, dict) else None
            if name is not None and not (isinstance(known, dict) and name in known):
                raise InputError(f'{path}: the post-processor names the token "{name}" and does not say its id.')


def _parts(value: Any, depth: int = 0) -> Iterator[dict[str, Any]]:
    """The steps inside sequences."""
    if depth > PARTS or not isinstance(value, dict):
        return
    yield value
    for key in ("normalizers", "pretokenizers", "processors", "decoders"):
        inner = value.get(key)
        for part in inner if isinstance(inner, list) else ():
            yield from _parts(part, depth + 1)
