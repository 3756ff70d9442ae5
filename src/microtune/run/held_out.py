"""The held-out text of a corpus: read and encoded once, scored by source and by language, during pretraining and after.

Every score is bits per byte where the objective defines it, else what stands for it (tasks/objectives.py).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from microtune.data.corpus import documents, is_chat
from microtune.data.text import Tokenizer
from microtune.nn.transformer import Transformer
from microtune.recipe import Recipe, Source
from microtune.run.evaluate import Score, confidence_intervals, evaluate_items
from microtune.run.folder import RunFolder
from microtune.run.session import Scored
from microtune.run.train import Step, Training
from microtune.tasks.base import Encoded, EncodingReport
from microtune.tasks.language_modelling import LanguageModelling, framed, row_items
from microtune.tasks.objectives import encode_hidden
from microtune.tasks.outcomes import Columns, Outcomes

Event = TypeVar("Event")
CHARACTERS = 200_000  # of each source


class Texts(NamedTuple):
    """Texts in tokens, each between the marks of a document, and how many bytes each has."""

    ids: list[list[int]]
    bytes: list[int]


class HeldOut:
    """What no source trains on. loss: of all its tokens at the last scoring, by which two sets of weights compare."""

    def __init__(self, recipe: Recipe, task: LanguageModelling, tokenizer: Tokenizer) -> None:
        self.recipe, self.tokenizer = recipe, tokenizer
        self.task = task.model_copy(update={"text_field": "text"})
        named = zip(recipe.data.sources, source_names(recipe.data.sources), strict=True)
        self.names, self.sources = [], []  # of the sources that have held-out text
        for source, name in named:
            if source.held_out:
                self.names.append(f"{name} ({source.language})" if source.language else name)
                self.sources.append(source)
        self.loss = float("inf")

    @cached_property
    def texts(self) -> list[Texts]:
        """What every source that names held-out text gives: about 200,000 characters of each."""
        return [self._read(source) for source in self.sources]

    @cached_property
    def encoded(self) -> list[Encoded]:
        """The same as items of the task."""
        return [self._encode(texts) for texts in self.texts]

    def scores(self, network: Transformer, step: int, *, intervals: bool = True) -> Iterator[Scored]:
        """Of every source; then of every language that several sources have, over all their text."""
        scores = (
            evaluate_items(network, self.task, encoded, precision="float32", intervals=intervals)
            for encoded in self.encoded
        )
        return self.gathered(scores, step, intervals=intervals)

    def gathered(self, scores: Iterable[Score], step: int, *, intervals: bool = True) -> Iterator[Scored]:
        """The scores of every source, in their order, and what follows from them for the languages."""
        found: list[Columns] = []
        for name, score in zip(self.names, scores, strict=True):
            found.append(score.predictions.columns)
            yield Scored(name, step, score.values, score.intervals)
        for language in dict.fromkeys(source.language for source in self.sources if source.language):
            parts = [c for c, source in zip(found, self.sources, strict=True) if source.language == language]
            if len(parts) > 1:
                together = self._together(parts)
                values = self.task.metrics(together)
                limits = confidence_intervals(self.task, together, values) if intervals else {}
                yield Scored(f"all {language}", step, values, limits)
        if found:
            self.loss = self.task.metrics(self._together(found))["loss"]

    def _together(self, parts: list[Columns]) -> Outcomes:
        """Outcomes of several sources as one, whose rows stay apart."""
        columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        first = np.cumsum([0, *(int(part["row"].max(initial=-1)) + 1 for part in parts)])
        columns["row"] = np.concatenate([part["row"] + n for part, n in zip(parts, first, strict=False)])
        return Outcomes(columns, self.task.read)

    def _read(self, source: Source) -> Texts:
        """Of every text its beginning; dialogues with their marks as the tokens that training gives for them."""
        tokenizer = self.tokenizer
        texts = list(documents(source, self.recipe.data, self.recipe.limits, source.held_out))
        share = min(1.0, CHARACTERS / sum(map(len, texts)))
        texts = [text[: math.ceil(share * len(text))] for text in texts]
        ids = [framed(tokenizer, i) for i in tokenizer.encode_many(texts, special=False, parse=is_chat(source))]
        return Texts(ids, [len(text.encode()) for text in texts])

    def _encode(self, texts: Texts) -> Encoded:
        size = self.recipe.data.block_size
        if self.task.objective != "causal":
            return encode_hidden(self.task, self.task.objective, texts.ids, self.tokenizer, size)
        rows = enumerate(zip(texts.ids, texts.bytes, strict=True))
        items = [item for row, (ids, count) in rows for item in row_items(ids, size, row, count)]
        report = EncodingReport(rows=len(texts.ids))
        for item in items:
            report.add(item)
        return Encoded(items, report)


def learnt_before(recipe: Recipe) -> list[str]:
    """A note for each held-out text that is a file which the model learns from."""
    folder = Path(recipe.data.folder or "")
    learnt = {(folder / source.path).resolve() for source in recipe.data.sources}
    return [
        f"The held-out text of {name} is a file that the model learns from ({source.held_out}), so its scores say "
        "nothing about new text."
        for source, name in zip(recipe.data.sources, source_names(recipe.data.sources), strict=True)
        if source.held_out and (folder / source.held_out).resolve() in learnt
    ]


def watched(
    events: Iterable[Event], held_out: HeldOut, training: Training, folder: RunFolder, every: int
) -> Iterator[Event | Scored]:
    """The events of a training, and after every `every` tokens the scores of held-out text, noted as metrics."""
    each = training.settings.batch_size * np.mean(training.sizes)
    for event in events:
        yield event
        if (
            isinstance(event, Step)
            and every
            and int(event.step * each // every) > int((event.step - 1) * each // every)
        ):
            for scored in held_out.scores(training.model, event.step, intervals=False):
                values = {"tokens": int(event.step * each), **scored.values}
                folder.write_metric("score", {"split": scored.split, "step": scored.step, **values})
                yield scored


def source_names(sources: Sequence[Source]) -> list[str]:
    """What each source is called in reports; those that would be called alike are told apart by file and number."""
    names = [s.name or Path(s.path).parent.name or Path(s.path).name.partition(".")[0] for s in sources]
    names = [n if names.count(n) == 1 else f"{n}/{Path(s.path).name}" for n, s in zip(names, sources, strict=True)]
    return [n if names.count(n) == 1 else f"{n} {names[: i + 1].count(n)}" for i, n in enumerate(names)]
