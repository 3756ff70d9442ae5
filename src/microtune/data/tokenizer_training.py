"""Tokenizers for models that are trained from nothing: what stands around a text."""

from __future__ import annotations

import tokenizers
from tokenizers import processors

from microtune.data.text import Tokenizer


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
        backend.post_processor = processors.TemplateProcessing(
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
