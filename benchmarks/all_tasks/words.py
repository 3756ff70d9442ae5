"""TF-IDF as the classic baselines use it: words and pairs of words; of Chinese up to three characters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def vectorizer(texts: Iterable[str], *, chinese: bool) -> Any:
    """Fitted on `texts`; its vectors have length 1."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    analyzer, grams = ("char", (1, 3)) if chinese else ("word", (1, 2))
    pattern = {} if chinese else {"token_pattern": r"(?u)\b\w+\b"}
    return TfidfVectorizer(analyzer=analyzer, ngram_range=grams, sublinear_tf=True, **pattern).fit(texts)


def cosines(one: Any, other: Any) -> Any:
    """The cosine of each row of `one` with the same row of `other`, both sparse."""
    import numpy as np

    return np.asarray(one.multiply(other).sum(axis=1)).ravel()
