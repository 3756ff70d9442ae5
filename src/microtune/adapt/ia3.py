"""IA3: learned factors of keys, values and the inner activation of the MLP (Liu et al., 2022).

Three vectors for each block, which start at one: the output is unchanged at the start, and merging multiplies rows or
columns of the weight. As in PEFT, the MLP's factor stands on the input of `down`, all others on the output of their
role, its bias included.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from microtune.adapt.base import Attachment, freeze, methods, set_module, train_task_head
from microtune.adapt.ranges import Ranged, cut_below
from microtune.errors import InputError, suggest
from microtune.nn.frozen import Parts, Rescale, parts_of
from microtune.nn.transformer import Transformer

ON_INPUT = ("down",)  # roles whose factor stands on their input


class IA3Linear(nn.Module):
    """y = factor * (W x + b), or y = W (factor * x) + b where `on_input`; W and b stand in `base`, frozen."""

    def __init__(self, base: nn.Linear, *, on_input: bool) -> None:
        super().__init__()
        self.base, self.on_input = base, on_input
        dtype = torch.promote_types(base.weight.dtype, torch.float32)
        size = base.in_features if on_input else base.out_features
        self.factor = nn.Parameter(torch.ones(size, dtype=dtype, device=base.weight.device))

    def forward(self, x: Tensor) -> Tensor:
        """[N, I] -> [N, O]; multiplied in at least float32 and rounded once."""
        if self.on_input:
            return self.base((x * self.factor).to(x.dtype))
        y = self.base(x)
        return (y * self.factor).to(y.dtype)

    def parts(self) -> Parts | None:
        """What the fast path asks; None where the layer below cannot say, or rescales by itself."""
        below = parts_of(self.base)
        if below is None or below.rescale is not None or below.inputs is not None:
            return None
        if self.on_input:
            return below._replace(inputs=self.factor)
        bias = None if below.bias is None else below.bias * self.factor
        return below._replace(bias=bias, rescale=Rescale(self.factor, lambda: torch.ones_like(self.factor)))

    @torch.no_grad()
    def fold(self) -> nn.Linear:
        """Put the factor into weight and bias of `base`, computed in at least float32, and return it."""
        weight, bias = self.base.weight, self.base.bias
        wide = weight.to(self.factor.dtype)
        weight.copy_(wide * self.factor if self.on_input else wide * self.factor[:, None])
        if bias is not None and not self.on_input:
            bias.copy_(bias.to(self.factor.dtype) * self.factor)
        return self.base


class IA3(Ranged):
    """Factors of keys, values and inner activations, and a label head."""

    name: Literal["ia3"] = "ia3"
    roles: list[str] = Field(default=["k", "v", "down"], min_length=1, description="linear roles that get a factor")
    default_lr: ClassVar[float] = 3e-2
    default_head_lr: ClassVar[float | None] = 4e-3

    def attach(self, model: Transformer) -> Attachment:
        """Freeze everything, put a factor on the chosen roles, let a label head train."""
        targets = self._targets(model)
        freeze(model)
        replaced: dict[str, tuple[nn.Module, nn.Module]] = {}
        for role, linear in targets.items():
            scaled = IA3Linear(linear, on_input=role.rpartition(".")[2] in ON_INPUT)
            set_module(model, role, scaled)
            replaced[role] = (linear, scaled)
        train_task_head(model)
        return Attachment(model, cut=cut_below(model, targets), replaced=replaced, merge=lambda: _merge(replaced))

    def _targets(self, model: Transformer) -> dict[str, nn.Linear]:
        self.check_range(model)
        found = {
            role: module
            for role, module in model.named_modules()
            if isinstance(module, nn.Linear) and self.in_blocks(role)
        }
        known = sorted({role.rpartition(".")[2] for role in found})
        for role in self.roles:
            if role not in known:
                raise InputError(f'method.roles: there is no role "{role}" in these blocks. {suggest(role, known)}')
        return {role: module for role, module in found.items() if role.rpartition(".")[2] in self.roles}


def _merge(replaced: dict[str, tuple[nn.Module, nn.Module]]) -> None:
    for _, scaled in replaced.values():
        assert isinstance(scaled, IA3Linear)
        scaled.fold()


methods.add("ia3", IA3)
