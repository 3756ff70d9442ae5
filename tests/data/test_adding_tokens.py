"""Added tokens of tokenizers of three kinds, in a chat template too, and what cannot be added."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers

from microtune.data.added_tokens import LONGEST, MOST, add_tokens, check_added
from microtune.data.text import Tokenizer, train_bpe
from microtune.errors import InputError
from microtune.tasks.conversation import chat_prompt, chat_segments

TEXTS = ["my card was declined", "the transfer has not arrived"]
NEW = ["<call>", "</call>", "Zoë 退款"]


def bytes_pairs() -> Tokenizer:
    return train_bpe(TEXTS, 330)


def word_pieces() -> Tokenizer:
    letters = [chr(i) for i in range(33, 127)]
    pieces = ["[UNK]", *letters, *(f"##{c}" for c in letters)]
    backend = tokenizers.Tokenizer(models.WordPiece({p: i for i, p in enumerate(pieces)}, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    return Tokenizer(backend, {"unk": "[UNK]"})


def pieces() -> Tokenizer:
    entries = [("<unk>", 0.0), *((c, -2.0) for c in "▁" + "".join(map(chr, range(33, 127))))]
    backend = tokenizers.Tokenizer(models.Unigram(entries, unk_id=0, byte_fallback=False))
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Strip(" ", 1, 0)])
    return Tokenizer(backend, {"unk": "<unk>"})


each = pytest.mark.parametrize("make", [bytes_pairs, word_pieces, pieces])


@each
def test_each_text_is_one_id_wherever_it_stands(make: Callable[[], Tokenizer], tmp_path: Path) -> None:
    before = make()
    size, plain = len(before), before.encode("ab cd", special=False)
    grown, new, known = add_tokens(before, NEW)
    assert (new, known) == (NEW, {})
    assert len(grown) == size + 3
    for number, text in enumerate(NEW):
        assert grown.encode(text, special=False) == [size + number]
        assert grown.encode(f"ab{text}cd {text}", special=False).count(size + number) == 2
        assert text in grown.decode([size + number])
    assert grown.encode("ab cd", special=False) == plain
    if make is not pieces:  # upper and lower case are two texts, also where all else is made lower
        assert size not in grown.encode("<CALL>", special=False)
    grown.save(tmp_path)
    again = Tokenizer.load(tmp_path)
    assert again is not None
    text = f"ab {NEW[0]}card{NEW[1]} {NEW[2]}"
    assert again.encode(text) == grown.encode(text)
    added = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))["added_tokens"][-3:]
    assert [token["content"] for token in added] == NEW
    assert not any(token["special"] for token in added)


def test_what_has_an_id_keeps_it() -> None:
    before = bytes_pairs()
    size, end = len(before), before.id("eos")
    grown, new, known = add_tokens(before, ["<|eos|>", "<call>", "c"])
    assert new == ["<call>"]
    assert known == {"<|eos|>": end, "c": grown.backend.token_to_id("c")}
    assert len(grown) == size + 1
    assert grown.special == before.special
    assert grown.stop_ids == before.stop_ids
    assert grown.chat_template == before.chat_template
    assert grown.encode("<|eos|>", special=False) != [end]  # text is data


def test_a_turn_that_contains_an_added_token_gives_its_id_and_is_supervised() -> None:
    tokenizer, _, _ = add_tokens(bytes_pairs(), ["<call>", "</call>"])
    first, second = (tokenizer.backend.token_to_id(t) for t in ("<call>", "</call>"))
    messages = [
        {"role": "user", "content": "what is <call>?"},
        {"role": "assistant", "content": "<call>card</call>"},
    ]
    segments = chat_segments(messages, tokenizer)
    read = [i for segment in segments if not segment.supervised for i in segment.ids]
    learnt = [i for segment in segments if segment.supervised for i in segment.ids]
    assert read.count(first) == 1
    assert learnt[0] == first
    assert learnt[-2:] == [second, tokenizer.backend.token_to_id("<|end|>")]
    assert not any(segment.parted for segment in segments)
    assert [*chat_prompt(messages[:1], tokenizer), *learnt] == [*read, *learnt]
    assert tokenizer.decode(learnt) == "<call>card</call>"


@pytest.mark.parametrize(
    ("texts", "sentence"),
    [
        ([""], "a token is empty or white space alone"),
        (["<a>", " \t\n"], "a token is empty or white space alone"),
        (["<a>", "<b>", "<a>"], '"<a>" stands twice'),
        ([f"<{i}>" for i in range(MOST + 1)], f"{MOST + 1} tokens are more than {MOST}"),
        (["x" * (LONGEST + 1)], f"is longer than {LONGEST} characters"),
        (["\ud800"], "a token cannot be added"),
    ],
)
def test_what_cannot_be_added_is_said(texts: list[str], sentence: str) -> None:
    with pytest.raises(InputError, match=f"model.added_tokens: .*{sentence}"):
        add_tokens(bytes_pairs(), texts)


def test_as_many_as_allowed_can_be_added() -> None:
    texts = [f"<{i}>" for i in range(MOST)]
    check_added(texts)
    tokenizer = bytes_pairs()
    size = len(tokenizer)
    assert len(add_tokens(tokenizer, texts)[0]) == size + MOST


def test_two_tokenizers_or_gaps_are_refused() -> None:
    other = Tokenizer(word_pieces().backend, {"unk": "[UNK]"}, known=50)
    with pytest.raises(InputError, match="reads with one tokenizer and writes with another"):
        add_tokens(other, ["<a>"])
    with pytest.raises(InputError, match="reads with one tokenizer and writes with another"):
        add_tokens(Tokenizer(word_pieces().backend, {}, target=word_pieces()), ["<a>"])
    gaps = tokenizers.Tokenizer(models.WordLevel({"a": 0, "b": 1, "c": 3}, unk_token="a"))
    with pytest.raises(InputError, match="have gaps, and new ones would fall among them"):
        add_tokens(Tokenizer(gaps, {}), ["<a>"])


def test_the_longer_of_two_tokens_is_read() -> None:
    grown, new, _ = add_tokens(bytes_pairs(), ["<x", "<x>", "x>"])
    ids = [grown.backend.token_to_id(text) for text in new]
    assert grown.encode("<x><x", special=False) == [ids[1], ids[0]]
    assert grown.encode("x><xx>", special=False) == [ids[2], ids[0], ids[2]]
