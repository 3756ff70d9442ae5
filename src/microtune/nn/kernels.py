"""Pieces of a block with their gradients written out: norm, activation, dropout, linear roles, rotation.

Each is an object of one pass: `forward` keeps what `backward` needs, and `backward` puts the gradients of whatever
trains into `grads`, keyed by the identity of the parameter. `fused.py` strings them together into whole blocks.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from microtune.nn.frozen import Parts, int8_backward, int8_forward, stacked
from microtune.nn.layers import ACTIVATIONS, LayerNorm, RMSNorm, dropout_factors
from microtune.nn.padded import longer
from microtune.nn.products import product
from microtune.nn.spec import Activation

KEPT_BYTES = 2_000_000  # of what an activation gives: of a few hundred tokens it is kept, not computed twice

Grads = dict[int, Tensor]
aten = torch.ops.aten


def add_grad(grads: Grads, parameter: Tensor | None, value: Tensor) -> None:
    """Keep the gradient of a parameter, in the parameter's own type."""
    if parameter is not None:
        grads[id(parameter)] = value.to(parameter.dtype)


class NormPass:
    """RMS or layer norm of `x [N, D]`, computed in at least float32; or no norm (the first one of ModernBERT)."""

    def __init__(self, norm: nn.Module, dtype: torch.dtype) -> None:
        self.norm, self.dtype = norm, dtype
        self.x = self.stats = self.centre = torch.empty(0)

    def forward(self, x: Tensor, out: torch.dtype | None = None) -> Tensor:
        """[N, D] -> [N, D] in `out` (default: the type of products)."""
        norm, wide = self.norm, torch.promote_types(x.dtype, torch.float32)
        self.x = x = x.to(wide)
        if isinstance(norm, nn.Identity):
            return self.again(out)
        if isinstance(norm, LayerNorm):
            weight, bias = _affine(norm, wide)
            y, self.centre, self.stats = torch.native_layer_norm(x, [x.shape[-1]], weight, bias, norm.eps)
            return y.to(out or self.dtype)
        assert isinstance(norm, RMSNorm)
        mean = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_().div_(x.shape[-1])
        self.stats = mean.add_(norm.eps).rsqrt_()
        return self.again(out)

    def again(self, out: torch.dtype | None = None) -> Tensor:
        """The output once more, from what was kept."""
        if isinstance(self.norm, nn.Identity):
            return self.x.to(out or self.dtype)
        if isinstance(self.norm, LayerNorm):
            weight, bias = _affine(self.norm, self.x.dtype)
            unit = (self.x - self.centre).mul_(self.stats)
            return (unit.mul_(weight) if bias is None else torch.addcmul(bias, unit, weight)).to(out or self.dtype)
        return (self.x * self.stats).mul_(self._rms_weight()).to(out or self.dtype)

    def _rms_weight(self) -> Tensor:
        assert isinstance(self.norm, RMSNorm)
        weight = self.norm.weight.to(self.x.dtype)
        return 1 + weight if self.norm.shift else weight

    def backward(self, dy: Tensor, grads: Grads) -> Tensor:
        """Gradient in the output -> gradient in the input, in the wide type."""
        norm, x = self.norm, self.x
        dy = dy.to(x.dtype)
        if isinstance(norm, nn.Identity):
            return dy
        if isinstance(norm, LayerNorm):
            wanted = [True, norm.weight.requires_grad, norm.bias is not None and norm.bias.requires_grad]
            weight, bias = _affine(norm, x.dtype)
            dx, dw, db = aten.native_layer_norm_backward(
                dy, x, [x.shape[-1]], self.centre, self.stats, weight, bias, wanted
            )
            if wanted[1]:
                add_grad(grads, norm.weight, dw)
            if wanted[2]:
                add_grad(grads, norm.bias, db)
            return dx
        unit = x * self.stats
        assert isinstance(norm, RMSNorm)
        if norm.weight.requires_grad:
            add_grad(grads, norm.weight, (dy * unit).sum(0))
        dz = dy * self._rms_weight()
        along = (dz * unit).sum(-1, keepdim=True).div_(-x.shape[-1])
        return dz.addcmul_(unit, along).mul_(self.stats)


