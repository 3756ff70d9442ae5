"""SentencePiece models of every layout: the ids of transformers, and of SentencePiece itself, on 2,000 lines.

Models are trained here on generated text. Both references are asked, because transformers leaves out a model's own text
normalisation for mBART, and keeps spaces at the ends of a text for Pegasus and mBART-50, where SentencePiece, and with
it the training of the published models, does not.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tokenizer_lines import lines, training_text

from microtune.data.text import Tokenizer

sentencepiece = pytest.importorskip("sentencepiece", reason="the package sentencepiece trains these models")
pytest.importorskip("google.protobuf", reason="transformers reads SentencePiece models with protobuf")
transformers = pytest.importorskip("transformers")

LINES = lines()
UNIGRAM = {"vocab_size": 700, "model_type": "unigram"}
BPE = {
    "vocab_size": 900,
    "model_type": "bpe",
    "byte_fallback": True,
    "normalization_rule_name": "identity",
    "remove_extra_whitespaces": False,
    "split_digits": True,
    "allow_whitespace_only_pieces": True,
}
NAMES = {"pad_piece": "<pad>", "eos_piece": "<eos>", "bos_piece": "<bos>"}
OWN = ["<mask>", "<unused0>", "<start_of_turn>", "<end_of_turn>", "\n\n", "▁▁", "▁▁▁", "<table>"]
NO_BOS = {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1}
GEMMA = {**BPE, "add_dummy_prefix": False, "pad_id": 0, "eos_id": 1, "bos_id": 2, "unk_id": 3, **NAMES}
MODELS: dict[str, dict[str, Any]] = {
    "unigram": UNIGRAM,
    "no bos": {**UNIGRAM, **NO_BOS},
    "bpe": BPE,
    "gemma": {**GEMMA, "user_defined_symbols": OWN},
    "target": {**UNIGRAM, "vocab_size": 600},
}
# The `tokenizers` library replaces a whole cluster of characters by what the table says of its first one, so a joiner
# or an accent behind a character of the table is lost; transformers' fast tokenizers have that from it.
CLUSTER = re.compile("[^\U0001f000-\U0001ffff\ufe0f]\u200d|[\u0300-\u036f]\u200d")

ENDS = re.compile("^[\\s\u200b\ufeff]|[\\s\u200b\ufeff]$|^$")  # what becomes a space at an end of the text


@pytest.fixture(scope="module")
def trained() -> dict[str, bytes]:
    """Models by name."""
    made = {}
    for name, options in MODELS.items():
        out = io.BytesIO()
        text = training_text(seed=2 if name == "target" else 1)
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(text), model_writer=out, minloglevel=2, num_threads=1, **options
        )
        made[name] = out.getvalue()
    return made


@dataclass(frozen=True)
class Case:
    """A folder's model and configuration; what transformers reads it with, and how SentencePiece's ids become ours."""

    model: str
    file: str
    kind: str
    ids: Callable[[int], int]
    around: Callable[[list[int]], list[int]]
    config: dict[str, Any]
    equals: str = "both"  # or only one of the references, where they differ
    beside: int = 0  # ids that are not in the file


def same(i: int) -> int:
    return i


def fairseq(i: int) -> int:
    return i + 1 if i else 3


SP = "sentencepiece.bpe.model"
CASES = {
    "t5": Case("no bos", "spiece.model", "T5Tokenizer", same, lambda x: [*x, 1], {}, beside=100),
    "mt5": Case("no bos", "spiece.model", "T5Tokenizer", same, lambda x: [*x, 1], {"extra_ids": 0}),
    "xlm-roberta": Case("unigram", SP, "XLMRobertaTokenizer", fairseq, lambda x: [0, *x, 2], {}, beside=2),
    "mbart": Case("unigram", SP, "MBartTokenizer", fairseq, lambda x: [*x, 2, 725], {"src_lang": "zh_CN"}, beside=27),
    "mbart50": Case(
        "unigram", SP, "MBart50Tokenizer", fairseq, lambda x: [725, *x, 2], {"src_lang": "zh_CN"}, "file", 54
    ),
    "pegasus": Case(
        "no bos", "spiece.model", "PegasusTokenizer", lambda i: i + 103, lambda x: [*x, 1], {}, "file", 103
    ),
    "llama": Case("bpe", "tokenizer.model", "LlamaTokenizer", same, lambda x: [1, *x], {"add_bos_token": True}),
    "llama, legacy": Case(
        "bpe", "tokenizer.model", "LlamaTokenizer", same, lambda x: [1, *x], {"add_bos_token": True, "legacy": True}
    ),
    "llama, no space": Case(
        "bpe",
        "tokenizer.model",
        "LlamaTokenizer",
        same,
        lambda x: x,
        {"add_bos_token": False, "add_prefix_space": False},
        "transformers",
    ),
    "llama, eos": Case(
        "bpe",
        "tokenizer.model",
        "LlamaTokenizer",
        same,
        lambda x: [1, *x, 2],
        {"add_bos_token": True, "add_eos_token": True},
    ),
    "gemma": Case("gemma", "tokenizer.model", "GemmaTokenizer", same, lambda x: [2, *x], {"add_bos_token": True}),
}
each = pytest.mark.parametrize("name", list(CASES))


def write(folder: Path, files: dict[str, bytes], config: dict[str, Any]) -> Path:
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


def load(folder: Path) -> Tokenizer:
    found = Tokenizer.load(folder)
    assert found is not None
    return found


def reference(case: Case, folder: Path) -> Any:
    """What transformers makes of the folder."""
    if case.kind == "GemmaTokenizer":  # it does not read the file by itself any more
        from tokenizers import models
        from transformers.convert_slow_tokenizer import SentencePieceExtractor

        parts = SentencePieceExtractor(str(folder / case.file)).extract(models.BPE)
        own = parts["additional_special_tokens"]
        return transformers.GemmaTokenizer(
            vocab=parts["vocab"], merges=parts["merges"], additional_special_tokens=own, add_bos_token=True
        )
    found = getattr(transformers, case.kind).from_pretrained(folder)
    if case.kind == "MBartTokenizer":
        from tokenizers import normalizers

        table = load(folder).backend.normalizer[0]
        assert isinstance(table, normalizers.Precompiled)
        found.backend_tokenizer.normalizer = table
    return found


def comparable(line: str, case: Case) -> bool:
    """Lines on which transformers' conversion means to do what SentencePiece does."""
    if case.kind == "LlamaTokenizer":
        return not line.startswith(" ")  # no second space is put before one
    if case.kind == "GemmaTokenizer":
        return "  " not in line  # runs of spaces are merged from the left
    return not CLUSTER.search(line) and "\x85" not in line  # which is white space for transformers alone


