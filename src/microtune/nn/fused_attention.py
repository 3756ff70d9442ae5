"""Attention of whole blocks with its gradient written out: by groups of sequences, or all in one kernel on a GPU.

`AttentionPass` is an object of one pass, like those of kernels.py: `forward` keeps what `backward` needs. On a CPU,
sequences of nearly one length go as one group (padded.py).

Shape letters: G sequences of equal shape, T queries, S keys, H heads, K key heads, E head width, D width, N tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from microtune.nn import packed as packing
from microtune.nn.attention import Attention
from microtune.nn.frozen import Parts
from microtune.nn.kernels import Grads, LinearPass, aten, rotated
from microtune.nn.layout import Group, Layout
from microtune.nn.packed import Packed
from microtune.nn.padded import Padded, longer, padded

if TYPE_CHECKING:
    from microtune.nn.transformer import Flow

SHORT = 64  # keys; see GroupPass


class AttentionPass:
    """Self-attention of a batch; queries of the `readout` only, where the flow has one."""

    def __init__(self, attention: Attention, flow: Flow, roles: dict[str, Parts], dtype: torch.dtype) -> None:
        self.attention, self.layout, self.readout = attention, flow.layout, flow.readout
        H, K, E = attention.heads, attention.kv_heads, attention.head_size
        self.heads, self.kv_heads, self.head_size = H, K, E
        together = ("q", "k", "v") if self.readout is None else ("k", "v")
        self.all = LinearPass([roles[name] for name in together], dtype)
        self.asked = None if self.readout is None else LinearPass([roles["q"]], dtype)
        self.o = LinearPass([roles["o"]], dtype)
        self.tokens, self.more = len(flow.positions), 0
        self.angles = self._angles(flow.positions, dtype)
        packed = attention.packed(flow.layout, dtype)
        self.whole = None if packed is None else PackedPass(packed, attention.scale, attention.window, self.readout)
        self.laid: Padded | Layout = padded(flow.layout, dtype) or flow.layout if packed is None else flow.layout
        self.groups: list[GroupPass] = []
        self.out = torch.empty(0)

    def _angles(self, positions: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor] | None:
        if self.attention.theta is None:
            return None
        cos, sin = self.attention.angles(self.layout, positions, dtype)
        half = self.head_size // 2
        return cos[:, None, :half].to(dtype), sin[:, None, :half].to(dtype)

    def forward(self, x: Tensor) -> Tensor:
        """[N, D] -> [N or R, D]; rows behind the tokens have no part in attention."""
        E, K = self.head_size, self.kv_heads
        self.more = len(x) - self.tokens
        whole = self.all.forward(x)[: self.tokens].unflatten(-1, (-1, E))
        turned, v = whole[:, :-K], whole[:, -K:]
        if self.angles is not None:
            turned = rotated(turned, *self.angles)
        if self.asked is None:
            q, k = turned[:, : self.heads], turned[:, self.heads :]
        else:
            q, k = self.asked.forward(x[self.readout]).unflatten(-1, (-1, E)), turned
            q = q if self.angles is None else rotated(q, *self._own(self.angles))
        if self.whole is not None:
            self.out = self.whole.forward(q, k, v).flatten(1)
            return self.o.forward(self.out)
        laid = self.laid
        q, k, v = self._sorted(q, laid.query_order), *(self._sorted(t, laid.key_order) for t in (k, v))
        self.out = torch.empty(len(q), self.heads, E, dtype=q.dtype, device=q.device)
        for index, group in enumerate(laid.groups):
            mask = laid.mask(index, self.attention.window, q.dtype)
            one = GroupPass(group, self.attention.scale, mask)
            one.forward(q[group.queries], k[group.keys], v[group.keys], self.out[group.queries])
            self.groups.append(one)
        self.out = self._sorted(self.out, laid.query_back).flatten(1)
        if self.readout is None:
            self.out = longer(self.out, self.more)
        return self.o.forward(self.out)

    def backward(self, dy: Tensor, x: Tensor, grads: Grads, wanted: bool) -> Tensor | None:
        """Gradient in the output, and the input once more -> gradient in the input."""
        d_out = self.o.backward(dy, self.out if self.o.reads_input else None, grads)
        assert d_out is not None
        d_out = d_out if self.readout is not None else d_out[: self.tokens]
        dq, dk, dv = self._within(d_out.unflatten(-1, (self.heads, self.head_size)), self.tokens)
        if self.angles is not None:  # a rotation is undone by the opposite one
            (cos, sin), (own_cos, own_sin) = self.angles, self._own(self.angles)
            dq, dk = rotated(dq, own_cos, -own_sin), rotated(dk, cos, -sin)
        if self.asked is None:
            return self.all.backward(self._joined(dq, dk, dv), x, grads, wanted=wanted)
        dx = self.all.backward(self._joined(dk, dv), x, grads, wanted=wanted)
        asked = self.asked.backward(dq.flatten(1), x[self.readout], grads, wanted=wanted)
        return None if dx is None or asked is None else dx.index_add_(0, self.readout, asked)  # type: ignore[arg-type]

    def _joined(self, *parts: Tensor) -> Tensor:
        """[N, heads, E] each -> [N and more, all heads E]."""
        return longer(torch.cat(parts, 1).flatten(1), self.more)

    def _within(self, d_out: Tensor, tokens: int) -> tuple[Tensor, Tensor, Tensor]:
        """The gradient in the output -> those in queries, and in keys and values of all tokens."""
        if self.whole is not None:
            dq, dk, dv = self.whole.backward(d_out)
            order = self.whole.packed.key_order
            if order is not None:
                dk, dv = (self._keys_back(t, tokens, order) for t in (dk, dv))
            return dq, dk, dv
        laid = self.laid
        d_out = self._sorted(d_out, laid.query_order)
        if isinstance(laid, Padded):
            d_out.index_fill_(0, laid.query_pads, 0)
        dq = torch.empty_like(d_out)
        keys = laid.groups[-1].keys.stop if laid.groups else 0
        dk = torch.empty(keys, self.kv_heads, self.head_size, dtype=dq.dtype, device=dq.device)
        dv = torch.empty_like(dk)
        for group, one in zip(laid.groups, self.groups, strict=True):
            one.backward(d_out[group.queries], dq[group.queries], dk[group.keys], dv[group.keys])
        dq = self._sorted(dq, laid.query_back)
        if isinstance(laid, Padded):
            return dq, laid.keys_back(dk, tokens), laid.keys_back(dv, tokens)
        if laid.key_order is not None:  # sequences in which nobody asks are not among the groups
            dk, dv = (self._keys_back(t, tokens, laid.key_order) for t in (dk, dv))
        return dq, dk, dv

    def _keys_back(self, t: Tensor, tokens: int, order: Tensor) -> Tensor:
        """Gradients of keys from the sorted order to the tokens; those of a shared beginning add up."""
        if not self.layout.repeats:
            return t.new_zeros(tokens, *t.shape[1:]).index_copy_(0, order, t)
        wide = torch.promote_types(t.dtype, torch.float32)
        return (
            torch.zeros(tokens, *t.shape[1:], dtype=wide, device=t.device).index_add_(0, order, t.to(wide)).to(t.dtype)
        )

    def _own(self, angles: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return angles if self.readout is None else (angles[0][self.readout], angles[1][self.readout])

    @staticmethod
    def _sorted(t: Tensor, order: Tensor | None) -> Tensor:
        return t if order is None else t.index_select(0, order)


class PackedPass:
    """Attention of all sequences in one kernel, there and back."""

    def __init__(self, packed: Packed, scale: float, window: int | None, readout: Tensor | None) -> None:
        self.packed, self.scale, self.window, self.readout = packed, scale, window, readout
        self.kept: tuple[Tensor, ...] = ()

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """[N or R, H, E], [N, K, E] twice -> [N or R, H, E]."""
        q, order = packing.spread(q, self.readout, self.packed), self.packed.key_order
        k, v = (k, v) if order is None else (k[order], v[order])
        found = packing.flash(q, k, v, self.packed, self.scale, self.window)
        self.kept = (q, k, v, *found)
        return found[0] if self.readout is None else found[0][self.readout]

    def backward(self, d_out: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The gradient in the output -> those in queries, and in keys and values in the order of the kernel."""
        (q, k, v, *found), self.kept = self.kept, ()
        d_out = packing.spread(d_out, self.readout, self.packed)
        kept = (found[0], found[1], found[2])
        dq, dk, dv = packing.flash_backward(d_out, q, k, v, kept, self.packed, self.scale, self.window)
        return dq if self.readout is None else dq[self.readout], dk, dv


