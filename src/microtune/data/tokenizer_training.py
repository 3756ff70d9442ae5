"""Tokenizers for models that are trained from nothing: three kinds of vocabulary, and what stands around a text.

bpe: byte-level BPE (text.py). unigram: a vocabulary of which the likeliest pieces stay (Kudo, 2018), over bytes, so
that it can write every text, too. wordpiece: as BERT has it (Schuster and Nakajima, 2012), with case; a character that
the text did not have is unknown to it, and spaces are not kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Literal

import tokenizers
from pydantic import Field
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

from microtune.data.special_tokens import with_text_as_data
from microtune.data.text import RESERVED_TOKENS, Tokenizer, byte_level, train_bpe, with_marks
from microtune.data.tokenizer_file import sound
from microtune.recipe import Section

UNKNOWN = "<|unk|>"
ENDLESS = re.compile(r"\w{1000}")  # no word, in any language, is as long


class Vocabulary(Section):
    """`model.tokenizer` of a recipe, where one is trained."""

    kind: Literal["bpe", "wordpiece", "unigram"] = "bpe"
    vocab_size: int = Field(default=16_384, ge=len(RESERVED_TOKENS) + 1, le=1_000_000)


def train_tokenizer(texts: Iterable[str], wanted: Vocabulary) -> Tokenizer:
    """A tokenizer of one kind, with at most so many entries: a short text supports fewer.

    The first ids are reserved, as in `train_bpe`; wordpiece has an unknown token after them.
    """
    texts = (part for text in texts for part in _parted(text))
    with sound("A tokenizer cannot be trained on this text"):
        if wanted.kind == "bpe":
            return train_bpe(texts, wanted.vocab_size)
        make = _unigram if wanted.kind == "unigram" else _wordpiece
        return make(texts, wanted.vocab_size)


def _parted(text: str) -> Iterator[str]:
    """A text without words that never end (a genome, base64): the time to learn from one grows with its square."""
    done = 0
    for found in ENDLESS.finditer(text):
        yield text[done : found.end()]
        done = found.end()
    if done < len(text):
        yield text[done:]


def _unigram(texts: Iterable[str], size: int) -> Tokenizer:
    return with_marks(_as_read(with_text_as_data(byte_level(models.Unigram(), trainers.UnigramTrainer, texts, size))))


def _as_read(backend: tokenizers.Tokenizer) -> tokenizers.Tokenizer:
    """The tokenizer as its file will read: numbers in it lose their last digit, and its hash must not change."""
    for _ in range(8):
        again = tokenizers.Tokenizer.from_str(backend.to_str())
        if again.to_str() == backend.to_str():
            break
        backend = again
    return backend


def _wordpiece(texts: Iterable[str], size: int) -> Tokenizer:
    backend = tokenizers.Tokenizer(models.WordPiece(unk_token=UNKNOWN))
    backend.normalizer = normalizers.BertNormalizer(strip_accents=False, lowercase=False)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(
        vocab_size=size, special_tokens=[*RESERVED_TOKENS, UNKNOWN], show_progress=False
    )
    backend.train_from_iterator(texts, trainer)
    return with_marks(backend, unk=UNKNOWN)


def framing(tokenizer: Tokenizer, *, opened: bool = True) -> Tokenizer:
    """A copy that puts the marks of a document around every text: bos (or cls) before it, eos (or sep) behind it.

    So whoever tunes the model later reads a text as its encoder has learnt it. A tokenizer that puts something there
    already keeps doing so. opened: whether a mark stands before a text (T5 has none).
    """
    special = dict(tokenizer.special)
    for one, other in (("bos", "cls"), ("eos", "sep")):
        token = special.get(one) or special.get(other)
        if token is not None:
            special |= {one: token, other: token}
    backend = tokenizers.Tokenizer.from_str(tokenizer.backend.to_str())
    if not backend.num_special_tokens_to_add(False):
        first, last = special.get("bos", "") if opened else "", special.get("eos", "")
        marks = dict.fromkeys(token for token in (first, last) if token)
        backend.post_processor = tokenizers.processors.TemplateProcessing(
            single=[piece for piece in (first, "$A", last) if piece],
            pair=[piece for piece in (first, "$A", last, "$B:1", last and f"{last}:1") if piece],
            special_tokens=[(token, backend.token_to_id(token)) for token in marks],
        )
    return Tokenizer(
        backend,
        special,
        chat_template=tokenizer.chat_template,
        templates=tokenizer.templates,
        stops=tokenizer.stops,
        known=tokenizer.known,
    )
