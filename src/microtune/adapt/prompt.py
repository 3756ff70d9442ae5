"""Prompt tuning: p trained vectors are read before the words of every text; nothing else of the model changes.

Lester et al. (2021). The tokens run through all blocks as words do, so everything above the embedding is computed with
them and there is no trunk. In an encoder-decoder they stand before what the encoder reads, as in PEFT. Words of the
vocabulary, or a text that names the task, are better beginnings than random vectors (the paper, section 3.2). Small
models gain little (its section 3.1): sprout learns instructions from a prompt, and to classify hardly more than its
head learns alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch

from microtune.adapt.base import Attachment, methods
from microtune.adapt.virtual import VirtualMethod, repeated, words
from microtune.nn.transformer import Cut, Stack, Transformer
from microtune.nn.virtual import Prompt


class PromptTuning(VirtualMethod):
    """Train p vectors that stand before every text."""

    name: Literal["prompt"] = "prompt"
    short: ClassVar[str | None] = "tokens"
    default_lr: ClassVar[float] = 0.03
    default_head_lr: ClassVar[float | None] = 4e-3

    def attach(self, model: Transformer) -> Attachment:
        """Freeze everything, put vectors before the texts, let a label head train.

        With init: text they are no numbers until `begin` has been given ids.
        """
        side = "encoder" if model.encoder is not None else "decoder"
        stack = _reader(model)
        self.check_room(stack)
        return self.place(model, side, Prompt(self.vectors(model, stack)), Cut())

    @torch.no_grad()
    def begin(self, model: Transformer, ids: Sequence[int]) -> None:
        """The vectors become the embeddings of these ids, repeated or cut to their number."""
        stack = _reader(model)
        stack.virtual.get_parameter("weight").copy_(words(model, stack, repeated(ids, self.tokens)))


def _reader(model: Transformer) -> Stack:
    """The stack that reads the given text first."""
    return model.encoder if model.encoder is not None else model.output_stack


methods.add("prompt", PromptTuning)
