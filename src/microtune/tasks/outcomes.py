"""What a model said about rows: one `Prediction` for a reader, compact `Outcomes` for a score.

A Prediction of 77 labels is tens of kilobytes as Python objects; a split of 100,000 rows would not fit beside the
model. Scoring therefore reduces every batch to a few numbers a row, in numpy columns, and makes a Prediction only for
the row that somebody looks at. A bootstrap draw is then a weight per row instead of a list of rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

Column = NDArray[Any]
Columns = Mapping[str, Column]


@dataclass(frozen=True)
class Prediction:
    """What a model says about one row. `numbers` are sums that `metrics` adds up (loss, tokens, correct ...).

    answers: of a model that writes several, all of them with their scores, the best first.
    """

    answer: Any
    confidence: float
    target: Any = None
    scores: Mapping[str, float] = field(default_factory=dict)
    numbers: Mapping[str, float] = field(default_factory=dict)
    row: int = -1
    answers: Sequence[tuple[str, float]] = ()


class Outcomes(Sequence[Prediction]):
    """Columns of equal length, one entry per item, `row` (the index of the row it came from) among them.

    Read as a sequence it makes each Prediction when it is asked for, without the scores of all labels, which are not
    kept.
    """

    def __init__(self, columns: Columns, read: Callable[[Columns, int], Prediction]) -> None:
        self.columns = columns
        self._read = read
        self.kept: dict[str, Any] = {}  # what metrics find once and use for every draw of a bootstrap

    def __len__(self) -> int:
        return len(self.columns["row"])

    @overload
    def __getitem__(self, index: int) -> Prediction: ...
    @overload
    def __getitem__(self, index: slice) -> list[Prediction]: ...
    def __getitem__(self, index: int | slice) -> Prediction | list[Prediction]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return self._read(self.columns, index % len(self))

    def __iter__(self) -> Iterator[Prediction]:
        return (self._read(self.columns, index) for index in range(len(self)))

    @property
    def nbytes(self) -> int:
        """Bytes of all columns."""
        return sum(column.nbytes for column in self.columns.values())


class Collector:
    """Fills the columns of `count` items batch by batch, in place: small arrays would weigh more than they hold."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.columns: dict[str, Column] = {}

    def put(self, places: Sequence[int], columns: Columns) -> None:
        """The columns of one batch, whose items stand at `places`."""
        for name, values in columns.items():
            if name not in self.columns:
                self.columns[name] = np.zeros((self.count, *values.shape[1:]), dtype=values.dtype)
            self.columns[name][places] = values
