"""Where PiSSA begins: the main part of a weight as two factors, and what is left of it (Meng et al., 2024).

scale * B A is the best approximation of W of its rank, from the largest singular vectors; what is left stays frozen
below it. In int8 it is the rest that is rounded, which loses less than rounding W.
"""

from __future__ import annotations

import torch
from torch import Tensor

WHOLE_SIDE = 1024  # up to this smaller side of a weight all its singular vectors are computed
ITERATIONS = 16  # of the subspace, for a larger one (Halko et al., 2011)


@torch.no_grad()
def principal(weight: Tensor, rank: int, scale: float) -> tuple[Tensor, Tensor]:
    """A `[rank, I]` and B `[O, rank]` whose product, times `scale`, is the best approximation of `weight [O, I]`.

    Each takes the root of the singular values. In at least float32; the same at every call, whatever the random state.
    """
    wide = weight.to(torch.promote_types(weight.dtype, torch.float32))
    if min(wide.shape) <= WHOLE_SIDE:
        left, values, right = torch.linalg.svd(wide, full_matrices=False)
    else:
        with torch.random.fork_rng(devices=[wide.device] if wide.is_cuda else []):
            torch.manual_seed(0)
            left, values, columns = torch.svd_lowrank(wide, q=min(2 * rank, *wide.shape), niter=ITERATIONS)
        right = columns.t()
    root = (values[:rank] / scale).sqrt()
    return root[:, None] * right[:rank], left[:, :rank] * root


@torch.no_grad()
def rest(weight: Tensor, A: Tensor, B: Tensor, scale: float) -> Tensor:
    """W - scale * B A in the type of W: in float64, rounded once, so that every machine finds the same bits."""
    if weight.is_meta:
        return weight
    return (weight.double() - (B.double() * scale) @ A.double()).to(weight.dtype)
