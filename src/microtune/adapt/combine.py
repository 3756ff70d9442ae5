"""Sums of low-rank updates: one update that does what several do together, each with its weight.

The sum of `w_i s_i B_i A_i` is exact with the factors end to end: A's one above the other, B's side by side, and the
rank is the sum of the ranks. `shortened` is the best approximation of a lower rank (Eckart and Young, 1936); it is
computed from the factors, so the whole matrix never exists. peft calls the two `cat` and `svd`; what it calls `linear`
adds A's and B's apart, whose product is another matrix, and is not offered.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from microtune.nn.frozen import Update


class Factors(NamedTuple):
    """An update B A: A `[r, I]` and B `[O, r]`."""

    A: Tensor
    B: Tensor


def added(terms: Sequence[tuple[float, Update]]) -> Factors:
    """The weighted sum of updates of one role, exactly."""
    A = torch.cat([update.A.detach() for _, update in terms])
    B = torch.cat([update.B.detach() * (weight * update.scale) for weight, update in terms], 1)
    return Factors(A, B)


def shortened(factors: Factors, rank: int) -> tuple[Factors, float, float]:
    """The nearest update of at most `rank`; the squared Frobenius norms of what is lost, and of the whole."""
    kind = factors.A.dtype
    left, inner_left = torch.linalg.qr(factors.B.to(torch.float64))
    right, inner_right = torch.linalg.qr(factors.A.to(torch.float64).t())
    U, S, V = torch.linalg.svd(inner_left @ inner_right.t())
    kept = min(rank, len(S))
    B = (left @ U[:, :kept] * S[:kept]).to(kind)
    A = (V[:kept] @ right.t()).to(kind)
    squares = S.square()
    return Factors(A, B), float(squares[kept:].sum()), float(squares.sum())


def widened(factors: Factors, rank: int) -> Factors:
    """The same update with zeros up to `rank`."""
    more = rank - len(factors.A)
    if more <= 0:
        return factors
    A, B = factors
    return Factors(torch.cat([A, A.new_zeros(more, A.shape[1])]), torch.cat([B, B.new_zeros(len(B), more)], 1))
