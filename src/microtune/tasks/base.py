"""The task contract: encode a row, say what is read, give the loss, interpret, score.

A task is a frozen recipe section: its fields are its options and, after `prepare`, what it learnt from the data (field
names, label list). Saved as `task.json`, it is all that prediction needs beside the model. Tasks know tensors and text,
never a family or an adaptation method.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Self

import numpy as np
from torch import Tensor, nn

from microtune.data.batches import Batch, Item, Items
from microtune.data.sources import Row
from microtune.data.steps import prepared_rows
from microtune.data.text import Tokenizer
from microtune.errors import InputError
from microtune.nn.spec import ModelSpec
from microtune.recipe import Section
from microtune.registry import Registry
from microtune.tasks.other_names import OTHER_NAMES
from microtune.tasks.outcomes import Column, Columns, Outcomes
from microtune.tasks.outcomes import Prediction as Prediction
from microtune.tasks.wording import name_of, worded

READ = ("text_field", "pair_field", "source_field", "prompt_field", "input_field", "messages_field")
NAMED_ROWS = 3  # rows that a report keeps by name


@dataclass
class EncodingReport:
    """What happened to the rows on their way to ids; shown before the first step.

    `cut`, `left_out`, `whole` and `apart` are the first rows that were truncated, that were dropped, of which every
    token is supervised, and that were parted at a turn although a token of their text reaches over it.
    """

    rows: int = 0
    items: int = 0
    tokens: int = 0
    supervised: int = 0
    truncated: int = 0
    dropped: int = 0
    lost_targets: int = 0
    longest: int = 0
    cut: list[int] = field(default_factory=list)
    left_out: list[int] = field(default_factory=list)
    whole: list[int] = field(default_factory=list)
    parted: int = 0
    apart: list[int] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)  # sentences of the task itself

    def add(self, item: Item) -> None:
        """Count one item."""
        self.items += 1
        self.tokens += item.size
        self.supervised += len(item.targets)
        self.longest = max(self.longest, item.size)
        if len(item.targets) >= item.size and len(self.whole) < NAMED_ROWS:
            self.whole.append(item.row)

    def truncate(self, row: int) -> None:
        """Count a text that was cut."""
        self.truncated += 1
        if len(self.cut) < NAMED_ROWS:
            self.cut.append(row)

    def part(self, row: int) -> None:
        """Count a conversation that was parted at a turn, as generation parts it."""
        self.parted += 1
        if len(self.apart) < NAMED_ROWS:
            self.apart.append(row)

    def drop(self, row: int, targets: int) -> None:
        """Count a row that was left out, with its targets."""
        self.dropped += 1
        self.lost_targets += targets
        if len(self.left_out) < NAMED_ROWS:
            self.left_out.append(row)


@dataclass(frozen=True)
class Encoded:
    """Items of one split, and the report about them."""

    items: Items
    report: EncodingReport


class Task(Section):
    """Base of all tasks; subclasses are frozen sections registered by name."""

    # generation: the likelihood chooses weights during training, and written answers are scored at the end.
    name: str
    steps: tuple[dict[str, Any], ...] = ()  # changes of texts that belong to what was learnt; set by `data.steps`
    reads: ClassVar[Literal["hidden", "likelihood", "generation"]]
    primary: ClassVar[str]  # the metric by which weights are chosen
    greater_is_better: ClassVar[bool] = True
    truncates: ClassVar[bool] = True
    templates: ClassVar[Mapping[str, str]] = {}  # option with a template -> the option that names its field
    opens: ClassVar[bool] = False  # whether it has the fields `start` and `first`: ids with which a decoder begins
    with_templates: ClassVar[Mapping[str, Any]] = {}  # options that follow from a template, where they are not said

    @property
    def wordings(self) -> list[tuple[str, str]]:
        """The templates that were given, by option."""
        return [(option, text) for option in self.templates if (text := getattr(self, option)) is not None]

    def naming_fields(self) -> Self:
        """With the fields that its templates make in place of fields that would be looked for."""
        update: dict[str, Any] = {}
        for option, _ in self.wordings:
            field = self.templates[option]
            if getattr(self, field) not in (None, name_of(option)):
                raise InputError(
                    f"task.{option} and task.{field} both say where the text stands; leave one of them out."
                )
            update[field] = name_of(option)
        if update:
            own = {k: v for k, v in self.with_templates.items() if k not in self.model_fields_set and k not in update}
            update |= own
        return self.model_copy(update=update)

    def ready(self, rows: Sequence[Row], *, answers: bool = True) -> list[Row]:
        """Rows as this task reads them, with what its templates make; answers: those of the targets too."""
        found = worded(rows, self.wordings, answers=answers)
        return prepared_rows(self.steps, found, self.text_fields) if self.steps else found

    @property
    def text_fields(self) -> tuple[str, ...]:
        """The fields with the texts that it reads, once they are known."""
        names = (getattr(self, option, None) for option in READ)
        return tuple(name for name in names if isinstance(name, str) and name)

    @property
    def known_fields(self) -> dict[str, str]:
        """The fields of the data that play a role, by role: `{"text": "review", "label": "stars"}`."""
        options = {name: getattr(self, name) for name in type(self).model_fields if name.endswith("_field")}
        made = [name_of(option) for option in self.templates]  # no field of the data has such a name
        return {k.removesuffix("_field"): v for k, v in options.items() if isinstance(v, str) and v and v not in made}

    def prepare(self, splits: Mapping[str, Sequence[Row]], *, text_field: str | None, label_field: str | None) -> Self:
        """A copy that knows the fields and labels of this data; refuses data that cannot be learnt from."""
        raise NotImplementedError

    def encode(
        self, row: Row, index: int, tokenizer: Tokenizer, max_length: int, report: EncodingReport
    ) -> Item | None:
        """One row -> Item, or None where the row has to be dropped (counted in `report`)."""
        raise NotImplementedError

    def encode_all(self, rows: Sequence[Row], tokenizer: Tokenizer, max_length: int, *, training: bool) -> Encoded:
        """All rows of a split -> items and the report about truncation and loss."""
        report = EncodingReport(rows=len(rows))
        items = []
        for index, row in enumerate(rows):
            item = self.encode(row, index, tokenizer, max_length, report)
            if item is not None:
                items.append(item)
                report.add(item)
        return Encoded(items, report)

    def texts(self, row: Row) -> list[str]:
        """The texts of a row from which the vocabulary of a new model is learnt; default: all that it holds."""
        return [text for value in row.data.values() for text in _texts(value)]

    def remarks(self, splits: Mapping[str, Sequence[Row]]) -> list[str]:
        """What a reader should know about how the task understands this data; asked after `prepare`."""
        return []

    def stratum(self, rows: Sequence[Row]) -> Callable[[Row], Any] | None:
        """Row -> what each part of a split of `rows` must have its share of; None where it is parted at random."""
        return None

    def copy_key(self) -> Callable[[Row], str] | None:
        """Row -> the text by which copies are recognised; None: that of its text field."""
        return None

    def group_key(self) -> Callable[[Row], str] | None:
        """Row -> what keeps rows in the same part of a split; None: equal texts stay together."""
        return None

    def text_rows(self, texts: Sequence[Any]) -> list[Row] | None:
        """Bare texts as rows of this task; None: one row each, or each pair."""
        return None

    def unlabelled(self) -> Self:
        """A copy that reads rows without targets, and answers one row at a time without generating text."""
        return self.model_copy(update={"label_field": None})

    def check_rows(self, rows: Sequence[Row]) -> None:
        """Refuse rows that cannot be scored, with the first one's place."""

    def together(self, found: Sequence[Prediction]) -> Sequence[Prediction]:
        """One Prediction for each row where several items were made of it."""
        return found

    def chosen_by(self) -> tuple[str, bool]:
        """The metric by which weights are chosen, and whether more of it is better."""
        return self.primary, self.greater_is_better

    def make_head(self, spec: ModelSpec) -> nn.Module | None:
        """A head of its own, or None for the model's vocabulary head."""
        return None

    def fitted(self, spec: ModelSpec) -> Self:
        """With the choices that depend on the model made."""
        return self

    def check_ready(self, where: str) -> None:
        """Refuse a task out of a file that lacks what `prepare` would have found."""

    @property
    def writes(self) -> bool:
        """Whether scored splits are scored by written answers too."""
        return self.reads == "generation"

    @property
    def needs_decoder(self) -> bool:
        """Whether no other network can learn it: one that sees a whole text would only copy what it has to say."""
        return self.writes

    def to_answer(self, rows: Sequence[Row]) -> Sequence[int]:
        """Which of the rows of a scored split get a written answer: the same ones whenever it is asked."""
        return range(len(rows))

    def notes(self) -> list[str]:
        """What a user should know before training, such as scores that cannot be computed here."""
        return []

    def weight(self, item: Item) -> float:
        """What the loss of one item is divided by: supervised tokens (or the sum of their weights), 1 for a label."""
        return math.fsum(item.weights) if len(item.weights) else len(item.targets)

    def loss(self, head: nn.Module, hidden: Tensor, batch: Batch) -> tuple[Tensor, float]:
        """Summed loss and its weight, so that accumulation and sharding divide once."""
        raise NotImplementedError

    @property
    def only_reads(self) -> bool:
        """Whether nothing is written, so that the encoder is all that this task needs of an encoder-decoder."""
        return self.reads == "hidden"

    @property
    def coupled(self) -> bool:
        """Whether the loss of a row depends on the other rows of its optimizer batch."""
        return False

    def vectors(self, head: nn.Module, hidden: Tensor, batch: Batch) -> Tensor:
        """`[sequences, D]`: what `joint_loss` compares; of coupled tasks only."""
        raise NotImplementedError

    def joint_loss(self, vectors: Tensor, items: Sequence[Item]) -> Tensor:
        """Summed loss of the items of an optimizer batch from the vectors of their sequences; of coupled tasks only."""
        raise NotImplementedError

    def decode(self, head: nn.Module, hidden: Tensor, batch: Batch) -> list[Prediction]:
        """What the hidden states say about each item of the batch, in full."""
        return list(Outcomes(self.measure(head, hidden, batch), self.read))

    def measure(
        self, head: nn.Module, hidden: Tensor, batch: Batch, tallies: dict[str, Column] | None = None
    ) -> Columns:
        """The same reduced to what scores need: a number or two per item and column, `row` among the columns.

        tallies: sums over all batches of a split, added to in place, from which `settled` chooses.
        """
        raise NotImplementedError

    def read(self, columns: Columns, index: int) -> Prediction:
        """The Prediction that stands at `index` of the columns of `measure`."""
        raise NotImplementedError

    def columns(self, found: Sequence[Prediction]) -> Columns:
        """The columns of `measure` for Predictions of either kind."""
        raise NotImplementedError

    def judge(self, answers: Sequence[str], rows: Sequence[Row]) -> dict[str, Column]:
        """Further columns, of the answers that were written to `rows`; for tasks that read `generation`."""
        raise NotImplementedError

    def settled(self, tallies: Mapping[str, Column]) -> dict[str, float]:
        """Fields of the task that are chosen after training, from the tallies of the validation split."""
        return {}

    def settled_metrics(self, tallies: Mapping[str, Column]) -> dict[str, float]:
        """Metrics of the same split as they would be with those fields, where they differ."""
        return {}

    def details(self, found: Sequence[Prediction]) -> dict[str, Any]:
        """What a report shows of a split beside its metrics, as plain values."""
        return {}

    def metrics(self, found: Sequence[Prediction], weights: Column | None = None) -> dict[str, float]:
        """Scores of a split; `weights` says how often each item counts, as a bootstrap draws them."""
        raise NotImplementedError


