"""Where a token stands: learned and sinusoidal tables, rotary angles, relative bias.

Everything is computed from integer positions that the caller hands over, never from `arange`: caches, windows and
virtual tokens all depend on it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from microtune.nn.spec import Sinusoids, StackSpec


def sinusoidal_table(rows: int, size: int, kind: Sinusoids = "paper") -> Tensor:
    """[rows, size] of sines, then cosines, half each, in the layout of Marian and Whisper.

    kind: the wavelengths of the paper (Vaswani et al., 2017), as Marian and Pegasus have them, or those of its code,
    tensor2tensor, which reach the longest one (Whisper). Of an odd size the sines take one more.
    """
    sines = size - size // 2
    exponents = torch.arange(sines, dtype=torch.float64) / (size / 2 if kind == "paper" else max(size // 2 - 1, 1))
    angles = torch.arange(rows, dtype=torch.float64)[:, None] / 10_000.0**exponents
    return torch.cat((angles.sin(), angles[:, : size // 2].cos()), -1).float()


def rotary_angles(positions: Tensor, head_size: int, theta: float, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Cosines and sines `[N, E]` for `positions [N]` (Su et al., 2021, in Llama's half-split layout)."""
    wide = torch.promote_types(dtype, torch.float32)
    exponents = torch.arange(0, head_size, 2, dtype=torch.int64, device=positions.device).to(wide) / head_size
    angles = positions.to(wide)[:, None] / theta**exponents
    angles = torch.cat((angles, angles), -1)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn queries or keys `x [N, H, E]` by the angles of their positions."""
    first, second = x.chunk(2, -1)
    turned = torch.cat((-second, first), -1)
    return (x * cos[:, None].to(x.dtype)) + (turned * sin[:, None].to(x.dtype))


class RelativeBias(nn.Module):
    """A learned number per head and bucket of distance, added to the attention scores (Raffel et al., 2020)."""

    def __init__(self, spec: StackSpec) -> None:
        super().__init__()
        self.table = nn.Embedding(spec.relative_buckets, spec.num_heads)
        self.buckets = spec.relative_buckets
        self.max_distance = spec.relative_max_distance
        self.causal = spec.causal

    def bucket(self, distance: Tensor) -> Tensor:
        """Key position minus query position, any shape -> bucket numbers."""
        buckets, offset = self.buckets, torch.zeros_like(distance)
        if self.causal:
            distance = (-distance).clamp(min=0)
        else:
            buckets //= 2
            offset = (distance > 0).long() * buckets
            distance = distance.abs()
        exact = buckets // 2
        ratio = torch.log(distance.clamp(min=1).float() / exact) / math.log(self.max_distance / exact)
        far = exact + (ratio * (buckets - exact)).long()  # in this order: where a bucket ends, rounding decides
        return offset + torch.where(distance < exact, distance, far.clamp(max=buckets - 1))

    def forward(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Positions `[..., T]` and `[..., S]` -> bias `[..., H, T, S]`."""
        buckets = self.bucket(keys[..., None, :] - queries[..., :, None])
        return self.table(buckets).movedim(-1, -3)
