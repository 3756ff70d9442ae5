"""Prefix tuning: every block gets p trained keys and values that stand before those of the text.

Li and Liang (2021). Only attention sees them, so they cost less than tokens that are read, and the blocks below
`first_block` stay trunk. They are keys as after rotation, at positions 0..p-1. `projection` makes them from p vectors
by a small network. In an encoder-decoder they stand in the decoder's self-attention, as in PEFT.

They begin as random numbers, or as what words leave in the blocks, which changes less at first (the paper, section
7.4). For classification with sprout random ones were better on held-out rows at both rates tried, 0.1 and 0.3; at 0.01
hardly anything was learnt.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from microtune.adapt.base import Attachment, methods
from microtune.adapt.virtual import VirtualMethod, repeated, words
from microtune.errors import InputError
from microtune.nn.keys import left_by
from microtune.nn.transformer import Cut, Transformer
from microtune.nn.virtual import Prefix, ProjectedPrefix, VirtualTokens

PROJECTED_RATE = 0.02  # of the rate: a network's weights learn at the rates of networks


class PrefixTuning(VirtualMethod):
    """Train p keys and values of every block."""

    name: Literal["prefix"] = "prefix"
    init: Literal["random", "vocabulary", "text"] = Field(
        default="random", description="how they begin: random, or as what words of the vocabulary or `text` leave"
    )
    projection: int | None = Field(
        default=None, ge=1, le=2**16, description="inner width of a network that makes them from vectors"
    )
    first_block: int = Field(default=0, ge=0, description="only blocks from this one upwards")
    short: ClassVar[str | None] = "tokens"
    default_lr: ClassVar[float] = 0.1
    default_head_lr: ClassVar[float | None] = 4e-3

    def attach(self, model: Transformer) -> Attachment:
        """Freeze everything, put keys and values into the blocks, let a label head train.

        With init: text they are no numbers until `begin` has been given ids.
        """
        stack = model.output_stack
        self.check_room(stack)
        depth = len(stack.blocks)
        if self.first_block >= depth:
            raise InputError(f"method.first_block: {self.first_block} leaves no block, the model has {depth}.")
        spec, first = stack.spec, self.first_block
        shape = (depth - first, spec.kv_heads, spec.head_size)
        if self.projection is not None:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(self.seed)
                start = self.vectors(model, stack)
                prefix: Prefix = ProjectedPrefix(start, self.projection, shape, first)
        else:
            prefix = Prefix(self._start(model, shape), first)
        rate = 1.0 if self.projection is None else PROJECTED_RATE
        if model.decoder is None:
            return self.place(model, "encoder", prefix, Cut(encoder=first), rate)
        below = len(model.encoder.blocks) if model.encoder is not None else 0
        return self.place(model, "decoder", prefix, Cut(encoder=below, decoder=first), rate)

    @torch.no_grad()
    def begin(self, model: Transformer, ids: Sequence[int]) -> None:
        """Keys and values become those that these ids leave in the blocks, repeated or cut to their number."""
        stack = model.output_stack
        if isinstance(stack.virtual, ProjectedPrefix):
            stack.virtual.weight.copy_(words(model, stack, repeated(ids, self.tokens)))
            return
        virtual, stack.virtual = stack.virtual, VirtualTokens()
        try:
            found = left_by(model, repeated(ids, self.tokens), self.first_block)
        finally:
            stack.virtual = virtual
        virtual.get_parameter("weight").copy_(found)

    def _start(self, model: Transformer, shape: tuple[int, int, int]) -> Tensor:
        L, K, E = shape
        if self.init == "random" or model.tokens.weight.is_meta:
            return self.normal(model, L, 2, self.tokens, K, E)
        if self.init == "text":
            return torch.full_like(self.normal(model, L, 2, self.tokens, K, E), torch.nan)
        return left_by(model, self.ids(model), self.first_block)


methods.add("prefix", PrefixTuning)
