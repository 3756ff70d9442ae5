"""Gradual unfreezing in a run: where it stands in the schedule of its attachment (adapt/unfreezing.py).

At the start of each epoch the network's cut goes to where the schedule has it, so that blocks which do not train yet
are trunk: without autograd, gradient, optimizer state and dropout. What trains later but reaches above that cut (a tied
embedding in the head, a bias that all blocks share) rests while gradients are computed. Between two steps nothing of
this is to be seen: everything that trains at the end counts as trainable all along.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from microtune.adapt.base import Attachment
from microtune.adapt.unfreezing import lies_above
from microtune.nn.transformer import Transformer


class Unfreezing:
    """What of an attachment trains in an epoch, for a training of `steps_per_epoch`."""

    def __init__(self, model: Transformer, attachment: Attachment, steps_per_epoch: int) -> None:
        self.model, self.attachment, self.steps_per_epoch = model, attachment, steps_per_epoch
        self._resting: list[nn.Parameter] = []

    def begin(self, epoch: int) -> None:
        """Move the cut to where this epoch (from 0) has it."""
        stages = [cut for first, cut in self.attachment.schedule if first <= epoch]
        if stages and self.model.cut != stages[-1]:
            self.model.cut = stages[-1]
        begun = self.since(epoch)
        self._resting = [p for name, p in self.attachment.parameters() if name not in begun]

    def end(self) -> None:
        """Put the cut back to that of the attachment."""
        self._resting = []
        if self.attachment.schedule and self.model.cut != self.attachment.cut:
            self.model.cut = self.attachment.cut

    @contextmanager
    def at_rest(self) -> Iterator[None]:
        """No gradient reaches what does not train yet."""
        for parameter in self._resting:
            parameter.requires_grad_(False)
        try:
            yield
        finally:
            for parameter in self._resting:
                parameter.requires_grad_(True)

    def since(self, epoch: int) -> dict[str, int]:
        """Names of what trains in an epoch (from 0), with the number of steps before each began."""
        found: dict[str, int] = {}
        schedule = self.attachment.schedule or [(0, self.attachment.cut)]
        for first, cut in schedule:
            for name, _ in self.attachment.parameters() if first <= epoch else ():
                if name not in found and (not self.attachment.schedule or lies_above(self.model, name, cut)):
                    found[name] = first * self.steps_per_epoch
        return found

    def not_begun(self, step: int) -> str | None:
        """What has not begun to train in the weights of a step, as a sentence; None where all has."""
        schedule, epoch = self.attachment.schedule, (max(step, 1) - 1) // self.steps_per_epoch + 1
        if not schedule or schedule[-1][0] < epoch:
            return None
        begun = self.since(epoch - 1)
        late = list(dict.fromkeys(_part(n) for n, _ in self.attachment.parameters() if n not in begun))
        more = f" to {late[-1]}" if late[1:] else ""
        return (
            f"method.unfreeze: after step {step}, in epoch {epoch} of the {schedule[-1][0] + 1} that gradual "
            f"unfreezing takes, {late[0]}{more} had not begun to train and are as in the base."
        )


def _part(name: str) -> str:
    return ".".join(name.split(".")[: 3 if ".blocks." in name else 1])
