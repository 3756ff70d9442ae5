"""Which number format to compute in, measured rather than guessed.

On processors without bfloat16 instructions, bfloat16 products are tens of times slower than float32; on others they are
several times faster, but only for large products: a kernel is prepared for each new shape, and ragged batches bring new
shapes all the time. A short race of products of the model's own size decides, and only a clear win counts, so that the
choice is stable. A run keeps its choice when it resumes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from microtune.nn.frozen import freeze_linears, thaw_linears
from microtune.nn.heads import VocabularyHead
from microtune.nn.transformer import Transformer

Precision = Literal["float32", "bfloat16", "int8"]
CLEAR_WIN = 1.5
ROUNDS = 5


def resolve(asked: str, device: torch.device, *, width: int, rows: int, ragged: bool) -> Precision:
    """`auto` -> the faster of float32 and bfloat16 on this machine; anything else as asked.

    width: of the hidden states; rows: tokens of one micro-batch; ragged: whether their number changes between batches.
    """
    if asked in ("float32", "bfloat16", "int8"):
        return cast(Precision, asked)
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


def compute_type(precision: Precision, device: torch.device) -> torch.dtype:
    """What products run in; the float part of an int8 run is bfloat16 where the processor knows it."""
    if precision == "int8" and device.type == "cpu":
        return torch.bfloat16 if torch.cpu._is_avx512_bf16_supported() else torch.float32
    return torch.float32 if precision == "float32" else torch.bfloat16


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """Products in bfloat16 where that was chosen; sums, norms and softmax stay in float32."""
    dtype = compute_type(precision, device)
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16)


class HeldBase:
    """The frozen weights of a network in the format that its products run in, until `release`.

    Rounded weights are not kept beside the original ones: `release` reads those anew through `fresh`, so that a run
    ends with the base as its files have it.
    """

    def __init__(self, network: Transformer, precision: Precision, fresh: Callable[[], Transformer]) -> None:
        self.network, self.fresh = network, fresh
        device = network.tokens.weight.device
        self.linears = freeze_linears(network, precision)
        self.embeddings = compute_type(precision, device) == torch.bfloat16
        if self.embeddings:
            for name in self._rounded():
                self._set(name, network.get_parameter(name).detach().to(torch.bfloat16))

    def release(self) -> None:
        """Every frozen weight as it was."""
        names = self._rounded() if self.embeddings else []
        again = cache(self.fresh)
        thaw_linears(self.network, self.linears, again)
        for name in names:
            self._set(name, again().get_parameter(name).detach().to(self.network.get_parameter(name).device))
        self.linears, self.embeddings = {}, False

    def _rounded(self) -> list[str]:
        """The large frozen tables: the token embedding and an untied vocabulary head."""
        head = self.network.head
        names = ["tokens.weight"]
        if isinstance(head, VocabularyHead) and head.out.weight is not self.network.tokens.weight:
            names.append("head.out.weight")
        return [name for name in names if not self.network.get_parameter(name).requires_grad]

    def _set(self, name: str, value: Tensor) -> None:
        head, parameter = self.network.head, nn.Parameter(value, requires_grad=False)
        if name == "head.out.weight":
            assert isinstance(head, VocabularyHead)
            head.out.weight = parameter
            return
        if isinstance(head, VocabularyHead) and head.out.weight is self.network.tokens.weight:
            head.out.weight = parameter
        self.network.tokens.weight = parameter
