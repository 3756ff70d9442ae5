"""Whole blocks with a hand-written gradient: inputs are kept once; norms and activations are computed anew.

Autograd keeps every intermediate of a block and runs a dozen small kernels per product. Here a block is one node: it
keeps its input, queries, keys, values, attention weights, and what enters the activation, multiplies roles with a
common input together, and never casts a frozen weight. The path knows no adaptation method: a role that can say what
it is made of (`parts()`, see `frozen.py`) takes part, and a block with any other module in it runs the plain way,
as do long texts (whose attention weights should not exist at once), relative bias, soft caps, prefixes and caches.

Shape letters: G sequences of equal shape, T queries, S keys, H heads, K key heads, E head width, D width, N tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from microtune.nn import packed as packing
from microtune.nn.attention import FUSED_FROM, Attention, Group
from microtune.nn.frozen import FrozenLinear, Parts, parts_of
from microtune.nn.kernels import (
    ActivationPass,
    DropoutPass,
    Grads,
    LinearPass,
    NormPass,
    aten,
    parameters_of,
    rotated,
)
from microtune.nn.layers import MLP, LayerNorm, RMSNorm
from microtune.nn.packed import Packed

if TYPE_CHECKING:
    from microtune.nn.transformer import Block, Flow, Residual

ATTENTION = ("q", "k", "v", "o")
SHORT = 64  # keys; see GroupPass


def fusible(block: Block, flow: Flow, x: Tensor) -> bool:
    """Whether the fast path can compute this block here, and is worth it: something trains, or was prepared."""
    if flow.caches is not None or flow.bias is not None:
        return False
    if flow.prefix is not None:  # keys and values that no token of the batch has
        return False
    packed = block.attention.packed(flow.layout, compute_type(x))
    if x.is_cuda and packed is None:
        return False
    roles = fast_form(block)
    if roles is None or (x.is_cuda and any(parts.scale is not None for parts in roles.values())):  # int8: see frozen.py
        return False
    if packed is None and any(
        group.query_positions.shape[1] * group.key_positions.shape[1] > FUSED_FROM for group in flow.layout.groups
    ):
        return False
    if block.training and any(update.dropout for parts in roles.values() for update in parts.updates):
        return False
    trains = torch.is_grad_enabled() and bool(trainables(block, roles))
    return trains or any(isinstance(m, FrozenLinear) for m in block.modules())


def fast_form(block: Block) -> dict[str, Parts] | None:
    """The parts of all linear roles of a block that has a fast form, whatever the batch is; None of any other."""
    if block.cross is not None or _beyond(block) or any(map(_slotted, (block.attention_residual, block.mlp_residual))):
        return None
    return role_parts(block)


def _beyond(block: Block) -> bool:
    """Whether the block computes something that has no fast form."""
    attention = block.attention
    if attention.theta is not None and (
        attention.rope_layout != "halves" or attention.rotary_size != attention.head_size
    ):
        return True
    capped = attention.softcap is not None or attention.q_norm is not None
    return capped or block.parallel or block.attention_residual.placement == "after"


def role_parts(block: Block) -> dict[str, Parts] | None:
    """The parts of all linear roles by name, or None where one cannot say."""
    attention, mlp = block.attention, block.mlp
    modules: dict[str, nn.Module] = {name: getattr(attention, name) for name in ATTENTION}
    modules |= {name: getattr(mlp, name) for name in ("gate", "up", "down") if getattr(mlp, name) is not None}
    found = {name: parts_of(module) for name, module in modules.items()}
    known = {name: parts for name, parts in found.items() if parts is not None}
    together = any(parts.inputs is not None and name not in ("o", "down") for name, parts in known.items())
    return known if len(known) == len(found) and not together else None


def trainables(block: Block, roles: dict[str, Parts]) -> list[Tensor]:
    """Every tensor of the block that trains."""
    norms = [m for r in (block.attention_residual, block.mlp_residual) for m in (r.norm, r.after)]
    found = [p for norm in norms for p in norm.parameters() if p.requires_grad]
    return found + [p for parts in roles.values() for p in parameters_of(parts)]


def _slotted(residual: Residual) -> bool:
    norms = all(isinstance(m, (LayerNorm, RMSNorm, nn.Identity)) for m in (residual.norm, residual.after))
    return not isinstance(residual.slot, nn.Identity) or not norms


def run_block(block: Block, x: Tensor, flow: Flow) -> Tensor:
    """[N, D] -> [N, D], or [R, D] where the flow has a readout; only for a block that is `fusible`."""
    roles = role_parts(block)
    assert roles is not None
    dtype = compute_type(x)
    with torch.autocast(x.device.type, enabled=False):
        one = BlockPass(block, flow, roles, dtype)
        return _BlockFunction.apply(x, one, *trainables(block, roles))  # type: ignore[no-untyped-call]


def compute_type(x: Tensor) -> torch.dtype:
    """What products run in: what autocast says, else the type of the states."""
    device = x.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype


class _BlockFunction(torch.autograd.Function):
    """One block as one node of the graph."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, one: BlockPass, *parameters: Tensor) -> Tensor:
        ctx.one, ctx.keys = one, [id(p) for p in parameters]
        return one.forward(x)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        one, ctx.one = ctx.one, None  # what was kept goes with this pass, not with the graph
        grads: Grads = {}
        dx = one.backward(dy, grads, ctx.needs_input_grad[0])
        return (dx, None, *(grads.get(key) for key in ctx.keys))


