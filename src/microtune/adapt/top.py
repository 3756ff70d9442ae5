"""Top blocks: the last k blocks, the final norm and the head train; what lies below is trunk.

The oldest way of tuning lightly (Howard and Ruder, 2018, unfreeze from the top); with a frozen trunk most of the work
of the first epoch never has to be repeated. The embedding, or all norms of the stack (Frankle et al., 2021, train norms
alone), may train besides: then no block is trunk.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import nn

from microtune.adapt.base import Attachment, freeze, methods, top_cut, top_modules, train, train_task_head
from microtune.adapt.layered import Layered
from microtune.nn.layers import LayerNorm, RMSNorm
from microtune.nn.transformer import Cut, Stack, Transformer


class Top(Layered):
    """Train the last k blocks, the final norm and the task's head."""

    name: Literal["top"] = "top"
    blocks: int = Field(default=2, ge=1, description="how many of the last blocks train")
    embeddings: bool = Field(default=False, description="tokens, types and positions train, too")
    norms: bool = Field(default=False, description="all norms of the stack train, too")
    short: ClassVar[str | None] = "blocks"
    default_lr: ClassVar[float] = 5e-4
    default_head_lr: ClassVar[float | None] = 2e-3

    def attach(self, model: Transformer) -> Attachment:
        """Freeze all but the top."""
        cut, stack = top_cut(model, self.blocks), model.output_stack
        freeze(model)
        for module in top_modules(stack, self.blocks):
            train(module)
        if self.norms:
            for module in stack.modules():
                if isinstance(module, (LayerNorm, RMSNorm)):
                    train(module)
            cut = Cut(decoder=0, encoder=cut.encoder) if model.decoder is not None else Cut()
        if self.embeddings:
            for module in _below_the_blocks(model):
                train(module)
            cut = Cut()
        train_task_head(model)
        return self.attachment(model, cut, self.blocks)


def _below_the_blocks(model: Transformer) -> list[nn.Module]:
    """Whatever turns ids into the input of the first blocks, in all stacks; a fixed table stays fixed."""
    found: list[nn.Module | None] = [model.tokens, model.targets, model.types]
    for stack in (model.encoder, model.decoder):
        if isinstance(stack, Stack):
            fixed = stack.spec.positions == "sinusoidal"
            found += [None if fixed else stack.positions, stack.relative_bias, stack.embedding_norm, stack.projection]
    return [module for module in found if module is not None]


methods.add("top", Top)
