"""Attention over ragged sequences: self, cross, grouped, windowed, soft-capped, with a key-value cache.

Sequences are laid side by side here alone, as a `Layout` has sorted them by shape (layout.py). Queries and keys carry
integer positions, and causality, window and relative bias are computed from them. Plain products and a softmax are
faster than the fused CPU kernel at the lengths people train with; the fused kernel takes over for long texts. On a GPU
sequences of any lengths go through one kernel as they lie (packed.py), and nothing is sorted.

Shape letters: G sequences of equal shape, T queries, S keys, H heads, K key heads, E head width, D width, N tokens.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from microtune.nn import packed as packing
from microtune.nn.layers import make_norm
from microtune.nn.layout import Layout
from microtune.nn.packed import Packed
from microtune.nn.positions import RelativeBias, rotary_angles, rotate
from microtune.nn.spec import StackSpec
from microtune.ragged import Ragged

FUSED_FROM = 512 * 512  # scores per head above which the fused kernel of torch wins on a CPU


def row_totals(spec: StackSpec, inputs: Ragged, final: Tensor | None) -> Tensor | None:
    """[N]: how long the row of each token is, or will be in the end (`final [B]`), where rotary angles follow it."""
    if not spec.turns_by_row:
        return None
    if inputs.shared:
        raise ValueError("rows of several lengths share no beginning where rotary angles follow the length")
    return (inputs.lengths if final is None else final.to(inputs.lengths.device))[inputs.rows]


class KeyValueCache:
    """Keys and values of one attention for generation: storage `[B * capacity, K, E]`, filled from the left."""

    def __init__(self, batch: int, capacity: int) -> None:
        self.batch = batch
        self.capacity = capacity
        self.keys: Tensor | None = None
        self.values: Tensor | None = None

    def append(self, keys: Tensor, values: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        """Store new keys and values `[N, K, E]` at `places [N]` and return the whole storage."""
        if self.keys is None or self.values is None:
            self.keys = keys.new_zeros(self.batch * self.capacity, *keys.shape[1:])
            self.values = torch.zeros_like(self.keys)
        self.keys[places] = keys
        self.values[places] = values
        return self.keys, self.values

    def select(self, rows: Tensor, used: int) -> None:
        """Make its sequences those numbered `rows [B']`; of each, `used` places at most are filled."""
        if self.keys is None or self.values is None:
            return
        self.keys, self.values = (self._selected(t, rows, used) for t in (self.keys, self.values))
        self.batch = len(rows)

    def _selected(self, stored: Tensor, rows: Tensor, used: int) -> Tensor:
        old = stored.unflatten(0, (self.batch, self.capacity))
        kept = old[:, :used][rows]
        new = old if len(rows) == self.batch else old.new_zeros(len(rows), *old.shape[1:])
        new[:, :used] = kept
        return new.flatten(0, 1)


class Attention(nn.Module):
    """Scaled dot-product attention (Vaswani et al., 2017) with grouped key heads (Ainslie et al., 2023)."""

    def __init__(self, spec: StackSpec, layer: int, *, cross: bool = False) -> None:
        super().__init__()
        D, H, K, E = spec.hidden_size, spec.num_heads, spec.kv_heads, spec.head_size
        self.q = nn.Linear(D, H * E, bias=spec.query_bias)
        self.k = nn.Linear(D, K * E, bias=spec.key_bias)
        self.v = nn.Linear(D, K * E, bias=spec.value_bias)
        self.o = nn.Linear(H * E, D, bias=spec.output_bias)
        self.wide_norm = wide = spec.query_key_norm == "width"
        self.q_norm = None if spec.query_key_norm == "none" else make_norm(spec, H * E if wide else E)
        self.k_norm = None if spec.query_key_norm == "none" else make_norm(spec, K * E if wide else E)
        self.heads, self.kv_heads, self.head_size = H, K, E
        self.scale = spec.attention_scale if spec.attention_scale is not None else E**-0.5
        self.softcap = spec.attention_softcap
        windowed = spec.windowed(layer) and not cross
        self.window = spec.window if windowed else None
        local = windowed and spec.rope_local_theta is not None
        self.theta = None
        if spec.positions == "rotary" and not cross:
            self.theta = spec.rope_local_theta if local else spec.rope_theta
        self.scaling = None if local else spec.rope_scaling
        self.rotary_size, self.rope_layout = spec.rotary_size, spec.rope_layout

    def forward(
        self,
        x: Tensor,
        layout: Layout,
        *,
        readout: Tensor | None = None,
        memory: Tensor | None = None,
        positions: Tensor | None = None,
        bias: RelativeBias | None = None,
        cache: KeyValueCache | None = None,
        places: Tensor | None = None,
        prefix: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """[N, D] -> [N, D], or [R, D] where `readout` names the tokens that ask.

        memory: [M, D], what cross-attention reads; positions: [N] of all tokens, for rotary angles; cache and places:
        where keys and values are kept and which rows of it the new ones take; prefix: keys and values `[p, K, E]` that
        stand before those of the tokens.
        """
        source = x if memory is None else memory
        q = self.by_heads(self.q(x if readout is None else x[readout]), self.heads, self.q_norm)
        k, v = self._keys_values(source, cache, memory is not None)
        if self.theta is not None and positions is not None:
            cos, sin = self.angles(layout, positions, q.dtype)
            own = (cos, sin) if readout is None else (cos[readout], sin[readout])
            q, k = rotate(q, *own, self.rope_layout), rotate(k, cos, sin, self.rope_layout)
        if prefix is not None:
            k, v = torch.cat((prefix[0].to(k.dtype), k)), torch.cat((prefix[1].to(v.dtype), v))
        if cache is not None and places is not None:
            k, v = cache.append(k, v, places)
        if cache is not None and memory is not None:
            cache.keys, cache.values = k, v
        packed = self.packed(layout, q.dtype) if bias is None and q.dtype == k.dtype == v.dtype else None
        if packed is not None:
            out = packing.attend(q, k, v, packed, scale=self.scale, window=self.window, readout=readout)
            return self.o(out.flatten(1))
        return self.o(self._attend(q, k, v, layout, bias))

    def packed(self, layout: Layout, dtype: torch.dtype) -> Packed | None:
        """How this attention goes through one kernel, where it can in this type."""
        return layout.packed if self.softcap is None and packing.fits(dtype, self.head_size) else None

    def _keys_values(self, source: Tensor, cache: KeyValueCache | None, cross: bool) -> tuple[Tensor, Tensor]:
        if cross and cache is not None and cache.keys is not None and cache.values is not None:
            return cache.keys, cache.values
        k = self.by_heads(self.k(source), self.kv_heads, self.k_norm)
        return k, self.by_heads(self.v(source), self.kv_heads, None)

    def by_heads(self, x: Tensor, heads: int, norm: nn.Module | None) -> Tensor:
        """[N, H E] -> [N, H, E], normed over the whole width or over each head."""
        if norm is not None and self.wide_norm:
            return norm(x).unflatten(-1, (heads, self.head_size))
        x = x.unflatten(-1, (heads, self.head_size))
        return x if norm is None else norm(x)

    def angles(self, layout: Layout, positions: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Cosines and sines `[N, rotary size]` of the rotary positions of a batch, computed once per layout."""
        assert self.theta is not None
        key = (self.theta, self.scaling)
        if key not in layout.rotary:
            layout.rotary[key] = rotary_angles(
                *(positions, self.rotary_size, self.theta, dtype),
                scaling=self.scaling,
                lengths=layout.totals,
                layout=self.rope_layout,
            )
        return layout.rotary[key]

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, layout: Layout, bias: RelativeBias | None) -> Tensor:
        if layout.query_order is not None:
            q = q.index_select(0, layout.query_order)
        if layout.key_order is not None:
            k, v = (t.index_select(0, layout.key_order) for t in (k, v))
        parts = []
        for index, group in enumerate(layout.groups):
            shape = (group.size, -1)
            qg, kg, vg = (t.unflatten(0, shape) for t in (q[group.queries], k[group.keys], v[group.keys]))
            added = layout.mask(index, self.window, q.dtype)
            if bias is not None:
                extra = bias(group.query_positions, group.key_positions)  # [G or 1, H, T, S]
                added = extra if added is None else extra + added[:, None]
            elif added is not None:
                added = added[:, None]
            parts.append(self._dense(qg, kg, vg, added).flatten(0, 1))
        if not parts:  # an empty readout
            return q.flatten(1)
        out = torch.cat(parts) if len(parts) != 1 else parts[0]
        return out.flatten(1) if layout.query_back is None else out.index_select(0, layout.query_back).flatten(1)

    def _dense(self, q: Tensor, k: Tensor, v: Tensor, added: Tensor | None) -> Tensor:
        """[G, T, H, E], [G, S, K, E] twice, [G or 1, H or 1, T, S] -> [G, T, H, E]."""
        G, T, H, E = q.shape
        S, K = k.shape[1:3]
        if self.softcap is None and (q.is_cuda or T * S > FUSED_FROM):
            q, k, v = (t.transpose(1, 2) for t in (q, k, v))
            mask = None if added is None else added.to(q.dtype)
            out = F.scaled_dot_product_attention(q, k, v, mask, scale=self.scale, enable_gqa=K != H)
            return out.transpose(1, 2)
        q = (q * self.scale).view(G, T, K, H // K, E).permute(0, 2, 3, 1, 4).reshape(G, K, H // K * T, E)
        scores = torch.matmul(q, k.permute(0, 2, 3, 1)).view(G, K, H // K, T, S)
        if self.softcap is not None:
            scores = self.softcap * torch.tanh(scores / self.softcap)
        if added is not None:
            added = added.view(*added.shape[:1], K, H // K, T, S) if added.shape[1] > 1 else added[:, None]
            scores = scores + added.to(scores.dtype)
        weights = torch.softmax(scores, -1).to(v.dtype)  # half types: torch's kernel sums in float32 and rounds once
        out = torch.matmul(weights.view(G, K, H // K * T, S), v.transpose(1, 2))
        return out.view(G, K, H // K, T, E).permute(0, 3, 1, 2, 4).reshape(G, T, H, E)
