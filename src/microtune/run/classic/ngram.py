"""An n-gram model as `mt.load` gives it: probabilities, generation, bits per byte."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from microtune.classic.base import Classic
from microtune.classic.counting import Array
from microtune.classic.ngram import NGram, Table, TableFacts
from microtune.data.arrays import map_arrays
from microtune.data.fields import text_of
from microtune.data.sources import Row
from microtune.data.text import Tokenizer
from microtune.errors import InputError, RunError
from microtune.recipe import validated
from microtune.run.classic.base import RECORD, ClassicModel
from microtune.run.evaluate import Score, confidence_intervals
from microtune.run.held_out import Texts
from microtune.run.picking import Drawing, pick
from microtune.run.sources import Place
from microtune.tasks.base import Prediction
from microtune.tasks.language_modelling import LanguageModelling, framed
from microtune.tasks.outcomes import Column, Columns, Outcomes

ARRAYS = "ngram.safetensors"


class Counted(LanguageModelling):
    """Language modelling without the answers, which would have to be looked up one by one."""

    def metrics(self, found: Sequence[Prediction], weights: Column | None = None) -> dict[str, float]:
        """All but the share of right answers."""
        return {name: value for name, value in super().metrics(found, weights).items() if name != "token_accuracy"}


class NGramModel(ClassicModel):
    """A table of smoothed counts with the tokenizer whose ids it counted."""

    kind = "an n-gram model"

    def __init__(self, place: Place, tokenizer: Tokenizer, table: Table, text_field: str = "text") -> None:
        super().__init__(place, tokenizer, Counted(text_field=text_field))
        self.table = table

    @property
    def parameters(self) -> int:
        """How many n-grams of all orders are stored."""
        return sum(self.table.sizes)

    @cached_property
    def size(self) -> int:
        """V: how many ids the tokenizer gives; counting them takes longer than a look into the table."""
        return len(self.text)

    @cached_property
    def end(self) -> int | None:
        """The id that ends a text, or None."""
        return self.text.id("eos")

    def read(self, ids: Sequence[int]) -> list[int]:
        """Ids as the table has them: `start` first, in place of the tokenizer's own mark where it stands there."""
        self.checked([ids] if len(ids) else [])
        bos = self.text.id("bos")
        return [self.table.start, *(ids[1:] if len(ids) and ids[0] == bos else ids)]

    def checked(self, rows: Sequence[Sequence[int]]) -> list[list[int]]:
        """Rows of ids as they are, or an InputError where one holds an id that the tokenizer does not give."""
        size = self.size
        for number, row in enumerate(rows):
            if not len(row):
                raise InputError(f"Row {number} has no token.")
            if min(row) < 0 or max(row) >= size:
                raise InputError(f"Row {number} holds an id outside 0..{size - 1}, the model's vocabulary.")
        return [list(row) for row in rows]

    def logits(self, ids: Sequence[Sequence[int]], targets: Sequence[Sequence[int]] | None = None) -> list[Tensor]:
        """Natural logarithms of probabilities, float64 `[T_i, V]`, of what follows every token of every row."""
        if targets is not None:
            raise InputError(
                "`targets` are the decoder's input ids of an encoder-decoder; give them there and only there."
            )
        result = []
        for row in self.checked(ids):
            text = self.read(row)
            first = len(text) - len(row)
            found = [self.log_probabilities(text[: i + 1]) for i in range(first, len(text))]
            result.append(torch.stack(found))
        return result

    def log_probabilities(self, context: Sequence[int]) -> Tensor:
        """float64 `[V]` after ids as `read` gives them."""
        with np.errstate(divide="ignore"):  # the beginning of a text never follows
            return torch.from_numpy(np.log(self.table.distribution(context)[: self.size]))

    def embed(self, texts: Sequence[str]) -> Tensor:
        """There are no vectors: an InputError."""
        self._refuse("no vectors")

    def next_ids(
        self, ids: Sequence[int], *, max_new_tokens: int = 64, stop_ids: Sequence[int] = (), **options: Any
    ) -> Iterator[int]:
        """New ids after `ids`, up to one of `stop_ids`; options: temperature, top_k, top_p, min_p, seed."""
        drawing = Drawing.of(**options)
        return self._drawn(self.read(ids), max_new_tokens, stop_ids, drawing)

    def _drawn(self, context: list[int], count: int, stop_ids: Sequence[int], drawing: Drawing) -> Iterator[int]:
        for _ in range(count):
            chosen = pick(self.log_probabilities(context), drawing.options, drawing.generator)
            if chosen in stop_ids:
                return
            yield chosen
            context.append(chosen)

    def prompt_ids(self, prompt: str) -> list[int]:
        """The ids from which `generate` goes on; none for an empty prompt, which begins a text."""
        return self.text.encode(prompt, special=False)

    def columns(self, texts: Texts) -> Columns:
        """Sums of each text as the task keeps them: negative log-likelihood in nats, tokens, bytes."""
        rows = [[self.table.start, *(i for i in ids if i != self.table.start)] for ids in texts.ids]
        lengths = np.array([len(ids) for ids in rows])
        flat: Array = np.concatenate([np.array(ids, dtype=np.int64) for ids in rows])
        loss = -np.log(self.table.probabilities(flat))
        return {
            "row": np.arange(len(rows)),
            "loss": np.add.reduceat(loss, np.cumsum(lengths) - lengths),
            "tokens": (lengths - 1).astype(np.float64),
            "correct": np.zeros(len(rows)),
            "bytes": np.array(texts.bytes, dtype=np.float64),
        }

    def encoded(self, texts: Sequence[str]) -> Texts:
        """Texts as `columns` and `score` take them."""
        ids = [framed(self.text, ids) for ids in self.text.encode_many(texts, special=False)]
        return Texts(ids, [len(text.encode("utf-8", "replace")) for text in texts])

    def score(self, texts: Texts) -> Score:
        """Loss, perplexity per token and bits per byte, each text a whole of its own, its end included."""
        if not texts.ids:
            raise InputError("There are no rows to evaluate on.")
        assert self.task is not None
        outcomes = Outcomes(self.columns(texts), self.task.read)
        values = self.task.metrics(outcomes)
        return Score(values, confidence_intervals(self.task, outcomes, values), outcomes)

    def evaluate(self, rows: Sequence[Row]) -> Score:
        """`score` on the text field of rows."""
        assert isinstance(self.task, LanguageModelling)
        return self.score(self.encoded([text_of(row, self.task.text_field or "text") for row in rows]))

    def bits_per_byte(self, texts: Sequence[str]) -> float:
        """Bits that the model needs for each byte of these texts."""
        if not any(texts):
            raise InputError("There is no byte of text to score.")
        columns = self.columns(self.encoded(texts))
        return float(columns["loss"].sum() / math.log(2) / columns["bytes"].sum())


def load_ngram(place: Place, options: Classic, facts: dict[str, Any]) -> NGramModel:
    """The model of a finished run, of which `read_classic` gave options and facts; its arrays are mapped, not read."""
    assert isinstance(options, NGram)
    folder = place.path / "model"
    tokenizer = Tokenizer.load(folder)
    if tokenizer is None:
        raise RunError(f"{folder}: the tokenizer is missing; run the command of this run again with --overwrite.")
    table_facts = validated(TableFacts, facts, f"{folder / RECORD}: facts")
    table = Table.of(map_arrays(folder / ARRAYS), table_facts, str(folder / ARRAYS))
    return NGramModel(place, tokenizer, table)
