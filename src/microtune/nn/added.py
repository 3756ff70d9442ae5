"""Rows of the embedding that belong to added tokens: how a network gets them, and how they train alone.

`grow` gives a network rows for new ids; each begins as the mean of the rows that had an id, so that a new token is at
first an average one (Hewitt, 2021). `AddedRows` holds such an embedding in two parts, of which only the new rows train:
an adapter then stores n rows instead of the whole table. The table itself is one block of memory in which the new rows
are written over at each access; it is never copied.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from microtune.nn.heads import VocabularyHead
from microtune.nn.transformer import Transformer

TABLES = ("tokens", "targets")  # the embeddings of a network
ROWS_AT_ONCE = 4096  # widened to float64 for the mean


@dataclass(frozen=True)
class New:
    """The ids of added tokens: `count` of them, from `first` on."""

    first: int
    count: int

    @property
    def stop(self) -> int:
        """The first id behind them."""
        return self.first + self.count


class AddedRows(nn.Module):
    """A table [V, D] whose rows `first` to `first + n` train, and no other.

    below, above: the frozen rows before and behind (above may be missing); added: [n, D], at least float32.
    """

    above: nn.Parameter | None

    def __init__(self, table: Tensor, new: New) -> None:
        super().__init__()
        self.new = new
        table = table.detach()
        self.below = nn.Parameter(table[: new.first], requires_grad=False)
        wide = torch.promote_types(table.dtype, torch.float32)
        self.start = table[new.first : new.stop].to(wide, copy=True)
        self.added = nn.Parameter(self.start.clone())
        behind = table[new.stop :]
        self.above = nn.Parameter(behind, requires_grad=False) if len(behind) else None
        self._table: Tensor | None = table

    @property
    def weight(self) -> Tensor:
        """The whole table `[V, D]`, with the new rows as they are now; it takes no gradient."""
        table = self._table
        if table is None or not _is_part(self.below, table):
            table = self._table = self._joined()
        with torch.no_grad():
            table[self.new.first : self.new.stop].copy_(self.added)
        return table

    @torch.inference_mode(False)
    @torch.no_grad()
    def _joined(self) -> Tensor:
        """One block for all rows, of which the frozen ones are parts: after a move, or new values from a file."""
        behind = 0 if self.above is None else len(self.above)
        table = self.below.new_empty(self.new.stop + behind, *self.below.shape[1:])
        for part, place in ((self.below, slice(self.new.first)), (self.above, slice(self.new.stop, None))):
            if part is not None:
                table[place].copy_(part)
                part.data = table[place]
        return table

    @torch.no_grad()
    def whole(self, *, learnt: bool) -> nn.Parameter:
        """The table as a parameter of its own; without what was learnt, the new rows are as at the start."""
        table = self.weight
        if not learnt:
            table[self.new.first : self.new.stop].copy_(self.start)
        self._table = None
        return nn.Parameter(table)

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self._table = None  # the parts have moved, each for itself
        return self


class AddedEmbedding(AddedRows):
    """In place of a token embedding."""

    def forward(self, ids: Tensor) -> Tensor:
        """Ids [N] -> [N, D]."""
        x = F.embedding(ids, self.weight)
        if not (torch.is_grad_enabled() and self.added.requires_grad):
            return x
        new = (ids >= self.new.first) & (ids < self.new.stop)
        return x.index_put((new,), F.embedding(ids[new] - self.new.first, self.added).to(x.dtype))


class AddedLinear(nn.Module):
    """In place of the linear layer of a vocabulary head: over rows of its own, or over those of the embedding."""

    bias: nn.Parameter | None

    def __init__(self, rows: AddedRows, bias: nn.Parameter | None, *, shared: bool) -> None:
        super().__init__()
        self._rows = (rows,)  # a tuple hides it: shared rows are the embedding's, and are to be found there alone
        if not shared:
            self.rows = rows
        self.bias = bias

    @property
    def weight(self) -> Tensor:
        """The whole table [V, D]."""
        return self._rows[0].weight

    @property
    def added(self) -> tuple[int, Tensor]:
        """The first new id, and the rows that train."""
        return self._rows[0].new.first, self._rows[0].added

    @property
    def shared(self) -> bool:
        """Whether its rows are the embedding's."""
        return "rows" not in self._modules

    def whole(self, weight: nn.Parameter) -> nn.Linear:
        """A linear layer over `weight` with the same bias."""
        return _linear(weight, self.bias)


