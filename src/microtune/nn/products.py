"""Products of tokens and weights in float32 by the faster of the two libraries inside torch.

torch gives float32 products to MKL, which computes on AMD's processors as if they had no AVX-512. oneDNN, which torch
ships for bfloat16, uses it: 1.06 to 1.5 times as fast on a Zen 4 from a hundred tokens on. It generates code for every
new shape, half a millisecond each, so small products stay where they are; so do weight gradients, which MKL forms
faster. Which library it is depends on the processor and the sizes alone, never on a race: two runs give the same bits.
"""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

WORTH = 100_000_000  # multiplications of a product, about a millisecond, from which code of its own pays


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`x [N, I]`, `weight [O, I]` in any layout -> x W^T + b, [N, O]. Without a gradient."""
    large = x.dtype == torch.float32 and len(x) * weight.numel() >= WORTH
    if large and x.device.type == "cpu" and onednn_is_faster():
        y: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
        return y
    return F.linear(x, weight, bias)


@cache
def onednn_is_faster() -> bool:
    """AVX-512 with bfloat16 products and without matrix tiles: Zen 4 and 5 (and Cooper Lake, where both are alike)."""
    known = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    return known and torch.cpu._is_avx512_bf16_supported() and not torch.cpu._is_amx_tile_supported()