class BlockPass:
    """Two residual branches, forward and back."""

    def __init__(self, block: Block, flow: Flow, roles: dict[str, Parts], dtype: torch.dtype) -> None:
        self.attention = ResidualPass(
            block.attention_residual, AttentionPass(block.attention, flow, roles, dtype), dtype
        )
        self.mlp = ResidualPass(block.mlp_residual, MLPPass(block.mlp, roles, dtype), dtype)
        self.readout = flow.readout

    def forward(self, x: Tensor) -> Tensor:
        """[N, D] -> [N or R, D]."""
        return self.mlp.forward(self.attention.forward(x, self.readout), None)

    def backward(self, dy: Tensor, grads: Grads, wanted: bool) -> Tensor | None:
        """Gradient in the output -> gradient in the input, where it is wanted."""
        dy = self.mlp.backward(dy, grads, True)  # type: ignore[assignment]
        return self.attention.backward(dy, grads, wanted)


class ResidualPass:
    """x + f(x) with its norms, as `Residual` has it."""

    def __init__(self, residual: Residual, branch: AttentionPass | MLPPass, dtype: torch.dtype) -> None:
        self.branch, self.dtype = branch, dtype
        self.post = residual.placement == "post"
        self.norm = NormPass(residual.norm, dtype)
        self.after = None if isinstance(residual.after, nn.Identity) else NormPass(residual.after, dtype)
        self.dropout = DropoutPass(residual.dropout if residual.training else 0.0)
        self.readout: Tensor | None = None
        self.source = torch.empty(0)  # what the branch read, where the norm cannot say it again

    def forward(self, x: Tensor, readout: Tensor | None) -> Tensor:
        """[N, D] -> [N, D], or [R, D]."""
        self.readout = readout
        if self.post:
            self.source = x.to(self.dtype)
        inner = self.branch.forward(self.source if self.post else self.norm.forward(x))
        if self.after is not None:
            inner = self.after.forward(inner)
        inner = self.dropout.forward(inner)
        total = (x if readout is None else x[readout]) + inner
        return self.norm.forward(total, total.dtype) if self.post else total

    def backward(self, dy: Tensor, grads: Grads, wanted: bool) -> Tensor | None:
        """Gradient in the sum -> gradient in x."""
        through = self.norm.backward(dy, grads) if self.post else dy
        inner = self.dropout.backward(through)
        if self.after is not None:
            inner = self.after.backward(inner, grads)
        source = self.source if self.post else self.norm.again()
        norm_trains = not self.post and any(p.requires_grad for p in self.norm.norm.parameters())
        found = self.branch.backward(inner.to(self.dtype), source, grads, wanted or norm_trains)
        if found is None:
            return None
        dx = found if self.post else self.norm.backward(found, grads)
        if not wanted:
            return None
        if self.readout is None:
            return through + dx
        return dx.to(through.dtype).index_add_(0, self.readout, through)