@each
def test_ids_are_those_of_the_references(name: str, trained: dict[str, bytes], tmp_path: Path) -> None:
    case = CASES[name]
    config = {"tokenizer_class": case.kind, **case.config}
    folder = write(tmp_path / "m", {case.file: trained[case.model]}, config)
    ours = load(folder)
    file = sentencepiece.SentencePieceProcessor(model_proto=trained[case.model])
    assert len(ours) == len(file) + case.beside
    alike = [line for line in LINES if comparable(line, case)]
    assert len(alike) > 0.8 * len(LINES)
    for line in alike if case.equals != "transformers" else ():
        assert ours.encode(line) == case.around([case.ids(i) for i in file.encode(line)]), line
    theirs = reference(case, folder)
    assert len(ours) == len(theirs)
    trimmed = case.equals == "file"
    for line in LINES:
        if not (trimmed and ENDS.search(line)):
            assert ours.encode(line) == theirs(line)["input_ids"], line


@each
def test_texts_come_back(name: str, trained: dict[str, bytes], tmp_path: Path) -> None:
    """Decoding gives the text as the file's own rules leave it, and a saved tokenizer is the same one."""
    case = CASES[name]
    config = {"tokenizer_class": case.kind, **case.config}
    ours = load(write(tmp_path / "m", {case.file: trained[case.model]}, config))
    file = sentencepiece.SentencePieceProcessor(model_proto=trained[case.model])
    ours.save(tmp_path / "saved")
    again = load(tmp_path / "saved")
    known = [line for line in LINES if comparable(line, case) and file.unk_id() not in file.encode(line)]
    assert len(known) > 0.5 * len(LINES)
    for line in known:
        ids = ours.encode(line)
        assert again.encode(line) == ids
        assert ours.decode(ids) == again.decode(ids) == file.decode(file.encode(line)), line
    assert again.digest == ours.digest
    assert again.special == ours.special


@each
def test_special_tokens_in_a_text_are_text(name: str, trained: dict[str, bytes], tmp_path: Path) -> None:
    """A Unigram model would find them by their text."""
    case = CASES[name]
    ours = load(write(tmp_path / "m", {case.file: trained[case.model]}, {"tokenizer_class": case.kind}))
    ours.save(tmp_path / "saved")
    special = {i: t.content for i, t in ours.backend.get_added_tokens_decoder().items() if t.special}
    around = set(ours.encode("a")) | {ours.id("unk")}
    for tokenizer in (ours, load(tmp_path / "saved")):
        for number, token in special.items():
            for text in (token, f"the {token} people", f"the{token}{token}people"):
                assert not (set(tokenizer.encode(text)) & special.keys()) - around, text
                assert number in tokenizer.encode(text, parse=True)


