"""What methods that train whole blocks have in common: how fast lower blocks learn, and when they begin."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from microtune.adapt.base import Attachment, Method, snapshot
from microtune.adapt.layer_decay import decayed
from microtune.adapt.unfreezing import one_by_one
from microtune.nn.transformer import Cut, Transformer


class Layered(Method):
    """Base of the methods that train blocks as they are."""

    layer_decay: float = Field(
        default=1.0, gt=0, le=1, description="learning rate of a block over that of the block above it; 1: the same"
    )
    unfreeze: Literal["at-once", "gradual"] = Field(
        default="at-once", description="gradual: from the topmost block on, one more in each epoch"
    )

    def attachment(self, model: Transformer, cut: Cut, blocks: int) -> Attachment:
        """For a model whose parameters are chosen already: `blocks` of its last ones train, and nothing below `cut`."""
        names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
        return Attachment(
            model,
            cut=cut,
            before=snapshot(model),
            rates=decayed(model, names, self.layer_decay),
            schedule=one_by_one(model, blocks, cut) if self.unfreeze == "gradual" else (),
        )
