"""The parameters of a network as such: how they begin, and how many they are."""

from __future__ import annotations

import torch
from torch import nn


@torch.no_grad()
def initialize(module: nn.Module, std: float, *, num_layers: int) -> None:
    """Fill linear and embedding weights as GPT-2 does (Radford et al., 2019) from torch's current generator.

    Normal with `std`; projections that write into the residual stream are divided by sqrt(2 * num_layers); biases are 0
    and norms stay as built.
    """
    for name, part in module.named_modules():
        if isinstance(part, nn.Linear):
            writes = name.rpartition(".")[2] in ("o", "down")
            part.weight.normal_(0.0, std / (2 * num_layers) ** 0.5 if writes else std)
            if part.bias is not None:
                part.bias.zero_()
        elif isinstance(part, nn.Embedding) and part.weight.requires_grad:
            part.weight.normal_(0.0, std)


def count_parameters(module: nn.Module) -> tuple[int, int]:
    """(all, trainable) parameters; tied weights count once."""
    parameters = list(module.parameters())
    return sum(p.numel() for p in parameters), sum(p.numel() for p in parameters if p.requires_grad)
