"""A SentencePiece model file (`spiece.model`, `tokenizer.model`, `source.spm`): its pieces, scores and rules of text.

SentencePiece (Kudo and Richardson, 2018) stores them as a protobuf message. Of that format four wire types and some
twenty field numbers are needed, so they are read here, every length checked against what is left of the file.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from microtune.data.objects import first_line
from microtune.data.tokenizer_file import check_charsmap
from microtune.errors import InputError

MOST_BYTES = 64_000_000  # Gemma's, the largest published one, has 4.7 million
MOST_PIECES = 2_000_000
LONGEST_PIECE = 1_000  # characters
MOST_CHARACTERS = 16_000_000  # of all pieces together
MOST_FIELDS = 4 * MOST_PIECES

Kind = Literal["normal", "unknown", "control", "user", "unused", "byte"]
_KINDS: dict[int, Kind] = {1: "normal", 2: "unknown", 3: "control", 4: "user", 5: "unused", 6: "byte"}
_FORMS: dict[int, Literal["unigram", "bpe"]] = {1: "unigram", 2: "bpe"}


class Piece(NamedTuple):
    """One entry of the vocabulary; its place in the list is its id."""

    text: str
    score: float
    kind: Kind = "normal"


@dataclass(frozen=True)
class PieceFile:
    """What a SentencePiece model says.

    charsmap: the compiled table of its text normalisation, or nothing. prefix: a space is put before a text. collapse:
    runs of spaces become one, and those around the text none. special: unk, bos, eos and pad -> piece.
    """

    pieces: tuple[Piece, ...]
    form: Literal["unigram", "bpe"]
    charsmap: bytes
    prefix: bool
    collapse: bool
    byte_fallback: bool
    special: dict[str, str]


class _DamagedError(ValueError):
    """The bytes are no message of this form."""


def read_pieces(path: Path) -> PieceFile:
    """The model in a file; whatever is wrong with it is one sentence with its path."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise InputError(f"{path}: {path.stat().st_size} bytes are too many for a SentencePiece model.")
        result = _model(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: not a readable SentencePiece model ({first_line(error)}); copy or download the file again."
        ) from error
    check_charsmap(result.charsmap, path)
    return result


def _model(data: bytes) -> PieceFile:
    pieces: list[Piece] = []
    trainer: dict[int, int | bytes] = {}
    normalizer: dict[int, int | bytes] = {}
    characters = 0
    for number, value in _fields(data):
        if number == 1:
            pieces.append(_piece(_bytes(value)))
            characters += len(pieces[-1].text)
            if len(pieces) > MOST_PIECES or characters > MOST_CHARACTERS:
                raise _DamagedError("more pieces than any vocabulary has")
        elif number == 2:
            trainer |= dict(_fields(_bytes(value)))
        elif number == 3:
            normalizer |= dict(_fields(_bytes(value)))
    form = _FORMS.get(_number(trainer.get(3, 1)))
    if form is None:
        raise _DamagedError("only the kinds unigram and bpe are known")
    if trainer.get(24, 0):
        raise _DamagedError("spaces as endings of words are not supported")
    if not pieces:
        raise _DamagedError("there is no piece in it")
    if len({piece.text for piece in pieces}) < len(pieces):
        raise _DamagedError("a piece stands in it twice")
    return PieceFile(
        pieces=tuple(pieces),
        form=form,
        charsmap=_bytes(normalizer.get(2, b"")),
        prefix=bool(normalizer.get(3, 1)),
        collapse=bool(normalizer.get(4, 1)),
        byte_fallback=bool(trainer.get(35, 0)),
        special=_special(trainer, pieces),
    )


def _special(trainer: dict[int, int | bytes], pieces: list[Piece]) -> dict[str, str]:
    """unk, bos, eos and pad by their ids; an id below zero says that there is none."""
    found = {}
    for name, number, default in (("unk", 40, 0), ("bos", 41, 1), ("eos", 42, 2), ("pad", 43, -1)):
        place = _number(trainer.get(number, default)) & 0xFFFFFFFF
        if place < len(pieces) and pieces[place].kind in ("unknown", "control"):
            found[name] = pieces[place].text
    return found


def _piece(data: bytes) -> Piece:
    text, score, kind = "", 0.0, 1
    for number, value in _fields(data):
        if number == 1:
            text = _bytes(value).decode("utf-8")
        elif number == 2:
            score = struct.unpack("<f", _bytes(value, 4))[0]
        elif number == 3:
            kind = _number(value)
    if not text or len(text) > LONGEST_PIECE:
        raise _DamagedError(f"a piece of {len(text)} characters")
    if not math.isfinite(score) or kind not in _KINDS:
        raise _DamagedError("a piece without a usable score and kind")
    return Piece(text, float(str(np.float32(score))), _KINDS[kind])  # in few digits: JSON gives it back to the bit


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(field number, value) of a message: numbers as int, everything else as bytes."""
    place = count = 0
    while place < len(data):
        count += 1
        if count > MOST_FIELDS:
            raise _DamagedError("too many fields")
        key, place = _varint(data, place)
        wire = key & 7
        if wire == 0:
            number, place = _varint(data, place)
            yield key >> 3, number
            continue
        if wire == 2:
            size, place = _varint(data, place)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise _DamagedError(f"wire type {wire}")
        if size > len(data) - place:
            raise _DamagedError("it ends too early")
        yield key >> 3, data[place : place + size]
        place += size


def _varint(data: bytes, place: int) -> tuple[int, int]:
    result = 0
    for shift in range(0, 70, 7):
        if place >= len(data):
            raise _DamagedError("it ends too early")
        byte = data[place]
        place += 1
        result |= (byte & 127) << shift
        if byte < 128:
            return result, place
    raise _DamagedError("a number of more than ten bytes")


def _number(value: int | bytes) -> int:
    if not isinstance(value, int):
        raise _DamagedError("bytes where a number should stand")
    return value


def _bytes(value: int | bytes, size: int | None = None) -> bytes:
    if not isinstance(value, bytes) or (size is not None and len(value) != size):
        raise _DamagedError("a field of another type")
    return value
