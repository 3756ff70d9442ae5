"""Added tokens: texts that a tokenizer reads as one id each from now on, wherever they stand in a text.

They are plain tokens, not special ones: a text may spell them, and a generated answer shows them. Their ids follow the
largest one that the tokenizer had.
"""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import AddedToken

from microtune.data.text import Tokenizer
from microtune.data.tokenizer_file import sound
from microtune.errors import InputError

MOST, LONGEST = 4096, 200
FIELD = "model.added_tokens"


def check_added(texts: Sequence[str]) -> None:
    """InputError where a text is empty, too long or stands twice, or where there are too many."""
    if len(texts) > MOST:
        raise InputError(f"{FIELD}: {len(texts)} tokens are more than {MOST}; pretrain a tokenizer of its own instead.")
    seen: set[str] = set()
    for text in texts:
        if not text.strip():
            raise InputError(f"{FIELD}: a token is empty or white space alone; write the text that it stands for.")
        if len(text) > LONGEST:
            raise InputError(f'{FIELD}: "{text[:40]}..." is longer than {LONGEST} characters.')
        if text in seen:
            raise InputError(f'{FIELD}: "{text}" stands twice; name each token once.')
        seen.add(text)


def add_tokens(tokenizer: Tokenizer, texts: Sequence[str]) -> tuple[Tokenizer, list[str], dict[str, int]]:
    """The tokenizer with the texts that have no id yet -> (tokenizer, those texts in the order of their ids, the others
    with the ids that they had).

    A text is matched letter by letter, before anything is normalised, so that it is found in the middle of a word too.
    """
    check_added(texts)
    if tokenizer.target is not tokenizer or tokenizer.known is not None:
        raise InputError(
            f"{FIELD}: this model reads with one tokenizer and writes with another; tokens cannot be added to it."
        )
    backend = tokenizer.backend
    with sound(f"{FIELD}: a token cannot be added"):
        there = {text: backend.token_to_id(text) for text in texts}
        new = [text for text, place in there.items() if place is None]
        first = len(tokenizer)
        backend.add_tokens([AddedToken(text, normalized=False) for text in new])
        ids = [backend.token_to_id(text) for text in new]
    if ids != list(range(first, first + len(new))):
        raise InputError(
            f"{FIELD}: the ids of this tokenizer have gaps, and new ones would fall among them ({ids[0]} is taken "
            "already); tokens cannot be added to it."
        )
    grown = Tokenizer(
        backend,
        tokenizer.special,
        chat_template=tokenizer.chat_template,
        templates=tokenizer.templates,
        stops=tokenizer.stops,
    )
    for text, place in zip(new, ids, strict=True):
        found = grown.encode(text, special=False)
        if found != [place]:
            raise InputError(
                f'{FIELD}: "{text}" is read as {len(found)} tokens and not as one; take another text for it.'
            )
    return grown, new, {text: place for text, place in there.items() if place is not None}
