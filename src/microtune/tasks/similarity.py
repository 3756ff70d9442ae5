"""Similarity: a vector for each text, close where texts belong together: search, duplicates, paraphrases.

The vector is the mean over the tokens of a text (Reimers and Gurevych, 2019). Rows with a score learn that the cosine
of their two texts is the score; rows without learn to tell the right passage from those of all other rows of the
optimizer batch, and from their own wrong one where they have it (InfoNCE; van den Oord et al., 2018; Karpukhin et al.,
2020). A passage that is right too, because its text or its query is the same, is no wrong one.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from microtune.data.batches import Batch, Item
from microtune.data.fields import find_field, named, number_in, text_of
from microtune.data.names import NAMES, plain
from microtune.data.sources import Row
from microtune.data.text import Tokenizer
from microtune.errors import InputError, at
from microtune.nn.own_heads import VectorHead
from microtune.nn.spec import ModelSpec
from microtune.tasks.base import EncodingReport, Prediction, Task, paired_rows, rows_of, tasks
from microtune.tasks.figures import Ranking, correlation, once
from microtune.tasks.outcomes import Column, Columns, Outcomes
from microtune.tasks.ranks import Found, rank
from microtune.tasks.regression import number_of
from microtune.tasks.scoring import store_of, wide

RANKED = ("mrr", "recall@1", "recall@5", "recall@10", "loss")
SCORED = ("spearman", "pearson", "loss")
AT = (1, 5, 10)


class Similarity(Task):
    """Texts that belong together: scored pairs, triplets, or queries and their passages."""

    name: Literal["similarity"] = "similarity"
    text_field: str | None = Field(default=None, description="field with the query, or the first text of a pair")
    pair_field: str | None = Field(default=None, description="field with the passage, or the second text")
    negative_field: str | None = Field(default=None, description='field with a wrong passage; "": none')
    label_field: str | None = Field(default=None, description='field with a score of the pair; "": none')
    low: float = Field(default=0.0, description="the lowest score; found in the data")
    high: float = Field(default=1.0, description="the highest score; found in the data")
    temperature: float = Field(default=0.05, gt=0, description="divides cosines before they compete")
    choose: str | None = Field(
        default=None, description="metric for the best weights [default: spearman of scores, mrr of passages]"
    )
    form: Literal["auto", "scored", "ranked"] = Field(default="auto", description="scores, or right passages; found")

    reads: ClassVar[Literal["hidden"]] = "hidden"
    primary: ClassVar[str] = "mrr"

    def prepare(self, splits: Mapping[str, Sequence[Row]], *, text_field: str | None, label_field: str | None) -> Self:
        """Find the fields; every split has texts, and scores where there are scores."""
        rows = list(splits["train"])
        score = label_field or self.label_field
        if score is None and self.form != "ranked":
            score = _score_field(rows)
        taken = [f for f in (score, self.pair_field, self.negative_field) if f]
        text = find_field(rows, "anchor", text_field or self.text_field, exclude=taken, flag="--text-field")
        pair = find_field(
            rows, "positive", self.pair_field, exclude=[*([score] if score else []), text], flag="task.pair_field="
        )
        negative = self.negative_field
        if negative is None:
            negative = "" if score else next(iter(named(rows, "negative")), "")
        form = "scored" if score else "ranked"
        if self.form not in ("auto", form):
            raise InputError("task.form: scored needs a field with scores (--label-field), ranked needs none.")
        values = {"text_field": text, "pair_field": pair, "negative_field": negative, "label_field": score or ""}
        task = self.model_copy(update={**values, "form": form})
        for part in splits.values():
            task.check_rows(part)
        return task._ready(rows)

    def _ready(self, rows: Sequence[Row]) -> Self:
        chosen = self.chosen_by()[0]
        known = SCORED if self.form == "scored" else RANKED
        if chosen not in known:
            raise InputError(f"task.choose: of this data there is no {chosen}; take {', '.join(known)}.")
        if self.form == "ranked":
            if len({row.data.get(self.pair_field or "") for row in rows}) < 2:
                raise InputError(f"{at(rows[0].path)}: all rows have the same text in {self.pair_field!r}.")
            return self
        scores = [number_of(row, self.label_field or "") for row in rows]
        if min(scores) == max(scores):
            raise InputError(f"{at(rows[0].path)}: all rows have the score {scores[0]:g}; there is nothing to learn.")
        return self.model_copy(update={"low": min(scores), "high": max(scores)})

    def check_rows(self, rows: Sequence[Row]) -> None:
        """Texts everywhere, and scores where there are scores."""
        for row in rows:
            self._texts(row)
            if self.label_field:
                number_of(row, self.label_field)

    def _texts(self, row: Row) -> list[str]:
        names = (self.text_field, self.pair_field, self.negative_field)
        return [text_of(row, name) for name in names if name]

    def remarks(self, splits: Mapping[str, Sequence[Row]]) -> list[str]:
        """What belongs to what."""
        pair = f'"{self.text_field}" and "{self.pair_field}"'
        if self.form == "scored":
            return [f'{pair} are as similar as "{self.label_field}" says, {self.low:g} to {self.high:g}.']
        wrong = f', "{self.negative_field}" is wrong' if self.negative_field else ""
        return [f"{pair} belong together{wrong}; the other rows of a batch are wrong for each other."]

    def copy_key(self) -> Any:
        """Both texts."""
        names = (self.text_field or "", self.pair_field or "")
        return lambda row: "\n".join(str(row.data.get(name, "")) for name in names)

    def group_key(self) -> Any:
        """All passages of a query stay together."""
        return lambda row: str(row.data.get(self.text_field or "", ""))

    def text_rows(self, texts: Sequence[Any]) -> list[Row]:
        """Texts two by two."""
        names = (self.text_field or "text", self.pair_field or "pair")
        return paired_rows(texts, names, "This model compares two texts: give them two by two.")

    def unlabelled(self) -> Self:
        """Two texts alone."""
        return self.model_copy(update={"label_field": None, "negative_field": ""})

    def check_ready(self, where: str) -> None:
        """Fields, and whether there are scores."""
        if not self.text_field or not self.pair_field or self.form == "auto":
            raise InputError(f"{where}: the task does not name its fields, or not what it compares.")

    def make_head(self, spec: ModelSpec) -> nn.Module:
        """A vector for each text."""
        return VectorHead(spec)

    def encode(self, row: Row, index: int, tokenizer: Tokenizer, max_length: int, report: EncodingReport) -> Item:
        """Both texts (and the wrong one) as sequences that stay together; `targets` count what is compared."""
        texts = self._texts(row)
        found = [tokenizer.encode_cut(text, max_length) for text in texts]
        if any(cut for _, cut in found):
            report.truncate(index)
        parts = [ids for ids, _ in found]
        if not all(parts):
            raise InputError(f"{at(row.path, row.line)}: a text has no token for this tokenizer.")
        score = math.nan
        if self.label_field:
            score = (number_of(row, self.label_field) - self.low) / (self.high - self.low)
        known = self.label_field is not None
        ids = [i for part in parts for i in part]
        extra = (score, tuple(_key(text) for text in texts))
        pieces = [len(part) for part in parts]
        return Item(ids, range(len(ids)), [0] if known else [], extra=extra, row=index, pieces=pieces)

    def chosen_by(self) -> tuple[str, bool]:
        """`choose`, or what fits the form."""
        chosen = self.choose or ("spearman" if self.form == "scored" else "mrr")
        return chosen, chosen != "loss"

    def weight(self, item: Item) -> int:
        """One per row."""
        return 1

    @property
    def coupled(self) -> bool:
        """Rows without scores are compared with each other."""
        return self.form == "ranked"

    def vectors(self, head: nn.Module, hidden: Tensor, batch: Batch) -> Tensor:
        """Vectors of unit length of all texts, item by item."""
        return F.normalize(wide(head(hidden, batch.counts)), dim=-1)

    def joint_loss(self, vectors: Tensor, items: Sequence[Item]) -> Tensor:
        """Cross-entropy of the right passage among all passages of the batch, summed over rows."""
        parts = vectors.view(len(items), -1, vectors.shape[-1])
        queries, passages = parts[:, 0], parts[:, 1:].transpose(0, 1).flatten(0, 1)  # right ones first, then wrong ones
        scores = queries @ passages.T / self.temperature
        keys = np.array([item.extra[1] for item in items])
        query, right, given = keys[:, 0], keys[:, 1], keys[:, 1:].T.ravel()
        also = given[None, :] == right[:, None]
        also[:, : len(items)] |= query[None, :] == query[:, None]
        also[np.arange(len(items)), np.arange(len(items))] = False
        blocked = torch.from_numpy(also).to(scores.device)
        targets = torch.arange(len(items), device=scores.device)
        return F.cross_entropy(scores.masked_fill(blocked, -math.inf), targets, reduction="sum")

    def loss(self, head: nn.Module, hidden: Tensor, batch: Batch) -> tuple[Tensor, int]:
        """Of scores the squared error of the cosine; else the joint loss of the batch by itself."""
        vectors = self.vectors(head, hidden, batch)
        if self.form == "ranked":
            return self.joint_loss(vectors, batch.items), len(batch.items)
        pairs = vectors.view(len(batch.items), -1, vectors.shape[-1])
        wanted = torch.tensor([item.extra[0] for item in batch.items], dtype=vectors.dtype, device=vectors.device)
        return ((pairs[:, 0] * pairs[:, 1]).sum(-1) - wanted).square().sum(), len(batch.items)

    def measure(
        self, head: nn.Module, hidden: Tensor, batch: Batch, tallies: dict[str, Column] | None = None
    ) -> Columns:
        """The cosine of each pair; of ranked rows also the vectors, in half precision, and what texts are equal."""
        vectors = self.vectors(head, hidden, batch).cpu().numpy().astype(np.float64)
        parts = vectors.reshape(len(batch.items), -1, vectors.shape[-1])
        cosine = (parts[:, 0] * parts[:, 1]).sum(-1)
        score = np.array([item.extra[0] for item in batch.items], dtype=np.float64)
        columns = {"row": rows_of(batch), "cosine": cosine, "score": score}
        if self.form == "ranked" and self.label_field is not None:
            columns["vectors"] = parts.astype(np.float16)
            columns["keys"] = np.array([item.extra[1] for item in batch.items], dtype=np.int64)
        return columns

    def read(self, columns: Columns, index: int) -> Prediction:
        """The cosine; of a model of scores, a score in the unit of the data."""
        cosine, score = float(columns["cosine"][index]), float(columns["score"][index])
        scale = self.high - self.low
        answer = self.low + scale * cosine if self.form == "scored" else cosine
        target = None if math.isnan(score) else self.low + scale * score
        return Prediction(answer, math.nan, target, numbers={"cosine": cosine}, row=int(columns["row"][index]))

    def columns(self, found: Sequence[Prediction]) -> Columns:
        """The cosines of Predictions of either kind; ranks need the vectors, which only Outcomes keep."""
        if isinstance(found, Outcomes):
            return found.columns
        scale = self.high - self.low
        return {
            "row": np.array([p.row for p in found], dtype=np.int64),
            "cosine": np.array([p.numbers["cosine"] for p in found], dtype=np.float64),
            "score": np.array([math.nan if p.target is None else (p.target - self.low) / scale for p in found]),
        }

    def metrics(self, found: Sequence[Prediction], weights: Column | None = None) -> dict[str, float]:
        """Of scores Spearman, Pearson and loss; of passages recall, mean reciprocal rank and loss."""
        columns, kept = self.columns(found), store_of(found)
        times = np.ones(len(columns["row"])) if weights is None else weights
        if self.form == "scored":
            return self._scored(columns, kept, times)
        ranked: Found = once(kept, "ranks", lambda: rank(columns["vectors"], columns["keys"], self.temperature))
        values = {"mrr": float(np.average(1 / ranked.ranks, weights=times))}
        values |= {f"recall@{k}": float(np.average(ranked.ranks <= k, weights=times)) for k in AT}
        if self.negative_field:
            values["triplet_accuracy"] = float(np.average(ranked.above, weights=times))
        return {**values, "loss": float(np.average(ranked.losses, weights=times))}

    def _scored(self, columns: Columns, kept: dict[str, Any], times: Column) -> dict[str, float]:
        cosine, score = columns["cosine"], columns["score"]
        ranks = [
            once(kept, f"ranking of {name}", lambda column=column: Ranking(column)).ranks(times)  # type: ignore[misc]
            for name, column in (("cosine", cosine), ("score", score))
        ]
        values = {"spearman": correlation(ranks[0], ranks[1], times), "pearson": correlation(cosine, score, times)}
        values = {name: 0.0 if math.isnan(value) else value for name, value in values.items()}
        return {**values, "loss": float(np.average((cosine - score) ** 2, weights=times))}

    def details(self, found: Sequence[Prediction]) -> dict[str, Any]:
        """Among how many passages the right one was looked for."""
        if self.form == "scored" or not len(found):
            return {}
        columns, kept = self.columns(found), store_of(found)
        ranked: Found = once(kept, "ranks", lambda: rank(columns["vectors"], columns["keys"], self.temperature))
        return {"candidates": ranked.candidates}


def _score_field(rows: Sequence[Row]) -> str | None:
    """A field whose whole name says score, or that is called value or label and holds numbers; None: there is none."""
    names = list(dict.fromkeys(n for row in rows[:1000] for n in row.data))
    for wanted in (*NAMES["score"][0], "label", "标签"):
        for name in names:
            sure = wanted not in ("value", "label", "标签")  # then a row without a number is refused
            if plain(name) == wanted and (sure or all(number_in(row.data.get(name)) is not None for row in rows)):
                return name
    return None


def _key(text: str) -> int:
    """A number that is the same for the same text, in every process."""
    return int.from_bytes(
        hashlib.blake2b(text.strip().encode("utf-8", "replace"), digest_size=8).digest(), "big", signed=True
    )


tasks.add("similarity", Similarity)
