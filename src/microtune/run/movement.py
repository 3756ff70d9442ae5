"""What moves and what does not: the checks `gradient`, `moved` and `frozen` of a run.

After two steps every trainable tensor has received a gradient and has moved, and no frozen one has; at the end both are
looked at once more. Where blocks join one by one, the two steps are counted from when a tensor begins, and until then
it counts as frozen. Tensors are remembered by fingerprints of a few bytes, so that large models are not kept twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from microtune.adapt.base import Attachment
from microtune.errors import CheckError
from microtune.nn.transformer import Transformer

PERIOD = 256  # words after which the weights of a fingerprint repeat
RARE = ("tokens.weight", "tokens.added", "targets.added")  # rows that the first batches may not hold
Counts = NDArray[np.int64]
STEPS = 2  # the B of a LoRA moves at the first step, its A only then


class Movement:
    """After two steps with a rate above zero, every trainable tensor has moved and no frozen one has."""

    def __init__(self, model: Transformer, attachment: Attachment) -> None:
        self._model = model
        self._before = {n: fingerprint(p) for n, p in attachment.parameters()}
        self._frozen = {n: fingerprint(p) for n, p in model.named_parameters() if n not in self._before}
        self._unreached = set(self._before)
        self._since = dict.fromkeys(self._before, 0)  # steps with a rate above zero before a tensor began
        self._longest = 0  # tokens of the longest sequence so far
        self.steps = 0  # with a rate above zero; a resumed training begins with those before it

    @property
    def frozen(self) -> str:
        """One fingerprint of all frozen weights: a checkpoint only fits the base that it was made with."""
        return hashlib.sha256(repr(sorted(self._frozen.items())).encode()).hexdigest()[:16]

    @property
    def made(self) -> tuple[str, ...]:
        """The names of the checks that had enough steps to run."""
        return ("gradient", "moved", "frozen") if self.steps >= STEPS else ()

    def begin(self, since: Mapping[str, int], step: int) -> None:
        """Before step `step` (from 0): all that trains from here on, with the number of steps before each began."""
        self._since = {name: self.steps - (step - first) for name, first in since.items()}
        self._unreached -= {name for name, first in self._since.items() if first + STEPS <= self.steps}

    def see_gradients(self, longest: int) -> None:
        """Note which tensors have a gradient that is not all zero; between the backward pass and the update.

        longest: tokens of the longest sequence of this step.
        """
        self._longest = max(self._longest, longest)
        if self._unreached and self.steps < max(self._since.values()) + STEPS:
            parameters = dict(self._model.named_parameters())
            reached = {n for n in self._unreached if (g := parameters[n].grad) is not None and bool(g.any())}
            self._unreached -= reached

    def check(self, step: int, lr: float) -> None:
        """Count a step; at the second one with a rate above zero after something began, compare."""
        self.steps += lr > 0
        if lr > 0 and self.steps - STEPS in self._since.values():
            self._compare(step, self.steps)

    def finish(self, step: int, kept: int | None = None) -> None:
        """Compare at the end, too: what moved at first may have been put back, what stayed may have moved later.

        kept: the step of the weights that are kept, where it is not the last; what began later is in them as it was.
        """
        if self.steps >= STEPS:
            self._unreached = set()  # a resumed run has not seen the first steps
            self._compare(step, self.steps - (step - (step if kept is None else kept)))

    def _compare(self, step: int, steps: int) -> None:
        """steps: those with a rate above zero that made these weights."""
        parameters = dict(self._model.named_parameters())
        due = [n for n, first in self._since.items() if first + STEPS <= steps and not self._may_rest(n)]
        still = self._frozen | {n: mark for n, mark in self._before.items() if n not in self._since}
        stuck = [n for n in due if fingerprint(parameters[n]) == self._before[n]]
        drifted = [n for n, mark in still.items() if fingerprint(parameters[n]) != mark]
        unreached = [n for n in due if n in self._unreached]
        if unreached:
            moved = "have not moved" if set(stuck) & set(unreached) else "are moved by weight decay alone"
            raise CheckError(
                f"After {step} steps {len(unreached)} trainable tensors {moved} (first: {unreached[0]}): no gradient "
                "reaches them. Choose roles that the loss depends on.",
                check="gradient",
            )
        if stuck:
            raise CheckError(
                f"After {step} steps {len(stuck)} trainable tensors have not moved (first: {stuck[0]}), although a "
                "gradient reaches them. Raise train.lr.",
                check="moved",
            )
        if drifted:
            raise CheckError(
                f"After {step} steps {len(drifted)} frozen tensors have changed (first: {drifted[0]}); please report "
                "this.",
                check="frozen",
            )

    def _may_rest(self, name: str) -> bool:
        """Key biases without rotary positions shift all scores alike: their gradient is exactly zero.

        So is that of queries and keys where every sequence is one token, which can only attend to itself.
        """
        if self._longest < 2 and (".attention.q" in name or ".attention.k" in name or "relative_bias" in name):
            return True
        side = name.partition(".")[0]
        stack = getattr(self._model, side, None)
        spec = getattr(stack, "spec", None)
        unread = name.startswith(("types.", f"{side}.positions")) or name in RARE
        key = name.endswith(
            (".k.bias", ".k.base.bias")
        )  # of cross-attention, which is never rotary, or below an update
        return unread or (key and (".cross." in name or getattr(spec, "positions", "") != "rotary"))


@cache
def _places() -> Counts:
    return np.arange(1, PERIOD + 1, dtype=np.int64)


def fingerprint(value: Tensor) -> int:
    """A number that changes when any bit of the tensor does (64-bit wrapping sum of position-weighted words).

    numpy, since a model has hundreds of small tensors, for which torch takes four times as long.
    """
    raw = value.detach().contiguous().view(torch.uint8).view(-1)
    words = raw[: len(raw) // 4 * 4].view(torch.int32)
    whole = len(words) // PERIOD * PERIOD
    sums = _sums(words[:whole].view(-1, PERIOD))  # words of equal weight first, so that few are multiplied
    sums[: len(words) - whole] += words[whole:].cpu().numpy()
    rest = raw[len(words) * 4 :].cpu().numpy()
    total = int((sums * _places()).sum()) + int(rest.sum())
    return (total + 2**63) % 2**64 - 2**63


def _sums(words: Tensor) -> Counts:
    """[n, PERIOD] of 32 bits -> their sums over n in 64 bits, on the CPU.

    A copy in 64 bits of the whole would be the largest thing in memory; numpy converts a few thousand at a time.
    """
    if words.device.type == "cpu":
        return words.numpy().sum(0, dtype=np.int64)
    sums = torch.zeros(PERIOD, dtype=torch.int64, device=words.device)
    for piece in words.split(4096):
        sums += piece.sum(0, dtype=torch.int64)
    return sums.cpu().numpy()
