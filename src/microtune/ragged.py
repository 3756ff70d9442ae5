"""Ragged: sequences laid end to end, without padding.

Everything that works on one token at a time (embeddings, norms, projections, MLPs, heads) sees `values [N, ...]` and
never a pad token; only the inside of attention needs to know where one sequence ends and the next begins. The idea is
spaCy's and thinc's `Ragged` and TensorFlow's `RaggedTensor`; the name is theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True)
class Ragged:
    """B sequences of together N elements: `values [N, ...]` and `lengths [B]` (int64).

    shared: where it is not 0, the first sequence has this length and is the common beginning of all others, which hold
    only what follows it; a prompt that many rows begin with is then computed once. readers: `[B]`, of what an encoder
    reads: how many sequences of the decoder, one after another, look at each of these; None: one each.
    """

    values: Tensor
    lengths: Tensor
    shared: int = 0
    readers: Tensor | None = None

    def __post_init__(self) -> None:
        if self.lengths.is_cuda:  # looked at where it was made; looking again would wait for the device
            return
        if int(self.lengths.sum()) != len(self.values):
            raise ValueError(f"lengths add up to {int(self.lengths.sum())}, but there are {len(self.values)} values")
        if self.shared and int(self.lengths[0]) != self.shared:
            raise ValueError(f"the shared beginning has {int(self.lengths[0])} elements, not {self.shared}")

    @classmethod
    def from_lists(cls, rows: Iterable[Sequence[int]]) -> Ragged:
        """Token ids of several sequences -> Ragged of int64."""
        rows = list(rows)
        lengths = torch.tensor([len(row) for row in rows], dtype=torch.int64)
        return cls(torch.tensor([i for row in rows for i in row], dtype=torch.int64), lengths)

    def __len__(self) -> int:
        return len(self.lengths)

    @cached_property
    def starts(self) -> Tensor:
        """[B]: index of the first element of each sequence."""
        return self.lengths.cumsum(0) - self.lengths

    @cached_property
    def rows(self) -> Tensor:
        """[N]: the sequence that each element belongs to."""
        numbers = torch.arange(len(self), device=self.lengths.device)
        return torch.repeat_interleave(numbers, self.lengths, output_size=len(self.values))

    @cached_property
    def positions(self) -> Tensor:
        """[N]: the place of each element in its own sequence, from 0; what follows a shared beginning counts on."""
        inside = torch.arange(len(self.values), device=self.lengths.device) - self.starts[self.rows]
        return inside + self.shared * (self.rows > 0) if self.shared else inside

    def map(self, function: Callable[[Tensor], Tensor]) -> Ragged:
        """The same lengths around `function(values)`."""
        return Ragged(function(self.values), self.lengths, self.shared, self.readers)

    def to(self, device: torch.device | str) -> Ragged:
        """A copy on another device."""
        readers = None if self.readers is None else self.readers.to(device)
        return Ragged(self.values.to(device), self.lengths.to(device), self.shared, readers)


def looked_at(readers: Tensor, sequences: int) -> Tensor:
    """[sequences]: which of several memories each one looks at, from how many look at each (`Ragged.readers`)."""
    return torch.repeat_interleave(torch.arange(len(readers), device=readers.device), readers, output_size=sequences)
