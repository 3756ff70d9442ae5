"""The held-out text of a corpus: read and encoded once, scored by source and by language, during pretraining and after.

Every score is bits per byte where the objective defines it, else what stands for it (tasks/objectives.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np

from microtune.data.corpus import documents
from microtune.data.sources import Row
from microtune.data.text import Tokenizer
from microtune.nn.transformer import Transformer
from microtune.recipe import Recipe, Source
from microtune.run.evaluate import confidence_intervals, evaluate_items
from microtune.run.folder import RunFolder
from microtune.run.session import Scored
from microtune.run.train import Step, Training
from microtune.tasks.base import Encoded
from microtune.tasks.language_modelling import LanguageModelling
from microtune.tasks.outcomes import Columns, Outcomes

Event = TypeVar("Event")
CHARACTERS = 200_000  # of each source


class HeldOut:
    """What no source trains on. loss: of all its tokens at the last scoring, by which two sets of weights compare."""

    def __init__(self, recipe: Recipe, task: LanguageModelling, tokenizer: Tokenizer) -> None:
        self.recipe, self.tokenizer = recipe, tokenizer
        self.task = task.model_copy(update={"text_field": "text"})
        self.sources = [source for source in recipe.data.sources if source.held_out]
        self.loss = float("inf")

    @cached_property
    def encoded(self) -> list[Encoded]:
        """The items of every source that names held-out text, of at most 200,000 characters of each."""
        size = self.recipe.data.block_size
        rows = (self._rows(source) for source in self.sources)
        return [self.task.encode_all(found, self.tokenizer, size, training=False) for found in rows]

    def scores(self, network: Transformer, step: int, *, intervals: bool = True) -> Iterator[Scored]:
        """Of every source; then of every language that several sources have, over all their text."""
        found: list[Columns] = []
        for source, encoded in zip(self.sources, self.encoded, strict=True):
            score = evaluate_items(network, self.task, encoded, precision="float32", intervals=intervals)
            found.append(score.predictions.columns)
            name = source_name(source)
            yield Scored(
                f"{name} ({source.language})" if source.language else name, step, score.values, score.intervals
            )
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

    def _rows(self, source: Source) -> list[Row]:
        rows: list[Row] = []
        room = CHARACTERS
        for text in documents(source, self.recipe.data, self.recipe.limits, source.held_out):
            rows.append(Row({"text": text[:room]}, source.held_out, len(rows) + 1))
            room -= len(text)
            if room <= 0:
                break
        return rows


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


def source_name(source: Source) -> str:
    """What a source is called in reports."""
    return source.name or Path(source.path).parent.name or Path(source.path).name.partition(".")[0]
