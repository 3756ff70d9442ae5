"""What PEFT keeps of one adapted module, under which names, and the layer of ours that computes the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from microtune.adapt.lora import DoRALinear, LoRALinear
from microtune.errors import InputError

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."
A_END, B_END, MAGNITUDE = ".lora_A.weight", ".lora_B.weight", ".lora_magnitude_vector"  # ends of names


@dataclass(frozen=True)
class Update:
    """A `[r, in]`, B `[out, r]`, the scale of B A, and DoRA's magnitude `[out]`."""

    A: Tensor
    B: Tensor
    scale: float
    magnitude: Tensor | None = None


def check_shapes(path: Path, module: str, found: Mapping[str, Tensor], *, rank: int, inputs: int, outputs: int) -> None:
    """The tensors of a module, by the ends of their names, have the shapes that base and options ask for.

    InputError where one has not.
    """
    shapes = {A_END: [rank, inputs], B_END: [outputs, rank], MAGNITUDE: [outputs]}
    for end, tensor in found.items():
        if list(tensor.shape) != shapes[end]:
            raise InputError(
                f'{path}: tensor "{PREFIX}{module}{end}" has shape {list(tensor.shape)}, but the base and '
                f"{CONFIG} ask for {shapes[end]}."
            )


@torch.no_grad()
def adapted(linear: nn.Linear, given: Update) -> LoRALinear:
    """The layer with this update beside it."""
    rank, kind = len(given.A), LoRALinear if given.magnitude is None else DoRALinear
    update = kind(linear, rank, given.scale * rank, 0.0)
    update.scale = given.scale  # not through alpha / rank, which rounds
    update.lora_A.copy_(given.A)
    update.lora_B.copy_(given.B)
    if isinstance(update, DoRALinear) and given.magnitude is not None:
        update.magnitude.copy_(given.magnitude)
    return update


@torch.no_grad()
def folded(weight: Tensor, given: Update) -> Tensor:
    """The weight `[out, in]` with its update inside, in at least float32."""
    wide = weight.to(torch.promote_types(weight.dtype, torch.float32))
    linear = nn.Linear(wide.shape[1], wide.shape[0], bias=False, device="meta")
    linear.weight = nn.Parameter(wide, requires_grad=False)
    return adapted(linear, given).merged()
