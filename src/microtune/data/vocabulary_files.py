"""Vocabularies in plain files: WordPiece (`vocab.txt`) and byte-level BPE (`vocab.json` with `merges.txt`).

WordPiece (Schuster and Nakajima, 2012) is BERT's; byte-level BPE (Sennrich et al., 2016; Radford et al., 2019) is that
of GPT-2, RoBERTa, BART and Qwen. The files hold the vocabulary alone; how text is prepared, and what stands around it,
belongs to the class that tokenizer_config.json names.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, processors

from microtune.data.objects import first_line, read_object
from microtune.data.special_tokens import Made, framed, names_of
from microtune.data.tokenizer_file import MOST_BYTES
from microtune.errors import InputError

# The pre-tokenizer pattern of Qwen2: contractions, words, single digits, punctuation, line breaks, blanks.
QWEN2_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
BERT = {"unk": "[UNK]", "sep": "[SEP]", "pad": "[PAD]", "cls": "[CLS]", "mask": "[MASK]"}
ROBERTA = {"bos": "<s>", "eos": "</s>", "sep": "</s>", "cls": "<s>", "unk": "<unk>", "pad": "<pad>", "mask": "<mask>"}
GPT2 = {"bos": "<|endoftext|>", "eos": "<|endoftext|>", "unk": "<|endoftext|>"}
QWEN2 = {"eos": "<|endoftext|>", "unk": "<|endoftext|>", "pad": "<|endoftext|>"}
LARGEST_ID = 10_000_000
# Rust's white space, which its reader takes from the ends of lines; Python's has four control characters more.
WHITE = (
    " \t\n\x0b\x0c\r\x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f"
    "\u205f\u3000"
)


def word_pieces(path: Path, config: Mapping[str, Any]) -> Made:
    """BERT's tokenizer from `vocab.txt`, one piece a line."""
    special = BERT | names_of(config)
    lines = read_text(path).split("\n")
    vocabulary = {line.rstrip(WHITE): place for place, line in enumerate(lines[:-1] if lines[-1] == "" else lines)}
    for name in ("unk", "cls", "sep"):
        if special[name] not in vocabulary:
            raise InputError(
                f'{path}: there is no "{special[name]}" in this vocabulary, which BERT\'s tokenizer needs.'
            )
    backend = tokenizers.Tokenizer(models.WordPiece(vocabulary, unk_token=special["unk"]))
    lower = config.get("do_lower_case")
    chinese = config.get("tokenize_chinese_chars")
    accents = config.get("strip_accents")
    backend.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=True if chinese is None else bool(chinese),
        strip_accents=None if accents is None else bool(accents),  # None: as lower-casing says
        lowercase=True if lower is None else bool(lower),
    )
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece(prefix="##")
    cls, sep = special["cls"], special["sep"]
    backend.post_processor = processors.TemplateProcessing(
        single=f"{cls}:0 $A:0 {sep}:0",
        pair=f"{cls}:0 $A:0 {sep}:0 $B:1 {sep}:1",
        special_tokens=[(cls, vocabulary[cls]), (sep, vocabulary[sep])],
    )
    return Made(backend, special, _marks(special, vocabulary))


def byte_pairs(folder: Path, kind: str, config: Mapping[str, Any]) -> Made:
    """A byte-level BPE from `vocab.json` and `merges.txt`; kind: gpt2, roberta or qwen2."""
    path = folder / "vocab.json"
    vocabulary, merges = read_ids(path), read_merges(folder / "merges.txt")
    special = {"gpt2": GPT2, "roberta": ROBERTA, "qwen2": QWEN2}[kind] | names_of(config)
    backend = tokenizers.Tokenizer(models.BPE(vocabulary, merges, continuing_subword_prefix="", end_of_word_suffix=""))
    space = bool(config.get("add_prefix_space"))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=space)
    if kind == "qwen2":
        backend.normalizer = normalizers.NFC()
        backend.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(QWEN2_PATTERN), behavior="isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=space, use_regex=False),
            ]
        )
    backend.decoder = decoders.ByteLevel()
    if kind == "roberta":
        for name in ("sep", "cls"):
            if special[name] not in vocabulary:
                raise InputError(f'{path}: there is no "{special[name]}", which stands around every text.')
        sep, cls = ((special[name], vocabulary[special[name]]) for name in ("sep", "cls"))
        backend.post_processor = processors.RobertaProcessing(sep, cls, True, space)
        return Made(backend, special, _marks(special, vocabulary))
    around, pair = framed(special, bos=bool(config.get("add_bos_token")), eos=bool(config.get("add_eos_token")))
    marks = [token for token in dict.fromkeys(around + pair) if not token.startswith("$")]
    if missing := [token for token in marks if token not in vocabulary]:
        raise InputError(f'{path}: there is no "{missing[0]}", which is to stand around every text.')
    if marks:
        backend.post_processor = processors.TemplateProcessing(
            single=list(around), pair=list(pair), special_tokens=[(token, vocabulary[token]) for token in marks]
        )
    return Made(backend, special, _marks(special, vocabulary))


def read_ids(path: Path) -> dict[str, int]:
    """token -> id from a JSON file; every id once, so that each has one text."""
    values = read_object(path, most=MOST_BYTES)
    for token, place in values.items():
        if isinstance(place, bool) or not isinstance(place, int) or not 0 <= place <= LARGEST_ID:
            raise InputError(
                f'{path}: the id of "{token[:60]}" is {str(place)[:60]}, but must be a whole number from 0.'
            )
    if not values or len(set(values.values())) < len(values):
        raise InputError(f"{path}: {'two tokens have one id' if values else 'there is no token in it'}.")
    if max(values.values()) > 2 * len(values) + 1000:
        raise InputError(f"{path}: ids up to {max(values.values())} for {len(values)} tokens; most are missing.")
    return values


def read_merges(path: Path) -> list[tuple[str, str]]:
    """The pairs of a `merges.txt`, the first joined first."""
    found = []
    for number, line in enumerate(read_text(path).split("\n"), 1):
        line = line.removesuffix("\r")
        if not line or (number == 1 and line.startswith("#version")):
            continue
        left, _, right = line.partition(" ")
        if not left or not right or " " in right:
            raise InputError(f"{path}, line {number}: a merge is two pieces with a space between them.")
        found.append((left, right))
    return found


def read_text(path: Path) -> str:
    """A file as UTF-8 text, of at most `MOST_BYTES`."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise InputError(f"{path}: {path.stat().st_size} bytes are too many for a vocabulary.")
        with open(path, encoding="utf-8", newline="") as file:
            return file.read()
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not readable as UTF-8 text ({first_line(error)}).") from error


def _marks(special: Mapping[str, str], vocabulary: Mapping[str, int]) -> dict[str, AddedToken]:
    """Special tokens of the vocabulary are found before all else, and left out when ids become text."""
    tokens = [token for token in dict.fromkeys(special.values()) if token in vocabulary]
    mask = special.get("mask") if "bos" in special else None  # RoBERTa's mask swallows the space before it
    return {token: AddedToken(token, normalized=False, special=True, lstrip=token == mask) for token in tokens}
