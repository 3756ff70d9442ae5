"""Top blocks: the last k blocks, the final norm and the head train; what lies below is trunk.

The oldest way of tuning lightly (Howard and Ruder, 2018, unfreeze from the top); with a frozen trunk most of the work
of the first epoch never has to be repeated.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from microtune.adapt.base import (
    Attachment,
    Method,
    freeze,
    methods,
    snapshot,
    top_cut,
    top_modules,
    train,
    train_task_head,
)
from microtune.nn.transformer import Transformer


class Top(Method):
    """Train the last k blocks, the final norm and the task's head."""

    name: Literal["top"] = "top"
    blocks: int = Field(default=2, ge=1, description="how many of the last blocks train")
    short: ClassVar[str | None] = "blocks"
    default_lr: ClassVar[float] = 5e-4
    default_head_lr: ClassVar[float | None] = 2e-3

    def attach(self, model: Transformer) -> Attachment:
        """Freeze all but the top."""
        freeze(model)
        cut = top_cut(model, self.blocks)
        for module in top_modules(model.output_stack, self.blocks):
            train(module)
        train_task_head(model)
        return Attachment(model, cut=cut, before=snapshot(model))


methods.add("top", Top)
