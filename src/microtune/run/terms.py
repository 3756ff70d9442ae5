"""From the options of an answer to what the search for it needs: a rule over ids, and an end that a text marks."""

from __future__ import annotations

from collections.abc import Sequence

from microtune.data.text import Tokenizer
from microtune.run.picking import Terms
from microtune.run.pieces import first_stop
from microtune.run.rules import OneOf, Rule
from microtune.tasks.writing import Writing


def terms_of(options: Writing, tokenizer: Tokenizer | None, vocab_size: int, stop_ids: Sequence[int]) -> Terms:
    """`tokenizer` writes the answers; only stop texts and rules need it."""
    if tokenizer is None or not options.is_bound:
        return Terms(options)
    stops = options.stops
    reach = 4 * max(map(len, stops), default=0) + 8  # tokens: a character has at most four bytes, a token at least one

    def at_end(new: Sequence[int]) -> bool:
        return first_stop(tokenizer.decode(new[-reach:]), stops) is not None

    rule = _rule(options, tokenizer, vocab_size, list(dict.fromkeys(stop_ids)))
    return Terms(options, rule, at_end if stops else None)


def _rule(options: Writing, tokenizer: Tokenizer, vocab_size: int, stop_ids: Sequence[int]) -> Rule | None:
    if options.labels:
        rows = [tokenizer.encode(text, special=False) for text in options.labels]
        return OneOf(rows, stop_ids, vocab_size)
    if options.regex is None and options.json_schema is None:
        return None
    from microtune.run.automata import automaton

    return automaton(tokenizer, vocab_size, stop_ids, regex=options.regex, schema=options.json_schema)
