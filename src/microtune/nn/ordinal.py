"""A label head for the steps of a scale: the cumulative link model (McCullagh, 1980), also called ordered logit.

One number per text is compared with thresholds that stand in order: p(above step k) = sigmoid(number - threshold k).
As in CORAL (Cao et al., 2020) all steps share the weights below, so their probabilities never contradict each other;
here the thresholds cannot either, because each is the one before plus a positive gap. The scores are log-probabilities
of the steps, so that softmax, cross-entropy and temperature mean what they mean for other labels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from microtune.nn.heads import LabelHead
from microtune.nn.spec import ModelSpec


class CumulativeLink(nn.Linear):
    """One number of x `[B, D]` -> log-probabilities of the steps `[B, steps]`."""

    def __init__(self, width: int, steps: int) -> None:
        super().__init__(width, 1, bias=False)
        shares = torch.arange(1, steps, dtype=torch.float32) / steps
        thresholds = torch.log(shares / (1 - shares))  # at first all steps are equally probable
        self.first = nn.Parameter(thresholds[:1].clone())
        self.gaps = nn.Parameter(torch.log(thresholds.diff()))  # of the thresholds, as logarithms

    @property
    def thresholds(self) -> Tensor:
        """In ascending order, one fewer than there are steps."""
        return torch.cat([self.first, self.first + self.gaps.exp().cumsum(0)])

    def forward(self, x: Tensor) -> Tensor:
        """log p(step k) = log(sigmoid(t_k - s) - sigmoid(t_{k-1} - s)), in a form that cannot lose its digits.

        With a > b: sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - exp(b - a)).
        """
        wide = torch.promote_types(x.dtype, torch.float32)
        distance = self.thresholds.to(wide) - F.linear(x, self.weight).to(wide)
        below, above = F.logsigmoid(distance), F.logsigmoid(-distance)
        gaps = torch.log(-torch.expm1(-self.gaps.to(wide).exp()))
        between = below[:, 1:] + above[:, :-1] + gaps
        return torch.cat([below[:, :1], between, above[:, -1:]], -1)


class OrdinalHead(LabelHead):
    """The architecture's label head with a cumulative link where its last layer is."""

    def __init__(self, spec: ModelSpec, steps: int) -> None:
        super().__init__(spec, 1)
        link = CumulativeLink(self.out.in_features, steps)
        with torch.no_grad():
            link.weight.copy_(self.out.weight)
        self.out = link
