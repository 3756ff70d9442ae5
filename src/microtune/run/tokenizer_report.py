"""How well a tokenizer fits a corpus: fertility by source and language, coverage, and use of its vocabulary.

Counted on the tokens of the corpus themselves, at most two million of each source, so that it costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from microtune.data.store import RaggedStore
from microtune.data.text import Tokenizer
from microtune.data.words import Words
from microtune.recipe import Recipe
from microtune.run.held_out import source_names

LOOKED_AT = 2_000_000  # tokens of each source


def tokenizer_report(recipe: Recipe, tokenizer: Tokenizer, stores: Sequence[RaggedStore]) -> dict[str, Any]:
    """vocabulary, used (share of the ordinary ids that occur), common (ids that make up 99 % of the tokens), and by
    language and source: tokens, tokens_per_word (a Chinese character is a word), bytes_per_token, coverage (share of
    the tokens that are not unknown).
    """
    words, unknown = Words(tokenizer), tokenizer.id("unk")
    counts = np.zeros(len(tokenizer), dtype=np.int64)
    sums: dict[str, np.ndarray[Any, Any]] = {}
    sources = {}
    names = source_names(recipe.data.sources)
    for source, name, store in zip(recipe.data.sources, names, stores, strict=True):
        ids = np.asarray(store.values[:LOOKED_AT], dtype=np.int64)
        counts += np.bincount(ids, minlength=len(counts))
        found = _sums(ids, words, unknown)
        sources[name] = _shares(found)
        language = source.language or "unknown"
        sums[language] = sums.get(language, np.zeros(4)) + found
    ordinary = np.array([bool(piece) for piece in words.surfaces])
    ranked = np.sort(counts[ordinary])[::-1]
    common = int(np.searchsorted(np.cumsum(ranked), 0.99 * ranked.sum())) + 1 if ranked.sum() else 0
    return {
        "vocabulary": len(tokenizer),
        "used": float((counts[ordinary] > 0).mean()) if ordinary.any() else 0.0,
        "common": common,
        "languages": {language: _shares(found) for language, found in sums.items()},
        "sources": sources,
    }


def _sums(ids: np.ndarray[Any, Any], words: Words, unknown: int | None) -> np.ndarray[Any, Any]:
    """Tokens of text, words, bytes, unknown tokens."""
    text = words.bytes[ids] > 0
    lost = ids == unknown if unknown is not None else np.zeros(len(ids), dtype=bool)
    starts = words.starts(ids) & text & ~words.blank[ids]
    return np.array([(text | lost).sum(), starts.sum(), words.bytes[ids].sum(), lost.sum()], dtype=np.float64)


def _shares(found: np.ndarray[Any, Any]) -> dict[str, float]:
    tokens, starts, size, lost = (float(x) for x in found)
    return {
        "tokens": tokens,
        "tokens_per_word": tokens / starts if starts else 0.0,
        "bytes_per_token": size / tokens if tokens else 0.0,
        "coverage": 1 - lost / tokens if tokens else 1.0,
    }
