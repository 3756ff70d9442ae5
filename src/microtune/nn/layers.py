"""The small layers: norms, plain and gated MLP, token embedding.

All of them work on `[..., D]`, one token at a time, and therefore never see a sequence boundary. Norms compute in at
least float32, whatever the weights are.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from microtune.nn.spec import Activation, StackSpec

ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
    "silu": F.silu,
}


class RMSNorm(nn.Module):
    """Root mean square norm (Zhang and Sennrich, 2019); `shift` multiplies by (1 + weight)."""

    def __init__(self, size: int, eps: float, *, shift: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((size,), 0.0 if shift else 1.0))
        self.eps = eps
        self.shift = shift

    def forward(self, x: Tensor) -> Tensor:
        """[..., D] -> [..., D]."""
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        weight = self.weight.to(wide.dtype)
        return F.rms_norm(wide, wide.shape[-1:], 1 + weight if self.shift else weight, self.eps).to(x.dtype)


class LayerNorm(nn.Module):
    """Layer norm (Ba, Kiros and Hinton, 2016), with or without a bias."""

    def __init__(self, size: int, eps: float, *, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.bias = nn.Parameter(torch.zeros(size)) if bias else None
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """[..., D] -> [..., D]."""
        wide = torch.promote_types(x.dtype, torch.float32)
        weight, bias = self.weight.to(wide), None if self.bias is None else self.bias.to(wide)
        return F.layer_norm(x.to(wide), weight.shape, weight, bias, self.eps).to(x.dtype)


def dropout_factors(x: Tensor, p: float) -> Tensor:
    """0 with probability p, else 1 / (1 - p), in the shape and type of `x` (Srivastava et al., 2014).

    torch draws one number for each element, one after the other, which took 6 % of a training step of a small BERT;
    here 64 drawn bits serve four. p is rounded to 1/65536.
    """
    out, dropped = torch.empty(x.shape, dtype=x.dtype, device=x.device), round(p * 65536)
    if dropped == 65536:  # nothing is left to be made larger
        return out.zero_()
    if x.device.type != "cpu" or torch.compiler.is_compiling():  # compiled, it becomes a part of what is around it
        return out.bernoulli_(1 - p).div_(1 - p)
    bits = torch.empty((x.numel() + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    torch.ge(bits.view(torch.int16)[: x.numel()].view(x.shape), dropped - 32768, out=out)  # into floats: vectorised
    return out.mul_(65536 / (65536 - dropped))


def dropout(x: Tensor, p: float) -> Tensor:
    """`x` with elements dropped and the rest made larger."""
    return x * dropout_factors(x, p)


def make_norm(spec: StackSpec, size: int | None = None) -> nn.Module:
    """The norm that `spec` names, for vectors of `size` (default: hidden_size)."""
    size = size or spec.hidden_size
    if spec.norm == "rms":
        return RMSNorm(size, spec.norm_eps, shift=spec.norm_shift)
    return LayerNorm(size, spec.norm_eps, bias=spec.norm_bias)


class MLP(nn.Module):
    """Two projections with an activation between; `gated` multiplies a second branch (Shazeer, 2020)."""

    def __init__(self, spec: StackSpec) -> None:
        super().__init__()
        D, F_ = spec.hidden_size, spec.intermediate_size
        self.up = nn.Linear(D, F_, bias=spec.mlp_bias)
        self.gate = nn.Linear(D, F_, bias=spec.mlp_bias) if spec.mlp == "gated" else None
        self.down = nn.Linear(F_, D, bias=spec.mlp_bias)
        self.kind = spec.activation
        self.activation = ACTIVATIONS[spec.activation]

    def forward(self, x: Tensor) -> Tensor:
        """[N, D] -> [N, D]."""
        if self.gate is None:
            return self.down(self.activation(self.up(x)))
        return self.down(self.activation(self.gate(x)) * self.up(x))
