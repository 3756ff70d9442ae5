"""A row becomes several, one for each sentence or for a few that stay together, each with the label of the whole.

For language modelling on single sentences, and for labels that hold for every part of a text (its language, its author,
its subject). A label of the whole (a verdict at the end of a review) is wrong for some of its sentences: this is the
weak labelling of multiple-instance learning (Dietterich et al., 1997), and only a try tells whether it helps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field

from microtune.data.sentences import sentence_places
from microtune.data.sources import Row
from microtune.data.steps.base import RowStep, View, steps
from microtune.errors import InputError

TASKS = ("language-modelling", "classification")
WHY = {  # another task cannot be learnt from parts
    "regression": "a number was given to the whole text",
    "token-labelling": "its labels stand at places in the whole text",
    "question-answering": "its answers stand at places in the whole passage (a long one is read in windows anyway)",
    "multiple-choice": "a question and its options belong together",
    "sequence-to-sequence": "a target belongs to the whole source; align their sentences first",
    "instruction": "an answer belongs to the whole prompt",
    "preference": "the answers belong to the whole prompt",
    "similarity": "the texts of a row belong together as they are",
}
BREAK = " \N{DOWNWARDS ARROW WITH CORNER LEFTWARDS} "  # between rows, in the example of a report


class SentenceRows(RowStep):
    """A row becomes several: one for each sentence, or for a few that stay together."""

    name: Literal["sentence-rows"] = "sentence-rows"
    sentences: int | None = Field(
        default=None, ge=1, description="of one row at most; default: one, or with `most` as many as fit"
    )
    most: int | None = Field(default=None, ge=1, description="characters of one row, where its sentences allow it")

    writes: ClassVar[bool] = True
    replaces: ClassVar[bool] = True

    def choose(self, rows: Sequence[Row], view: View) -> list[Row]:
        if view.task and view.task not in TASKS:
            why = WHY.get(view.task, "its answer belongs to the whole row")
            raise InputError(
                f"data.steps, sentence-rows: not for the task {view.task}: {why}; it is for {' and '.join(TASKS)}."
            )
        if len(view.fields) != 1:
            named = " and ".join(f'"{name}"' for name in view.fields)
            raise InputError(
                f"data.steps, sentence-rows: the task reads {named}, which belong together; leave the step out, or "
                "name the one field whose sentences are rows: {name: sentence-rows, fields: [...]}."
            )
        found: list[Row] = []
        for row in rows:
            found += self._parts(row, view)
        return found

    def _parts(self, row: Row, view: View) -> list[Row]:
        field = view.fields[0]
        text = row.data.get(field)
        pieces = self.pieces(text) if isinstance(text, str) else []
        if len(pieces) < 2:
            return [row]
        if view.report is not None:
            view.report.show(row, str(text), BREAK.join(pieces))
        return [Row({**row.data, field: piece}, row.path, row.line) for piece in pieces]

    def pieces(self, text: str) -> list[str]:
        """The texts of the rows that one becomes; what stands between two sentences of a piece stays as it is."""
        sentences = self.sentences or (1 if self.most is None else len(text))
        found: list[str] = []
        first = last = count = 0
        for start, end in sentence_places(text):
            if count and (count == sentences or (self.most is not None and end - first > self.most)):
                found.append(text[first:last])
                count = 0
            first, last, count = (first if count else start), end, count + 1
        return [*found, text[first:last]] if count else found


steps.add("sentence-rows", SentenceRows)
