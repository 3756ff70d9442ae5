"""The tokenizer of a model folder, whichever files it is in.

`tokenizer.json` says everything and goes first. Older folders hold a vocabulary alone and name a class of transformers,
which says the rest; the classes of the supported families are known here, and any other one is refused, because a
guess would give ids that the model never saw.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken

from microtune.data.objects import read_object
from microtune.data.sentencepiece_file import PieceFile, read_pieces
from microtune.data.sentencepiece_tokens import BY_FAMILY, LAYOUTS, Layout, Maker, build, marian, plain
from microtune.data.special_tokens import Made, finished, listed_tokens, names_of, read_settings
from microtune.data.tokenizer_file import probed, read_backend, sound
from microtune.data.vocabulary_files import byte_pairs, read_ids, word_pieces
from microtune.errors import InputError

TARGET = "target_tokenizer"  # the folder of the tokenizer of texts to write
PIECES = ("spiece.model", "sentencepiece.bpe.model", "tokenizer.model")
FILES = ("tokenizer.json", "source.spm", "vocab.txt", "vocab.json", *PIECES)
NO_CLASS = ("", "PreTrainedTokenizer", "TokenizersBackend", "InternLM2Tokenizer", "InternLM3Tokenizer")
WORD_PIECES = ("BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer")
BYTE_PAIRS = {
    "GPT2Tokenizer": "gpt2",
    "RobertaTokenizer": "roberta",
    "BartTokenizer": "roberta",
    "Qwen2Tokenizer": "qwen2",
}
BYTE_PAIRS_BY_FAMILY = {
    **dict.fromkeys(("roberta", "bart"), "roberta"),
    **dict.fromkeys(("qwen2", "qwen3"), "qwen2"),
}
MARIAN = {"unk": "<unk>", "eos": "</s>", "pad": "<pad>"}


@dataclass(frozen=True)
class Found:
    """A tokenizer and its special tokens.

    target: that of the texts to write, where it is another one. known: ids from here on mean <unk>.
    """

    backend: tokenizers.Tokenizer
    special: dict[str, str]
    target: Found | None = None
    known: int | None = None


def read_tokenizer(folder: Path, config: Mapping[str, Any]) -> Found | None:
    """What is in a folder, or None where it holds no tokenizer; config: of `read_settings`."""
    file = next((folder / name for name in FILES if (folder / name).is_file()), None)
    if file is None:
        return None
    if file.name == "tokenizer.json":
        return _written(folder, config)
    listed = listed_tokens(folder, config)
    name = config.get("tokenizer_class")
    name = name.removesuffix("Fast") if isinstance(name, str) else ""
    with sound(f"{file}: not a usable tokenizer"):
        if file.name == "source.spm":
            return _marian(folder, config, listed)
        if file.name == "vocab.txt":
            _known_class(name, WORD_PIECES, file)
            return _found(finished(word_pieces(file, config), listed, config, file), file)
        if file.name == "vocab.json":
            return _found(finished(_byte_pairs(folder, name, config), listed, config, file), file)
        return _pieces(file, name, config, listed)


def _written(folder: Path, config: Mapping[str, Any]) -> Found:
    """`tokenizer.json`; what it cannot hold is beside it where microtune wrote it."""
    known = config.get("known_ids")
    target = folder / TARGET
    return Found(
        read_backend(folder / "tokenizer.json"),
        names_of(config),
        target=_written(target, read_settings(target)) if (target / "tokenizer.json").is_file() else None,
        known=known if isinstance(known, int) and not isinstance(known, bool) and known > 0 else None,
    )


def _byte_pairs(folder: Path, name: str, config: Mapping[str, Any]) -> Made:
    path = folder / "vocab.json"
    _known_class(name, BYTE_PAIRS, path)
    if not (folder / "merges.txt").is_file():
        raise InputError(f"{path}: there is no merges.txt beside it, without which no text can be cut.")
    kind = BYTE_PAIRS.get(name) or BYTE_PAIRS_BY_FAMILY.get(_family(folder), "gpt2")
    return byte_pairs(folder, kind, config)


def _pieces(file: Path, name: str, config: Mapping[str, Any], listed: Mapping[int, AddedToken]) -> Found:
    _known_class(name, LAYOUTS, file)
    maker: Maker = LAYOUTS.get(name) or BY_FAMILY.get(_family(file.parent), plain)
    if name == "TokenizersBackend":
        maker = plain
    pieces = read_pieces(file)
    found = _laid_out(pieces, maker, config, listed, file)
    target = config.get("tgt_lang")
    if maker.__name__.startswith("mbart") and target is not None:
        other = _laid_out(pieces, maker, {**config, "src_lang": target}, listed, file)
        return replace(found, target=other)
    return found


def _laid_out(
    pieces: PieceFile, maker: Maker, config: Mapping[str, Any], listed: Mapping[int, AddedToken], file: Path
) -> Found:
    try:
        layout = maker(pieces, config)
    except InputError as error:
        raise InputError(f"{file}: {error}") from error
    return _found(finished(build(pieces, _renamed(layout, listed), file), listed, config, file), file)


def _renamed(layout: Layout, listed: Mapping[int, AddedToken]) -> Layout:
    """Spare pieces ("<unused7>") under the names that a later training gave them."""
    pieces, there = list(layout.pieces), {piece.text for piece in layout.pieces}
    for place, token in listed.items():
        if place < len(pieces) and token.content not in there:
            pieces[place] = pieces[place]._replace(text=token.content, kind="control" if token.special else "user")
    return replace(layout, pieces=tuple(pieces))


def _marian(folder: Path, config: Mapping[str, Any], listed: Mapping[int, AddedToken]) -> Found:
    """Two models, and one vocabulary for both or one for each."""
    special = MARIAN | names_of(config)
    sides = []
    for name, vocabulary in (("source.spm", "vocab.json"), ("target.spm", "target_vocab.json")):
        file = folder / name
        ids = folder / (vocabulary if config.get("separate_vocabs") else "vocab.json")
        if not file.is_file() or not ids.is_file():
            raise InputError(f"{folder}: Marian's tokenizer needs source.spm, target.spm and {ids.name}.")
        known = read_ids(ids)
        for token in ("unk", "eos"):
            if special[token] not in known:
                raise InputError(f'{ids}: there is no "{special[token]}", which Marian\'s tokenizer needs.')
        pieces = read_pieces(file)
        made = finished(build(pieces, marian(pieces, known, special), file), listed, {}, file)
        sides.append(_found(made, file, known=max(known.values()) + 1))
    return replace(sides[0], target=sides[1])


def _found(made: Made, file: Path, known: int | None = None) -> Found:
    return Found(probed(made.backend, file), made.special, known=known)


def _known_class(name: str, known: Any, file: Path) -> None:
    if name not in known and name not in NO_CLASS:
        raise InputError(
            f'{file}: the class "{name[:60]}" of tokenizers is not known for such a file; write a tokenizer.json once '
            "with transformers: `AutoTokenizer.from_pretrained(folder).save_pretrained(folder)`."
        )


def _family(folder: Path) -> str:
    """`model_type` of the model beside it."""
    path = folder / "config.json"
    return str(read_object(path).get("model_type")) if path.is_file() else ""
