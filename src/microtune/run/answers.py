"""Written answers to the rows of a split, for tasks that are scored by what the model really generates.

Answers are generated greedily in batches, from the very ids that stand before the target in training, and reduced at
once to the counts that scores need; of a row its answer and some 150 bytes are kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from microtune.data.batches import Item
from microtune.data.sources import Row
from microtune.errors import InputError
from microtune.run.batched import Question, generate_many
from microtune.run.beam import beam_search
from microtune.run.decoding import Decoding
from microtune.run.load import Model
from microtune.tasks.base import Encoded, Task
from microtune.tasks.outcomes import Collector, Columns
from microtune.tasks.sequence_to_sequence import SequenceToSequence

AT_ONCE = 256  # rows whose answers are scored together


def settled(task: Task, model: Model) -> Task:
    """A task that knows how this model reads and writes; InputError where the model cannot write."""
    if not isinstance(task, SequenceToSequence):
        return task
    name = "This model" if model.place is None else model.place.name
    if model.network.decoder is None:
        raise InputError(
            f"{name} only reads: it has no decoder to write a text with, which the task {task.name} needs; take an "
            'encoder-decoder such as T5, or a decoder such as "sprout".'
        )
    if not model.text.target.stop_ids:
        raise InputError(f"The tokenizer of {name} has no token that ends a text, so no answer could ever end.")
    if not model.is_encoder_decoder:
        return task.model_copy(update={"form": "decoder"})
    asked = Decoding.of(model.config, model.generation, model.spec.vocab_size)
    bos = model.text.target.id("bos")
    opened = bos is not None and bos != asked.start and model.text.target.encode("a")[:1] == [bos]
    first = asked.first if asked.first is not None else bos if opened else None
    return task.model_copy(update={"form": "encoder-decoder", "start": asked.start, "first": first})


class Answers:
    """The answers to the rows of a split: `fill()`, then `columns`."""

    def __init__(self, model: Model, task: Task, encoded: Encoded, rows: Sequence[Row]) -> None:
        self.model, self.task, self.items, self.rows = model, task, encoded.items, rows
        self._kept = Collector(len(encoded.items))

    @property
    def columns(self) -> Columns:
        """One entry per item, in the order of the items."""
        return self._kept.columns

    def fill(self) -> Iterator[int]:
        """Generate and count; yields how many rows are done. Of a task that reads no generated text, nothing."""
        if self.task.reads != "generation":
            return
        places: list[int] = []
        answers: list[str] = []
        done = 0
        questions = [question_of(self.items[i]) for i in range(len(self.items))]
        for place, answer in written(self.model, questions, **how_to_write(self.task)):
            places.append(place)
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
    """What stood before the answer of an item, as ids."""
    return Question(item.ids[: int(item.readout[0]) + 1], item.sources)


def how_to_write(task: Task) -> dict[str, Any]:
    """The options of `written` that a task sets."""
    if not isinstance(task, SequenceToSequence):
        return {"max_new_tokens": getattr(task, "max_new_tokens", 128)}
    return {"max_new_tokens": task.max_new_tokens, "beams": task.beams, "penalty": task.length_penalty}


def written(
    model: Model, questions: Sequence[Question], *, max_new_tokens: int, beams: int = 1, penalty: float = 1.0
) -> Iterator[tuple[int, str]]:
    """(index, text) of every question, the shortest first where one beam writes; penalty: see run/beam.py."""
    model.vocabulary_head()
    writer = model.text.target
    asked = None
    stops = list(writer.stop_ids)
    if model.is_encoder_decoder:
        asked = Decoding.of(model.config, model.generation, model.spec.vocab_size)
        stops += asked.stops
    if beams > 1:
        options: dict[str, Any] = {"max_new_tokens": max_new_tokens, "stop_ids": stops, "asked": asked}
        for index, question in enumerate(questions):
            best = beam_search(model.network, question, beams=beams, penalty=penalty, **options)
            yield index, writer.decode(list(best[0].ids)) if best else ""
        return
    found = generate_many(model.network, questions, max_new_tokens=max_new_tokens, stop_ids=stops, asked=asked)
    for index, ids in found:
        yield index, writer.decode(ids)
