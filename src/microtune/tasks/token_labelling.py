"""Token labelling: spans of a text with labels, such as names, slots of a command or clauses of a contract.

Every word gets a BIO tag from the state of one of its tokens: the first one where the model reads both ways (as in
BERT; Devlin et al., 2019), the last one where it reads forward only and has not seen the word before. Answers are the
most probable tags in BIO order, as spans with places in characters. Scores are strict: a span counts where beginning,
end and label are right (Tjong Kim Sang and De Meulder, 2003; the numbers of seqeval).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from microtune.data.batches import Batch, Item
from microtune.data.decode import shown
from microtune.data.fields import find_field, named, text_of
from microtune.data.sources import Row
from microtune.data.text import Tokenizer
from microtune.data.word_places import joined
from microtune.errors import InputError, at, suggest
from microtune.nn.own_heads import PlaceHead
from microtune.nn.spec import ModelSpec
from microtune.tasks.base import Encoded, EncodingReport, Prediction, Task, rows_of, tasks
from microtune.tasks.figures import Counts
from microtune.tasks.outcomes import Column, Columns, Outcomes
from microtune.tasks.scoring import wide
from microtune.tasks.text_spans import (
    Marked,
    Scheme,
    Span,
    best_path,
    listed_spans,
    scheme_of,
    spans_from,
    tagged_spans,
    tags_in,
    tags_of,
    tokens_of,
    units_of,
)

PARTS = ("hit", "given", "predicted")
LATE = "occurs only outside the training rows; it cannot be learnt"


class TokenLabelling(Task):
    """Spans of a text with labels: names, slots, clauses."""

    name: Literal["token-labelling"] = "token-labelling"
    text_field: str | None = None
    label_field: str | None = Field(default=None, description="field with the spans, or with the tags of the tokens")
    tokens_field: str = Field(default="", description="field with the list of tokens, where rows are tagged tokens")
    labels: tuple[str, ...] = Field(default=(), description="the labels there are; default: those of the data")
    scheme: Literal["auto", "iob2", "iob1", "bioes", "bare"] = Field(
        default="auto", description="how tokens are tagged; found in the rows"
    )
    read_at: Literal["auto", "first", "last"] = Field(
        default="auto", description="which token of a word is read; default: the first, of a decoder the last"
    )
    choose: Literal["f1", "macro_f1", "token_accuracy", "loss"] = Field(
        default="f1", description="metric for the best weights"
    )

    reads: ClassVar[Literal["hidden"]] = "hidden"
    primary: ClassVar[str] = "f1"

    def prepare(self, splits: Mapping[str, Sequence[Row]], *, text_field: str | None, label_field: str | None) -> Self:
        """Find the fields, the scheme and the labels; every span of every split is read and checked."""
        rows = list(splits["train"])
        asked = label_field or self.label_field
        tokens = self.tokens_field or ("" if text_field or self.text_field else _list_field(rows, "tokens"))
        if not self.tokens_field and asked is None and not _list_field(rows, "tags"):
            tokens = ""
        if tokens:
            tags = find_field(rows, "tags", asked, exclude=[tokens], flag="--label-field")
            scheme = scheme_of(rows, tokens, tags) if self.scheme == "auto" else self.scheme
            fields = {"tokens_field": tokens, "label_field": tags, "scheme": scheme}
        else:
            listed = [name for name in dict.fromkeys(n for row in rows for n in row.data) if not _lists(rows, name)]
            spans = find_field(rows, "spans", asked, exclude=listed, flag="--label-field")
            text = find_field(rows, "text", text_field or self.text_field, exclude=[spans])
            fields = {"text_field": text, "label_field": spans}
        task = self.model_copy(update=fields)
        found: dict[str, Row] = {}
        for part in ("train", *(name for name in splits if name != "train")):
            for row in splits[part]:
                for span in task.marked(row)[1] or ():
                    found.setdefault(span.label, row)
        if not any(task.marked(row)[1] for row in rows):
            raise InputError(f"{at(rows[0].path)}: no training row has a span; there is nothing to learn.")
        return task.model_copy(update={"labels": _labels(self.labels, found)})

    def marked(self, row: Row) -> tuple[str, tuple[Span, ...] | None]:
        """The text of a row, and its spans (None where nobody asks for them)."""
        if not self.tokens_field:
            text = text_of(row, self.text_field or "text")
            return text, None if self.label_field is None else tuple(listed_spans(row, self.label_field, text))
        text, places = joined(tokens_of(row, self.tokens_field))
        if self.label_field is None:
            return text, None
        tags = tags_in(row, self.tokens_field, self.label_field)
        scheme: Scheme = "iob2" if self.scheme == "auto" else self.scheme
        return text, tuple(tagged_spans(row, tags, places, scheme))

    def remarks(self, splits: Mapping[str, Sequence[Row]]) -> list[str]:
        """How many spans there are, and labels that cannot be learnt."""
        counts = Counter(span.label for row in splits["train"] for span in self.marked(row)[1] or ())
        each = sum(counts.values()) / max(len(splits["train"]), 1)
        how = f"tags in {self.scheme}" if self.tokens_field else "spans"
        notes = [f'"{self.label_field}" holds {how}: {len(self.labels)} labels, {each:.2f} spans a training row.']
        late = [label for label in self.labels if not counts[label]]
        return notes + ([f'The label "{late[0]}"{_more(late)} {LATE}.'] if late else [])

    def copy_key(self) -> Any:
        """The text, or the tokens."""
        name = self.tokens_field or self.text_field or "text"
        return lambda row: " ".join(map(str, v)) if isinstance(v := row.data.get(name, ""), list) else str(v)

    def check_ready(self, where: str) -> None:
        """Fields, labels, and which token is read."""
        if not (self.text_field or self.tokens_field) or not self.labels or self.read_at == "auto":
            raise InputError(f"{where}: the task names no text, no labels, or not which token of a word is read.")

    def check_rows(self, rows: Sequence[Row]) -> None:
        """Every span is right, and its label known."""
        for row in rows:
            for span in self.marked(row)[1] or ():
                if span.label not in self.labels:
                    known = suggest(span.label, self.labels)
                    raise InputError(
                        f"{at(row.path, row.line)}: the model does not know the label {shown(span.label)}. {known}"
                    )

    def fitted(self, spec: ModelSpec) -> Self:
        """A model that reads forward only has seen a word at its last token."""
        if self.read_at != "auto":
            return self
        return self.model_copy(update={"read_at": "last" if spec.decoder is not None else "first"})

    def make_head(self, spec: ModelSpec) -> nn.Module:
        """Scores of all tags for each word."""
        return PlaceHead(spec, 1 + 2 * len(self.labels))

    def encode_all(self, rows: Sequence[Row], tokenizer: Tokenizer, max_length: int, *, training: bool) -> Encoded:
        """As for every task; and how many spans do not stand where tokens do."""
        encoded = super().encode_all(rows, tokenizer, max_length, training=training)
        rough = sum(encoded.items[i].extra[1] for i in range(len(encoded.items)))
        total = sum(len(encoded.items[i].extra[0].spans or ()) for i in range(len(encoded.items)))
        if rough:
            encoded.report.remarks.append(
                f"{rough} of {total} spans begin or end inside a token of this tokenizer, or were cut off: they are "
                "learnt as far as they stand and can never be found exactly."
            )
        return encoded

    def encode(self, row: Row, index: int, tokenizer: Tokenizer, max_length: int, report: EncodingReport) -> Item:
        """Ids, the token that is read of each word, and its tag (where the row has spans)."""
        text, spans = self.marked(row)
        ids, places, cut = tokenizer.encode_places(text, max_length)
        if cut:
            report.truncate(index)
        units = units_of(text, places)
        if not units:
            raise InputError(f"{at(row.path, row.line)}: the text has no word that this tokenizer knows.")
        tags, rough = ([], 0) if spans is None else tags_of(units, spans, self.labels)
        readout = [unit.last if self.read_at == "last" else unit.first for unit in units]
        marked = Marked(text, np.array([unit[:2] for unit in units], dtype=np.int32), spans)
        return Item(ids, readout, tags, extra=(marked, rough), row=index)

    def chosen_by(self) -> tuple[str, bool]:
        """`choose`."""
        return self.choose, self.choose != "loss"

    def loss(self, head: nn.Module, hidden: Tensor, batch: Batch) -> tuple[Tensor, int]:
        """Summed cross-entropy of the tags."""
        return F.cross_entropy(wide(head(hidden, batch.counts)), batch.targets, reduction="sum"), len(batch.targets)

    def measure(
        self, head: nn.Module, hidden: Tensor, batch: Batch, tallies: dict[str, Column] | None = None
    ) -> Columns:
        """Spans of each item, how many are right by label, words tagged rightly, and the loss."""
        logs = wide(head(hidden, batch.counts)).log_softmax(-1).cpu().numpy().astype(np.float64)
        found = [self._item(item, part) for item, part in zip(batch.items, _split(logs, batch), strict=True)]
        return self._columns(found, rows_of(batch))

    def _item(self, item: Item, logs: Column) -> tuple[Any, ...]:
        marked: Marked = item.extra[0]
        tags = best_path(logs)
        spans = spans_from(tags, marked.units, self.labels)
        targets = np.asarray(item.targets, dtype=np.int64)
        loss = float(-logs[np.arange(len(targets)), targets].sum()) if len(targets) else 0.0
        right = int((np.array(tags[: len(targets)], dtype=np.int64) == targets).sum())
        return marked.text, spans, marked.spans, (loss, right, len(targets))

    def _columns(self, found: Sequence[tuple[Any, ...]], rows: Column) -> dict[str, Column]:
        place, size = {label: k for k, label in enumerate(self.labels)}, len(self.labels)
        counts = np.zeros((len(PARTS), len(found), size), dtype=np.uint16)
        answers, targets = np.empty(len(found), dtype=object), np.empty(len(found), dtype=object)
        texts = np.empty(len(found), dtype=object)
        for number, (text, spans, wanted, _) in enumerate(found):
            texts[number], answers[number], targets[number] = text, tuple(spans), wanted
            both = set(spans) & set(wanted or ())
            for part, chosen in enumerate((both, wanted or (), spans)):
                for span in chosen:
                    counts[part, number, place[span.label]] += 1
        sums = np.array([sums for *_, sums in found], dtype=np.float64).reshape(-1, 3)
        columns = {"row": rows, "text": texts, "answer": answers, "target": targets}
        columns |= dict(zip(PARTS, counts, strict=True))
        return columns | {name: sums[:, k] for k, name in enumerate(("loss", "right", "words"))}

    def read(self, columns: Columns, index: int) -> Prediction:
        """Spans with their text."""
        text, wanted = columns["text"][index], columns["target"][index]
        numbers = {name: float(columns[name][index]) for name in ("loss", "right", "words")}
        return Prediction(
            answer=_plain(columns["answer"][index], text),
            confidence=1.0,
            target=None if wanted is None else _plain(wanted, text),
            numbers={} if wanted is None else numbers,
            row=int(columns["row"][index]),
        )

    def columns(self, found: Sequence[Prediction]) -> Columns:
        """The counts of Predictions of either kind."""
        if isinstance(found, Outcomes):
            return found.columns
        values = [
            (
                "",
                _spans(p.answer),
                None if p.target is None else _spans(p.target),
                tuple(p.numbers.values()) or (0, 0, 0),
            )
            for p in found
        ]
        return self._columns(values, np.array([p.row for p in found], dtype=np.int64))

    def metrics(self, found: Sequence[Prediction], weights: Column | None = None) -> dict[str, float]:
        """precision, recall, F1 over all spans, their mean over labels, tags of words that are right, loss."""
        columns = self.columns(found)
        counts = self.counts(columns, weights)
        hit, given, predicted = (float(part.sum()) for part in (counts.hit, counts.given, counts.predicted))
        loss, right, words = (
            float(columns[name].sum() if weights is None else columns[name] @ weights)
            for name in ("loss", "right", "words")
        )
        return {
            "precision": hit / predicted if predicted else 0.0,
            "recall": hit / given if given else 0.0,
            "f1": counts.micro_f1,
            "macro_f1": counts.macro_f1,
            "token_accuracy": right / words if words else 0.0,
            "loss": loss / words if words else 0.0,
        }

    def counts(self, columns: Columns, weights: Column | None = None) -> Counts:
        """Spans per label."""
        parts = [columns[name].astype(np.float64) for name in PARTS]
        return Counts(*(part.sum(0) if weights is None else weights @ part for part in parts))

    def per_class(self, found: Sequence[Prediction]) -> dict[str, dict[str, float]]:
        """precision, recall, F1 and spans of every label that was given or predicted."""
        counts = self.counts(self.columns(found))
        seen = (counts.given + counts.predicted) > 0
        return {label: counts.table(k) for k, label in enumerate(self.labels) if seen[k]}

    def details(self, found: Sequence[Prediction]) -> dict[str, Any]:
        """Per label figures."""
        return {"per_class": [{"label": label, **row} for label, row in self.per_class(found).items()]}


def _labels(declared: Sequence[str], found: Mapping[str, Row]) -> tuple[str, ...]:
    if not declared:
        return tuple(sorted(found))
    for label, row in found.items():
        if label not in declared:
            where = at(row.path, row.line)
            raise InputError(f'{where}: the label "{label}" is not among the declared ones. {suggest(label, declared)}')
    return tuple(declared)


def _list_field(rows: Sequence[Row], role: str) -> str:
    """The field with lists that plays this role, by its name; "" where there is none."""
    return next((name for name in named(rows, role) if _lists(rows, name)), "")


def _lists(rows: Sequence[Row], name: str) -> bool:
    return any(isinstance(row.data.get(name), list) for row in rows[:1000])


def _split(values: Column, batch: Batch) -> list[Column]:
    return np.split(values, np.cumsum(batch.counts.cpu().numpy())[:-1])


def _plain(spans: Sequence[Span], text: str) -> list[dict[str, Any]]:
    return [{"label": s.label, "start": s.start, "end": s.end, "text": text[s.start : s.end]} for s in spans]


def _spans(plain_spans: Sequence[Mapping[str, Any]]) -> list[Span]:
    return [Span(s["start"], s["end"], s["label"]) for s in plain_spans]


def _more(names: Sequence[str]) -> str:
    return f" and {len(names) - 1} more" if len(names) > 1 else ""


tasks.add("token-labelling", TokenLabelling)
