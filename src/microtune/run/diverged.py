"""The check `finite`: a loss, a gradient or a weight that is no finite number stops the run, before it is learnt.

The rows of the failing step are looked at one by one, so that the sentence can name those that give no finite number
by themselves; where all of them do, the weights have gone astray and not the data. No step is taken, and no checkpoint
of such weights stays, so the last one is good.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from microtune.data.batches import collate
from microtune.errors import CheckError
from microtune.run.checks import places
from microtune.run.folder import RunFolder

if TYPE_CHECKING:
    from microtune.run.train import Training

LOOKED_AT = 64  # rows of a large step: enough to find the first bad ones


class DivergedError(CheckError):
    """A step gave no finite number; astray: every row does it, so the weights are to blame and not a row."""

    def __init__(self, message: str, *, astray: bool = False, check: str | None = "finite") -> None:
        super().__init__(message, check=check)
        self.astray = astray


def not_finite(training: Training, micro_batches: list[list[int]], loss: float, norm: float) -> DivergedError:
    """The error for a step whose loss or gradient norm is no finite number."""
    step = training.step + 1
    what = f"The loss is {loss}" if not math.isfinite(loss) else f"The gradient norm is {norm}"
    indexes = sorted(i for piece in micro_batches for i in piece)[:LOOKED_AT]
    bad = [i for i in indexes if not _finite(training, i)]
    named = places(training.rows, [_row(training, i) for i in bad])
    if not bad:
        rows = "none of its rows gives it alone"
        first = places(training.rows, [_row(training, i) for i in indexes])
        cause = f"lower train.lr ({rows}; they are {first})."
    elif len(bad) == len(indexes):
        cause = f"lower train.lr, for all {len(bad)} rows of the step give it (first: {named})."
    else:
        cause = f"lower train.lr, or mend the rows that give it, {len(bad)} of {len(indexes)} in this step: {named}."
    return DivergedError(f"{what} at step {step}: {cause}", astray=len(bad) == len(indexes))


@contextmanager
def good_checkpoints(training: Training, folder: RunFolder) -> Iterator[None]:
    """Where weights have gone astray, the checkpoint of these very weights goes; the one before it is good."""
    try:
        yield
    except DivergedError as error:
        if error.astray:
            folder.drop_checkpoint(training.step)
        raise


def check_weights(training: Training) -> None:
    """No trainable weight has become infinite or nan: asked before a checkpoint is written."""
    for name, parameter in training.attachment.parameters():
        if not bool(parameter.detach().isfinite().all()):
            raise CheckError(
                f"After step {training.step} the tensor {name} holds values that are no finite numbers: lower "
                "train.lr.",
                check="finite",
            )


def _finite(training: Training, index: int) -> bool:
    """Whether one item by itself gives a finite loss and finite gradients."""
    training.model.eval()
    training.optimizers.zero_grad()
    loss = training.loss(collate([training.items[index]]).to(training.device), [index])
    loss.backward()
    gradients = (p.grad for _, p in training.attachment.parameters())
    return bool(loss.detach().isfinite()) and all(g is None or bool(torch.isfinite(g).all()) for g in gradients)


def _row(training: Training, index: int) -> int:
    """The row of an item, or what `places` shows as an item where its row is not known."""
    row = training.items[index].row
    return row if training.rows and row >= 0 else ~index
