"""Checks that every run makes by itself, so that none can fail silently.

Before the first step: is something supervised, is not everything supervised unasked, does an answer end with a stop
token, was too much cut away. After two steps: did everything that should train move, and nothing else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from microtune.adapt.base import Attachment
from microtune.data.batches import Items
from microtune.data.text import Tokenizer
from microtune.errors import CheckError
from microtune.nn.transformer import Transformer
from microtune.tasks.base import EncodingReport

PERIOD = 256  # words after which the weights of a fingerprint repeat
DROPPED_SHARE = 0.05  # more rows lost to their length than this is an error


class Movement:
    """After two steps with a rate above zero, every trainable tensor has moved and no frozen one has."""

    def __init__(self, model: Transformer, attachment: Attachment) -> None:
        self._model = model
        self._before: dict[str, Tensor] | None = {n: p.detach().clone() for n, p in attachment.parameters()}
        self._frozen = {n: _fingerprint(p) for n, p in model.named_parameters() if n not in self._before}
        self._moving_steps = 0

    @property
    def frozen(self) -> str:
        """One fingerprint of all frozen weights: a checkpoint only fits the base that it was made with."""
        return hashlib.sha256(repr(sorted(self._frozen.items())).encode()).hexdigest()[:16]

    def check(self, step: int, lr: float) -> None:
        """Count a step; at the second one with a rate above zero, compare and forget."""
        self._moving_steps += lr > 0
        if self._before is None or self._moving_steps < 2:
            return
        parameters = dict(self._model.named_parameters())
        stuck = [n for n, value in self._before.items() if torch.equal(value, parameters[n]) and not self._may_rest(n)]
        drifted = [n for n, mark in self._frozen.items() if _fingerprint(parameters[n]) != mark]
        self._before = None
        if stuck:
            raise CheckError(
                f"After {step} steps {len(stuck)} trainable tensors have not moved (first: {stuck[0]}): no gradient "
                "reaches them. Raise train.lr, or choose roles that the loss depends on."
            )
        if drifted:
            raise CheckError(f"{len(drifted)} frozen tensors have changed (first: {drifted[0]}); please report this.")

    def _may_rest(self, name: str) -> bool:
        """Key biases without rotary positions shift all scores alike: their gradient is exactly zero."""
        side = name.partition(".")[0]
        stack = getattr(self._model, side, None)
        spec = getattr(stack, "spec", None)
        unread = name.startswith(("types.", f"{side}.positions")) or name == "tokens.weight"
        return unread or (name.endswith("attention.k.bias") and getattr(spec, "positions", "") != "rotary")


def _fingerprint(value: Tensor) -> int:
    """A number that changes when any bit of the tensor does (64-bit wrapping sum of position-weighted words)."""
    raw = value.detach().contiguous().view(torch.uint8).view(-1)
    words = raw[: len(raw) // 4 * 4].view(torch.int32)
    weights = torch.arange(1, PERIOD + 1, dtype=torch.int64, device=words.device)
    total = int(raw[len(words) * 4 :].sum())
    for piece in words.split(PERIOD * 4096):  # a copy in 64 bits of the whole would be the largest thing in memory
        whole = piece[: len(piece) // PERIOD * PERIOD].view(-1, PERIOD)
        tail = piece[whole.numel() :]
        total += int((whole * weights).sum() + (tail * weights[: len(tail)]).sum())
    return (total + 2**63) % 2**64 - 2**63


def check_supervision(report: EncodingReport, *, whole_text: bool) -> None:
    """The supervised share is neither 0 nor, unasked, 1; not too many rows were lost to their length."""
    if report.rows and report.dropped / report.rows > DROPPED_SHARE:
        raise CheckError(
            f"{report.dropped} of {report.rows} rows are longer than the model can read and would lose their answer; "
            "shorten them or raise model.max_length."
        )
    if report.supervised == 0:
        raise CheckError("No token is supervised: nothing could be learnt. Look at the fields that the task reads.")
    if not whole_text and report.supervised >= report.tokens:
        raise CheckError("Every token is supervised, prompts included; the answers cannot be told from the prompts.")


def check_stops(items: Items, tokenizer: Tokenizer, sample: int = 1000) -> None:
    """The last target of a generated answer is a stop token, so that the model learns to stop."""
    stops = set(tokenizer.stop_ids)
    for index in range(min(len(items), sample)):
        targets: Sequence[int] = items[index].targets
        if not len(targets) or int(targets[-1]) not in stops:
            raise CheckError("An answer does not end with a stop token: the model would never learn to stop.")
