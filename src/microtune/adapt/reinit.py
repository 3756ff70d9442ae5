"""Re-initialisation: the last k blocks, the final norm, the pooler, the head start anew; then `top` or `full` trains.

The top of a pretrained model is bound to the pretraining objective; with few examples, starting it anew can be more
stable and better (Zhang et al., 2021, who count BERT's pooler to it; Mosbach et al., 2021).
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from microtune.adapt.base import Attachment, methods, top_cut
from microtune.adapt.full import Full
from microtune.adapt.layered import Layered
from microtune.adapt.top import Top
from microtune.errors import InputError
from microtune.nn.heads import LabelHead, VocabularyHead
from microtune.nn.layers import LayerNorm, RMSNorm
from microtune.nn.parameters import initialize
from microtune.nn.transformer import Transformer

BELOW = ("pooler", "dense", "transform")  # layers of a head below its scores


class Reinit(Layered):
    """Re-initialise the last k blocks by the model's own scheme, then train."""

    name: Literal["reinit"] = "reinit"
    blocks: int = Field(default=1, ge=0, description="how many of the last blocks start anew")
    norm: bool = Field(default=True, description="the final norm starts anew, where there is one")
    pooler: bool = Field(default=False, description="layers below the scores of a label head start anew, as BERT's")
    head: bool = Field(default=False, description="the head starts anew, a vocabulary's, too, which then trains")
    then: Literal["top", "full"] = Field(default="top", description="what trains: the last blocks, or everything")
    train_blocks: int | None = Field(
        default=None, ge=1, description="then: top trains so many blocks; default: those that start anew, at least 1"
    )
    embeddings: bool = Field(default=False, description="then: top trains tokens, types and positions, too")
    norms: bool = Field(default=False, description="then: top trains all norms of the stack, too")
    seed: int = Field(default=0, ge=0, description="of the new weights")
    short: ClassVar[str | None] = "blocks"
    default_lr: ClassVar[float] = 5e-4
    default_head_lr: ClassVar[float | None] = 2e-3

    def attach(self, model: Transformer) -> Attachment:
        """New weights in the chosen parts, then `top` or `full`."""
        then = self._then(model)
        parts = self._parts(model)
        before = {
            name: parameter.detach().clone()
            for name, parameter in model.named_parameters()
            if any(name.startswith(f"{part}.") for part in parts)
        }
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            for module in parts.values():
                initialize(module, model.spec.initializer_range, num_layers=model.spec.output_stack.num_layers)
                _reset_norms(module)
        attachment = then.attach(model)
        for name in before:  # nothing random is left as it is: of a vocabulary head, `top` trains nothing
            model.get_parameter(name).requires_grad_(True)
        attachment.keep_before(before)
        skipped = max(self.blocks - 1, 0)  # gradual unfreezing begins with all that is random
        attachment.schedule = [(epoch - skipped, cut) for epoch, cut in attachment.schedule[skipped:]]
        return attachment

    def _then(self, model: Transformer) -> Full | Top:
        """What trains, with the options that are its own; refuses more blocks than there are."""
        top_cut(model, self.blocks)
        if self.then == "full":
            only_top = {"train_blocks": self.train_blocks, "embeddings": self.embeddings, "norms": self.norms}
            asked = next((name for name, value in only_top.items() if value), None)
            if asked is not None:
                raise InputError(f"method.{asked}: says what `then: top` trains; `then: full` trains everything.")
            return Full(layer_decay=self.layer_decay, unfreeze=self.unfreeze)
        count = self.train_blocks or max(self.blocks, 1)
        if count < self.blocks:
            raise InputError(
                f"method.train_blocks: {self.blocks} blocks start anew, and {count} train; what is random has to train."
            )
        top_cut(model, count)
        return Top(
            blocks=count,
            embeddings=self.embeddings,
            norms=self.norms,
            layer_decay=self.layer_decay,
            unfreeze=self.unfreeze,
        )

    def _parts(self, model: Transformer) -> dict[str, nn.Module]:
        """What starts anew, by role, in the order in which a seed draws."""
        stack, head = model.output_stack, model.head
        side = "decoder" if model.decoder is not None else "encoder"
        first = len(stack.blocks) - self.blocks
        roles = [f"{side}.blocks.{number}" for number in range(first, len(stack.blocks))]
        if self.norm and isinstance(stack.norm, (LayerNorm, RMSNorm)):
            roles.append(f"{side}.norm")
        below = [f"head.{name}" for name in BELOW if getattr(head, name, None) is not None]
        if self.pooler:
            if not below or not isinstance(head, LabelHead):
                raise InputError("method.pooler: the head of this model and task has no layer below its scores.")
            roles += below
        if self.head:
            roles += _head_roles(model, below)
        if not roles:
            raise InputError("method: reinit has nothing to start anew; choose blocks, pooler or head.")
        return {role: model.get_submodule(role) for role in roles}


def _head_roles(model: Transformer, below: list[str]) -> list[str]:
    """The scores of a label head, or a vocabulary head with what stands below; a tied matrix stays."""
    head = model.head
    if not isinstance(head, VocabularyHead):
        return ["head.out"]
    if head.out.weight is not model.tokens.weight:
        return [*below, "head.out"]
    if not below:
        raise InputError("method.head: the vocabulary head of this model is its token embedding; it cannot start anew.")
    return below


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
