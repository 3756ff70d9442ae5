"""Word vectors: neighbours and analogies by hand-made numbers, words of both languages, training where gensim is."""

from __future__ import annotations

import random
import sys

import numpy as np
import pytest

from microtune.classic.word2vec import Vectors, Word2Vec, train, words_of
from microtune.errors import InputError

NAMES = ["king", "queen", "man", "woman", "apple"]
MATRIX = np.array([[2, 2, 0], [2, 0, 0.1], [0, 3, 0], [0.1, 0.2, 0.1], [0, 0, 5]], dtype=np.float32)


def test_neighbours_are_by_the_cosine() -> None:
    vectors = Vectors(NAMES, MATRIX)
    found = vectors.neighbours("king", 3)
    assert [word for word, _ in found] == ["woman", "man", "queen"]
    wanted = [0.6 / np.sqrt(8) / np.sqrt(0.06), np.sqrt(0.5), 4 / np.sqrt(8) / np.sqrt(4.01)]
    assert [cosine for _, cosine in found] == pytest.approx(wanted, abs=1e-6)
    assert len(vectors.neighbours("King", 99)) == 4
    with pytest.raises(InputError, match=r'There is no vector for "kings"\. Did you mean "king"'):
        vectors.neighbours("kings")
    with pytest.raises(InputError, match="count: 0"):
        vectors.neighbours("king", 0)


def test_an_analogy_is_the_nearest_to_b_minus_a_plus_c() -> None:
    vectors = Vectors(NAMES, MATRIX)
    unit = MATRIX / np.linalg.norm(MATRIX, axis=1, keepdims=True)
    aim = unit[1] - unit[0] + unit[2]
    wanted = {i: unit[i] @ aim / np.linalg.norm(aim) for i in (3, 4)}
    found = vectors.analogy("king", "queen", "man")
    assert [word for word, _ in found] == [NAMES[i] for i in sorted(wanted, key=lambda i: -wanted[i])]
    assert found[0][1] == pytest.approx(max(wanted.values()), abs=1e-6)


def test_words_of_both_languages() -> None:
    assert words_of("Don't stop: the café's 42 cats!") == ["don't", "stop", "the", "café's", "42", "cats"]
    assert words_of("退款ABC还没到") == ["退", "款", "abc", "还", "没", "到"]
    vectors = Vectors(NAMES, MATRIX)
    assert vectors.mean("The king, the QUEEN").tolist() == pytest.approx([2.0, 1.0, 0.05])
    assert vectors.mean("nothing here").tolist() == [0, 0, 0]


def test_without_gensim_one_sentence_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gensim.models", None)
    with pytest.raises(
        InputError, match=r'gensim, which is not installed; pip install "microtune\[classic\]" brings it'
    ):
        train([["a"]], Word2Vec(), epochs=1, lr=0.025, seed=0)


@pytest.mark.parametrize("variant", ["skip-gram", "cbow"])
def test_words_of_like_contexts_come_together(variant: str) -> None:
    """Ten words of two kinds, each kind with contexts of its own; all five nearest are of the same kind."""
    pytest.importorskip("gensim")
    draw = random.Random(0)
    kinds = {"x": [f"x{i}" for i in range(5)], "y": [f"y{i}" for i in range(5)]}
    around = {"x": ["red", "green", "blue"], "y": ["one", "two", "three"]}
    sentences = []
    for _ in range(3000):
        kind = draw.choice("xy")
        sentences.append([draw.choice(around[kind]), draw.choice(kinds[kind]), draw.choice(around[kind])])
    options = Word2Vec.model_validate({"variant": variant, "width": 16, "window": 2, "min_count": 1, "sample": 0})
    vectors = train(sentences, options, epochs=5, lr=0.05, seed=1)
    again = train(sentences, options, epochs=5, lr=0.05, seed=1)
    assert np.array_equal(vectors.matrix, again.matrix)
    assert vectors.matrix.shape == (16, 16)
    for kind, words in kinds.items():
        for word in words:
            assert {name for name, _ in vectors.neighbours(word, 7) if name[0] in "xy"} <= set(kinds[kind]), word
    with pytest.raises(InputError, match="No word stands 99 times in the corpus"):
        train([["a"]], Word2Vec(min_count=99), epochs=1, lr=0.025, seed=0)
