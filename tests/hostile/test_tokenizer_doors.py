"""Hostile tokenizers: tokenizer.json, which a library in Rust reads, and tokenizer_config.json."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from door_checks import Judge, attack, hostile_json
from test_model_doors import AMOUNTS

import microtune as mt
from microtune.data.text import Tokenizer
from tiny_model import make_model

MESSAGES = [{"role": "user", "content": "hello there"}, {"role": "assistant", "content": "好的 🙂"}]
TEXTS = ["my card was declined", "", " ", "退款 🙂 é", "a" * 300, "<|end|>\x00\n"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_model(tmp_path / "model")


# ------------------------------------------------------------------------------------------------- tokenizers


def speak(folder: Path) -> None:
    """Load the tokenizer with its model and use it in every way."""
    model = mt.load(folder)
    tokenizer = model.text
    for text in TEXTS:
        ids = tokenizer.encode(text)
        assert all(0 <= i < model.spec.vocab_size for i in ids)
        tokenizer.decode(ids)
        tokenizer.encode_cut(text, 8)
        tokenizer.encode_pair(text, "b")
    tokenizer.encode_many(TEXTS)
    tokenizer.chat(MESSAGES, prompt=True)
    assert isinstance(tokenizer.stop_ids, list)


def more_parts(values: dict[str, Any]) -> dict[str, Any]:
    """A tokenizer with one of each kind of step, so that there is something to mutate."""
    replace = {"type": "Replace", "pattern": {"String": "``"}, "content": '"'}
    sequence = {"Sequence": {"id": "A", "type_id": 0}}
    special = {"SpecialToken": {"id": "<|bos|>", "type_id": 0}}
    template = {
        "type": "TemplateProcessing",
        "single": [special, sequence],
        "pair": [special, sequence, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<|bos|>": {"id": "<|bos|>", "ids": [0], "tokens": ["<|bos|>"]}},
    }
    strip = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
    return values | {
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}, replace, {"type": "Lowercase"}]},
        "post_processor": template,
        "decoder": {"type": "Sequence", "decoders": [values["decoder"], {"type": "Fuse"}, strip]},
        "truncation": None,
        "padding": None,
    }


@AMOUNTS
def test_tokenizer(folder: Path, examples: int) -> None:
    file = folder / "tokenizer.json"
    valid = more_parts(json.loads(file.read_text(encoding="utf-8")))
    file.write_text(json.dumps(valid))
    speak(folder)

    def action(data: bytes) -> None:
        file.write_bytes(data)
        speak(folder)

    attack(Judge(folder.parent, folder), hostile_json(valid, raw_share=8), action, examples)


TEMPLATE = more_parts({"decoder": {}})["post_processor"]
NAMED_TOKENIZERS: dict[str, tuple[dict[str, Any], str]] = {
    "an id beyond the embedding": (
        {
            "post_processor": TEMPLATE
            | {"special_tokens": {"<|bos|>": {"id": "<|bos|>", "ids": [999], "tokens": ["x"]}}}
        },
        "ids up to 999, but the model's embedding ends at 339",
    ),
    "a token without an id": ({"post_processor": TEMPLATE | {"special_tokens": {}}}, 'names the token "<|bos|>"'),
    "a token that is a list": (
        {"post_processor": TEMPLATE | {"single": [{"SpecialToken": {"id": ["<|bos|>"], "type_id": 0}}]}},
        "not a usable tokenizer file",
    ),
    "doubling normalizers": (
        {
            "normalizer": {
                "type": "Sequence",
                "normalizers": [{"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}] * 40,
            }
        },
        "more than 64 characters of one",
    ),
    "a decoder beyond the text": (
        {"decoder": {"type": "Strip", "content": "", "start": 9999, "stop": 0}},
        "strips more",
    ),
    "sequences in sequences": (
        {"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}] * 1000}},
        "more than 64 steps",
    ),
    "added id": (
        {
            "added_tokens": [
                {"id": 5000, "content": "<x>", "special": True, "normalized": False}
                | dict.fromkeys(["single_word", "lstrip", "rstrip"], False)
            ]
        },
        "ids up to",
    ),
}


@pytest.mark.parametrize("name", NAMED_TOKENIZERS)
def test_named_tokenizers(folder: Path, name: str) -> None:
    change, message = NAMED_TOKENIZERS[name]
    file = folder / "tokenizer.json"
    file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | change))
    with pytest.raises(mt.InputError, match=message.replace("|", r"\|")):
        mt.load(folder)


def test_a_regular_expression_that_runs_for_hours(folder: Path) -> None:
    """The engine gives up by itself; its panic is a sentence here."""
    file = folder / "tokenizer.json"
    split = {"type": "Split", "pattern": {"Regex": "(a+)+b"}, "behavior": "Isolated", "invert": False}
    file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | {"pre_tokenizer": split}))
    tokenizer = Tokenizer.load(folder)
    assert tokenizer is not None
    with pytest.raises(mt.InputError, match="The tokenizer cannot read a text"):
        tokenizer.encode("a" * 60)


@AMOUNTS
def test_tokenizer_config(folder: Path, examples: int) -> None:
    file = folder / "tokenizer_config.json"
    valid = json.loads(file.read_text(encoding="utf-8")) | {"added_tokens_decoder": {"0": {"content": "<x>"}}}
    shutil.copyfile(file, folder / "special_tokens_map.json")

    def action(data: bytes) -> None:
        file.write_bytes(data)
        speak(folder)

    attack(Judge(folder.parent, folder), hostile_json(valid), action, examples)
