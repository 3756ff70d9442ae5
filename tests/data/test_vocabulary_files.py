"""`vocab.txt` and `vocab.json` with `merges.txt`: the ids of transformers, on 2,000 lines of many kinds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from tokenizer_lines import lines, training_text
from tokenizers import decoders, models, pre_tokenizers, trainers

from microtune.data.text import Tokenizer
from microtune.errors import InputError

transformers = pytest.importorskip("transformers")

LINES = lines()


def load(folder: Path) -> Tokenizer:
    found = Tokenizer.load(folder)
    assert found is not None
    return found


def word_piece_folder(folder: Path, config: dict[str, Any]) -> Path:
    backend = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=900, special_tokens=special, show_progress=False)
    text = training_text()
    backend.train_from_iterator(text + [line.lower() for line in text], trainer)
    folder.mkdir()
    vocabulary = backend.get_vocab()
    (folder / "vocab.txt").write_text(
        "".join(f"{t}\n" for t in sorted(vocabulary, key=vocabulary.__getitem__)), "utf-8"
    )
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


def byte_pair_folder(folder: Path, special: list[str], config: dict[str, Any]) -> Path:
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=900, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator(training_text(), trainer)
    folder.mkdir()
    backend.model.save(str(folder))
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


BERT_OPTIONS = [
    {},
    {"do_lower_case": False},
    {"do_lower_case": False, "strip_accents": True},
    {"do_lower_case": True, "strip_accents": False},
    {"tokenize_chinese_chars": False},
]


@pytest.mark.parametrize("options", BERT_OPTIONS, ids=str)
def test_word_pieces(options: dict[str, Any], tmp_path: Path) -> None:
    folder = word_piece_folder(tmp_path / "m", {"tokenizer_class": "BertTokenizer", **options})
    ours, theirs = load(folder), transformers.BertTokenizer.from_pretrained(folder)
    for line in LINES:
        assert ours.encode(line) == theirs(line)["input_ids"], line
    pair = theirs("one text", "another one")
    assert ours.encode_pair("one text", "another one") == (pair["input_ids"], pair["token_type_ids"])
    assert {name: ours.id(name) for name in ("unk", "cls", "sep", "pad", "mask")} == {
        "unk": 1,
        "cls": 2,
        "sep": 3,
        "pad": 0,
        "mask": 4,
    }
    assert ours.decode(ours.encode("people work here.")) == "people work here."


BPE_KINDS: dict[str, tuple[list[str], dict[str, Any], Callable[..., Any]]] = {
    "gpt2": (["<|endoftext|>"], {}, transformers.GPT2Tokenizer),
    "gpt2, space": (["<|endoftext|>"], {"add_prefix_space": True}, transformers.GPT2Tokenizer),
    "gpt2, bos": (["<|endoftext|>"], {"add_bos_token": True}, transformers.GPT2Tokenizer),
    "roberta": (["<s>", "<pad>", "</s>", "<unk>", "<mask>"], {}, transformers.RobertaTokenizer),
    "roberta, space": (
        ["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
        {"add_prefix_space": True},
        transformers.RobertaTokenizer,
    ),
    "bart": (["<s>", "<pad>", "</s>", "<unk>", "<mask>"], {}, transformers.BartTokenizer),
    "qwen2": (["<|endoftext|>"], {}, transformers.Qwen2Tokenizer),
}
CLASSES = {"gpt2": "GPT2Tokenizer", "roberta": "RobertaTokenizer", "bart": "BartTokenizer", "qwen2": "Qwen2Tokenizer"}


@pytest.mark.parametrize("kind", list(BPE_KINDS))
def test_byte_pairs(kind: str, tmp_path: Path) -> None:
    special, options, reference = BPE_KINDS[kind]
    name = CLASSES[kind.partition(",")[0]]
    folder = byte_pair_folder(tmp_path / "m", special, {"tokenizer_class": name, **options})
    ours, theirs = load(folder), reference.from_pretrained(folder)
    for line in LINES:
        assert ours.encode(line) == theirs(line)["input_ids"], line
        if kind != "qwen2":  # which composes characters
            assert ours.decode(ours.encode(line)).removeprefix(" ") == line.removeprefix(" ")
    assert ours.encode_pair("one text", "another")[0] == theirs("one text", "another")["input_ids"]
    assert len(ours) == len(theirs)


def test_the_family_says_the_class_where_no_file_does(tmp_path: Path) -> None:
    folder = byte_pair_folder(tmp_path / "m", ["<s>", "<pad>", "</s>", "<unk>", "<mask>"], {})
    assert load(folder).encode("a")[0] != 0
    (folder / "config.json").write_text(json.dumps({"model_type": "roberta"}))
    assert load(folder).encode("a")[0] == 0
    (folder / "tokenizer_config.json").unlink()
    assert load(folder).encode("a")[-1] == 2


def test_added_tokens_keep_their_ids(tmp_path: Path) -> None:
    folder = byte_pair_folder(tmp_path / "m", ["<|endoftext|>"], {})
    size = len(load(folder))
    table: dict[str, Any] = {str(size + n): {"content": t, "normalized": False} for n, t in enumerate(("<a>", "<b>"))}
    table[str(size + 2)] = {"content": "<|im_end|>", "special": True, "rstrip": True}
    config = {"added_tokens_decoder": table, "eos_token": "<|im_end|>", "additional_special_tokens": ["<last>"]}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    ours, theirs = load(folder), transformers.GPT2Tokenizer.from_pretrained(folder)
    assert len(ours) == size + 4
    assert [ours.backend.token_to_id(t) for t in ("<a>", "<b>", "<|im_end|>", "<last>")] == [*range(size, size + 4)]
    assert ours.id("eos") == theirs.eos_token_id == size + 2
    for text in ("x<a>y <b>", "a<|im_end|> \n b<last>"):
        assert ours.encode(text, parse=True) == theirs(text)["input_ids"]
    assert ours.encode("<|im_end|>")[0] < size
    (folder / "tokenizer_config.json").write_text("{}")
    (folder / "added_tokens.json").write_text(json.dumps({"<b>": size + 1, "<a>": size}))
    theirs = transformers.GPT2Tokenizer.from_pretrained(folder)
    assert load(folder).encode("x<a>y <b>") == theirs("x<a>y <b>")["input_ids"]
    (folder / "added_tokens.json").write_text(json.dumps({"<b>": size + 7}))
    with pytest.raises(InputError, match=f'"<b>" is to have the id {size + 7}, but it gets {size}'):
        Tokenizer.load(folder)


def test_what_is_saved_is_what_was_read(tmp_path: Path) -> None:
    folder = word_piece_folder(tmp_path / "m", {})
    ours = load(folder)
    ours.save(tmp_path / "saved")
    again = load(tmp_path / "saved")
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "saved")
    for line in LINES[:200]:
        assert again.encode(line) == ours.encode(line) == theirs(line)["input_ids"]
    assert again.digest == ours.digest


GPT2 = {"tokenizer_class": "GPT2Tokenizer"}
REFUSED: dict[str, tuple[dict[str, str | bytes], str]] = {
    "no merges": ({"vocab.json": '{"a": 0}'}, "there is no merges.txt beside it"),
    "a merge of one": ({"vocab.json": '{"a": 0}', "merges.txt": "#version\na\n"}, "merges.txt, line 2: a merge is two"),
    "a merge of three": ({"vocab.json": '{"a": 0}', "merges.txt": "a b c"}, "merges.txt, line 1: a merge is two"),
    "a merge of strangers": ({"vocab.json": '{"a": 0}', "merges.txt": "a b"}, "out of vocabulary"),
    "an id that is text": ({"vocab.json": '{"a": "0"}', "merges.txt": ""}, 'the id of "a" is 0, but must be'),
    "an id below zero": ({"vocab.json": '{"a": -1}', "merges.txt": ""}, 'the id of "a" is -1'),
    "a huge id": ({"vocab.json": '{"a": 9000000}', "merges.txt": ""}, "ids up to 9000000 for 1 tokens"),
    "one id twice": ({"vocab.json": '{"a": 1, "b": 1}', "merges.txt": ""}, "two tokens have one id"),
    "no token": ({"vocab.json": "{}", "merges.txt": ""}, "there is no token in it"),
    "a list": ({"vocab.json": "[]", "merges.txt": ""}, "must hold a JSON object"),
    "bytes": ({"vocab.txt": b"\xff\xfe"}, "not readable as UTF-8 text"),
    "no [CLS]": ({"vocab.txt": "[UNK]\na\n"}, r'no "\[CLS\]" in this vocabulary'),
    "nothing": ({"vocab.txt": ""}, r'no "\[UNK\]"'),
    "another class": (
        {"vocab.txt": "a", "tokenizer_config.json": '{"tokenizer_class": "BertJapaneseTokenizer"}'},
        'the class "BertJapaneseTokenizer" of tokenizers is not known',
    ),
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_files_that_are_refused(name: str, tmp_path: Path) -> None:
    files, message = REFUSED[name]
    for file, content in files.items():
        (tmp_path / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=message) as caught:
        Tokenizer.load(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert caught.value.exit_code == 2
