"""A label head with a table beside it that scores n-grams of tokens: the network generalises, the table remembers.

Wide and deep learning (Cheng et al., 2016). The wide part is the linear model over hashed n-grams of fastText (Joulin
et al., 2017; hashing: Weinberger et al., 2009): a small base that has read few texts like those of the task does not
know what their words mean, and what single words say about the labels is learnt from the rows themselves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from microtune.nn.heads import pool_mean
from microtune.nn.own_heads import OwnHead
from microtune.nn.spec import ModelSpec

MOST_ROWS, MOST_NUMBERS = 2**18, 2**22  # of the table: with few labels it has that many rows, with many that size
SCALE = 100.0  # of the length of a text's vector, so that rates at which networks learn move the table far enough
SHARE = 2 / 3  # of the table in the answer: a network that has learnt its rows by heart is surer than it is right
TURN, SPREAD, SHIFT = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(31)


class WideHead(OwnHead):
    """The architecture's label head, and beside it a table `wide [rows, labels]` that begins as zeros."""

    def __init__(self, spec: ModelSpec, num_labels: int, longest: int) -> None:
        super().__init__(spec, num_labels)
        self.longest = longest
        self.wide = nn.Parameter(torch.zeros(table_rows(num_labels), num_labels))

    def beside(self, texts: Sequence[Sequence[int]]) -> Tensor:
        """Ids of B texts -> scores [B, labels] of their n-grams: each text is a vector of ones and zeros of one length.

        The gradient is that of a vector of length 1: AdamW does not ask for its size, but clipping does.
        """
        found = [ngrams(ids, self.longest, len(self.wide)) for ids in texts]
        counts = torch.tensor([len(rows) for rows in found], device=self.wide.device)
        rows = torch.from_numpy(np.concatenate(found)).to(self.wide.device)
        unit = pool_mean(F.embedding(rows, self.wide), counts) * counts[:, None].to(self.wide.dtype).sqrt()
        return unit + (SCALE - 1) * unit.detach()

    def take(self, spare: Mapping[str, Tensor]) -> None:
        """As in any label head; the table comes from no file."""
        super().take({"head.wide": self.wide.detach(), **spare})


def table_rows(labels: int) -> int:
    """Rows of the table for so many labels: a power of two."""
    rows = MOST_ROWS
    while rows * labels > MOST_NUMBERS and rows > 1:
        rows //= 2
    return rows


def ngrams(ids: Sequence[int], longest: int, rows: int) -> NDArray[np.int64]:
    """Rows of a table of `rows` for the n-grams of 1 to `longest` tokens in `ids`, each once, ascending.

    They follow from the ids alone, on every machine.
    """
    given = np.asarray(ids, dtype=np.int64).astype(np.uint64)
    mark: NDArray[Any] = np.zeros(len(given), dtype=np.uint64)
    found = []
    for size in range(1, min(longest, len(given)) + 1):
        mark = (mark[: len(given) - size + 1] * TURN + given[size - 1 :] + np.uint64(1)) * SPREAD
        mark ^= mark >> SHIFT
        found.append(mark % np.uint64(rows))
    return np.unique(np.concatenate(found)).astype(np.int64)
