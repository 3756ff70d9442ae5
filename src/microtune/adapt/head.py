"""Head tuning: the trunk stays as it is, only the task's head learns.

The cheapest method and an honest baseline (linear probing: Alain and Bengio, 2016; with a hidden layer, Hewitt and
Liang, 2019). The trunk's outputs are computed once. A vocabulary head that is the token embedding gets a copy of it
first, since the embedding is trunk; the model is no longer tied then, and is saved so.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

from pydantic import Field
from torch import nn

from microtune.adapt.base import (
    Attachment,
    Method,
    freeze,
    methods,
    set_module,
    snapshot,
    top_cut,
    train,
    train_task_head,
)
from microtune.errors import InputError
from microtune.nn.heads import LabelHead, VocabularyHead
from microtune.nn.hidden_layer import HiddenLayer, Squash
from microtune.nn.transformer import Transformer

OUT = "head.out"


class Head(Method):
    """Train the head alone."""

    name: Literal["head"] = "head"
    hidden: int = Field(default=0, ge=0, le=2**16, description="width of a hidden layer under the scores; 0: none")
    activation: Squash = Field(default="gelu", description="of the hidden layer")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="on the hidden layer")
    default_lr: ClassVar[float] = 4e-3  # 1e-2 gains nothing in accuracy on 3,000 rows and doubles the loss in 20 epochs

    def attach(self, model: Transformer) -> Attachment:
        """Freeze all but the head; one that shares the token embedding's weights is parted from it."""
        self._check(model)
        linear = self._widen(model)
        freeze(model)
        spec = model.spec
        own: dict[str, tuple[nn.Module, nn.Module]] = {}
        if not train_task_head(model):
            own = untie(model)
            train(model.head)
        before = snapshot(model)
        if own:
            del before["head.out.weight"]  # a copy: what it was is in the embedding
        tied = spec if own else None
        attachment = Attachment(model, cut=top_cut(model, 0), before=before, replaced=own, tied=tied)
        if own:
            attachment.afterwards(lambda _: _share_again(model, own["head.out"][0]))
        if linear is not None:  # which cannot be merged: merging keeps the hidden layer
            attachment.afterwards(lambda learnt: None if learnt else set_module(model, OUT, linear))
        return attachment

    def _check(self, model: Transformer) -> None:
        if self.hidden and not isinstance(model.head, LabelHead):
            raise InputError(
                "method.hidden: the head of this task scores the vocabulary and came with the model; a hidden layer is "
                "for tasks with labels. Leave it out, or take lora or top."
            )
        if self.dropout and not self.hidden:
            raise InputError("method.dropout: is on the hidden layer; say how wide it is, for instance hidden: 128.")

    def _widen(self, model: Transformer) -> nn.Module | None:
        """Put a hidden layer under the scores; returns the linear layer that it replaces."""
        if not self.hidden:
            return None
        assert isinstance(model.head, LabelHead)
        linear = model.head.out
        std = model.spec.initializer_range
        set_module(model, OUT, HiddenLayer(linear, self.hidden, self.activation, self.dropout, std))
        return linear


def _share_again(model: Transformer, shared: nn.Module) -> None:
    """The layer that was put aside reads the embedding of now: preparing weights has put another tensor there."""
    if isinstance(model.tokens, nn.Embedding):
        shared.weight = model.tokens.weight


def untie(model: Transformer) -> dict[str, tuple[nn.Module, nn.Module]]:
    """Give the vocabulary head a copy of the embedding it shares: {role: (tied layer, own one)}, or nothing to part."""
    head = model.head
    if not isinstance(head, VocabularyHead) or head.out.weight is not model.tokens.weight:
        return {}
    shared = head.out
    own = nn.Linear(shared.in_features, shared.out_features, bias=False, device="meta")
    own.weight, own.bias = nn.Parameter(shared.weight.detach().clone()), shared.bias
    head.out, model.spec = own, replace(model.spec, tied=False)
    return {OUT: (shared, own)}


methods.add("head", Head)
