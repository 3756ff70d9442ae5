"""Three kinds of tokenizers: what they can write, what stands around a text, and files that say the same again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from microtune.data.text import RESERVED_TOKENS, Tokenizer
from microtune.data.tokenizer_training import Vocabulary, framing, train_tokenizer
from microtune.errors import InputError
from microtune.recipe import validated

TEXTS = [f"the cat number {i} sat on the mat and said 你好 to dog {i * 7}" for i in range(60)]
ODD = "Grüße 🙂\tunseen <|end|>\n再见"


def _trained(kind: str, size: int = 380) -> Tokenizer:
    return train_tokenizer(TEXTS, Vocabulary.model_validate({"kind": kind, "vocab_size": size}))


@pytest.mark.parametrize("kind", ["bpe", "unigram", "wordpiece"])
def test_reserved_ids_and_files(kind: str, tmp_path: Path) -> None:
    tokenizer = _trained(kind)
    assert [tokenizer.backend.token_to_id(token) for token in RESERVED_TOKENS] == list(range(len(RESERVED_TOKENS)))
    assert len(tokenizer) <= 380
    ids = tokenizer.encode(ODD, special=False)
    assert all(i >= len(RESERVED_TOKENS) for i in ids)  # a mark in a text is text
    assert tokenizer.decode(tokenizer.encode(TEXTS[3], special=False)).replace(" ", "") == TEXTS[3].replace(" ", "")
    if kind != "wordpiece":  # over bytes: every text can be written
        assert tokenizer.decode(ids) == ODD
    else:
        assert tokenizer.id("unk") in ids
    tokenizer.save(tmp_path)
    again = Tokenizer.load(tmp_path)
    assert again is not None
    assert again.digest == tokenizer.digest
    assert again.encode(ODD) == tokenizer.encode(ODD)


def test_likelier_pieces_make_fewer_tokens() -> None:
    for kind in ("bpe", "unigram", "wordpiece"):
        small, large = (len(_trained(kind, size).encode(TEXTS[5], special=False)) for size in (330, 450))
        assert large <= small


def test_marks_around_a_text() -> None:
    tokenizer = _trained("bpe")
    both, behind = framing(tokenizer), framing(tokenizer, opened=False)
    ids = tokenizer.encode("the cat")
    assert both.encode("the cat") == [0, *ids, 1]
    assert behind.encode("the cat") == [*ids, 1]
    assert both.encode("the cat", special=False) == ids
    assert both.encode_pair("the cat", "the cat") == (
        [0, *ids, 1, *ids, 1],
        [0] * (len(ids) + 2) + [1] * (len(ids) + 1),
    )
    assert both.encode_cut("the cat sat", 3) == ([0, ids[0], 1], True)
    assert (both.special["cls"], both.special["sep"]) == ("<|bos|>", "<|eos|>")
    assert framing(both).encode("the cat") == both.encode("the cat")  # once


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"kind": "bpe2"}, "kind"),
        ({"vocab_size": 3}, "vocab_size"),
        ({"vocabsize": 300}, r'unknown key "vocabsize"\. Did you mean "vocab_size"\?'),
    ],
)
def test_a_wrong_wish_is_said(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        validated(Vocabulary, asked, "recipe: model.tokenizer")
