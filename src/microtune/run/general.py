"""General language: short texts about everything, embedded in the package, in English and Chinese.

For measuring how much of its general language a tuned model has lost: the same texts before and after, in bits per byte
or as a drift of their embeddings. They are nobody's task, so that any task may be measured against them. What they are
and are not fit for stands beside them, in assets/general/README.md.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources

from microtune.errors import InputError


@cache
def _texts() -> tuple[tuple[str, str], ...]:
    """(language, text) of every line, in the order of the file."""
    file = resources.files("microtune") / "assets" / "general" / "texts.jsonl"
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return tuple((row["language"], row["text"]) for row in rows)


def general_texts(language: str | None = None) -> list[str]:
    """The embedded general texts of one language ("en" or "zh"), or of both; every call gives a new list.

    Languages and topics alternate in the file, so that the first texts of the list are a fair sample of all.
    Raises InputError for a language that has no texts.
    """
    languages = sorted({of for of, _ in _texts()})
    if language is not None and language not in languages:
        known = " and ".join(repr(name) for name in languages)
        raise InputError(f"There are no general texts in the language {language!r}; there are some in {known}.")
    return [text for of, text in _texts() if language in (None, of)]
