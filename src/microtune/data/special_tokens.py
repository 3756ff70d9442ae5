"""Special and added tokens: what configuration files say about them, and how a tokenizer gets them.

Transformers writes them in four places (`added_tokens.json`, `special_tokens_map.json` and two fields of
`tokenizer_config.json`), as a text or as an object with flags. An id that such a file promises is kept or refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken, Regex, pre_tokenizers

from microtune.data.objects import read_object
from microtune.errors import InputError

MOST_ADDED = 100_000
_FLAGS = ("lstrip", "rstrip", "single_word", "normalized")


@dataclass(frozen=True)
class Made:
    """A tokenizer out of vocabulary files. special: by name. marks: the tokens that its family adds, by text."""

    backend: tokenizers.Tokenizer
    special: dict[str, str]
    marks: dict[str, AddedToken] = field(default_factory=dict)


def read_settings(folder: Path) -> dict[str, Any]:
    """`special_tokens_map.json` and, above it, `tokenizer_config.json`."""
    config: dict[str, Any] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        config |= read_object(folder / name) if (folder / name).is_file() else {}
    return config


def names_of(config: Mapping[str, Any]) -> dict[str, str]:
    """Special tokens that the configuration names: "bos_token" -> {"bos": ...}."""
    found = {}
    for key, value in config.items():
        token = value.get("content") if isinstance(value, dict) else value
        if key.endswith("_token") and isinstance(token, str) and token:
            found[key.removesuffix("_token")] = token
    return found


def framed(special: Mapping[str, str], *, bos: bool, eos: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What stands around one text and around two."""
    first = (special["bos"],) if bos and "bos" in special else ()
    last = (special["eos"],) if eos and "eos" in special else ()
    return (*first, "$A", *last), (*first, "$A", *last, *first, "$B", *last)


def listed_tokens(folder: Path, config: Mapping[str, Any]) -> dict[int, AddedToken]:
    """Tokens whose ids the files give; `added_tokens.json` is the older form and gives way."""
    found: dict[int, AddedToken] = {}
    plain, where = folder / "added_tokens.json", folder / "tokenizer_config.json"
    entries: list[tuple[Any, Any, Path]] = []
    table = config.get("added_tokens_decoder")
    if plain.is_file() and not table:
        entries += [(place, token, plain) for token, place in read_object(plain).items()]
    entries += [(place, token, where) for place, token in (table.items() if isinstance(table, dict) else ())]
    if len(entries) > MOST_ADDED:
        raise InputError(f"{where}: {len(entries)} added tokens are more than any tokenizer has.")
    named = set(names_of(config).values())
    for place, token, path in entries:
        made = _added(token, named)
        number = int(place) if re.fullmatch(r"\d{1,9}", str(place)) else None
        if made is None or number is None:
            raise InputError(f'{path}: the added token "{str(token)[:60]}" needs a text and a whole number as its id.')
        found[number] = made
    return found


def finished(made: Made, listed: Mapping[int, AddedToken], config: Mapping[str, Any], where: Path) -> Made:
    """With all added tokens: those of the files at their ids, those of the family, then what is only named."""
    backend = made.backend
    for place, token in sorted(listed.items()):
        _add(backend, token)
        if backend.token_to_id(token.content) != place:
            raise InputError(
                f'{where}: the added token "{token.content[:60]}" is to have the id {place}, but it gets '
                f"{backend.token_to_id(token.content)}; the files do not belong together."
            )
    there = {token.content for token in listed.values()}
    family = [mark for text, mark in made.marks.items() if text not in there]
    for special in (False, True):  # many at once: each call builds the library's search tree anew
        tokens = [token for token in family if token.special == special]
        (backend.add_special_tokens if special else backend.add_tokens)(tokens)
    for token in _named(config):
        if backend.token_to_id(token.content) is None or token.content not in there:
            _add(backend, token)
    return Made(with_text_as_data(backend), made.special)


def _add(backend: tokenizers.Tokenizer, token: AddedToken) -> None:
    (backend.add_special_tokens if token.special else backend.add_tokens)([token])


def _named(config: Mapping[str, Any]) -> Iterator[AddedToken]:
    """Special tokens by name, and the nameless ones."""
    values = [value for key, value in config.items() if key.endswith("_token")]
    for key in ("additional_special_tokens", "extra_special_tokens"):
        more = config.get(key)
        values += list(more.values()) if isinstance(more, dict) else more if isinstance(more, list) else []
    if len(values) > MOST_ADDED:
        raise InputError(f"tokenizer_config.json: {len(values)} special tokens are more than any tokenizer has.")
    for value in values:
        token = _added(value, set())
        if token is not None:
            token.special = True
            yield token


def _added(value: Any, named: set[str]) -> AddedToken | None:
    if isinstance(value, str) and value:
        return AddedToken(value, normalized=False, special=value in named)
    text = value.get("content") if isinstance(value, dict) else None
    if not isinstance(text, str) or not text:
        return None
    flags = {flag: bool(value.get(flag)) for flag in _FLAGS}
    return AddedToken(text, special=bool(value.get("special")) or text in named, **flags)


def with_text_as_data(backend: tokenizers.Tokenizer) -> tokenizers.Tokenizer:
    """A Unigram tokenizer that does not find "</s>" in plain text.

    Its model looks pieces up by their text, and special tokens are among them, so that a text that is not parsed for
    them would give their ids all the same. Here a special token that is still whole when the model is asked is parted
    after its first character. Tokenizers of other kinds part it anyway.
    """
    if type(backend.model).__name__ != "Unigram":
        return backend
    tails: dict[str, list[str]] = {}
    for token in backend.get_added_tokens_decoder().values():
        if token.special and len(token.content) > 1:
            tails.setdefault(token.content[0], []).append(token.content[1:])
    parts = [
        f"(?<={re.escape(first)})(?:{'|'.join(re.escape(rest) for rest in sorted(rests))})"
        for first, rests in sorted(tails.items())
    ]
    if not parts:
        return backend
    split = pre_tokenizers.Split(Regex("|".join(parts)), behavior="isolated")
    before = backend.pre_tokenizer
    backend.pre_tokenizer = split if before is None else pre_tokenizers.Sequence([before, split])
    return backend
