"""Hostile vocabularies: SentencePiece models byte by byte, `vocab.json`, `merges.txt`, `vocab.txt`, added tokens."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
from door_checks import Judge, attack, hostile_json
from hypothesis import strategies as st
from test_data_doors import mutated, one_line
from test_model_doors import AMOUNTS

from microtune.cli.app import main
from microtune.data.text import Tokenizer
from microtune.errors import InputError
from tiny_model import make_model

TEXTS = ["my card was declined", "", " ", "退款 🙂 é", "a" * 300, "<s>\x00\n</s> ab", "\ufdd1ab"]


def varint(number: int) -> bytes:
    number &= (1 << 64) - 1
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def field(number: int, value: int | float | str | bytes) -> bytes:
    """One field of a protobuf message."""
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def piece(text: str, score: float = 0.0, kind: int | None = None) -> bytes:
    return field(1, field(1, text) + field(2, score) + (b"" if kind is None else field(3, kind)))


SPECIAL = piece("<unk>", kind=2) + piece("<s>", kind=3) + piece("</s>", kind=3)
LETTERS = ["▁", "a", "b", "e", "n", "d", "▁a", "nd", "▁and", "ab", "be"]
TABLE = struct.pack("<I", 8) + bytes(8) + b"x\0fi\0"


def model(form: int = 1, extra: bytes = b"", normalizer: bytes = b"", trainer: bytes = b"") -> bytes:
    pieces = SPECIAL + b"".join(piece(text, -1.0 - i) for i, text in enumerate(LETTERS))
    return pieces + extra + field(2, field(3, form) + trainer) + field(3, normalizer)


def speak(folder: Path) -> None:
    """Load the tokenizer and use it in every way."""
    tokenizer = Tokenizer.load(folder)
    assert tokenizer is not None
    for side in (tokenizer, tokenizer.target):
        for text in TEXTS:
            ids = side.encode(text)
            assert all(0 <= i < len(side) for i in ids)
            side.decode(ids)
            side.encode(text, parse=True, behind=True)
            side.encode_cut(text, 8)
            side.encode_pair(text, "b")
    tokenizer.save(folder / "saved")
    assert Tokenizer.load(folder / "saved") is not None


def put(folder: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        (folder / name).write_bytes(data)


CLASSES = ["LlamaTokenizer", "T5Tokenizer", "XLMRobertaTokenizer", "MBartTokenizer", ""]


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("form", [1, 2])
def test_the_smallest_models_work(kind: str, form: int, tmp_path: Path) -> None:
    """Without any package but our own reader."""
    config = json.dumps({"tokenizer_class": kind}).encode()
    put(tmp_path, {"tokenizer.model": model(form), "tokenizer_config.json": config})
    speak(tmp_path)
    tokenizer = Tokenizer.load(tmp_path)
    assert tokenizer is not None
    assert tokenizer.decode(tokenizer.encode("and be")) == "and be"
    shift = {"XLMRobertaTokenizer": 1, "MBartTokenizer": 1}.get(kind, 0)
    assert tokenizer.encode("and", special=False) == [3 + LETTERS.index("▁and") + shift]


WRONG: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "there is no piece in it"),
    "text": (b"IQ== 0\nIg== 1\n", "not a readable SentencePiece model"),
    "cut short": (model()[:-3], "it ends too early"),
    "a huge length": (varint(1 << 3 | 2) + varint(1 << 62), "it ends too early"),
    "an endless number": (b"\xff" * 40, "a number of more than ten bytes"),
    "a group": (model() + varint(9 << 3 | 3), "wire type 3"),
    "a number for a piece": (field(1, 7), "a field of another type"),
    "a text for a number": (model(trainer=field(35, 1) + field(3, "x")), "bytes where a number should stand"),
    "a piece twice": (model(extra=piece("a")), "a piece stands in it twice"),
    "a piece without text": (model(extra=piece("")), "a piece of 0 characters"),
    "a piece that is too long": (model(extra=piece("a" * 1001)), "a piece of 1001 characters"),
    "a piece that is no UTF-8": (field(1, field(1, b"\xff")), "invalid start byte"),
    "no score": (model(extra=piece("x", float("nan"))), "without a usable score"),
    "an endless score": (model(extra=piece("x", float("inf"))), "without a usable score"),
    "an unknown kind of piece": (model(extra=piece("x", kind=9)), "without a usable score and kind"),
    "words": (model(3), "only the kinds unigram and bpe"),
    "spaces behind words": (model(trainer=field(24, 1)), "spaces as endings of words"),
    "no unknown piece": (piece("a") + field(2, field(3, 1)), "no piece for the unknown"),
    "a short table": (model(normalizer=field(2, b"abc")), "its table of characters is damaged"),
    "a table that lies": (
        model(normalizer=field(2, b"\xff\xff\xff\xff" + bytes(99))),
        "table of characters is damaged",
    ),
    "a table that multiplies": (
        model(normalizer=field(2, struct.pack("<I", 8) + bytes(8) + b"x" * 5000)),
        "more than 256 bytes of one character",
    ),
    "a table that is no UTF-8": (
        model(normalizer=field(2, struct.pack("<I", 8) + bytes(8) + b"\xff\0")),
        "is not UTF-8",
    ),
}


@pytest.mark.parametrize("name", list(WRONG))
def test_models_that_are_refused(name: str, tmp_path: Path) -> None:
    data, message = WRONG[name]
    put(tmp_path, {"tokenizer.model": data, "tokenizer_config.json": b'{"tokenizer_class": "LlamaTokenizer"}'})
    with pytest.raises(InputError, match=message) as caught:
        Tokenizer.load(tmp_path)
    assert str(tmp_path / "tokenizer.model") in str(caught.value)
    one_line(caught.value)


CONFIGS: dict[str, tuple[dict[str, object], str]] = {
    "T5 counts below zero": ({"tokenizer_class": "T5Tokenizer", "extra_ids": -1}, '"extra_ids" is -1, but must be'),
    "T5 counts far": ({"tokenizer_class": "T5Tokenizer", "extra_ids": 10**9}, "must be a whole number from 0 to 10000"),
    "T5 counts in words": ({"tokenizer_class": "T5Tokenizer", "extra_ids": "x"}, '"extra_ids" is x'),
    "a language of no model": ({"tokenizer_class": "MBartTokenizer", "src_lang": "xx"}, '"src_lang" is "xx"'),
    "an eos of nothing": ({"tokenizer_class": "T5Tokenizer", "eos_token": "<no>"}, 'there is no piece "<no>"'),
    "another class": ({"tokenizer_class": "AlbertTokenizerFast"}, 'the class "AlbertTokenizer" of tokenizers is not'),
    "an id far away": ({"added_tokens_decoder": {"99": "<x>"}}, '"<x>" is to have the id 99, but it gets 14'),
    "an id in words": ({"added_tokens_decoder": {"x": "<x>"}}, 'the added token "<x>" needs a text and a whole number'),
    "an added nothing": ({"added_tokens_decoder": {"14": {}}}, "needs a text and a whole number as its id"),
}


@pytest.mark.parametrize("name", list(CONFIGS))
def test_configurations_that_are_refused(name: str, tmp_path: Path) -> None:
    config, message = CONFIGS[name]
    put(tmp_path, {"tokenizer.model": model(), "tokenizer_config.json": json.dumps(config).encode()})
    with pytest.raises(InputError, match=message) as caught:
        Tokenizer.load(tmp_path)
    assert str(tmp_path) in str(caught.value)
    one_line(caught.value)


def test_the_command_line_says_so_and_exits_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_model(tmp_path / "m")
    (folder / "tokenizer.json").unlink()
    put(folder, {"tokenizer.model": model()[:-3]})
    with pytest.raises(SystemExit) as stopped:
        main(["predict", str(folder), "a text"])
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert "tokenizer.model: not a readable SentencePiece model (it ends too early)" in said
    assert "Traceback" not in said


@AMOUNTS
@pytest.mark.parametrize("kind", ["LlamaTokenizer", "XLMRobertaTokenizer"])
def test_models_byte_by_byte(kind: str, tmp_path: Path, examples: int) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    put(folder, {"tokenizer_config.json": json.dumps({"tokenizer_class": kind}).encode()})
    form = 2 if kind == "LlamaTokenizer" else 1

    def action(data: bytes) -> None:
        put(folder, {"tokenizer.model": data})
        speak(folder)

    attack(Judge(tmp_path, folder), mutated(model(form, normalizer=field(2, TABLE))), action, examples)


PIECES = {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "a": 3, "b": 4, "ab": 5, "Ġ": 6, "Ġa": 7, "<s>": 8, "</s>": 9}
MERGES = "#version: 0.2\na b\nĠ a\n"


@AMOUNTS
@pytest.mark.parametrize("kind", ["GPT2Tokenizer", "RobertaTokenizer"])
def test_vocabularies_in_json(kind: str, tmp_path: Path, examples: int) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    put(
        folder, {"tokenizer_config.json": json.dumps({"tokenizer_class": kind}).encode(), "merges.txt": MERGES.encode()}
    )

    def action(data: bytes) -> None:
        put(folder, {"vocab.json": data})
        speak(folder)

    attack(Judge(tmp_path, folder), hostile_json(PIECES), action, examples)


@AMOUNTS
@pytest.mark.parametrize("name", ["merges.txt", "vocab.txt"])
def test_vocabularies_in_lines(name: str, tmp_path: Path, examples: int) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    valid = MERGES.encode() if name == "merges.txt" else "\n".join(PIECES).encode()
    put(folder, {"vocab.json": json.dumps(PIECES).encode()} if name == "merges.txt" else {})

    def action(data: bytes) -> None:
        put(folder, {name: data})
        speak(folder)

    attack(Judge(tmp_path, folder), st.one_of(mutated(valid), st.binary(max_size=60)), action, examples)


CONFIG = {
    "tokenizer_class": "T5Tokenizer",
    "extra_ids": 3,
    "eos_token": {"content": "</s>", "lstrip": False},
    "additional_special_tokens": ["<extra_id_0>", {"content": "<x>"}],
    "added_tokens_decoder": {"17": {"content": "<y>", "special": True}, "3": {"content": "▁"}},
    "src_lang": "en_XX",
    "chat_template": [{"name": "default", "template": "x"}],
}


@AMOUNTS
def test_configurations(tmp_path: Path, examples: int) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    put(folder, {"tokenizer.model": model()})

    def action(data: bytes) -> None:
        put(folder, {"tokenizer_config.json": data})
        speak(folder)

    attack(Judge(tmp_path, folder), hostile_json(CONFIG), action, examples)
