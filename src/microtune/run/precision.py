"""Which number format to compute in, measured rather than guessed.

On processors without bfloat16 instructions, bfloat16 products are tens of times slower than float32; on others they are
several times faster, but only for large products: a kernel is prepared for each new shape, and ragged batches bring new
shapes all the time. A short race of products of the model's own size decides, and only a clear win counts, so that the
choice is stable. A run keeps its choice when it resumes.
"""

from __future__ import annotations

import time
from functools import cache
from typing import Literal

import torch
import torch.nn.functional as F

Precision = Literal["float32", "bfloat16"]
CLEAR_WIN = 1.5
ROUNDS = 5


def resolve(asked: str, device: torch.device, *, width: int, rows: int, ragged: bool) -> Precision:
    """`auto` -> the faster of float32 and bfloat16 on this machine; anything else as asked.

    width: of the hidden states; rows: tokens of one micro-batch; ragged: whether their number changes between batches.
    """
    if asked == "float32":
        return "float32"
    if asked == "bfloat16":
        return "bfloat16"
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    return "bfloat16" if speed_ratio(width, rows, ragged) > CLEAR_WIN else "float32"


@cache
def speed_ratio(width: int, rows: int, ragged: bool) -> float:
    """How much faster bfloat16 products are than float32 ones on this CPU; with `ragged`, each has a new shape."""
    seconds: dict[torch.dtype, float] = {}
    for dtype in (torch.float32, torch.bfloat16):
        weight = torch.ones(4 * width, width, dtype=dtype)
        times = []
        for number in range(ROUNDS + 1):
            x = torch.ones(rows + number * ragged, width, dtype=dtype)
            start = time.perf_counter()
            F.linear(x, weight)
            times.append(time.perf_counter() - start)
            if sum(times) > 0.2:  # emulated: one look is enough
                break
        later = sorted(times[1:] or times)  # the first one pays for loading the library
        seconds[dtype] = later[len(later) // 2]
    return seconds[torch.float32] / seconds[torch.bfloat16]


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """Products in bfloat16 where that was chosen; sums, norms and softmax stay in float32."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16")