tasks: Registry[type[Task]] = Registry("task", OTHER_NAMES)


def _texts(value: object) -> list[str]:
    """A text, or all within a list or an object."""
    if isinstance(value, (list, tuple, dict)):
        return [text for inner in (value.values() if isinstance(value, dict) else value) for text in _texts(inner)]
    return [value] if isinstance(value, str) else []


def paired_rows(texts: Sequence[Any], names: tuple[str, str], wanted: str) -> list[Row]:
    """Texts two by two, or pairs of them, as rows with two fields; else an InputError that says what is `wanted`."""
    singles = [text for text in texts if isinstance(text, str)]
    whole = len(singles) in (0, len(texts)) and len(singles) % 2 == 0
    pairs = list(zip(singles[::2], singles[1::2], strict=False)) if singles else list(texts)
    if not whole or not all(len(pair) == 2 and all(isinstance(text, str) for text in pair) for pair in pairs):
        raise InputError(wanted)
    return [Row(dict(zip(names, pair, strict=True)), "<text>", i) for i, pair in enumerate(pairs, 1)]


def rows_of(batch: Batch) -> Column:
    """Which row each item of the batch came from."""
    return np.array([item.row for item in batch.items], dtype=np.int64)


def length_limit(spec: ModelSpec, asked: int | None, taken: int = 0) -> int:
    """Tokens that one text may have: what the user asks, or what the model can read; refuses more than that.

    taken: positions that stand before every text (virtual tokens).
    """
    limit = None if spec.max_positions is None else spec.max_positions - taken
    if taken and limit is not None and limit < 2:
        raise InputError(
            f"method.tokens: {taken} virtual tokens leave no room for a text; there are {limit + taken} positions, "
            "take fewer."
        )
    if asked is not None and limit is not None and asked > limit:
        left = f" that {taken} virtual tokens leave of the {limit + taken}" if taken else ""
        raise InputError(f"model.max_length: {asked} is more than the {limit} positions{left} of this model.")
    return asked or limit or 4096
