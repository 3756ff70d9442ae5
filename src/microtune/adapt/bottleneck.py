"""Bottleneck adapters: small networks between the frozen layers, h -> h + up(activation(down(h))).

`houlsby` puts one after attention and one after the MLP of each block (Houlsby et al., 2019), `pfeiffer` one after the
MLP alone (Pfeiffer et al., 2020). Each reads what its branch is about to add to the residual stream, behind a norm that
stands at the end of the branch, and before a norm over the sum: the place in Houlsby's figure. (AdapterHub's
configuration named after Pfeiffer also moves the norm; that is not done here.) In a decoder that reads an encoder,
`houlsby` means self-attention; cross-attention has none, as in AdapterHub's default.

`up` begins at zero, so the output is unchanged at the start. The papers' ReLU can be named; it is not the default,
because all of the few numbers in between may happen to be negative for every token, and then nothing ever moves. What
an adapter computes is no linear function of the layer below it: it cannot be folded into weights, and no exported form
has a place for it. Blocks that hold one run the plain way: a fast form of it was slower and took more memory.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from microtune.adapt.base import Attachment, freeze, methods, set_module, train_task_head
from microtune.adapt.ranges import Ranged, cut_below
from microtune.errors import InputError
from microtune.nn.layers import ACTIVATIONS
from microtune.nn.spec import Activation
from microtune.nn.transformer import Residual, Transformer

PLACES = {"houlsby": ("attention_residual", "mlp_residual"), "pfeiffer": ("mlp_residual",)}


class BottleneckAdapter(nn.Module):
    """h + up(activation(down(h))), with `size` numbers between; computed in at least float32."""

    def __init__(self, width: int, size: int, activation: Activation, like: Tensor) -> None:
        super().__init__()
        dtype = torch.promote_types(like.dtype, torch.float32)
        self.down = nn.Linear(width, size, dtype=dtype, device=like.device)
        self.up = nn.Linear(size, width, dtype=dtype, device=like.device)
        self.activation = ACTIVATIONS[activation]
        for zero in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(zero)

    def forward(self, h: Tensor) -> Tensor:
        """[N, D] -> [N, D]."""
        inner = h if torch.is_autocast_enabled(h.device.type) else h.to(self.down.weight.dtype)
        return h + self.up(self.activation(self.down(inner))).to(h.dtype)


class Bottleneck(Ranged):
    """Small networks behind attention and MLP."""

    name: Literal["bottleneck"] = "bottleneck"
    placement: Literal["houlsby", "pfeiffer"] = Field(
        default="houlsby", description="houlsby: after attention and after the MLP; pfeiffer: after the MLP"
    )
    reduction: int = Field(default=16, ge=1, description="hidden_size / reduction numbers in between, at least one")
    activation: Activation = Field(default="gelu", description="of the numbers in between")
    short: ClassVar[str | None] = "reduction"
    default_lr: ClassVar[float] = 5e-3  # at 2e-3 the loss falls too slowly (0.7 where LoRA has 0.1)
    default_head_lr: ClassVar[float | None] = 4e-3

    def attach(self, model: Transformer) -> Attachment:
        """Freeze everything, fill the slots, let a label head train."""
        self.check_range(model)
        slots = [
            f"{role}.slot"
            for role, module in model.named_modules()
            if isinstance(module, Residual)
            and role.rpartition(".")[2] in PLACES[self.placement]
            and self.in_blocks(role)
        ]
        freeze(model)
        replaced: dict[str, tuple[nn.Module, nn.Module]] = {}
        like = model.tokens.weight
        for role in slots:
            stack = model.encoder if role.startswith("encoder.") else model.decoder
            assert stack is not None
            width = stack.spec.hidden_size
            adapter = BottleneckAdapter(width, max(width // self.reduction, 1), self.activation, like)
            replaced[role] = (model.get_submodule(role), adapter)
            set_module(model, role, adapter)
        train_task_head(model)
        return Attachment(model, cut=cut_below(model, slots), replaced=replaced, merge=_refuse)


def _refuse() -> None:
    raise InputError(
        "Bottleneck adapters stand between the layers and cannot be folded into their weights; use the run as it is, "
        "or tune with lora, which can."
    )


methods.add("bottleneck", Bottleneck)