def test_the_target_of_mbart_has_its_own_language(trained: dict[str, bytes], tmp_path: Path) -> None:
    config = {"tokenizer_class": "MBartTokenizer", "src_lang": "zh_CN", "tgt_lang": "de_DE"}
    ours = load(write(tmp_path / "m", {SP: trained["unigram"]}, config))
    theirs = transformers.MBartTokenizer.from_pretrained(tmp_path / "m")
    text = "the people work here"
    assert ours.encode(text) == theirs(text)["input_ids"]
    assert ours.target.encode(text) == theirs(text_target=text)["input_ids"] != ours.encode(text)
    ours.save(tmp_path / "saved")
    assert load(tmp_path / "saved").target.encode(text) == ours.target.encode(text)


def test_the_family_says_the_layout_where_no_file_does(trained: dict[str, bytes], tmp_path: Path) -> None:
    folder = write(tmp_path / "m", {SP: trained["unigram"]}, {})
    size = len(load(folder))
    assert load(folder).encode("the") == load(folder).encode("the", special=False)
    (folder / "config.json").write_text(json.dumps({"model_type": "xlm-roberta"}))
    assert len(load(folder)) == size + 2
    assert load(folder).encode("the")[0] == 0


def test_spare_pieces_take_the_names_that_training_gave_them(trained: dict[str, bytes], tmp_path: Path) -> None:
    place = OWN.index("<unused0>") + 4
    table = {str(place): {"content": "<tool>", "special": True}, "900": {"content": "<new>", "special": False}}
    config = {"tokenizer_class": "GemmaTokenizer", "added_tokens_decoder": table}
    ours = load(write(tmp_path / "m", {"tokenizer.model": trained["gemma"]}, config))
    assert ours.encode("a<tool>b<new>", special=False, parse=True) == [
        *ours.encode("a", special=False),
        place,
        *ours.encode("b", special=False),
        900,
    ]


@pytest.mark.parametrize("separate", [False, True])
def test_marians_pair(separate: bool, trained: dict[str, bytes], tmp_path: Path) -> None:
    """Ids come from vocab.json, which has tokens of neither file and lacks pieces of both."""
    files = [sentencepiece.SentencePieceProcessor(model_proto=trained[name]) for name in ("unigram", "target")]
    tables = [{"</s>": 0, "<unk>": 1}, {"</s>": 0, "<unk>": 1}]
    for number, file in enumerate(files):
        for i in range(len(file)):
            piece = file.id_to_piece(i)
            if i % 17 != 5 and piece != "<s>":
                table = tables[number if separate else 0]
                table.setdefault(piece, len(table))
    for table in tables:
        table |= {">>fra<<": len(table), "<pad>": len(table) + 1}
    written = {"source.spm": trained["unigram"], "target.spm": trained["target"]}
    written["vocab.json"] = json.dumps(tables[0]).encode()
    if separate:
        written["target_vocab.json"] = json.dumps(tables[1]).encode()
    config = {"tokenizer_class": "MarianTokenizer", "separate_vocabs": separate, "source_lang": "en"}
    folder = write(tmp_path / "m", written, config | {"target_lang": "fr"})
    ours = load(folder)
    with pytest.warns(UserWarning, match="sacremoses"):
        theirs = transformers.MarianTokenizer.from_pretrained(folder)
    assert len(ours) == len(tables[0])
    assert ours.special == {"unk": "<unk>", "eos": "</s>", "pad": "<pad>"}
    alike = [line for line in LINES if not CLUSTER.search(line)]
    assert len(alike) > 0.95 * len(LINES)
    unknown = 0
    for line in [*alike, ">>fra<< the people work", ">>fra<<the people"]:
        expected = theirs(line)["input_ids"]
        unknown += expected.count(1)
        assert ours.encode(line) == expected, line
        assert ours.target.encode(line) == theirs(text_target=line)["input_ids"], line
    assert unknown > 500
    ours.save(tmp_path / "saved")
    again = load(tmp_path / "saved")
    for line in alike[:300]:
        assert again.encode(line) == ours.encode(line)
        assert again.target.encode(line) == ours.target.encode(line)
        ids = ours.target.encode(line)
        plain = theirs.decode(ids, skip_special_tokens=True, use_source_tokenizer=not separate)
        assert ours.target.decode(ids).strip() == plain
    assert again.digest == ours.digest
