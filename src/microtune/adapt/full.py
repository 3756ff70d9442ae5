"""Full tuning: everything trains."""

from __future__ import annotations

from typing import ClassVar, Literal

from microtune.adapt.base import Attachment, Method, methods, snapshot
from microtune.nn.transformer import Cut, Transformer


class Full(Method):
    """Train every weight of the model."""

    name: Literal["full"] = "full"
    default_lr: ClassVar[float] = 1e-4
    default_head_lr: ClassVar[float | None] = 1e-3

    def attach(self, model: Transformer) -> Attachment:
        """Everything trains; a fixed sinusoidal table stays fixed."""
        fixed = [s.positions for s in (model.encoder, model.decoder) if s and s.spec.positions == "sinusoidal"]
        for parameter in model.parameters():
            parameter.requires_grad_(True)
        for table in fixed:
            if table is not None:
                table.weight.requires_grad_(False)
        return Attachment(model, cut=Cut(), before=snapshot(model))


methods.add("full", Full)
