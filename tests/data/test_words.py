"""Word starts: pieces of one word belong together, in every kind of tokenizer, and Chinese by a segmenter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tokenizers
from tokenizers import models, normalizers, pre_tokenizers

from microtune.data.store import RaggedStore
from microtune.data.text import Tokenizer, train_bpe
from microtune.data.words import LONGEST, Words, surfaces, word_numbers, word_starts

TEXT = "unbelievable cats sat, 2024 mats don't 我喜欢猫 naïve café 😀"


def _words_of(tokenizer: Tokenizer, text: str, **options: object) -> list[str]:
    words = Words(tokenizer)
    ids = np.array(tokenizer.encode(text, special=False))
    starts = words.segmented(ids, options["cut"]) if "cut" in options else words.starts(ids)  # type: ignore[arg-type]
    groups: list[bytes] = []
    for i, start in zip(ids, starts, strict=True):
        piece = words.surfaces[i]
        groups = [*groups, piece] if start else [*groups[:-1], groups[-1] + piece]
    assert b"".join(groups).decode().strip() == text
    return [group.decode().strip() for group in groups if group.strip()]


def test_a_byte_level_tokenizer_that_knows_letters_alone_still_finds_words() -> None:
    tokenizer = train_bpe(["a"], 313)  # no merges: every byte is a token
    found = _words_of(tokenizer, TEXT)
    assert found[:4] == ["unbelievable", "cats", "sat", ","]
    assert found[5:9] == ["mats", "don", "'", "t"]
    assert found[4] == "2024"
    assert found[9:] == ["我", "喜", "欢", "猫", "naïve", "café", "😀"]


def test_word_pieces_and_metaspace() -> None:
    vocab = {t: i for i, t in enumerate(["[UNK]", "un", "##believ", "##able", "cat", "##s", ",", "我", "们"])}
    backend = tokenizers.Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer()  # parts Chinese characters
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    words = Words(Tokenizer(backend, {}))
    ids = np.array(backend.encode("unbelievable cats, 我们").ids)
    assert words.starts(ids).tolist() == [True, False, False, True, False, True, True, True]
    pieces = {"▁un": 0, "believ": 1, "able": 2, "▁": 3, "<0xE6>": 4, "<0x88>": 5}
    backend = tokenizers.Tokenizer(models.BPE(pieces, [], byte_fallback=True))
    assert surfaces(Tokenizer(backend, {})) == [b" un", b"believ", b"able", b" ", b"\xe6", b"\x88"]
    assert Words(Tokenizer(backend, {})).starts(np.array([0, 1, 2, 3, 4, 5])).tolist() == [
        *(True, False, False),
        *(True, True, False),
    ]


def test_a_segmenter_joins_chinese_and_nothing_else(tmp_path: Path) -> None:
    def cut(text: str) -> list[str]:
        return [piece for part in text.replace("喜欢", "|喜欢|").split("|") for piece in ([part] if part else [])]

    tokenizer = train_bpe(["a"], 313)
    assert _words_of(tokenizer, "我喜欢猫", cut=cut) == ["我", "喜欢", "猫"]
    assert _words_of(tokenizer, "two 喜欢 words", cut=lambda text: [text]) == ["two", "喜欢", "words"]
    words, text = Words(tokenizer), "我喜欢猫"
    ids = np.array([0, *tokenizer.encode(text, special=False), 1])
    store = RaggedStore.write(tmp_path / "t", [ids, ids[:5]], dtype="uint16")
    marks = word_starts(store, words, cut, tmp_path, "w")
    assert marks.lengths.tolist() == [14, 5]
    assert np.flatnonzero(marks[0]).tolist() == [0, 1, 4, 10, 13]
    assert marks[1].tolist() == words.starts(ids[:5]).tolist()  # half a character: left as the tokens say


def test_jieba_where_it_is_installed() -> None:
    jieba = pytest.importorskip("jieba")
    assert _words_of(train_bpe(["a"], 313), "我们喜欢猫", cut=jieba.lcut) == ["我们", "喜欢", "猫"]


def test_word_numbers_part_at_gaps_and_at_endless_words() -> None:
    starts = np.array([True, False, False, True, False, False])
    assert word_numbers(starts, np.arange(6)).tolist() == [0, 0, 0, 1, 1, 1]
    assert word_numbers(starts, np.array([0, 1, 4, 5])).tolist() == [0, 0, 1, 1]
    long = np.zeros(2 * LONGEST + 5, dtype=bool)
    assert np.bincount(word_numbers(long, np.arange(len(long)))).tolist() == [LONGEST, LONGEST, 5]
