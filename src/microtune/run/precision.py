"""Which number format to compute in, measured rather than guessed.

On processors without bfloat16 instructions, bfloat16 products are tens of times slower than float32; on others they are
several times faster. A short race of two products decides, and only a clear win counts, so that the choice is stable.
"""

from __future__ import annotations

import time
from functools import cache
from typing import Literal

import torch
import torch.nn.functional as F

Precision = Literal["float32", "bfloat16"]
CLEAR_WIN = 1.5


def resolve(asked: str, device: torch.device) -> Precision:
    """`auto` -> the faster of float32 and bfloat16 on this machine; anything else as asked."""
    if asked == "float32":
        return "float32"
    if asked == "bfloat16":
        return "bfloat16"
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    return "bfloat16" if speed_ratio() > CLEAR_WIN else "float32"


@cache
def speed_ratio() -> float:
    """How much faster a bfloat16 product is than a float32 one on this CPU."""
    seconds = {}
    for dtype in (torch.float32, torch.bfloat16):
        x, w = torch.ones(256, 512, dtype=dtype), torch.ones(1024, 512, dtype=dtype)
        F.linear(x, w)
        best = float("inf")
        for _ in range(5):
            start = time.perf_counter()
            F.linear(x, w)
            best = min(best, time.perf_counter() - start)
            if best > 0.05:  # emulated: one look is enough
                break
        seconds[dtype] = best
    return seconds[torch.float32] / seconds[torch.bfloat16]


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """Products in bfloat16 where that was chosen; sums, norms and softmax stay in float32."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16")
