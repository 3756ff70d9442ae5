"""Word vectors: skip-gram and continuous bag of words with negative sampling (Mikolov et al., 2013), by gensim.

gensim is in the extra `classic` and imported only to train; asking for neighbours and analogies needs numpy alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from microtune.classic.base import Classic, classics
from microtune.data.word_places import CLOSE
from microtune.errors import InputError, suggest

NO_GENSIM = 'word2vec is trained by gensim, which is not installed; pip install "microtune[classic]" brings it.'
WORD = re.compile(rf"[{CLOSE}]|[^\W{CLOSE}]+(?:['’][^\W{CLOSE}]+)*")
LONGEST = 10_000  # words of one sentence; gensim cuts longer ones without a word


class Word2Vec(Classic):
    """Vectors of words (or tokens) that stand in like contexts: skip-gram or CBOW with negative sampling."""

    name: Literal["word2vec"] = "word2vec"
    variant: Literal["skip-gram", "cbow"] = Field(
        default="skip-gram", description="skip-gram: a word tells its neighbours; cbow: they tell it, quicker"
    )
    unit: Literal["words", "tokens"] = Field(
        default="words",
        description="words in small letters (a Chinese or Japanese sign is one), or tokens of model.tokenizer",
    )
    width: int = Field(default=100, ge=1, le=4096, description="numbers of a vector")
    window: int = Field(default=5, ge=1, description="words to each side that count as neighbours")
    negative: int = Field(default=5, ge=1, description="words drawn as counterexamples for each pair")
    min_count: int = Field(default=5, ge=1, description="rarer words get no vector")
    sample: float = Field(default=1e-3, ge=0, description="words above this share are left out at random")


def words_of(text: str) -> list[str]:
    """Words in small letters; each Chinese or Japanese sign is one."""
    return WORD.findall(text.lower())


class Vectors:
    """Names and their vectors [names, width], with neighbours and analogies by the cosine."""

    def __init__(self, names: Sequence[str], matrix: npt.NDArray[np.float32]) -> None:
        self.names, self.matrix = list(names), matrix
        self.places = {name: place for place, name in enumerate(self.names)}
        lengths = np.linalg.norm(matrix, axis=1, keepdims=True)
        self.unit: npt.NDArray[np.float32] = (matrix / np.where(lengths > 0, lengths, 1.0)).astype(np.float32)

    def __len__(self) -> int:
        return len(self.names)

    def place(self, word: str) -> int:
        """The row of a word, as written or in small letters; InputError where it has none."""
        for form in (word, word.lower()):
            if form in self.places:
                return self.places[form]
        some = suggest(word, self.names) if len(self.names) <= 20 else "It is too rare, or not a word of the corpus."
        raise InputError(f'There is no vector for "{word}". {some}')

    def neighbours(self, word: str, count: int = 10) -> list[tuple[str, float]]:
        """The `count` nearest other words and their cosines, nearest first."""
        place = self.place(word)
        return self._nearest(self.unit[place], {place}, count)

    def analogy(self, a: str, b: str, c: str, count: int = 10) -> list[tuple[str, float]]:
        """Words d for which a is to b as c is to d: nearest to b - a + c, the three left out (3CosAdd)."""
        places = [self.place(word) for word in (a, b, c)]
        aim = self.unit[places[1]] - self.unit[places[0]] + self.unit[places[2]]
        return self._nearest(aim / max(float(np.linalg.norm(aim)), 1e-12), set(places), count)

    def mean(self, text: str) -> npt.NDArray[np.float32]:
        """The mean of the vectors of the words of a text, [width]; zeros where no word has one."""
        places = [self.places[word] for word in words_of(text) if word in self.places]
        return self.matrix[places].mean(0) if places else np.zeros(self.matrix.shape[1], dtype=np.float32)

    def _nearest(self, aim: npt.NDArray[np.float32], without: set[int], count: int) -> list[tuple[str, float]]:
        if count < 1:
            raise InputError(f"count: {count}, but at least one word has to be asked for.")
        cosines = self.unit @ aim
        cosines[list(without)] = -np.inf
        order = np.argsort(-cosines, kind="stable")[: min(count, len(self.names) - len(without))]
        return [(self.names[i], float(cosines[i])) for i in order]


def train(
    sentences: Iterable[Sequence[str]], options: Word2Vec, *, epochs: int, lr: float, seed: int, threads: int = 1
) -> Vectors:
    """Vectors of the words of `sentences` (an iterable that can be gone through again); one thread is repeatable."""
    try:
        from gensim.models import Word2Vec as Trainer
    except ImportError as error:
        raise InputError(NO_GENSIM) from error
    trainer: Any = Trainer(
        sg=int(options.variant == "skip-gram"),
        hs=0,
        vector_size=options.width,
        window=options.window,
        negative=options.negative,
        min_count=options.min_count,
        sample=options.sample,
        alpha=lr,
        min_alpha=min(lr, 1e-4),
        seed=seed,
        workers=threads,
    )
    trainer.build_vocab(sentences)
    if not len(trainer.wv):
        raise InputError(
            f"No word stands {options.min_count} times in the corpus; add text or lower model.classic.min_count."
        )
    trainer.train(sentences, total_examples=trainer.corpus_count, epochs=epochs)
    return Vectors(trainer.wv.index_to_key, trainer.wv.vectors)


def in_pieces(words: Sequence[str]) -> Iterator[list[str]]:
    """A text as sentences that gensim reads whole."""
    for low in range(0, len(words), LONGEST):
        yield list(words[low : low + LONGEST])


classics.add("word2vec", Word2Vec)
