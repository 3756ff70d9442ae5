"""Which tokens begin a word: for hiding whole words instead of pieces of them.

A piece that continues a word can be guessed from its neighbours, so a model learns more where the whole word is hidden
(Devlin et al., 2019, later release). A token continues the word before it where letters meet letters, or digits meet
digits, without a space between; each Chinese character stands alone, unless a segmenter (jieba) joins several to a word
(Cui et al., 2021).
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from microtune.data.store import RaggedStore
from microtune.data.text import Tokenizer
from microtune.data.word_places import IS_CLOSE

Ids = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Cut = Callable[[str], Iterable[str]]
OTHER, LETTER, DIGIT, HAN = range(4)
LONGEST = 10  # tokens of one word: an endless line without spaces is not one


class Words:
    """Word starts of texts in the tokens of one tokenizer."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.surfaces = surfaces(tokenizer)
        ends = [_ends(piece) for piece in self.surfaces]
        self.first = np.array([first for first, _ in ends], dtype=np.int8)
        self.last = np.array([last for _, last in ends], dtype=np.int8)
        self.inside = np.array([piece[:1] > b"\x7f" and piece[0] < 0xC0 for piece in self.surfaces])  # of a character
        self.han = (self.first == HAN) | (self.last == HAN)
        self.blank = np.array([not piece.strip() for piece in self.surfaces], dtype=bool)
        self.bytes = np.array([len(piece) for piece in self.surfaces], dtype=np.int64)

    def starts(self, ids: Ids) -> Flags:
        """Whether each token [T] begins a word."""
        first, before = self.first[ids[1:]], self.last[ids[:-1]]
        joined = (first == before) & ((first == LETTER) | (first == DIGIT))
        return np.concatenate([np.ones(min(len(ids), 1), dtype=bool), ~(joined | self.inside[ids[1:]])])

    def segmented(self, ids: Ids, cut: Cut) -> Flags:
        """The same with Chinese words as `cut` finds them: a text -> its pieces, end to end."""
        starts = self.starts(ids)
        if not self.han[ids].any():
            return starts
        raw = b"".join(self.surfaces[i] for i in ids)
        text = raw.decode("utf-8", "surrogateescape")
        characters = np.flatnonzero((np.frombuffer(raw, dtype=np.uint8) & 0xC0) != 0x80)  # bytes at which one begins
        if len(characters) != len(text):  # half a character somewhere: leave it
            return starts
        ends = np.cumsum([len(piece) for piece in cut(text)], dtype=np.int64)
        inner = np.array([_kind(c) == HAN for c in text])
        inner[0] = False
        inner[ends[ends < len(text)]] = False
        within = np.zeros(len(raw) + 1, dtype=bool)
        within[characters] = inner
        offsets = np.cumsum(self.bytes[ids]) - self.bytes[ids]
        return starts & ~within[offsets]


def word_starts(store: RaggedStore, words: Words, cut: Cut, folder: Path, key: str) -> RaggedStore:
    """Word starts of every document of a store, as numbers 0 and 1, kept under `folder/key`; found once per key."""
    target = folder / key
    if RaggedStore.exists(target):
        return RaggedStore(target)
    documents = (np.asarray(store[i], dtype=np.int64) for i in range(len(store)))
    return RaggedStore.write(target, (words.segmented(ids, cut) for ids in documents), dtype="uint8")


def word_numbers(starts: Flags, places: Ids) -> Ids:
    """The number of the word in which each of `places` (ascending) stands; a gap between places parts words, too."""
    new = starts[places] | np.concatenate([[True], np.diff(places) > 1])
    at = np.arange(len(places))
    since = at - np.maximum.accumulate(np.where(new, at, 0))
    return np.cumsum(new | (since % LONGEST == 0), dtype=np.int64) - 1


def surfaces(tokenizer: Tokenizer) -> list[bytes]:
    """The bytes of text that each id stands for, with the space before a word; b"" for special tokens."""
    values = json.loads(tokenizer.backend.to_str())
    model = values["model"]
    special = {i for i, token in tokenizer.backend.get_added_tokens_decoder().items() if token.special}
    byte_level = '"ByteLevel"' in json.dumps([values.get("pre_tokenizer"), values.get("decoder")])
    prefix = model.get("continuing_subword_prefix") if model.get("type") == "WordPiece" else None
    table = _byte_table()
    found = [b""] * len(tokenizer)
    for text, i in tokenizer.backend.get_vocab(with_added_tokens=True).items():
        if i >= len(found) or i in special:
            continue
        if byte_level and all(c in table for c in text):
            found[i] = bytes(table[c] for c in text)
        elif prefix is not None:
            found[i] = _word_piece(text, prefix).encode("utf-8", "replace")
        else:
            found[i] = _piece(text)
    return found


def _word_piece(text: str, prefix: str) -> str:
    if text.startswith(prefix):
        return text.removeprefix(prefix)
    return text if _kind(text[:1]) == HAN else f" {text}"  # these tokenizers part all Chinese characters


def _piece(text: str) -> bytes:
    if len(text) == 6 and text.startswith("<0x") and text.endswith(">"):
        return bytes.fromhex(text[3:5])
    return text.replace("\u2581", " ").encode("utf-8", "replace")


def _byte_table() -> dict[str, int]:
    """The characters that byte-level tokenizers write for bytes (Radford et al., 2019)."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + n): byte for n, byte in enumerate(rest)}


def _kind(character: str) -> int:
    if not character:
        return OTHER
    if IS_CLOSE.match(character):
        return HAN
    return {"L": LETTER, "M": LETTER, "N": DIGIT}.get(unicodedata.category(character)[0], OTHER)


def _ends(piece: bytes) -> tuple[int, int]:
    """Kinds of the first and the last character; of half a character by what it can become."""
    text = piece.decode("utf-8", "replace")
    if not text:
        return OTHER, OTHER
    half = LETTER if len(piece) and piece[0] < 0xE0 else HAN
    first, last = (half if c == "\ufffd" else _kind(c) for c in (text[0], text[-1]))
    return first, last


def segmenter() -> tuple[str, Cut | None]:
    """jieba with its version, where it is installed, else ("characters", None)."""
    try:
        import jieba
    except ImportError:
        return "characters", None
    jieba.setLogLevel("ERROR")
    cut: Any = jieba.lcut
    return f"jieba {jieba.__version__}", cut
