"""Attention over sequences laid end to end, in one kernel: for GPUs with half types.

On a CPU sequences are sorted into groups of one shape; on a GPU every group is a dozen kernels that have to be started,
and texts have as many lengths as there are rows. FlashAttention (Dao et al., 2022; Dao, 2023) reads sequences of any
lengths as they lie, and so does torch's copy of it. It knows the causal mask and a window, both counted from the last
key of a sequence, grouped heads and half types; whatever else there is goes by groups.

Shape letters: N queries of all sequences, M keys, H heads, K key heads, E head width.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

HALF = (torch.float16, torch.bfloat16)
WIDEST = 256  # of a head, in numbers; a multiple of eight
aten = torch.ops.aten


@dataclass(frozen=True)
class Packed:
    """Where sequences begin and end. The queries of each are the last of its keys, or the order does not matter."""

    queries: Tensor  # [B + 1] int32: where the queries of each sequence begin
    keys: Tensor  # [B + 1] int32
    longest: tuple[int, int]  # queries and keys that no sequence has more of
    tokens: int  # queries in all
    causal: bool
    key_order: Tensor | None = None  # [M] place -> stored key; None where they stand end to end

    def window(self, size: int | None) -> tuple[int, int]:
        """Keys to the left and to the right of a query that it sees beside its own; -1: all."""
        if size is None:
            return (-1, 0) if self.causal else (-1, -1)
        return (size - 1, 0 if self.causal else size - 1)


@cache
def packs(device: torch.device) -> bool:
    """Whether the kernel runs there: compute capability 8 (Ampere) or later."""
    if device.type != "cuda" or torch.version.hip is not None:
        return False
    return torch.cuda.get_device_capability(device)[0] >= 8 and torch.backends.cuda.is_flash_attention_available()


def fits(dtype: torch.dtype, width: int) -> bool:
    """Whether the kernel takes heads of this type and width."""
    return dtype in HALF and width % 8 == 0 and width <= WIDEST


def pack(query_lengths: Tensor, key_lengths: Tensor, tokens: int, key_order: Tensor | None, *, causal: bool) -> Packed:
    """From the lengths `[B]` of queries and keys; tokens: queries in all.

    The kernel has a way of its own for one query each, in which no sequence may have none: so it is told of two.
    """
    longest = torch.stack((query_lengths.max(), key_lengths.max())).tolist() if len(query_lengths) else (0, 0)
    ends = (F.pad(lengths.cumsum(0), (1, 0)).to(torch.int32) for lengths in (query_lengths, key_lengths))
    queries, keys = ends
    return Packed(queries, keys, (max(longest[0], 2), longest[1]), tokens, causal, key_order)


def flash(
    q: Tensor, k: Tensor, v: Tensor, packed: Packed, scale: float, window: int | None
) -> tuple[Tensor, Tensor, Tensor]:
    """[N, H, E], [M, K, E] twice -> the output [N, H, E], and two tensors that `flash_backward` wants.

    Autograd knows the gradient of the output.
    """
    left, right = packed.window(window)
    out, sums, state, *_ = aten._flash_attention_forward(
        *(q, k, v, packed.queries, packed.keys, *packed.longest, 0.0, (left, right) == (-1, 0), False),
        scale=scale,
        window_size_left=left,
        window_size_right=right,
    )
    return out, sums, state


def flash_backward(
    dy: Tensor, q: Tensor, k: Tensor, v: Tensor, kept: tuple[Tensor, Tensor, Tensor], packed: Packed, scale: float,
    window: int | None,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Gradients in queries, keys and values; kept: what `flash` gave."""
    left, right = packed.window(window)
    out, sums, state = kept
    dq, dk, dv = aten._flash_attention_backward(
        *(dy, q, k, v, out, sums, packed.queries, packed.keys, *packed.longest, 0.0, (left, right) == (-1, 0), state),
        torch.empty(0, dtype=torch.int64, device=q.device),
        scale=scale,
        window_size_left=left,
        window_size_right=right,
    )
    return dq, dk, dv


def spread(q: Tensor, readout: Tensor | None, packed: Packed) -> Tensor:
    """Queries of the `readout` at their places among those of all tokens; the others ask for nothing."""
    return q if readout is None else q.new_zeros(packed.tokens, *q.shape[1:]).index_copy(0, readout, q)


def attend(
    q: Tensor, k: Tensor, v: Tensor, packed: Packed, *, scale: float, window: int | None, readout: Tensor | None
) -> Tensor:
    """[N, H, E] (or [R, H, E] of the readout), [M, K, E] twice -> [N or R, H, E], with gradients."""
    if packed.key_order is not None:
        k, v = k[packed.key_order], v[packed.key_order]
    if not len(q):
        return q
    out = flash(spread(q, readout, packed), k, v, packed, scale, window)[0]
    return out if readout is None else out[readout]
