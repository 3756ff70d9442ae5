"""LoRA: a low-rank update beside frozen linear layers (Hu et al., 2021), scaled by alpha / rank.

`rslora` scales by alpha / sqrt(rank), so that a larger rank learns no more slowly (Kalajdzievski, 2023). `dora` trains
the length of each row of the adapted weight apart from its direction (Liu et al., 2024). By default every linear role
inside the blocks is adapted; A starts as in PEFT (Kaiming uniform), B at zero and the lengths at those of the base, so
the output is unchanged at the start.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal, Self

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from microtune.adapt.base import Attachment, Method, freeze, methods, set_module, train_task_head
from microtune.errors import InputError, suggest
from microtune.nn.frozen import Parts, Rescale, Update, dense_weight, parts_of
from microtune.nn.layers import dropout
from microtune.nn.transformer import Cut, Transformer


class LoRALinear(nn.Module):
    """y = W x + scale * B A x, with W frozen."""

    def __init__(self, base: nn.Linear, rank: int, alpha: float, dropout: float) -> None:
        super().__init__()
        self.base = base
        dtype = torch.promote_types(base.weight.dtype, torch.float32)
        self.lora_A = nn.Parameter(torch.empty(rank, base.in_features, dtype=dtype, device=base.weight.device))
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, rank, dtype=dtype, device=base.weight.device))
        nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))
        self.scale = alpha / rank
        self.dropout = dropout

    def forward(self, x: Tensor) -> Tensor:
        """[N, in] -> [N, out]."""
        inner = dropout(x, self.dropout) if self.dropout and self.training else x
        if not torch.is_autocast_enabled(x.device.type):
            inner = inner.to(self.lora_A.dtype)
        update = F.linear(F.linear(inner, self.lora_A), self.lora_B) * self.scale
        frozen = self.base(x)
        return frozen + update.to(frozen.dtype)

    def parts(self) -> Parts | None:
        """What the fast path asks; None where the layer below cannot say."""
        below = parts_of(self.base)
        if below is None:
            return None
        return below._replace(updates=(*below.updates, Update(self.lora_A, self.lora_B, self.scale, self.dropout)))

    @torch.no_grad()
    def merged(self) -> Tensor:
        """W + scale * B A, computed in at least float32."""
        wide = self.lora_A.dtype
        return (self.base.weight.to(wide) + self.scale * (self.lora_B @ self.lora_A)).to(self.base.weight.dtype)


class DoRALinear(LoRALinear):
    """y = f (W x + scale * B A x) + bias, where f = magnitude / ||W + scale * B A|| for each output, with W frozen.

    magnitude `[O]` starts as the lengths of the rows of W, in at least float32. The norm below it is a constant for the
    gradient (section 4.3 of the paper). Dropout is on the input of the update alone; peft drops the same places from
    `(f - 1) W x` too.
    """

    def __init__(self, base: nn.Linear, rank: int, alpha: float, dropout: float) -> None:
        super().__init__(base, rank, alpha, dropout)
        weight = base.weight.detach()
        start = weight.new_empty(len(weight), dtype=self.lora_A.dtype) if weight.is_meta else self._measured()
        self.magnitude = nn.Parameter(start)
        self._known: tuple[tuple[int, ...], Tensor] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """[N, I] -> [N, O]."""
        plain, factor, bias = super().forward(x), self.magnitude / self.norm(), self.base.bias
        y = factor * plain  # the bias is in it, and the factor is not for the bias: the rest of it follows
        return (y if bias is None else y + (1 - factor) * bias).to(plain.dtype)

    def parts(self) -> Parts | None:
        """What the fast path asks; None where the layer below cannot say."""
        below = super().parts()
        return None if below is None else below._replace(rescale=Rescale(self.magnitude, self.norm))

    def norm(self) -> Tensor:
        """||W + scale * B A|| of each row `[O]`, in at least float32.

        Computed for every pass that may train; else once for as long as nothing changes, which generation is glad of.
        """
        read = (self.lora_A, self.lora_B, self.base.weight)
        if self.training or torch.is_grad_enabled() or any(t.is_inference() for t in read):
            return self._measured()
        state = tuple(number for t in read for number in (t.data_ptr(), t._version))
        if self._known is None or self._known[0] != state:
            self._known = (state, self._measured())
        return self._known[1]

    def train(self, mode: bool = True) -> Self:
        """As `nn.Module.train`; what is known of the norm is forgotten."""
        self._known = None
        return super().train(mode)

    @torch.no_grad()
    def merged(self) -> Tensor:
        """f (W + scale * B A), computed in at least float32."""
        factor = self.magnitude / self._measured()
        return (factor[:, None] * self._adapted()).to(self.base.weight.dtype)

    @torch.no_grad()
    def _measured(self) -> Tensor:
        """A row of zeros has the least length that can be divided by, and so stays zero."""
        norm = torch.linalg.vector_norm(self._adapted(), dim=1)
        return norm.clamp_min_(torch.finfo(norm.dtype).tiny)

    def _adapted(self) -> Tensor:
        """W + scale * B A `[O, I]`, in at least float32."""
        with torch.autocast(self.lora_A.device.type, enabled=False):
            dense = dense_weight(self.base).to(self.lora_A.dtype)
            return torch.addmm(dense, self.lora_B, self.lora_A, alpha=self.scale)


def magnitude_of(role: nn.Module) -> Tensor:
    """The magnitude `[O]` with which DoRA computes what a linear role computes: its own, or the lengths of the rows."""
    if isinstance(role, DoRALinear):
        return role.magnitude.detach().cpu()
    weight = role.merged() if isinstance(role, LoRALinear) else dense_weight(role)
    return torch.linalg.vector_norm(weight.detach(), dim=1).cpu()


class LoRA(Method):
    """Low-rank updates on linear roles."""

    name: Literal["lora"] = "lora"
    rank: int = Field(default=8, ge=1, le=2**16, description="rank of the update")
    alpha: float | None = Field(default=None, gt=0, description="scale is alpha / rank; default: 2 x rank")
    variant: Literal["plain", "rslora", "dora"] = Field(
        default="plain", description="rslora: scale is alpha / sqrt(rank); dora: a trained length for each output"
    )
    dropout: float = Field(default=0.0, ge=0, lt=1, description="on the input of the update")
    roles: list[str] | None = Field(default=None, description="such as [q, v, up]; default: all linear ones in blocks")
    first_block: int = Field(default=0, ge=0, description="adapt only blocks from this one upwards")
    short: ClassVar[str | None] = "rank"
    default_lr: ClassVar[float] = 2e-3
    default_head_lr: ClassVar[float | None] = 4e-3

    def attach(self, model: Transformer) -> Attachment:
        """Freeze everything, put updates on the chosen roles, let a label head train."""
        targets = self._targets(model)
        freeze(model)
        replaced: dict[str, tuple[nn.Module, nn.Module]] = {}
        kind = DoRALinear if self.variant == "dora" else LoRALinear
        for role, linear in targets.items():
            update = kind(linear, self.rank, self._alpha(), self.dropout)
            set_module(model, role, update)
            replaced[role] = (linear, update)
        train_task_head(model)
        return Attachment(model, cut=self._cut(model, list(targets)), replaced=replaced, merge=lambda: _merge(replaced))

    def _alpha(self) -> float:
        """What LoRALinear divides by the rank: alpha, times sqrt(rank) where the scale is alpha / sqrt(rank)."""
        alpha = self.alpha or 2.0 * self.rank
        return alpha * math.sqrt(self.rank) if self.variant == "rslora" else alpha

    def _targets(self, model: Transformer) -> dict[str, nn.Linear]:
        found = {
            role: module
            for role, module in model.named_modules()
            if isinstance(module, nn.Linear) and ".blocks." in role and _block(role) >= self.first_block
        }
        known = sorted({role.rpartition(".")[2] for role in found})
        for role in self.roles or ():
            if role not in known:
                raise InputError(f'method.roles: there is no role "{role}" in these blocks. {suggest(role, known)}')
        chosen = set(self.roles or known)
        targets = {role: module for role, module in found.items() if role.rpartition(".")[2] in chosen}
        if not targets:
            raise InputError(
                f"method: lora finds nothing from block {self.first_block} upwards: there are fewer blocks."
            )
        return targets

    def _cut(self, model: Transformer, roles: list[str]) -> Cut:
        lowest = {"encoder": len(model.encoder.blocks) if model.encoder else 0}
        lowest["decoder"] = len(model.decoder.blocks) if model.decoder else 0
        for role in roles:
            side = role.partition(".")[0]
            lowest[side] = min(lowest[side], _block(role))
        if model.encoder is not None and model.decoder is not None and lowest["encoder"] < len(model.encoder.blocks):
            lowest["decoder"] = 0  # the decoder sees a trainable through cross-attention
        return Cut(**lowest)


def _block(role: str) -> int:
    return int(role.split(".")[2])


@torch.no_grad()
def _merge(replaced: dict[str, tuple[nn.Module, nn.Module]]) -> None:
    for linear, update in replaced.values():
        assert isinstance(linear, nn.Linear)
        assert isinstance(update, LoRALinear)
        linear.weight.copy_(update.merged())


methods.add("lora", LoRA)
