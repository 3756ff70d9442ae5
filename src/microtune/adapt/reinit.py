"""Re-initialised blocks: the last k blocks start anew, then train as `top` or `full` says.

The top blocks of a pretrained model are bound to the pretraining objective; with few examples, starting them anew can
be more stable and better (Zhang et al., 2021; Mosbach et al., 2021).
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from microtune.adapt.base import Attachment, Method, make_method, methods, top_cut, top_modules
from microtune.nn.layers import LayerNorm, RMSNorm
from microtune.nn.parameters import initialize
from microtune.nn.transformer import Transformer
from microtune.recipe import Choice


class Reinit(Method):
    """Re-initialise the last k blocks by the model's own scheme, then train."""

    name: Literal["reinit"] = "reinit"
    blocks: int = Field(default=1, ge=1, description="how many of the last blocks start anew")
    then: Literal["top", "full"] = Field(default="top", description="what trains: these blocks, or everything")
    seed: int = Field(default=0, ge=0, description="of the new weights")
    short: ClassVar[str | None] = "blocks"
    default_lr: ClassVar[float] = 5e-4
    default_head_lr: ClassVar[float | None] = 2e-3

    def attach(self, model: Transformer) -> Attachment:
        """New weights in the last k blocks and the final norm, then `top:k` or `full`."""
        top_cut(model, self.blocks)  # refuses more blocks than there are
        roles = [name for name, _ in model.named_parameters() if self._starts_anew(model, name)]
        parameters = dict(model.named_parameters())
        before = {name: parameters[name].detach().clone() for name in roles}
        modules = top_modules(model.output_stack, self.blocks)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            for module in modules:
                initialize(module, model.spec.initializer_range, num_layers=model.spec.output_stack.num_layers)
                _reset_norms(module)
        inner = make_method(Choice(name="full") if self.then == "full" else Choice(name="top", blocks=self.blocks))
        attachment = inner.attach(model)
        attachment.keep_before(before)
        return attachment

    def _starts_anew(self, model: Transformer, name: str) -> bool:
        side = "decoder" if model.decoder is not None else "encoder"
        first = len(model.output_stack.blocks) - self.blocks
        if name.startswith(f"{side}.norm."):
            return True
        parts = name.split(".")
        return parts[:2] == [side, "blocks"] and int(parts[2]) >= first


@torch.no_grad()
def _reset_norms(module: nn.Module) -> None:
    for part in module.modules():
        if isinstance(part, (LayerNorm, RMSNorm)):
            shift = isinstance(part, RMSNorm) and part.shift
            part.weight.fill_(0.0 if shift else 1.0)
            bias: Tensor | None = getattr(part, "bias", None)
            if bias is not None:
                bias.zero_()


methods.add("reinit", Reinit)
