"""LoRA: a low-rank update beside frozen linear layers (Hu et al., 2021), scaled by alpha / rank.

`rslora` scales by alpha / sqrt(rank), so that a larger rank learns no more slowly (Kalajdzievski, 2023). `dora` trains
the length of each row of the adapted weight apart from its direction (Liu et al., 2024). `pissa` begins with the main
part of each weight and freezes the rest (Meng et al., 2024). `loraplus` lets B learn faster than A (Hayou et al.,
2024). By default every linear role inside the blocks is adapted; A starts as in PEFT (Kaiming uniform), B at zero and
the lengths at those of the base, so the output is unchanged at the start (with `pissa` to rounding).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar, Literal, Self

import torch
import torch.nn.functional as F
from pydantic import Field, PrivateAttr
from torch import Tensor, nn

from microtune.adapt.base import Attachment, freeze, methods, set_module, train_task_head
from microtune.adapt.pissa import principal, rest
from microtune.adapt.ranges import Ranged, cut_below
from microtune.errors import InputError, suggest
from microtune.nn.frozen import Parts, Rescale, Update, dense_weight, parts_of
from microtune.nn.layers import dropout
from microtune.nn.transformer import Transformer


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

    def factors(self) -> tuple[Tensor, Tensor]:
        """A `[r, I]` and B `[O, r]` whose product, times `scale`, is what was added to the base."""
        return self.lora_A.detach(), self.lora_B.detach()

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


class PiSSALinear(LoRALinear):
    """y = (W - scale * B0 A0) x + scale * B A x, with everything frozen but A and B, which begin as A0 and B0.

    `base` holds the weight in brackets, in a tensor of its own. A0 `[r, I]` and B0 `[O, r]` are the main part of W
    (`pissa.py`), or given as `start`. They are kept: with them the rest follows from W again, and what was learnt is
    an ordinary update of twice the rank on W itself.
    """

    def __init__(
        self, base: nn.Linear, rank: int, alpha: float, dropout: float, start: tuple[Tensor, Tensor] | None = None
    ) -> None:
        super().__init__(base, rank, alpha, dropout)
        weight = base.weight.detach()
        if start is None:
            drawn = (self.lora_A.detach(), self.lora_B.detach())
            start = drawn if weight.is_meta else principal(weight, rank, self.scale)
        A, B = (t.to(self.lora_A).contiguous() for t in start)
        self.start_A, self.start_B = (nn.Parameter(t, requires_grad=False) for t in (A, B))
        self.lora_A, self.lora_B = nn.Parameter(A.clone()), nn.Parameter(B.clone())
        base.weight = nn.Parameter(self.held(weight), requires_grad=False)

    def held(self, weight: Tensor) -> Tensor:
        """What `base` holds of W `[O, I]`: the rest, in the type of W."""
        return rest(weight, self.start_A, self.start_B, self.scale)

    def factors(self) -> tuple[Tensor, Tensor]:
        """A `[2 r, I]` and B `[O, 2 r]`: B A - B0 A0, which is what was added to W."""
        A, B = super().factors()
        return torch.cat((A, self.start_A.detach())), torch.cat((B, -self.start_B.detach()), 1)


def magnitude_of(role: nn.Module) -> Tensor:
    """The magnitude `[O]` with which DoRA computes what a linear role computes: its own, or the lengths of the rows."""
    if isinstance(role, DoRALinear):
        return role.magnitude.detach().cpu()
    weight = role.merged() if isinstance(role, LoRALinear) else dense_weight(role)
    return torch.linalg.vector_norm(weight.detach(), dim=1).cpu()


class LoRA(Ranged):
    """Low-rank updates on linear roles."""

    name: Literal["lora"] = "lora"
    rank: int = Field(default=8, ge=1, le=2**16, description="rank of the update")
    alpha: float | None = Field(
        default=None, gt=0, description="scale is alpha / rank; default: 2 x rank, of pissa the rank"
    )
    variant: Literal["plain", "rslora", "dora", "pissa"] = Field(
        default="plain",
        description="rslora: scale is alpha / sqrt(rank); dora: a trained length for each output; "
        "pissa: begins with the largest singular vectors of each weight",
    )
    loraplus: float | None = Field(default=None, ge=1, le=1e6, description="B learns this many times as fast as A")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="on the input of the update")
    roles: list[str] | None = Field(
        default=None, min_length=1, description="such as [q, v, mlp.up]; default: all linear ones in blocks"
    )
    short: ClassVar[str | None] = "rank"
    default_lr: ClassVar[float] = 2e-3
    default_head_lr: ClassVar[float | None] = 4e-3
    _start: Mapping[str, Tensor] | None = PrivateAttr(default=None)

    def attach(self, model: Transformer) -> Attachment:
        """Freeze everything, put updates on the chosen roles, let a label head train."""
        if self.variant == "pissa" and self.dropout:
            raise InputError(
                f"method.dropout: {self.dropout:g} would drop parts of the weights themselves, which the update of "
                "pissa begins with; leave it out."
            )
        targets = self._targets(model)
        freeze(model)
        before = {f"{role}.weight": t.weight.detach() for role, t in targets.items() if self.variant == "pissa"}
        replaced: dict[str, tuple[nn.Module, nn.Module]] = {}
        for role, linear in targets.items():
            update = self._layer(role, linear)
            set_module(model, role, update)
            replaced[role] = (linear, update)
        train_task_head(model)
        return Attachment(
            model,
            cut=cut_below(model, targets),
            replaced=replaced,
            merge=lambda: _merge(replaced),
            before=before,
            rates={f"{role}.lora_B": self.loraplus for role in targets} if self.loraplus else None,
            start=[f"{role}.start_{name}" for role in targets for name in "AB"] if self.variant == "pissa" else (),
        )

    def starting_from(self, start: Mapping[str, Tensor]) -> Self:
        """The same, with saved factors in the place of singular vectors, which cost minutes on a large model."""
        again = self.model_copy()
        again._start = start
        return again

    def _layer(self, role: str, linear: nn.Linear) -> LoRALinear:
        options = (linear, self.rank, self._alpha(), self.dropout)
        if self.variant == "pissa":
            known = self._start
            start = None if known is None else (known[f"{role}.start_A"], known[f"{role}.start_B"])
            return PiSSALinear(*options, start)
        return (DoRALinear if self.variant == "dora" else LoRALinear)(*options)

    def _alpha(self) -> float:
        """What LoRALinear divides by the rank: alpha, times sqrt(rank) where the scale is alpha / sqrt(rank)."""
        alpha = self.alpha or (1.0 if self.variant == "pissa" else 2.0) * self.rank
        return alpha * math.sqrt(self.rank) if self.variant == "rslora" else alpha

    def _targets(self, model: Transformer) -> dict[str, nn.Linear]:
        self.check_range(model)
        found = {
            role: module
            for role, module in model.named_modules()
            if isinstance(module, nn.Linear) and ".blocks." in role and ".slot." not in role and self.in_blocks(role)
        }
        targets = {role: module for role, module in found.items() if self._chosen(role)}
        for asked in self.roles or ():
            names = {_inside(role) if "." in asked else role.rpartition(".")[2] for role in found}
            if asked not in names:
                raise InputError(f'method.roles: there is no role "{asked}" in these blocks. {suggest(asked, names)}')
        for role, module in targets.items():
            if self.rank > min(module.weight.shape):
                outputs, inputs = module.weight.shape
                raise InputError(
                    f"method.rank: {self.rank} is above the smaller side of {role} ({outputs} x {inputs}); choose at "
                    f"most {min(outputs, inputs)}, or name other roles in method.roles."
                )
        return targets

    def _chosen(self, role: str) -> bool:
        return self.roles is None or role.rpartition(".")[2] in self.roles or _inside(role) in self.roles


def _inside(role: str) -> str:
    """`attention.q` of `decoder.blocks.3.attention.q`."""
    return role.split(".", 3)[3]


@torch.no_grad()
def _merge(replaced: dict[str, tuple[nn.Module, nn.Module]]) -> None:
    for linear, update in replaced.values():
        assert isinstance(linear, nn.Linear)
        assert isinstance(update, LoRALinear)
        linear.weight.copy_(update.merged())


methods.add("lora", LoRA)