def _is_part(rows: Tensor, table: Tensor) -> bool:
    same = (rows.dtype, rows.device) == (table.dtype, table.device)
    return same and rows.data_ptr() == table.data_ptr()


def _linear(weight: nn.Parameter, bias: nn.Parameter | None) -> nn.Linear:
    made = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    made.weight, made.bias = weight, bias  # type: ignore[assignment]
    return made


def _embedding(weight: nn.Parameter) -> nn.Embedding:
    made = nn.Embedding.from_pretrained(weight)  # draws nothing, which is dear even on "meta" (shapes.py)
    made.weight = weight
    return made


def grow(network: Transformer, new: New) -> None:
    """Rows for the ids `new`, in place: those that exist are used first. Head and bias follow, and so does the spec."""
    head = network.head
    assert isinstance(head, VocabularyHead)
    tied = head.out.weight is network.tokens.weight
    for name in TABLES:
        table = getattr(network, name)
        if table is not None:
            setattr(network, name, _embedding(_grown(table.weight, new)))
    bias = None if head.out.bias is None else _grown(head.out.bias, new)
    head.out = _linear(network.tokens.weight if tied else _grown(head.out.weight, new), bias)  # type: ignore[arg-type]
    network.spec = replace(network.spec, vocab_size=len(network.tokens.weight))


@torch.no_grad()
def _grown(values: Tensor, new: New) -> nn.Parameter:
    """Values by id `[V, ...]` with room for `new`, whose values are the mean of all before them."""
    wider = values.new_empty(max(len(values), new.stop), *values.shape[1:])
    wider[: len(values)].copy_(values)
    total = torch.zeros(values.shape[1:], dtype=torch.float64, device=values.device)
    for part in values[: new.first].split(ROWS_AT_ONCE):
        total += part.to(torch.float64).sum(0)
    wider[new.first : new.stop] = (total / new.first).to(values.dtype)
    return nn.Parameter(wider, requires_grad=values.requires_grad)


def train_alone(network: Transformer, new: New) -> bool:
    """Let the rows `new` train in every table that is frozen; whether there is one."""
    head, found = network.head, False
    tied = isinstance(head, VocabularyHead) and head.out.weight is network.tokens.weight
    for name in TABLES:
        table = getattr(network, name)
        if table is not None and not table.weight.requires_grad:
            setattr(network, name, AddedEmbedding(table.weight, new))
            found = True
    if isinstance(head, VocabularyHead) and not head.out.weight.requires_grad:
        tied = tied and isinstance(network.tokens, AddedEmbedding)
        rows: Any = network.tokens if tied else AddedRows(head.out.weight, new)
        head.out, found = AddedLinear(rows, head.out.bias, shared=tied), True  # type: ignore[assignment]
    return found


def settle(network: Transformer, *, learnt: bool) -> None:
    """The inverse of `train_alone`: plain embeddings and a plain head again, with or without what was learnt."""
    head = network.head
    out = head.out if isinstance(head, VocabularyHead) else None
    for name in TABLES:
        rows = getattr(network, name)
        if isinstance(rows, AddedEmbedding):
            setattr(network, name, _embedding(rows.whole(learnt=learnt)))
    if isinstance(head, VocabularyHead) and isinstance(out, AddedLinear):
        weight = network.tokens.weight if out.shared else out.rows.whole(learnt=learnt)
        head.out = out.whole(weight)
