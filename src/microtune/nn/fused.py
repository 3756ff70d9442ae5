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

from microtune.nn.attention import FUSED_FROM
from microtune.nn.frozen import FrozenLinear, Parts, parts_of
from microtune.nn.fused_attention import AttentionPass
from microtune.nn.kernels import ActivationPass, DropoutPass, Grads, LinearPass, NormPass, parameters_of
from microtune.nn.layers import MLP, LayerNorm, RMSNorm
from microtune.nn.padded import longer, more_tokens, padded

if TYPE_CHECKING:
    from microtune.nn.transformer import Block, Flow, Residual

ATTENTION = ("q", "k", "v", "o")


def fusible(block: Block, flow: Flow, x: Tensor) -> dict[str, Parts] | None:
    """The parts of a block that the fast path can compute here, and that is worth it: something trains, or was
    prepared. None of any other."""
    if flow.caches is not None or flow.bias is not None:
        return None
    if flow.prefix is not None:  # keys and values that no token of the batch has
        return None
    packed = block.attention.packed(flow.layout, compute_type(x))
    if x.is_cuda and packed is None:
        return None
    roles = fast_form(block)
    if roles is None or (x.is_cuda and any(parts.scale is not None for parts in roles.values())):  # int8: see frozen.py
        return None
    if packed is None and any(
        group.query_positions.shape[1] * group.key_positions.shape[1] > FUSED_FROM
        for group in (padded(flow.layout, compute_type(x)) or flow.layout).groups
    ):
        return None
    if block.training and any(update.dropout for parts in roles.values() for update in parts.updates):
        return None
    trains = torch.is_grad_enabled() and bool(trainables(block, roles))
    return roles if trains or any(isinstance(m, FrozenLinear) for m in block.modules()) else None


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


def run_block(block: Block, x: Tensor, flow: Flow, roles: dict[str, Parts]) -> Tensor:
    """[N, D] -> [N, D], or [R, D] where the flow has a readout; roles: what `fusible` found."""
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
        self.readout = flow.readout
        self.tokens = len(flow.positions)
        left = self.tokens if self.readout is None else len(self.readout)
        attention, mlp = AttentionPass(block.attention, flow, roles, dtype), MLPPass(block.mlp, roles, dtype)
        self.attention = ResidualPass(block.attention_residual, attention, dtype, left)
        self.mlp = ResidualPass(block.mlp_residual, mlp, dtype, left)
        self.more = more_tokens(self.tokens, len(roles["o"].weight), flow.layout, dtype)

    def forward(self, x: Tensor) -> Tensor:
        """[N, D] -> [N or R, D]."""
        y = self.mlp.forward(self.attention.forward(longer(x, self.more), self.readout), None)
        return y[: self.tokens] if self.readout is None else y

    def backward(self, dy: Tensor, grads: Grads, wanted: bool) -> Tensor | None:
        """Gradient in the output -> gradient in the input, where it is wanted."""
        dy = self.mlp.backward(dy if self.readout is not None else longer(dy, self.more), grads, True)  # type: ignore[assignment]
        dx = self.attention.backward(dy, grads, wanted)
        return None if dx is None else dx[: self.tokens]


class ResidualPass:
    """x + f(x) with its norms, as `Residual` has it."""

    def __init__(self, residual: Residual, branch: AttentionPass | MLPPass, dtype: torch.dtype, tokens: int) -> None:
        self.branch, self.dtype = branch, dtype
        self.post = residual.placement == "post"
        self.norm = NormPass(residual.norm, dtype)
        self.after = None if isinstance(residual.after, nn.Identity) else NormPass(residual.after, dtype)
        self.dropout = DropoutPass(residual.dropout if residual.training else 0.0, tokens)
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
