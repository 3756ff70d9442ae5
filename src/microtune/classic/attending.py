"""Attention of a recurrent decoder over the states of its encoder, before attention was all there was.

For a state q of the decoder and the states m_1 .. m_S of the encoder, the weights are the softmax of

    additive   v . tanh(W q + U m_s)    (Bahdanau, Cho and Bengio, 2015)
    dot        q . m_s                  (Luong, Pham and Manning, 2015)

and the context is the sum of the m_s with these weights. Sequences lie side by side only in here.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from microtune.classic.recurrent_spec import Attending
from microtune.ragged import Ragged


@dataclass(frozen=True)
class Laid:
    """The encoder's states of B rows side by side: `keys` and `values [B, S, D]`, and where there is one, `[B, S]`."""

    keys: Tensor
    values: Tensor
    there: Tensor

    def first(self, rows: int) -> Laid:
        """Those of the first rows."""
        return Laid(self.keys[:rows], self.values[:rows], self.there[:rows])

    def chosen(self, rows: Tensor) -> Laid:
        """Those of rows by index."""
        return Laid(self.keys[rows], self.values[rows], self.there[rows])


class ContextAttention(nn.Module):
    """Weights over the encoder's states, and the context that they make."""

    def __init__(self, size: int, kind: Attending) -> None:
        super().__init__()
        self.kind = kind
        additive = kind == "additive"
        self.query = nn.Linear(size, size, bias=False) if additive else None
        self.key = nn.Linear(size, size, bias=False) if additive else None
        self.score = nn.Linear(size, 1, bias=False) if additive else None  # a bias would move no weight

    def lay(self, memory: Ragged) -> Laid:
        """States `[M, D]` of B rows, once for all steps of a decoder."""
        values = side_by_side(memory)
        keys = values if self.key is None else side_by_side(memory.map(self.key))
        longest = values.shape[1]
        there = torch.arange(longest, device=values.device) < memory.lengths[:, None]
        return Laid(keys, values, there)

    def forward(self, queries: Tensor, laid: Laid) -> tuple[Tensor, Tensor]:
        """Queries `[B, T, D]` -> contexts `[B, T, D]` and weights `[B, T, S]`."""
        if self.query is not None and self.score is not None:
            inner = torch.tanh(self.query(queries)[:, :, None] + laid.keys[:, None])
            scores = self.score(inner)[..., 0]
        else:
            scores = queries @ laid.keys.transpose(1, 2)
        wide = scores.to(torch.promote_types(scores.dtype, torch.float32))
        # The lowest number in place of -inf: a row without a state gets weights that are finite, over zeros.
        weights = wide.masked_fill(~laid.there[:, None], torch.finfo(wide.dtype).min).softmax(-1)
        return weights.to(laid.values.dtype) @ laid.values, weights


def side_by_side(rows: Ragged) -> Tensor:
    """Rows of `[N, D]` -> `[B, S, D]`, zeros behind the shorter ones; S is at least 1."""
    longest = max(int(rows.lengths.max()), 1)
    empty = rows.values.new_zeros(len(rows), longest, rows.values.shape[-1])
    return empty.index_put((rows.rows, rows.positions), rows.values)
