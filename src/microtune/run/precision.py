"""Which number format to compute in, measured rather than guessed.

On processors without bfloat16 instructions, bfloat16 products are tens of times slower than float32; on others they are
several times faster, but only for large products: a kernel is prepared for each new shape, and ragged batches bring new
shapes all the time. A short race of products of the model's own size decides, and only a clear win
counts, so that the choice is stable. A run keeps its choice when it resumes.
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
from microtune.run import machine

Precision = Literal["float32", "bfloat16", "int8"]
# The large tables: token embedding and vocabulary head, whole or with the rows of added tokens apart.
TABLES = tuple(f"{owner}.weight" for owner in ("tokens", "head.out")) + tuple(
    f"{owner}.{part}" for owner in ("tokens", "head.out.rows") for part in ("below", "above")
)
CLEAR_WIN = 1.5
CERTAIN = 1.0, 1.8  # between these a race says too little to be kept for other runs: one beside other work may lose
ROUNDS, MOST_ROWS, STEP_ROWS = 5, 512, 64  # from 512 on the rate of products does not depend on their rows


def resolve(asked: str, device: torch.device, *, width: int, rows: int, ragged: bool) -> Precision:
    """`auto` -> the faster of float32 and bfloat16 on this machine; anything else as asked.

    width: of the hidden states; rows: tokens of one micro-batch; ragged: whether their number changes between batches.
    """
    if asked in ("float32", "bfloat16", "int8"):
        return cast(Precision, asked)
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    rows = min(rows, MOST_ROWS) // STEP_ROWS * STEP_ROWS or rows  # so that data of about the same lengths ask the same
    name = f"bfloat16 against float32, width {width}, {rows} rows, {'ragged' if ragged else 'equal'}"
    ratio = machine.measured(name, lambda: speed_ratio(width, rows, ragged), _clear)
    return "bfloat16" if ratio > CLEAR_WIN else "float32"


def _clear(ratio: float) -> bool:
    return not CERTAIN[0] < ratio < CERTAIN[1]


@cache
def speed_ratio(width: int, rows: int, ragged: bool) -> float:
    """How much faster bfloat16 products are than float32 ones on this CPU; with `ragged`, each has a new shape.

    The two take turns and the best time of each counts, so that other work on the machine does not decide.
    """
    dtypes = torch.float32, torch.bfloat16
    weights = {dtype: torch.ones(4 * width, width, dtype=dtype) for dtype in dtypes}
    times: dict[torch.dtype, list[float]] = {dtype: [] for dtype in dtypes}
    for number in range(ROUNDS + 1):
        for dtype in dtypes:
            if sum(times[dtype]) > 0.2:  # emulated: one look is enough
                continue
            x = torch.ones(rows + number * ragged, width, dtype=dtype)
            start = time.perf_counter()
            F.linear(x, weights[dtype])
            times[dtype].append(time.perf_counter() - start)
    best = {dtype: min(taken[1:] or taken) for dtype, taken in times.items()}  # the first one pays for the library
    return best[torch.float32] / best[torch.bfloat16]


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
            rounded = self.network.get_parameter(name)
            owner, _, part = name.rpartition(".")
            whole = again().get_parameter(f"{owner.removesuffix('.rows')}.weight")
            self._set(name, _part(whole, part, len(rounded)).detach().to(rounded.device))
        self.linears, self.embeddings = {}, False

    def _rounded(self) -> list[str]:
        """The large frozen tables: the token embedding and an untied vocabulary head."""
        return [name for name, p in self.network.named_parameters() if name in TABLES and not p.requires_grad]

    def _set(self, name: str, value: Tensor) -> None:
        head, parameter = self.network.head, nn.Parameter(value, requires_grad=False)
        owner, _, part = name.rpartition(".")
        whole = self.network.tokens.weight if name == "tokens.weight" else None
        if isinstance(head, VocabularyHead) and whole is not None and head.out.weight is whole:
            head.out.weight = parameter
        setattr(self.network.get_submodule(owner), part, parameter)


def _part(whole: Tensor, part: str, rows: int) -> Tensor:
    """The rows of a table that one of its parameters holds, of which there are `rows` (nn/added.py)."""
    return whole[len(whole) - rows :] if part == "above" else whole[:rows]
