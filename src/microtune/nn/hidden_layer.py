"""A hidden layer under the scores of a label head: a multilayer perceptron in the place of its last linear layer.

For labels that no hyperplane parts in the states of a frozen trunk. It stands on whatever the architecture's own head
puts below its scores (pooling, BERT's pooler, unit length).
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from microtune.nn.layers import dropout

Squash = Literal["tanh", "gelu"]


class HiddenLayer(nn.Module):
    """y = V f(U x + c) + d in place of y = W x + b, with as many inputs and outputs."""

    def __init__(self, linear: nn.Linear, width: int, activation: Squash, dropout: float, std: float) -> None:
        """std: of V at the start; U begins with unit variance for inputs of unit variance (LeCun et al., 1998)."""
        super().__init__()
        self.hidden = nn.Linear(linear.in_features, width)
        self.out = nn.Linear(width, linear.out_features, bias=linear.bias is not None)
        self.to(linear.weight)
        for part, spread in ((self.hidden, linear.in_features**-0.5), (self.out, std)):
            nn.init.normal_(part.weight, 0.0, spread)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        self.activation, self.dropout = activation, dropout

    @property
    def width(self) -> int:
        """Units of the hidden layer."""
        return self.hidden.out_features

    @property
    def out_features(self) -> int:
        """How many scores there are."""
        return self.out.out_features

    def forward(self, x: Tensor) -> Tensor:
        """[B, D] -> [B, labels]."""
        inner = self.hidden(x)
        inner = torch.tanh(inner) if self.activation == "tanh" else F.gelu(inner)
        return self.out(dropout(inner, self.dropout) if self.dropout and self.training else inner)