class MLPPass:
    """Plain or gated MLP."""

    def __init__(self, mlp: MLP, roles: dict[str, Parts], dtype: torch.dtype) -> None:
        first = [roles["gate"], roles["up"]] if mlp.gate is not None else [roles["up"]]
        self.up = LinearPass(first, dtype)
        self.activation = ActivationPass(mlp.kind, mlp.gate is not None)
        self.down = LinearPass([roles["down"]], dtype)

    def forward(self, x: Tensor) -> Tensor:
        """[N, D] -> [N, D]."""
        return self.down.forward(self.activation.forward(self.up.forward(x)))

    def backward(self, dy: Tensor, x: Tensor, grads: Grads, wanted: bool) -> Tensor | None:
        """Gradient in the output, and the input once more -> gradient in the input."""
        inner = self.activation.again() if self.down.reads_input else None
        d_inner = self.down.backward(dy, inner, grads)
        assert d_inner is not None
        return self.up.backward(self.activation.backward(d_inner), x, grads, wanted=wanted)


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
        self.angles = self._angles(flow.positions, dtype)
        packed = attention.packed(flow.layout, dtype)
        self.whole = None if packed is None else PackedPass(packed, attention.scale, attention.window, self.readout)
        self.groups: list[GroupPass] = []
        self.out = torch.empty(0)

    def _angles(self, positions: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor] | None:
        if self.attention.theta is None:
            return None
        cos, sin = self.attention.angles(self.layout, positions, dtype)
        half = self.head_size // 2
        return cos[:, None, :half].to(dtype), sin[:, None, :half].to(dtype)

    def forward(self, x: Tensor) -> Tensor:
        """[N, D] -> [N or R, D]."""
        E, K = self.head_size, self.kv_heads
        whole = self.all.forward(x).unflatten(-1, (-1, E))
        if self.asked is None:
            q, k, v = whole[:, : self.heads], whole[:, self.heads : -K], whole[:, -K:]
        else:
            q, k, v = self.asked.forward(x[self.readout]).unflatten(-1, (-1, E)), whole[:, :K], whole[:, K:]
        if self.angles is not None:
            q, k = rotated(q, *self._own(self.angles)), rotated(k, *self.angles)
        if self.whole is not None:
            self.out = self.whole.forward(q, k, v).flatten(1)
            return self.o.forward(self.out)
        q, k, v = self._sorted(q, self.layout.query_order), *(self._sorted(t, self.layout.key_order) for t in (k, v))
        self.out = torch.empty(len(q), self.heads, E, dtype=q.dtype, device=q.device)
        for index, group in enumerate(self.layout.groups):
            mask = self.layout.mask(index, self.attention.window, q.dtype)
            one = GroupPass(group, self.attention.scale, mask)
            one.forward(q[group.queries], k[group.keys], v[group.keys], self.out[group.queries])
            self.groups.append(one)
        self.out = self._sorted(self.out, self.layout.query_back).flatten(1)
        return self.o.forward(self.out)

    def backward(self, dy: Tensor, x: Tensor, grads: Grads, wanted: bool) -> Tensor | None:
        """Gradient in the output, and the input once more -> gradient in the input."""
        d_out = self.o.backward(dy, self.out if self.o.reads_input else None, grads)
        assert d_out is not None
        H, K, E = self.heads, self.kv_heads, self.head_size
        layout = self.layout
        if self.whole is not None:
            dq, dk, dv = self.whole.backward(d_out.unflatten(-1, (H, E)))
            order = self.whole.packed.key_order
        else:
            d_out, order = self._sorted(d_out.unflatten(-1, (H, E)), layout.query_order), layout.key_order
            dq = torch.empty_like(d_out)
            keys = layout.groups[-1].keys.stop if layout.groups else 0
            dk = torch.empty(keys, K, E, dtype=dq.dtype, device=dq.device)
            dv = torch.empty_like(dk)
            for group, one in zip(layout.groups, self.groups, strict=True):
                one.backward(d_out[group.queries], dq[group.queries], dk[group.keys], dv[group.keys])
            dq = self._sorted(dq, layout.query_back)
        if order is not None:  # sequences in which nobody asks are not among the groups
            dk, dv = (self._keys_back(t, len(x), order) for t in (dk, dv))
        if self.angles is not None:  # a rotation is undone by the opposite one
            (cos, sin), (own_cos, own_sin) = self.angles, self._own(self.angles)
            dq, dk = rotated(dq, own_cos, -own_sin), rotated(dk, cos, -sin)
        if self.asked is None:
            return self.all.backward(torch.cat((dq, dk, dv), 1).flatten(1), x, grads, wanted=wanted)
        dx = self.all.backward(torch.cat((dk, dv), 1).flatten(1), x, grads, wanted=wanted)
        asked = self.asked.backward(dq.flatten(1), x[self.readout], grads, wanted=wanted)
        return None if dx is None or asked is None else dx.index_add_(0, self.readout, asked)  # type: ignore[arg-type]

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
