"""Where a token stands: learned and sinusoidal tables, rotary angles and their scalings, relative bias.

Everything is computed from integer positions that the caller hands over, never from `arange`: caches, windows and
virtual tokens all depend on it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from microtune.nn.spec import RopeLayout, RopeScaling, Sinusoids, StackSpec


def sinusoidal_table(rows: int, size: int, kind: Sinusoids = "paper") -> Tensor:
    """[rows, size] of sines, then cosines, half each, in the layout of Marian and Whisper.

    kind: the wavelengths of the paper (Vaswani et al., 2017), as Marian and Pegasus have them, or those of its code,
    tensor2tensor, which reach the longest one (Whisper). Of an odd size the sines take one more.
    """
    sines = size - size // 2
    exponents = torch.arange(sines, dtype=torch.float64) / (size / 2 if kind == "paper" else max(size // 2 - 1, 1))
    angles = torch.arange(rows, dtype=torch.float64)[:, None] / 10_000.0**exponents
    return torch.cat((angles.sin(), angles[:, : size // 2].cos()), -1).float()


def rotary_angles(
    positions: Tensor,
    size: int,
    theta: float,
    dtype: torch.dtype,
    *,
    scaling: RopeScaling | None = None,
    lengths: Tensor | None = None,
    layout: RopeLayout = "halves",
) -> tuple[Tensor, Tensor]:
    """Cosines and sines `[N, size]` for `positions [N]` (Su et al., 2021), as `rotate` with the same layout wants them.

    lengths: [N], of each token the length of its row; only for scalings that depend on it (`RopeScaling.by_row`).
    """
    wide = torch.promote_types(dtype, torch.float32)
    exponents = torch.arange(0, size, 2, dtype=torch.int64, device=positions.device).to(wide) / size
    periods = _periods(exponents, size, theta, scaling, lengths)
    angles = positions.to(wide)[:, None] / periods
    angles = torch.cat((angles, angles), -1) if layout == "halves" else angles.repeat_interleave(2, -1)
    cos, sin = angles.cos(), angles.sin()
    if scaling is not None and scaling.attention_factor != 1.0:
        cos, sin = cos * scaling.attention_factor, sin * scaling.attention_factor
    return cos, sin


def _periods(exponents: Tensor, size: int, theta: float, scaling: RopeScaling | None, lengths: Tensor | None) -> Tensor:
    """Tokens per radian of each angle, `[size / 2]`, or `[N, size / 2]` where rows differ."""
    if scaling is None:
        return theta**exponents
    factor, original = scaling.factor, scaling.original_max_positions or 1
    if scaling.by_row:
        assert lengths is not None
        rows = lengths[:, None]
        if scaling.kind == "longrope":
            short, long = (exponents.new_tensor(f) for f in (scaling.short_factor, scaling.long_factor))
            return torch.where(rows > original, long, short) * theta**exponents
        longer = factor * rows.clamp(min=original).to(exponents.dtype) / original - (factor - 1)
        return (theta * longer ** (size / (size - 2))) ** exponents
    periods = theta**exponents
    if scaling.kind == "linear":
        return periods * factor
    kept = _kept(periods, size, theta, scaling, original)
    return 1 / (kept / periods + (1 - kept) / (factor * periods))


def _kept(periods: Tensor, size: int, theta: float, scaling: RopeScaling, original: int) -> Tensor:
    """How much of each angle stays as it is, from 0 (all of it shrinks) to 1; llama3 and yarn."""
    if scaling.kind == "llama3":
        turns = original / (2 * math.pi * periods)  # within the original length
        low, high = scaling.low_freq_factor, scaling.high_freq_factor
        return ((turns - low) / (high - low)).clamp(0, 1)
    bounds = [
        size * math.log(original / (turns * 2 * math.pi)) / (2 * math.log(theta))
        for turns in (scaling.beta_fast, scaling.beta_slow)
    ]
    low, high = (math.floor(bounds[0]), math.ceil(bounds[1])) if scaling.truncate else bounds
    low, high = max(low, 0), min(high, size - 1)
    places = torch.arange(len(periods), dtype=periods.dtype, device=periods.device)
    return 1 - ((places - low) / (high - low if high != low else 0.001)).clamp(0, 1)


def rotate(x: Tensor, cos: Tensor, sin: Tensor, layout: RopeLayout = "halves") -> Tensor:
    """Turn queries or keys `x [N, H, E]` by the angles of their positions, as far as there are any.

    Together turn the numbers i and i + half (Llama) or the neighbours 2i and 2i + 1 (GLM) of the first `cos.shape[-1]`.
    """
    size = cos.shape[-1]
    if size < x.shape[-1]:
        return torch.cat((rotate(x[..., :size], cos, sin, layout), x[..., size:]), -1)
    if layout == "halves":
        first, second = x.chunk(2, -1)
        turned = torch.cat((-second, first), -1)
    else:
        turned = torch.stack((-x[..., 1::2], x[..., 0::2]), -1).flatten(-2)
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
