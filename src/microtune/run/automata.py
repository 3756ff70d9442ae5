"""Answers that match a regular expression or fit a JSON schema: the automata of llguidance (Moskal et al., 2025).

They work on the bytes of the tokens, so that every way to part a text into tokens is open to the model. The library
comes with the extra `constrain`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from microtune.data.text import Tokenizer
from microtune.errors import InputError

COMPACT = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}  # as json.dumps writes


class Automaton:
    """One answer's place in an automaton over the vocabulary."""

    def __init__(self, matcher: Any, stop_ids: Sequence[int], vocab_size: int, what: str) -> None:
        self.matcher, self.stop_ids, self.size, self.what = matcher, list(stop_ids), vocab_size, what

    def allowed(self) -> Tensor:
        """The ids that may come next; an InputError where the expression leaves none."""
        found = torch.zeros(self.size, dtype=torch.bool)
        if not self.matcher.is_error() and self.matcher.is_stopped():
            found[self.stop_ids] = True
            return found
        mask = b"" if self.matcher.is_error() else self.matcher.compute_bitmask()
        if self.matcher.is_error():
            raise InputError(f"{self.what}: nothing can match it: {_reason(self.matcher.get_error())}.")
        bits = np.unpackbits(np.frombuffer(mask, dtype=np.uint8), bitorder="little")[: self.size]
        found[: len(bits)] = torch.from_numpy(bits.astype(bool))
        if not found.any():
            raise InputError(f"{self.what}: no text that this model can write matches it.")
        return found

    def take(self, chosen: int) -> None:
        """Go on by one id, if it is allowed."""
        if not self.matcher.is_stopped() and self.matcher.validate_tokens([chosen]):
            self.matcher.consume_token(chosen)

    def copy(self) -> Automaton:
        """The same place."""
        return Automaton(self.matcher.deep_copy(), self.stop_ids, self.size, self.what)


def automaton(
    tokenizer: Tokenizer, vocab_size: int, stop_ids: Sequence[int], *, regex: str | None, schema: str | None
) -> Automaton:
    """The beginning of an answer that matches; an InputError where the expression is wrong or matches nothing."""
    llguidance = _library()
    what = "decoding.regex" if regex is not None else "decoding.json_schema"
    if not stop_ids:
        raise InputError("The tokenizer of this model has no token that ends a text, so no answer could end.")
    try:
        words = _vocabulary(tokenizer.backend.to_str(), vocab_size, tuple(stop_ids))
        if regex is not None:
            grammar = llguidance.LLMatcher.grammar_from_regex(regex)
        else:
            grammar = llguidance.LLMatcher.grammar_from_json_schema(schema, overrides=COMPACT)
        matcher = llguidance.LLMatcher(words, grammar, log_level=0)
    except (ValueError, RuntimeError) as error:  # it says so of some schemas, and of tokenizers that it cannot read
        raise InputError(f"{what}: {_reason(str(error))}.") from error
    found = Automaton(matcher, stop_ids, vocab_size, what)
    found.copy().allowed()  # says at once what is wrong with it
    return found


@lru_cache(maxsize=2)
def _vocabulary(backend: str, vocab_size: int, stop_ids: tuple[int, ...]) -> Any:
    """The bytes of all tokens as a tree, which takes a second for a large vocabulary."""
    return _library().LLTokenizer(backend, n_vocab=vocab_size, eos_token=list(stop_ids))


def _library() -> Any:
    try:
        import llguidance
    except ImportError as error:
        raise InputError(
            "A regular expression or a JSON schema for answers needs the package llguidance: "
            'pip install "microtune[constrain]".'
        ) from error
    return llguidance


def _reason(text: str) -> str:
    return " ".join(text.split())[:200].rstrip(".")
