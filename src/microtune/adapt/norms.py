"""Norms: the scales and shifts of all norms train, and nothing else.

Even in a network of random features they alone can learn much (Frankle, Schwab and Morcos, 2021); in Transformers they
are a cheap way to move a model to another domain (Qi et al., 2022).
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from microtune.adapt.base import Attachment, Method, freeze, methods, snapshot, train_task_head
from microtune.adapt.bitfit import is_norm, rest_trains
from microtune.adapt.ranges import check_range, cut_below, in_range, stacks
from microtune.nn.transformer import Transformer


class Norms(Method):
    """Train all norms, and a label head."""

    name: Literal["norms"] = "norms"
    first_block: int = Field(default=0, ge=0, description="only blocks from this one upwards")
    last_block: int | None = Field(default=None, ge=0, description="only blocks up to this one; default: the last")
    default_lr: ClassVar[float] = 4e-3
    default_head_lr: ClassVar[float | None] = 4e-3

    def attach(self, model: Transformer) -> Attachment:
        """Freeze everything but the norms."""
        check_range(model, self.name, self.first_block, self.last_block)
        found = [role for role, module in model.named_modules() if is_norm(module) and self._trains(model, role)]
        freeze(model)
        names = [f"{role}.{name}" for role in found for name, _ in model.get_submodule(role).named_parameters()]
        for name in names:
            model.get_parameter(name).requires_grad_(True)
        train_task_head(model)
        return Attachment(model, cut=cut_below(model, names), before=snapshot(model))

    def _trains(self, model: Transformer, role: str) -> bool:
        side, _, rest = role.partition(".")
        if side not in stacks(model):  # in a head
            return False
        if rest.startswith("blocks."):
            return in_range(role, self.first_block, self.last_block)
        return rest_trains(model, side, f"{rest}.", self.first_block, self.last_block)


methods.add("norms", Norms)
