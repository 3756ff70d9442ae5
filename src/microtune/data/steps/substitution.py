"""Further copies of rows in which a masked model has put other words in the place of some.

Words are hidden, and what a model of the BERT kind guesses there takes their place (Kobayashi, 2018; Kumar et al.,
2020; TinyBERT: Jiao et al., 2020, who hide one word after the other and fall back to word vectors). Here some words of
a text are hidden at once, never two neighbours, and the model is used as it is: it knows no labels, so that "good" may
become "bad". The model belongs to no task; whoever runs the steps hands in how it is asked.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

from pydantic import Field

from microtune.data.sources import Row
from microtune.data.steps.base import RowStep, View, steps
from microtune.data.word_places import word_places
from microtune.errors import InputError

LEAST = 3  # words of a text that is changed
AT_ONCE = 256  # rows whose words are asked for together
Place = tuple[int, int]  # of a word: start and end, in characters
Guesses = list[tuple[str, float]]  # words with their probabilities, the likeliest first


class Guesser(Protocol):
    """A masked model: what could stand at these places of these texts, at most so many words each."""

    def __call__(self, texts: Sequence[str], places: Sequence[Sequence[Place]], most: int) -> list[list[Guesses]]: ...

    @property
    def cost(self) -> str:
        """What it has taken so far, in words."""


@dataclass(frozen=True)
class Question:
    """One text of a copy that is to be made, and the words that are hidden."""

    copy: int
    field: str
    text: str
    places: list[Place]


class Substitute(RowStep):
    """Further copies of rows with some words replaced by what a masked model guesses in their place."""

    name: Literal["substitute"] = "substitute"
    model: str = Field(min_length=1, description="masked model of the BERT kind: a folder, a run or a hub id")
    rate: float = Field(default=0.15, gt=0, le=0.5, description="share of the words (of Chinese: characters)")
    copies: int = Field(default=1, ge=1, le=10, description="of each row")
    candidates: int = Field(default=10, ge=1, le=1000, description="likeliest words from which one is drawn")

    writes: ClassVar[bool] = True

    def choose(self, rows: Sequence[Row], view: View) -> list[Row]:
        if view.guesser is None:
            raise InputError("The step substitute needs a model, and nothing here can ask one.")
        guesser, words, made = view.guesser(self.model), 0, []
        for first in range(0, len(rows), AT_ONCE):
            part = [row for row in rows[first : first + AT_ONCE] for _ in range(self.copies)]
            asked = [one for copy, row in enumerate(part) for one in self._questions(copy, row, view)]
            guesses = guesser([one.text for one in asked], [one.places for one in asked], self.candidates)
            new: dict[int, dict[str, Any]] = {}
            for one, found in zip(asked, guesses, strict=True):
                text, count = self._written(one, found, view.random)
                words += count
                if count:
                    new.setdefault(one.copy, {})[one.field] = text
                    if view.report is not None:
                        view.report.show(part[one.copy], one.text, text)
            made += [
                Row({**part[copy].data, **fields}, part[copy].path, part[copy].line) for copy, fields in new.items()
            ]
        if view.report is not None:
            view.report.remark = f"{words:,} words replaced; {guesser.cost}."
        return [*rows, *made]

    def _questions(self, copy: int, row: Row, view: View) -> list[Question]:
        """The words to hide in each text of a row."""
        found = []
        for field in view.fields:
            text = row.data.get(field)
            places = [p for p in word_places(text) if _is_word(text[p[0] : p[1]])] if isinstance(text, str) else []
            if len(places) < LEAST:
                continue
            chosen: set[int] = set()
            for i in view.random.sample(range(len(places)), len(places)):
                if not {i - 1, i + 1} & chosen:
                    chosen.add(i)
                if len(chosen) >= max(1, round(self.rate * len(places))):
                    break
            found.append(Question(copy, field, str(text), [places[i] for i in sorted(chosen)]))
        return found

    def _written(self, asked: Question, guesses: Sequence[Guesses], rng: random.Random) -> tuple[str, int]:
        """The text with other words, and how many; a guess that is the word itself is no change."""
        pieces, last, count = [], 0, 0
        for (start, end), found in zip(asked.places, guesses, strict=True):
            old = asked.text[start:end]
            others = [(word, p) for word, p in found if _fits(word, old)]
            if not others:
                continue
            (word,) = rng.choices([word for word, _ in others], [p for _, p in others])
            pieces += [asked.text[last:start], _cased(word, old)]
            last, count = end, count + 1
        return "".join([*pieces, asked.text[last:]]), count


def _is_word(text: str) -> bool:
    return text[0].isalpha()


def _is_wide(text: str) -> bool:
    return text[0] >= "\u2e80"


def _fits(word: str, old: str) -> bool:
    """Whether a guess is one other word of the same script: a Chinese character for one, else letters."""
    alike = word.casefold() == old.casefold()
    return not alike and word.isalpha() and _is_wide(word) == _is_wide(old) and (len(word) == 1 or not _is_wide(word))


def _cased(word: str, old: str) -> str:
    if old.isupper() and len(old) > 1:
        return word.upper()
    return word[0].upper() + word[1:] if old[0].isupper() else word


GuesserOf = Callable[[str], Guesser]

steps.add("substitute", Substitute)
