"""Written answers to the rows of a split, for tasks that are scored by what the model really generates.

Answers are generated in batches, as `task.decoding` says (greedily by default), from the very ids that stand before the
target in training, and reduced at once to the counts that scores need; of a row its answer and some 150 bytes are kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from microtune.data.batches import Item
from microtune.data.sources import Row
from microtune.errors import InputError
from microtune.run.batched import Question, generate_many
from microtune.run.beams import search_many
from microtune.run.decoding import Decoding
from microtune.run.load import Model
from microtune.run.pieces import ended
from microtune.run.terms import terms_of
from microtune.tasks.base import Encoded, Task
from microtune.tasks.outcomes import Collector, Columns
from microtune.tasks.writing import GREEDY, Writing

AT_ONCE = 256  # rows whose answers are scored together


def settled(task: Task, model: Model) -> Task:
    """A task that knows how this model reads and writes; InputError where the model cannot, and the task has to."""
    task = task.fitted(model.spec)
    if task.needs_decoder:
        _check_writer(task, model)
    return _opened(task, model) if task.opens and model.is_encoder_decoder and not task.only_reads else task


def _check_writer(task: Task, model: Model) -> None:
    """Refuse a model without a decoder, or one whose answers could never end."""
    name = "This model" if model.place is None else model.place.name
    if model.network.decoder is None:
        raise InputError(
            f"{name} only reads: it has no decoder to write a text with, which the task {task.name} needs; take an "
            'encoder-decoder such as T5, or a decoder such as "sprout".'
        )
    if task.writes and not model.text.target.stop_ids:
        raise InputError(f"The tokenizer of {name} has no token that ends a text, so no answer could ever end.")


def _opened(task: Task, model: Model) -> Task:
    """With the ids that stand before whatever the decoder of this model writes."""
    asked = Decoding.of(model.config, model.generation, model.spec.vocab_size)
    bos = model.text.target.id("bos")
    opened = bos is not None and bos != asked.start and model.text.target.encode("a")[:1] == [bos]
    first = asked.first if asked.first is not None else bos if opened else None
    return task.model_copy(update={"start": asked.start, "first": first})


class Answers:
    """The answers to the rows of a split: `fill()`, then `columns`."""

    def __init__(self, model: Model, task: Task, encoded: Encoded, rows: Sequence[Row]) -> None:
        self.model, self.task, self.items, self.rows = model, task, encoded.items, rows
        self._kept = Collector(len(encoded.items))

    @cached_property
    def asked(self) -> Sequence[int]:
        """The items that get an answer."""
        if not self.task.writes:
            return ()
        return self.task.to_answer([self.rows[self.items[i].row] for i in range(len(self.items))])

    @property
    def columns(self) -> Columns:
        """One entry per item, in the order of the items."""
        return self._kept.columns

    def fill(self) -> Iterator[int]:
        """Generate and count; yields how many rows are done. Of a task that is not scored by them, nothing."""
        if not self.task.writes:
            return
        places: list[int] = []
        answers: list[str] = []
        done = 0
        asked = self.asked
        questions = [question_of(self.items[i]) for i in asked]
        longest, options = getattr(self.task, "max_new_tokens", 128), getattr(self.task, "decoding", GREEDY)
        for number, answer in written(self.model, questions, max_new_tokens=longest, options=options):
            places.append(asked[number])
            answers.append(answer)
            if len(places) == AT_ONCE:
                done += self._count(places, answers)
                places, answers = [], []
                yield done
        if places:
            yield done + self._count(places, answers)

    def _count(self, places: list[int], answers: list[str]) -> int:
        rows = [self.rows[self.items[place].row] for place in places]
        self._kept.put(places, self.task.judge(answers, rows))
        return len(places)


def question_of(item: Item) -> Question:
    """What stood before the (last) answer of an item, as ids."""
    readout = np.asarray(item.readout)
    begins = np.flatnonzero(np.diff(readout) != 1)
    first = int(begins[-1]) + 1 if len(begins) else 0
    return Question(item.ids[: int(readout[first]) + 1], item.sources)


Texts = list[tuple[str, float]]  # answers to one question with their scores, the best first


def written(
    model: Model, questions: Sequence[Question], *, max_new_tokens: int, options: Writing = GREEDY
) -> Iterator[tuple[int, str]]:
    """(index, text) of every question, the shortest first."""
    for index, found in written_best(model, questions, max_new_tokens=max_new_tokens, options=options):
        yield index, found[0][0]


def written_best(
    model: Model, questions: Sequence[Question], *, max_new_tokens: int, options: Writing = GREEDY
) -> Iterator[tuple[int, Texts]]:
    """(index, answers) of every question, in any order; only beams score their answers, others have 0."""
    model.vocabulary_head()
    writer = model.text.target
    common: dict[str, Any] = {"max_new_tokens": max_new_tokens, "stop_ids": list(writer.stop_ids)}
    if model.is_encoder_decoder:
        common["asked"] = asked = Decoding.of(model.config, model.generation, model.spec.vocab_size)
        common["stop_ids"] += asked.stops
    common["terms"] = terms_of(options, writer, model.spec.vocab_size, common["stop_ids"])

    def text(ids: Sequence[int]) -> str:
        return ended(writer.decode(ids), options.stops)

    if options.beams > 1:
        for index, beams in search_many(model.network, questions, **common):
            yield index, [(text(f.ids), f.score) for f in beams]
    elif options.answers == 1:
        for index, ids in generate_many(model.network, questions, **common):
            yield index, [(text(ids), 0.0)]
    else:
        count = options.answers
        every = [replace(question, number=n) for question in questions for n in range(count)]
        drawn = dict(generate_many(model.network, every, **common))
        for index in range(len(questions)):
            yield index, [(text(drawn[index * count + n]), 0.0) for n in range(count)]
