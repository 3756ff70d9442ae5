"""Gradients of a loss over the whole optimizer batch, computed in micro-batches: cached gradients (Gao et al., 2021).

Where every row is compared with every other, a batch cannot be cut. Its vectors can: they are computed in pieces
without a graph, the loss and its gradient are taken on them alone, and each piece is computed again, with the same
dropout, to carry its part of the gradient down. The result is that of one large batch, at the memory of a small one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from microtune.data.batches import Batch, Items
from microtune.run.precision import Precision, autocast
from microtune.tasks.base import Task


class Trained(Protocol):
    """What of a `Training` is needed here."""

    task: Task
    items: Items
    sizes: list[int]
    precision: Precision
    device: torch.device

    @property
    def head(self) -> nn.Module: ...

    def collate(self, piece: Sequence[int]) -> Batch: ...

    def hidden(self, batch: Batch, piece: list[int]) -> Tensor: ...


def joint_gradients(training: Trained, pieces: list[list[int]], weight: float) -> tuple[float, int]:
    """Leaves gradients of the mean loss; returns the loss and how many tokens were read."""
    tokens = sum(training.sizes[i] for piece in pieces for i in piece)
    if len(pieces) == 1:
        loss = _loss(training, _vectors(training, pieces[0]), pieces, weight)
        loss.backward()
        return float(loss.detach()), tokens
    states, parts = [], []
    with torch.no_grad():
        for piece in pieces:
            states.append(_random_state(training.device))
            parts.append(_vectors(training, piece))
    joined = torch.cat(parts).requires_grad_()
    loss = _loss(training, joined, pieces, weight)
    (gradient,) = torch.autograd.grad(loss, joined)
    for piece, state, part in zip(pieces, states, gradient.split([len(p) for p in parts]), strict=True):
        _set_random_state(state, training.device)
        _vectors(training, piece).backward(part)
    return float(loss.detach()), tokens


def _loss(training: Trained, vectors: Tensor, pieces: list[list[int]], weight: float) -> Tensor:
    items = [training.items[i] for piece in pieces for i in piece]
    return training.task.joint_loss(vectors, items) / weight


def _vectors(training: Trained, piece: list[int]) -> Tensor:
    batch = training.collate(piece)
    with autocast(training.device, training.precision):
        return training.task.vectors(training.head, training.hidden(batch, piece), batch)


def _random_state(device: torch.device) -> tuple[Tensor, Tensor | None]:
    return torch.get_rng_state(), torch.cuda.get_rng_state(device) if device.type == "cuda" else None


def _set_random_state(state: tuple[Tensor, Tensor | None], device: torch.device) -> None:
    torch.set_rng_state(state[0])
    if state[1] is not None:
        torch.cuda.set_rng_state(state[1], device)