class GroupPass:
    """Attention of G sequences of one shape, as batched products over G x K.

    Scores of short sequences are laid down keys first: softmax over the last place takes one row after the other.
    """

    def __init__(self, group: Group, scale: float, mask: Tensor | None) -> None:
        self.size, self.scale, self.mask = group.size, scale, mask
        self.keys_first = False
        self.q = self.k = self.v = self.weights = torch.empty(0)

    def forward(self, q: Tensor, k: Tensor, v: Tensor, out: Tensor) -> None:
        """[G T, H, E], [G S, K, E] twice; fills `out [G T, H, E]`."""
        self.q, self.k, self.v = self._queries(q, k.shape[1], self.scale), self._keys(k), self._keys(v)
        self.keys_first = self.k.shape[1] < SHORT
        if self.keys_first:
            scores = torch.bmm(self.k, self.q.transpose(1, 2))
            if self.mask is not None:
                scores.view(self.size, k.shape[1], len(k) // self.size, -1, len(q) // self.size).add_(
                    self.mask.transpose(1, 2)[:, None, :, None]
                )
            wide = torch.promote_types(scores.dtype, torch.float32)  # between its own steps torch would round
            self.weights = torch.softmax(scores, 1, dtype=wide).to(scores.dtype)
            self._back(torch.bmm(self.weights.transpose(1, 2), self.v), out)
            return
        scores = torch.bmm(self.q, self.k.transpose(1, 2)).view(self.size, -1, len(q) // self.size, self.k.shape[1])
        if self.mask is not None:
            scores += self.mask[:, None]
        self.weights = torch.softmax(scores, -1).view(len(self.q), -1, self.k.shape[1])
        self._back(torch.bmm(self.weights, self.v), out)

    def backward(self, d_out: Tensor, dq: Tensor, dk: Tensor, dv: Tensor) -> None:
        """The gradient in the output `[G T, H, E]`; fills those in queries, keys and values."""
        d = self._queries(d_out, dk.shape[1], 1.0)
        weights = self.weights if self.keys_first else self.weights.transpose(1, 2)
        self._back(torch.bmm(weights, d), dv)
        if self.keys_first:
            ds = torch.bmm(self.v, d.transpose(1, 2))
            ds = aten._softmax_backward_data(ds, self.weights, 1, ds.dtype).transpose(1, 2)
        else:
            ds = torch.bmm(d, self.v.transpose(1, 2))
            ds = aten._softmax_backward_data(ds, self.weights, -1, ds.dtype)
        self._back(torch.bmm(ds, self.k).mul_(self.scale), dq)
        self._back(torch.bmm(ds.transpose(1, 2), self.q), dk)

    def _queries(self, t: Tensor, K: int, scale: float) -> Tensor:
        """[G T, H, E] -> [G K, H/K T, E], times `scale`."""
        N, H, E = t.shape
        laid = t.unflatten(0, (self.size, -1)).unflatten(2, (K, -1)).permute(0, 2, 3, 1, 4)
        out = torch.empty(self.size, K, H // K, N // self.size, E, dtype=t.dtype, device=t.device)
        return torch.mul(laid, scale, out=out).view(self.size * K, -1, E)

    def _keys(self, t: Tensor) -> Tensor:
        """[G S, K, E] -> [G K, S, E]."""
        return t.unflatten(0, (self.size, -1)).transpose(1, 2).reshape(self.size * t.shape[1], -1, t.shape[2])

    def _back(self, t: Tensor, out: Tensor) -> None:
        """[G K, H/K T, E] into [G T, H, E] (or the same of keys)."""
        G, (N, heads, E) = self.size, out.shape
        K = len(t) // G
        laid = t.view(G, K, heads // K, N // G, E).permute(0, 3, 1, 2, 4)
        out.view(G, N // G, K, heads // K, E).copy_(laid)
