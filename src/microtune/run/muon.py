"""Muon: momentum whose matrices are made orthogonal (Jordan et al., 2024), all matrices of one shape at once.

The formula of `torch.optim.Muon`, which goes from matrix to matrix: of a small model on a GPU the launches of its
hundreds of tiny products take longer than the backward pass. Stacked by shape they are a few batched products.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

STEPS = 5
COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic; steepest at zero, where most singular values lie
EPSILON = 1e-7


class Muon(torch.optim.Optimizer):
    """For matrices `[out, in]` only; `lr` is the spectral norm of one update (times sqrt(out / in) of tall ones)."""

    def __init__(
        self, params: Iterable[Any], lr: float = 0.02, *, momentum: float = 0.95, weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient; Nesterov's momentum, decoupled weight decay."""
        for group in self.param_groups:
            alike: dict[torch.Size, list[Tensor]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    alike.setdefault(parameter.shape, []).append(parameter)
            for shape, members in alike.items():
                lr = group["lr"]
                updates = orthogonal(self._momentum(members, group["momentum"]))
                torch._foreach_mul_(members, 1 - lr * group["weight_decay"])
                rate = lr * math.sqrt(max(1.0, shape[0] / shape[1]))
                torch._foreach_add_(members, list(updates.to(members[0].dtype)), alpha=-rate)

    def _momentum(self, members: list[Tensor], momentum: float) -> Tensor:
        """[m, out, in]: the gradients with Nesterov's momentum."""
        grads = [p.grad for p in members if p.grad is not None]
        for parameter in members:
            if "momentum_buffer" not in self.state[parameter]:
                self.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        buffers = [self.state[p]["momentum_buffer"] for p in members]
        torch._foreach_lerp_(buffers, grads, 1 - momentum)
        return torch.stack(torch._foreach_lerp(grads, buffers, momentum))


def orthogonal(matrices: Tensor) -> Tensor:
    """[m, out, in] -> bfloat16 of the same shape: all singular values moved to between about 0.7 and 1.2."""
    a, b, c = COEFFICIENTS
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.to(torch.bfloat16)
    x = x.mT if tall else x
    x = x / x.flatten(1).norm(dim=1).clamp(min=EPSILON)[:, None, None]
    for _ in range(STEPS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x
