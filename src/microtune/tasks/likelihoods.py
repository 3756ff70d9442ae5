"""The log-likelihood of whole sequences, and how a loss of it is learnt without keeping any logits.

A loss that depends on tokens only through the sum of each sequence has, for every token, the gradient of a weighted
cross-entropy; the weights are the slopes of the loss at those sums. So the head's own loss, in its chunks, does all the
work.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from microtune.data.batches import Batch
from microtune.errors import InputError
from microtune.nn.heads import VocabularyHead


def likelihoods(head: nn.Module, hidden: Tensor, batch: Batch) -> Tensor:
    """Log-likelihood of the targets of each sequence `[sequences]`, without a gradient; float64 on a CPU."""
    assert isinstance(head, VocabularyHead)
    return by_sequence(head.log_probabilities(hidden, batch.targets), batch.counts).detach()


def learnt_through(head: nn.Module, hidden: Tensor, batch: Batch, loss_of: Callable[[Tensor], Tensor]) -> Tensor:
    """The loss that `loss_of` makes of the log-likelihoods `[sequences]`, with its exact gradient."""
    head = check_head(head)
    sums = likelihoods(head, hidden, batch).requires_grad_()
    with torch.enable_grad():
        exact = loss_of(sums)
        (slopes,) = torch.autograd.grad(exact, sums)
    weights = torch.repeat_interleave(-slopes, batch.counts)
    along = head.loss(hidden, batch.targets, weights.to(torch.promote_types(hidden.dtype, torch.float32)))
    return along + (exact.detach() - along.detach())


def check_head(head: nn.Module) -> VocabularyHead:
    """The head, unless it smooths the targets of tokens."""
    assert isinstance(head, VocabularyHead)
    if head.label_smoothing:
        raise InputError(
            "train.label_smoothing spreads the targets of tokens, but this task compares whole answers; leave it out "
            "(for pairs of a preference that may be swapped there is task.label_smoothing)."
        )
    return head


def by_sequence(logs: Tensor, counts: Tensor) -> Tensor:
    """Sums `[sequences]` of the log-probabilities `[R]` of the tokens of each."""
    owner = torch.repeat_interleave(torch.arange(len(counts), device=logs.device), counts)
    wide = logs.double() if logs.device.type == "cpu" else logs
    return torch.zeros(len(counts), dtype=wide.dtype, device=logs.device).index_add(0, owner, wide)