def _affine(norm: LayerNorm, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
    """Weight and bias of a layer norm in the type that it computes in."""
    return norm.weight.to(dtype), None if norm.bias is None else norm.bias.to(dtype)


class DropoutPass:
    """Dropout of a branch's output; nothing at all where p is 0.

    tokens: rows that stand for some; those behind draw no numbers, so that the others draw the same without them.
    """

    def __init__(self, p: float, tokens: int) -> None:
        self.p, self.tokens = p, tokens
        self.factors: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """[N, D] -> [N, D]."""
        if not self.p:
            return x
        self.factors = longer(dropout_factors(x[: self.tokens], self.p), len(x) - self.tokens)
        return x * self.factors

    def backward(self, dy: Tensor) -> Tensor:
        """The same places dropped from the gradient."""
        return dy if self.factors is None else dy * self.factors


def activation_backward(kind: Activation, dy: Tensor, x: Tensor) -> Tensor:
    """Gradient of an activation in its input x."""
    if kind == "silu":
        return aten.silu_backward(dy, x)
    if kind == "relu":
        return aten.threshold_backward(dy, x, 0)
    return aten.gelu_backward(dy, x, approximate="tanh" if kind == "gelu_tanh" else "none")


class ActivationPass:
    """`activation(u)`, or `activation(gate) * u` with a gate; a large output is computed anew for the gradient."""

    def __init__(self, kind: Activation, gated: bool) -> None:
        self.kind, self.gated = kind, gated
        self.x = torch.empty(0)
        self.kept: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """[N, F], or gate and up as [N, 2 F], -> [N, F]."""
        self.x = x
        out = self.again()
        self.kept = out if out.nbytes <= KEPT_BYTES else None
        return out

    def again(self) -> Tensor:
        """The output from what was kept."""
        if self.kept is not None:
            return self.kept
        if not self.gated:
            return ACTIVATIONS[self.kind](self.x)
        gate, up = self.x.chunk(2, -1)
        return ACTIVATIONS[self.kind](gate).mul_(up)

    def backward(self, dy: Tensor) -> Tensor:
        """[N, F] -> [N, F], or [N, 2 F]."""
        if not self.gated:
            return activation_backward(self.kind, dy, self.x)
        gate, up = self.x.chunk(2, -1)
        dx = torch.empty_like(self.x)
        d_gate, d_up = dx.chunk(2, -1)
        torch.mul(dy, ACTIVATIONS[self.kind](gate), out=d_up)
        d_gate.copy_(activation_backward(self.kind, dy * up, gate))
        return dx


class LinearPass:
    """Linear roles that read the same input, as one product: y = (x W^T + (x A^T) B^T) * factor + b.

    W is theirs one under the other; their low-rank updates stand side by side in A and as blocks in B. Factors, one for
    each output, are those of the roles that have some, and ones; without any, nothing is multiplied. A role that stands
    alone may have factors of its input, too.
    """

    def __init__(self, roles: Sequence[Parts], dtype: torch.dtype) -> None:
        self.roles, self.dtype = roles, dtype
        self.sizes = [len(role.weight) for role in roles]
        self.scale = None if roles[0].scale is None else stacked([r.scale for r in roles if r.scale is not None])
        whole = stacked([role.weight for role in roles])
        self.weight = whole if self.scale is not None else whole.to(dtype)
        self.A: Tensor | None = None
        self.B: Tensor | None = None
        self.inner = torch.empty(0)  # x A^T
        if any(role.updates for role in roles):
            self.A, self.B = self._updates()
        self.norms = [None if role.rescale is None else role.rescale.norm() for role in roles]
        self.factor = self._factors()
        self.plain = torch.empty(0)  # what the factors multiply
        self.inputs = roles[0].inputs if len(roles) == 1 else None

    def _updates(self) -> tuple[Tensor, Tensor]:
        ranks = [[len(update.A) for update in role.updates] for role in self.roles]
        A = torch.cat([update.A.detach() for role in self.roles for update in role.updates]).to(self.dtype)
        B = A.new_zeros(sum(self.sizes), len(A))
        row = column = 0
        for role, size, widths in zip(self.roles, self.sizes, ranks, strict=True):
            for update, width in zip(role.updates, widths, strict=True):
                torch.mul(update.B.detach(), update.scale, out=B[row : row + size, column : column + width])
                column += width
            row += size
        return A, B

    def _factors(self) -> Tensor | None:
        """[sum of O], in at least float32: near 1, bfloat16 has no steps as small as those of training."""
        if all(role.rescale is None for role in self.roles):
            return None
        wide = torch.promote_types(self.dtype, torch.float32)
        return torch.cat(
            [
                self.weight.new_ones(size, dtype=wide)
                if role.rescale is None or norm is None
                else (role.rescale.magnitude.detach() / norm).to(wide)
                for role, norm, size in zip(self.roles, self.norms, self.sizes, strict=True)
            ]
        )

    def forward(self, x: Tensor) -> Tensor:
        """[N, I] -> [N, sum of O]."""
        bias, x = self._bias(), self._scaled(x)
        if self.scale is None:
            y = product(x, self.weight, bias if self.factor is None else None)
        else:
            y = int8_forward(x, self.weight, self.scale)
            y = y if bias is None or self.factor is not None else y.add_(bias)
        if self.A is not None and self.B is not None:
            self.inner = F.linear(x, self.A)
            y.addmm_(self.inner, self.B.t())
        if self.factor is None:
            return y
        self.plain = y
        rescaled = y * self.factor
        return (rescaled if bias is None else rescaled.add_(bias)).to(y.dtype)

    def _scaled(self, x: Tensor) -> Tensor:
        """The input times its factors, multiplied in at least float32 as those of the outputs are."""
        return x if self.inputs is None else (x * self.inputs.detach()).to(x.dtype)

    def _bias(self) -> Tensor | None:
        if all(role.bias is None for role in self.roles):
            return None
        biases = [role.bias.detach() for role in self.roles if role.bias is not None]
        if len(biases) == len(self.roles):
            return stacked(biases).to(self.dtype)
        return torch.cat(
            [
                self.weight.new_zeros(size, dtype=self.dtype)
                if role.bias is None
                else role.bias.detach().to(self.dtype)
                for role, size in zip(self.roles, self.sizes, strict=True)
            ]
        )

    def backward(self, dy: Tensor, x: Tensor | None, grads: Grads, *, wanted: bool = True) -> Tensor | None:
        """dy `[N, O]` and the input x (None: nothing of these roles trains) -> dx, where it is `wanted`."""
        d_inner = None
        self._bias_grads(dy, grads)
        if self.factor is not None:
            dy = self._rescale_grads(dy, grads)
        read = None if x is None else self._scaled(x)
        if self.A is not None and self.B is not None and read is not None:
            d_inner = dy @ self.B
            self._update_grads(dy, read, d_inner, grads)
        self._weight_grads(dy, read, grads)
        if not wanted and self.inputs is None:
            return None
        dx = product(dy, self.weight.t()) if self.scale is None else int8_backward(dy, self.weight, self.scale)
        if d_inner is not None and self.A is not None:
            dx.addmm_(d_inner, self.A)
        return dx if self.inputs is None or x is None else self._input_grads(dx, x, grads)

    def _input_grads(self, dz: Tensor, x: Tensor, grads: Grads) -> Tensor:
        """Those of the input's factors; returns the gradient in the input before them."""
        assert self.inputs is not None
        wide = dz.to(torch.promote_types(dz.dtype, torch.float32))
        if self.inputs.requires_grad:
            add_grad(grads, self.inputs, (wide * x).sum(0))
        return (wide * self.inputs.detach()).to(dz.dtype)

    def _update_grads(self, dy: Tensor, x: Tensor, d_inner: Tensor, grads: Grads) -> None:
        dA, dB = d_inner.t() @ x, dy.t() @ self.inner
        row = column = 0
        for role, size in zip(self.roles, self.sizes, strict=True):
            for update in role.updates:
                part = slice(column, column + len(update.A))
                add_grad(grads, update.A, dA[part])
                add_grad(grads, update.B, dB[row : row + size, part].to(update.B.dtype) * update.scale)
                column = part.stop
            row += size

    def _weight_grads(self, dy: Tensor, x: Tensor | None, grads: Grads) -> None:
        weights = [role.weight for role in self.roles]
        training = sum(weight.requires_grad for weight in weights)
        if x is None or not training:
            return
        if training == len(weights):
            self._add_grads(grads, weights, dy.t() @ x)
            return
        for weight, part in zip(weights, dy.split(self.sizes, 1), strict=True):
            if weight.requires_grad:
                add_grad(grads, weight, part.t() @ x)

    def _bias_grads(self, dy: Tensor, grads: Grads) -> None:
        """Rounded once, as the weights' and as in torch's autocast."""
        biases = [role.bias for role in self.roles if role.bias is not None and role.bias.requires_grad]
        if len(biases) == len(self.roles):
            self._add_grads(grads, biases, dy.sum(0))
        elif biases:
            for role, part in zip(self.roles, dy.split(self.sizes, 1), strict=True):
                if role.bias is not None and role.bias.requires_grad:
                    add_grad(grads, role.bias, part.sum(0))

    def _add_grads(self, grads: Grads, parameters: Sequence[Tensor], whole: Tensor) -> None:
        """One gradient of all roles, widened once and shared out as views."""
        wide = whole.to(parameters[0].dtype)
        for parameter, part in zip(parameters, wide.split(self.sizes), strict=True):
            add_grad(grads, parameter, part)

    def _rescale_grads(self, dy: Tensor, grads: Grads) -> Tensor:
        """Those of the magnitudes; returns the gradient in what the factors multiply."""
        assert self.factor is not None
        wide = dy.to(self.factor.dtype)
        sums = (wide * self.plain).sum(0).split(self.sizes)
        for role, norm, part in zip(self.roles, self.norms, sums, strict=True):
            if role.rescale is not None and norm is not None:
                add_grad(grads, role.rescale.magnitude, part / norm)
        return (wide * self.factor).to(dy.dtype)

    @property
    def reads_input(self) -> bool:
        """Whether the gradients need the input once more."""
        return self.inputs is not None or any(role.weight.requires_grad or role.updates for role in self.roles)


def rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """`x [N, H, E]` turned by angles whose halves repeat, `cos` and `sin` [N, 1, E / 2]; -sin turns it back."""
    half = x.shape[-1] // 2
    out = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    first, second = x[..., :half], x[..., half:]
    torch.mul(first, cos, out=out[..., :half]).addcmul_(second, sin, value=-1)
    torch.mul(second, cos, out=out[..., half:]).addcmul_(first, sin)
    return out


def parameters_of(parts: Parts) -> list[Tensor]:
    """Everything in `Parts` that may train."""
    found = [parts.weight, parts.bias, *(t for update in parts.updates for t in (update.A, update.B))]
    found += [parts.inputs, None if parts.rescale is None else parts.rescale.magnitude]
    return [t for t in found if t is not None and t.requires_grad]
