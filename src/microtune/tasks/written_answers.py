"""What tasks share whose answers are written, and held against the answer of the row (text_scores.py)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from pydantic import Field

from microtune.data.sources import Row
from microtune.tasks.base import Prediction
from microtune.tasks.language_modelling import LikelihoodTask
from microtune.tasks.outcomes import Column, Columns
from microtune.tasks.text_scores import TextScores, Words

SAMPLE = 1000  # answers that are looked at for their script


class WrittenTask(LikelihoodTask):
    """Learnt by likelihood, scored by likelihood and by what the model writes."""

    words: Literal["auto", "13a", "zh", "char"] = Field(
        default="auto", description="how sacrebleu parts the texts into words; auto: by the script of the targets"
    )

    @abstractmethod
    def reference(self, row: Row) -> str:
        """What a row says should be written."""

    def judge(self, answers: Sequence[str], rows: Sequence[Row]) -> dict[str, Column]:
        """The columns of written answers: that they were, the answers, and what `metrics` adds up."""
        if not answers:
            return {}
        texts, there = np.empty(len(answers), dtype=object), np.ones(len(answers), dtype=bool)
        texts[:] = answers
        return {"written": there, "answer": texts, **self._scorer.count(answers, [self.reference(row) for row in rows])}

    def read(self, columns: Columns, index: int) -> Prediction:
        """The sums as numbers, and the answer where one was written."""
        found = super().read(columns, index)
        if "written" not in columns or not columns["written"][index]:
            return found
        return Prediction(columns["answer"][index], 1.0, numbers=found.numbers, row=found.row)

    def metrics(self, found: Sequence[Prediction], weights: Column | None = None) -> dict[str, float]:
        """Those of the likelihood, over all rows; then those of the answers, over the rows that got one."""
        columns = self.columns(found)
        likelihood, times = super().metrics(found, weights), self.times(columns, weights)
        return likelihood | self._scorer.scores(columns, times) if times.any() else likelihood

    def times(self, columns: Columns, weights: Column | None) -> Column:
        """How often the written answer of each row counts: never where there is none."""
        written = columns.get("written", np.zeros(len(columns["row"]), dtype=bool))
        return written * (1.0 if weights is None else weights)

    def details(self, found: Sequence[Prediction]) -> dict[str, Any]:
        """How many rows got a written answer, where it was not all of them."""
        written = self.columns(found).get("written")
        if written is None or written.all():
            return {}
        return {"written": int(written.sum()), "rows": len(written)}

    @property
    def _scorer(self) -> TextScores:
        words: Words = "13a" if self.words == "auto" else self.words
        return _scorers.setdefault(words, TextScores(words))


_scorers: dict[Words, TextScores] = {}  # made once: a bootstrap asks hundreds of times
