"""Question answering: the answer to a question is a piece of its passage, or the passage has none.

The model reads question and passage together; a head scores every token of the passage as beginning and as end of the
answer (Rajpurkar et al., 2016; Devlin et al., 2019). A long passage is read in windows that overlap, and the window
that is surest gives the answer. "No answer" has a token of its own: the first one, or the last one of a model that
reads forward only. How much surer than it an answer must be is settled on validation (Rajpurkar et al., 2018).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple, Self

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from microtune.data.batches import Batch, Item
from microtune.data.decode import shown
from microtune.data.fields import find_field, text_of
from microtune.data.sources import Row
from microtune.data.text import Tokenizer, Window
from microtune.errors import InputError, at
from microtune.nn.own_heads import PlaceHead
from microtune.nn.spec import ModelSpec
from microtune.tasks.answer_scores import Words, answer_scores
from microtune.tasks.base import Encoded, EncodingReport, Prediction, Task, paired_rows, rows_of, tasks
from microtune.tasks.figures import once
from microtune.tasks.outcomes import Column, Columns, Outcomes
from microtune.tasks.passages import Answer, answers_of, asked, guesses, locate
from microtune.tasks.scoring import store_of, wide
from microtune.tasks.text_scores import words_of

SHOWN = 5  # answers that are named because they do not stand in their passage
NUMBERS = ("margin", "exact", "f1", "answerable", "loss", "start", "end")


class Asked(NamedTuple):
    """What an item knows beside its ids: the passage, the places of its tokens in it, and the right answers."""

    context: str
    places: list[tuple[int, int]]
    golds: tuple[str, ...] | None  # None: nobody says
    guesses: list[float]  # F1 of answers that need no model


class QuestionAnswering(Task):
    """The answer to a question as a piece of its passage (extractive)."""

    name: Literal["question-answering"] = "question-answering"
    question_field: str | None = Field(default=None, description="field with the question; default: found by its name")
    context_field: str | None = Field(default=None, description="field with the passage; default: found by its name")
    label_field: str | None = Field(default=None, description="field with the answers; default: found by its name")
    overlap: int = Field(default=64, ge=0, description="tokens that two windows on a long passage have in common")
    max_answer_tokens: int = Field(default=100, ge=1, description="tokens that an answer may have")
    words: Literal["auto", "en", "zh"] = Field(
        default="auto",
        description="what F1 counts: words, or characters for Chinese; auto: by the script of the answers",
    )
    separator: str = Field(default="\n", min_length=1, max_length=100, description="behind each text, for a decoder")
    joined: Literal["auto", "types", "template", "separator"] = Field(
        default="auto", description="how question and passage become one; default: as the tokenizer joins two texts"
    )
    empty_at: Literal["auto", "first", "last"] = Field(default="auto", description="the token that says: no answer")
    unanswerable: bool = Field(default=False, description="whether some questions have no answer; found in the data")
    threshold: float = Field(default=0.0, description="how much surer than no answer; settled on validation")
    choose: Literal["f1", "exact_match", "loss"] = Field(default="f1", description="metric for the best weights")

    reads: ClassVar[Literal["hidden"]] = "hidden"
    primary: ClassVar[str] = "f1"

    def prepare(self, splits: Mapping[str, Sequence[Row]], *, text_field: str | None, label_field: str | None) -> Self:
        """Find the fields; read the answers of every split."""
        rows = list(splits["train"])
        answer = find_field(rows, "answer", label_field or self.label_field, flag="--label-field")
        question = find_field(
            rows, "question", text_field or self.question_field, exclude=[answer], flag="--text-field"
        )
        context = find_field(
            rows, "context", self.context_field, exclude=[answer, question], flag="task.context_field="
        )
        fields = {"question_field": question, "context_field": context, "label_field": answer}
        task = self.model_copy(update=fields)
        known = {name: [answers_of(row, answer) for row in part] for name, part in splits.items()}
        for part in splits.values():
            for row in part:
                text_of(row, question), text_of(row, context)
        if not any(known["train"]):
            raise InputError(f"{at(rows[0].path)}: no training row has an answer; there is nothing to learn.")
        words = self.words
        if words == "auto":
            sample = [a.text for answers in known["train"][:1000] for a in answers[:1]]
            words = "en" if words_of(sample) == "13a" else "zh"
        empty = self.unanswerable or any(not answers for part in known.values() for answers in part)
        return task.model_copy(update={"words": words, "unanswerable": empty})

    def remarks(self, splits: Mapping[str, Sequence[Row]]) -> list[str]:
        """Fields, and questions without an answer."""
        notes = [
            f'"{self.question_field}" is asked of "{self.context_field}"; right is what "{self.label_field}" says.'
        ]
        none = sum(not answers_of(row, self.label_field or "") for row in splits["train"])
        return notes + ([f"{none} of {len(splits['train'])} training questions have no answer."] if none else [])

    def copy_key(self) -> Any:
        """Question and passage."""
        names = (self.question_field or "", self.context_field or "")
        return lambda row: "\n".join(str(row.data.get(name, "")) for name in names)

    def group_key(self) -> Any:
        """The questions of one passage stay together."""
        name = self.context_field or ""
        return lambda row: str(row.data.get(name, ""))

    def text_rows(self, texts: Sequence[Any]) -> list[Row]:
        """Texts two by two, a question and its passage."""
        names = (self.question_field or "question", self.context_field or "context")
        wanted = "This model answers a question from a passage: give two texts for each, first the question."
        return paired_rows(texts, names, wanted)

    def check_ready(self, where: str) -> None:
        """Fields, and what depends on the model."""
        if not self.question_field or not self.context_field or "auto" in (self.empty_at, self.joined):
            raise InputError(f"{where}: the task does not name its fields, or not how its model reads.")

    def check_rows(self, rows: Sequence[Row]) -> None:
        """Every row has answers, or says that there is none."""
        for row in rows:
            answers_of(row, self.label_field or "answers")

    def fitted(self, spec: ModelSpec) -> Self:
        """A model that reads forward only knows at the last token alone whether there is an answer."""
        causal = spec.decoder is not None
        found = {"empty_at": "last" if causal else "first"} if self.empty_at == "auto" else {}
        if self.joined == "auto":
            found["joined"] = "separator" if causal else "types" if (spec.token_types or 0) > 1 else "template"
        return self.model_copy(update=found)

    def make_head(self, spec: ModelSpec) -> nn.Module:
        """Beginning and end, for every token of the passage."""
        return PlaceHead(spec, 2)

    def encode_all(self, rows: Sequence[Row], tokenizer: Tokenizer, max_length: int, *, training: bool) -> Encoded:
        """An item for each window; a training row whose answer does not stand in its passage is left out and named."""
        report = EncodingReport(rows=len(rows))
        items: list[Item] = []
        missing: list[tuple[Row, Answer]] = []
        windows = 0
        for index, row in enumerate(rows):
            answers = None if self.label_field is None else answers_of(row, self.label_field)
            context = text_of(row, self.context_field or "context")
            places = [locate(context, answer) for answer in answers or ()]
            if answers and not any(places):
                missing.append((row, answers[0]))
                if training:
                    continue
            golds = None if answers is None else tuple(answer.text for answer in answers)
            found = self._windows(row, context, tokenizer, max_length)
            windows += len(found) > 1
            first = next((place for place in places if place), None)
            scored = [] if training or golds is None else self._guesses(context, golds)
            for window in found:
                item = self._item(window, Asked(context, window.places, golds, scored), first, index)
                items.append(item)
                report.add(item)
        report.remarks += _remarks(missing, len(rows), windows, max_length, training=training)
        return Encoded(items, report)

    def _windows(self, row: Row, context: str, tokenizer: Tokenizer, max_length: int) -> list[Window]:
        question = text_of(row, self.question_field or "question")
        separator = self.separator if self.joined == "separator" else None
        found = tokenizer.encode_windows(question, context, max_length, self.overlap, separator)
        if not found[0].places or len(found[0].ids) > max_length:
            raise InputError(
                f"{at(row.path, row.line)}: {max_length} tokens leave no room for a passage beside a question."
            )
        return found

    def _item(self, window: Window, known: Asked, answer: tuple[int, int] | None, row: int) -> Item:
        passage = np.arange(window.start, window.start + len(window.places))
        first = self.empty_at == "first"
        readout = np.concatenate([[0], passage] if first else [passage, [len(window.ids) - 1]])
        targets: list[int] = []
        if known.golds is not None:
            none = 0 if first else len(passage)
            targets = [none, none]
            tokens = None if answer is None else _tokens(window.places, *answer)
            if tokens is not None:
                targets = [tokens[0] + first, tokens[1] + first]
        types = window.types if self.joined == "types" and any(window.types) else []
        return Item(window.ids, readout, targets, types=types, extra=known, row=row)  # type: ignore[arg-type]

    def chosen_by(self) -> tuple[str, bool]:
        """`choose`."""
        return self.choose, self.choose != "loss"

    def weight(self, item: Item) -> int:
        """One per window."""
        return 1

    def loss(self, head: nn.Module, hidden: Tensor, batch: Batch) -> tuple[Tensor, int]:
        """Cross-entropy of beginning and end among the tokens of each window, their mean."""
        scores = wide(head(hidden, batch.counts)).split(batch.counts.tolist())
        targets = batch.targets.view(-1, 2)
        losses = [F.cross_entropy(s.T, t, reduction="sum") for s, t in zip(scores, targets, strict=True)]
        return torch.stack(losses).sum() / 2, len(batch.items)

    def measure(
        self, head: nn.Module, hidden: Tensor, batch: Batch, tallies: dict[str, Column] | None = None
    ) -> Columns:
        """The best answer of each window, how much surer it is than none, and its scores."""
        scores = wide(head(hidden, batch.counts)).cpu().numpy().astype(np.float64)
        parts = np.split(scores, np.cumsum(batch.counts.cpu().numpy())[:-1])
        found = [self._judge(item, part) for item, part in zip(batch.items, parts, strict=True)]
        answers = np.empty(len(found), dtype=object)
        answers[:] = [answer for answer, _ in found]
        numbers = np.array([numbers for _, numbers in found], dtype=np.float64)
        columns = {"row": rows_of(batch), "answer": answers} | {n: numbers[:, k] for k, n in enumerate(NUMBERS)}
        if all(item.extra.guesses for item in batch.items):
            columns["guesses"] = np.array([item.extra.guesses for item in batch.items], dtype=np.float32)
        if tallies is not None:
            for name in ("row", "margin", "exact", "f1", "answerable"):
                tallies[name] = np.concatenate([tallies[name], columns[name]]) if name in tallies else columns[name]
        return columns

    def _guesses(self, context: str, golds: tuple[str, ...]) -> list[float]:
        words: Words = "zh" if self.words == "zh" else "en"
        return [answer_scores(g, golds, words)[1] if g else 0.0 for g in guesses(context)]

    def _judge(self, item: Item, scores: Column) -> tuple[str, tuple[float, ...]]:
        known: Asked = item.extra
        first = self.empty_at == "first"
        none, tokens = (scores[0], scores[1:]) if first else (scores[-1], scores[:-1])
        start, end, best = best_span(tokens[:, 0], tokens[:, 1], self.max_answer_tokens)
        answer, place = _text(known, start, end)
        margin = best - float(none.sum())
        if known.golds is None:
            return answer, (margin, math.nan, math.nan, math.nan, math.nan, *place)
        exact, f1 = answer_scores(answer, known.golds, "zh" if self.words == "zh" else "en")
        logs = scores - np.logaddexp.reduce(scores, axis=0)
        loss = -float(logs[int(item.targets[0]), 0] + logs[int(item.targets[1]), 1]) / 2
        return answer, (margin, exact, f1, float(bool(known.golds)), loss, *place)

    def read(self, columns: Columns, index: int) -> Prediction:
        """The answer of a window; "" where there is none."""
        numbers = {name: float(columns[name][index]) for name in NUMBERS}
        margin = numbers["margin"]
        sure = 1 / (1 + math.exp(-max(-500.0, min(500.0, margin - self.threshold))))
        answered = not self.unanswerable or margin > self.threshold
        answer = columns["answer"][index] if answered else ""
        scores = {"answer": sure, "no answer": 1 - sure} if self.unanswerable else {}
        return Prediction(answer, sure if answered else 1 - sure, None, scores, numbers, int(columns["row"][index]))

    def together(self, found: Sequence[Prediction]) -> list[Prediction]:
        """The surest window of each row."""
        best: dict[int, Prediction] = {}
        for prediction in found:
            if prediction.row not in best or prediction.numbers["margin"] > best[prediction.row].numbers["margin"]:
                best[prediction.row] = prediction
        return [best[row] for row in sorted(best)]

    def columns(self, found: Sequence[Prediction]) -> Columns:
        """The numbers of Predictions of either kind."""
        if isinstance(found, Outcomes):
            return found.columns
        answers = np.empty(len(found), dtype=object)
        answers[:] = [p.answer for p in found]
        numbers = {name: np.array([p.numbers[name] for p in found], dtype=np.float64) for name in NUMBERS}
        return {"row": np.array([p.row for p in found], dtype=np.int64), "answer": answers, **numbers}

    def metrics(self, found: Sequence[Prediction], weights: Column | None = None) -> dict[str, float]:
        """Exact match and F1 over rows; of questions without an answer how many get none; the loss over windows."""
        columns, kept = self.columns(found), store_of(found)
        chosen = once(kept, "chosen", lambda: surest(columns["row"], columns["margin"]))
        times = np.ones(len(columns["row"])) if weights is None else weights
        values = self._scores({name: columns[name][chosen] for name in NUMBERS}, times[chosen], self.threshold)
        return {**values, "loss": float(np.average(columns["loss"], weights=times))}

    def _scores(self, columns: Columns, times: Column, threshold: float) -> dict[str, float]:
        answered = columns["margin"] > threshold if self.unanswerable else np.ones(len(times), dtype=bool)
        there = columns["answerable"] > 0
        exact, f1 = (np.where(answered, columns[name] * there, ~there) for name in ("exact", "f1"))
        values = {"exact_match": float(np.average(exact, weights=times)), "f1": float(np.average(f1, weights=times))}
        for name, part, share in (("no_answer_accuracy", ~there, exact), ("answered_f1", there, f1)):
            if self.unanswerable and times[part].sum():
                values[name] = float(np.average(share[part], weights=times[part]))
        return values

    def details(self, found: Sequence[Prediction]) -> dict[str, Any]:
        """What answers that need no model reach: the whole passage, and the sentence at the best place."""
        columns = self.columns(found)
        if "guesses" not in columns or not len(columns["row"]):
            return {}
        means = columns["guesses"][surest(columns["row"], columns["margin"])].mean(0)
        best = int(means[1:].argmax()) + 1
        return {"whole_passage_f1": float(means[0]), "best_sentence": best, "best_sentence_f1": float(means[best])}

    def settled(self, tallies: Mapping[str, Column]) -> dict[str, float]:
        """The threshold at which F1 is best; the lowest such one."""
        if "row" not in tallies or not self.unanswerable:
            return {}
        chosen = surest(tallies["row"], tallies["margin"])
        margin, f1, there = (tallies[name][chosen] for name in ("margin", "f1", "answerable"))
        order = np.argsort(margin)
        gain = np.where(there > 0, -f1, 1.0)[order]  # of answering one question less, the least sure first
        total = np.concatenate([[0.0], np.cumsum(gain)])
        ordered = margin[order]
        edges = np.concatenate([[ordered[0] - 1.0], (ordered[1:] + ordered[:-1]) / 2, [ordered[-1] + 1.0]])
        return {"threshold": float(edges[int(total.argmax())])}

    def settled_metrics(self, tallies: Mapping[str, Column]) -> dict[str, float]:
        """The metrics at that threshold."""
        settled = self.settled(tallies)
        if not settled:
            return {}
        chosen = surest(tallies["row"], tallies["margin"])
        columns = {name: tallies[name][chosen] for name in ("margin", "exact", "f1", "answerable")}
        return self._scores(columns, np.ones(len(chosen)), settled["threshold"])


def surest(rows: Column, margins: Column) -> Column:
    """The index of the item with the highest margin of each row, rows ascending."""
    order = np.lexsort((-margins, rows))
    return order[np.concatenate([[True], rows[order][1:] != rows[order][:-1]])] if len(rows) else order


def best_span(starts: Column, ends: Column, longest: int) -> tuple[int, int, float]:
    """(first token, last token, sum of scores) of the best span of at most `longest` tokens."""
    count = len(starts)
    best = (0, 0, -math.inf)
    for more in range(min(longest, count)):
        sums = starts[: count - more] + ends[more:]
        place = int(sums.argmax())
        if sums[place] > best[2]:
            best = (place, place + more, float(sums[place]))
    return best


def _tokens(places: Sequence[tuple[int, int]], start: int, end: int) -> tuple[int, int] | None:
    """The first and last token of a piece of the passage; None where the window does not hold all of it."""
    inside = [i for i, (a, b) in enumerate(places) if a < end and b > start]
    if not inside or places[0][0] > start or places[-1][1] < end:
        return None
    return inside[0], inside[-1]


def _text(known: Asked, first: int, last: int) -> tuple[str, tuple[float, float]]:
    """The text from token to token without blanks around it, and where it stands."""
    start, end = known.places[first][0], known.places[last][1]
    piece = known.context[start:end]
    start += len(piece) - len(piece.lstrip())
    piece = piece.strip()
    return piece, (float(start), float(start + len(piece)))


def _remarks(
    missing: Sequence[tuple[Row, Answer]], rows: int, windows: int, max_length: int, *, training: bool
) -> list[str]:
    notes = []
    if windows:
        notes.append(f"{windows} of {rows} passages are longer than {max_length} tokens and are read in windows.")
    if missing:
        named = "; ".join(f"{at(r.path, r.line)}, {asked(r)}: {shown(a.text)}" for r, a in missing[:SHOWN])
        left = " and were left out" if training else ", so they can hardly be met"
        notes.append(f"{len(missing)} of {rows} answers do not stand in their passage{left}. First: {named}.")
    return notes


tasks.add("question-answering", QuestionAnswering)
