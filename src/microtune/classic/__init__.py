"""The language models before the Transformer, one file per idea; those of `model.classic` are entered in one table."""

from microtune.classic import ngram, word2vec
from microtune.classic.base import classics, make_classic

__all__ = ["classics", "make_classic", "ngram", "word2vec"]
