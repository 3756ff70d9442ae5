"""Full tuning: everything trains; with `layer_decay` lower blocks more slowly, with `unfreeze: gradual` later."""

from __future__ import annotations

from typing import ClassVar, Literal

from microtune.adapt.base import Attachment, methods
from microtune.adapt.layered import Layered
from microtune.nn.transformer import Cut, Transformer


class Full(Layered):
    """Train every weight of the model."""

    name: Literal["full"] = "full"
    default_lr: ClassVar[float] = 1e-4
    default_head_lr: ClassVar[float | None] = 1e-3

    def attach(self, model: Transformer) -> Attachment:
        """Everything trains; a fixed sinusoidal table stays fixed."""
        stacks = [stack for stack in (model.encoder, model.decoder) if stack is not None]
        for parameter in model.parameters():
            parameter.requires_grad_(True)
        for stack in stacks:
            if stack.spec.positions == "sinusoidal" and stack.positions is not None:
                stack.positions.weight.requires_grad_(False)
        return self.attachment(model, Cut(), sum(len(stack.blocks) for stack in stacks))


methods.add("full", Full)
