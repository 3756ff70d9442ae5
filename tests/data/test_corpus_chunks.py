"""How many texts are encoded at once: bounded in texts and in characters, with nothing lost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from microtune.data import corpus
from microtune.data.text import Tokenizer, train_bpe


def test_a_chunk_is_bounded_by_texts_and_by_characters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus, "ENCODE_TEXTS", 4)
    monkeypatch.setattr(corpus, "ENCODE_CHARACTERS", 100)
    tokenizer = train_bpe(["a b c"], 320)
    texts = ["a" * 60, "b" * 40, "c" * 41, "d" * 500, *["e"] * 6]  # the third does not fit, the fourth is longer
    seen: list[list[int]] = []
    encode = Tokenizer.encode_many

    def watched(self: Tokenizer, chunk: Sequence[str], **options: Any) -> list[list[int]]:
        seen.append([len(text) for text in chunk])
        return encode(self, chunk, **options)

    monkeypatch.setattr(Tokenizer, "encode_many", watched)
    store = corpus.tokenise(iter(texts), tokenizer, tmp_path, "key", chat=False)
    assert seen == [[60, 40], [41], [500], [1, 1, 1, 1], [1, 1]]
    ids = [[tokenizer.id("bos"), *tokenizer.encode(text, special=False), tokenizer.id("eos")] for text in texts]
    assert [np.asarray(store[i]).tolist() for i in range(len(store))] == ids
