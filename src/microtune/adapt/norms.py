"""Norms: the scales and shifts of all norms train, and nothing else.

Even in a network of random features they alone can learn much (Frankle, Schwab and Morcos, 2021); in Transformers they
are a cheap way to move a model to another domain (Qi et al., 2022).
"""

from __future__ import annotations

from typing import ClassVar, Literal

from microtune.adapt.base import Attachment, methods
from microtune.adapt.ranges import Ranged
from microtune.nn.layers import LayerNorm, RMSNorm
from microtune.nn.transformer import Transformer


class Norms(Ranged):
    """Train all norms, and a label head."""

    name: Literal["norms"] = "norms"
    default_lr: ClassVar[float] = 4e-3
    default_head_lr: ClassVar[float | None] = 4e-3

    def attach(self, model: Transformer) -> Attachment:
        """Freeze everything but the norms."""
        self.check_range(model)
        norms = {
            r: m for r, m in model.named_modules() if isinstance(m, (LayerNorm, RMSNorm)) and self.covers(model, r)
        }
        return self.train_these(
            model, (f"{r}.{name}" for r, norm in norms.items() for name, _ in norm.named_parameters())
        )


methods.add("norms", Norms)
