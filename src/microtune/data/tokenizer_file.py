"""`tokenizer.json`: read with the `tokenizers` library, after a look at what its Rust code takes on trust.

Hostile values there end in a panic, which is no `Exception` for Python, or grow a text without bound. What is known to
do so is refused here; `sound` turns every other failure of the library into one sentence.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tokenizers

from microtune.data.objects import first_line, read_object
from microtune.data.special_tokens import with_text_as_data
from microtune.errors import InputError, MicrotuneError

MOST_BYTES = 256_000_000
PARTS = 64  # normalizers, pre-tokenizers, decoders and post-processors together
GROWTH = 64  # characters that a normalizer may make of one
LONGEST_FORM = 256  # bytes that a table of characters may make of one; NFKC has one of 33


def read_backend(path: Path) -> tokenizers.Tokenizer:
    """The tokenizer of a file, which has answered once; whatever does not work is an InputError."""
    values = read_object(path, most=MOST_BYTES) | {"truncation": None, "padding": None}
    _check(values, path)
    with sound(f"{path}: not a usable tokenizer file"):
        backend = tokenizers.Tokenizer.from_file(str(path))
        if not _parts_special(values):
            with_text_as_data(backend)
    return probed(backend, path)


def probed(backend: tokenizers.Tokenizer, path: Path) -> tokenizers.Tokenizer:
    """The same tokenizer, after it has answered once."""
    with sound(f"{path}: not a usable tokenizer file"):
        backend.no_padding()
        backend.no_truncation()
        backend.decode(backend.encode("a b 1").ids)
        backend.encode("a", "b")
    return backend


def without_prefix(backend: tokenizers.Tokenizer) -> tokenizers.Tokenizer:
    """The same tokenizer, but no space is put before a text; itself where it puts none."""
    values = json.loads(backend.to_str())
    changed = False
    for part in _parts(values.get("pre_tokenizer")):
        if part.get("prepend_scheme", "never") != "never":
            part["prepend_scheme"], changed = "never", True
        if part.get("add_prefix_space"):
            part["add_prefix_space"], changed = False, True
    steps = list(_parts(values.get("normalizer")))
    if any(part.get("type") == "Prepend" for part in steps):
        kept = [part for part in steps if part.get("type") not in ("Sequence", "Prepend")]
        values["normalizer"], changed = ({"type": "Sequence", "normalizers": kept} if kept else None), True
    return tokenizers.Tokenizer.from_str(json.dumps(values)) if changed else backend


def largest_id(backend: tokenizers.Tokenizer, known: dict[int, int]) -> int:
    """The largest id that it can give: of its vocabulary, or of what it puts around a text.

    known: filled with the largest id of a vocabulary of so many tokens; a vocabulary only grows.
    """
    size = backend.get_vocab_size(with_added_tokens=True)
    if size not in known:
        known[size] = max(backend.get_vocab(with_added_tokens=True).values(), default=-1)
    around = (backend.encode("").ids, backend.encode("a").ids, backend.encode("a", "b").ids)
    return max(known[size], *(max(ids, default=-1) for ids in around))


@contextmanager
def sound(what: str) -> Iterator[None]:
    """A failure of the library inside, a Rust panic included, as an InputError that begins with `what`."""
    try:
        yield
    except MicrotuneError:
        raise
    except Exception as error:  # the library raises bare Exception
        raise InputError(f"{what} ({first_line(error)}).") from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise InputError(f"{what} ({first_line(error)}).") from error


def _parts_special(values: dict[str, Any]) -> bool:
    """Whether the file was written with the parting of `with_text_as_data` in it."""
    steps = list(_parts(values.get("pre_tokenizer")))
    pattern = steps[-1].get("pattern") if steps and steps[-1].get("type") == "Split" else None
    return isinstance(pattern, dict) and str(pattern.get("Regex")).startswith("(?<=")


def check_charsmap(data: bytes, path: Path) -> None:
    """A compiled table of characters: a trie of the size it says, then the forms, each ended by a zero byte."""
    if not data:
        return
    size = int.from_bytes(data[:4], "little")
    if len(data) < 8 or size % 4 or not 4 <= size <= len(data) - 4:
        raise InputError(f"{path}: its table of characters is damaged; copy or download the file again.")
    forms = data[4 + size :]
    if max(map(len, forms.split(b"\0"))) > LONGEST_FORM:
        raise InputError(f"{path}: its table makes more than {LONGEST_FORM} bytes of one character.")
    try:
        forms.decode("utf-8")
    except ValueError as error:
        raise InputError(f"{path}: its table of characters is not UTF-8; copy or download the file again.") from error


def _decoded(value: Any, path: Path) -> bytes:
    try:
        return base64.b64decode(value or b"", validate=True)
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: its table of characters is not base64 ({first_line(error)}).") from error


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
        elif kind == "Precompiled":
            check_charsmap(_decoded(part.get("precompiled_charsmap"), path), path)
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
            if isinstance(name, str) and not (isinstance(known, dict) and name in known):
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
