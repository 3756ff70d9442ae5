"""The checks that compare outputs: with and without what was learnt (`no-effect`), before and after saving (`reload`).

Outputs are hidden states and what the head makes of them, on a few training rows, in float32 and without dropout;
"equal" means every bit. The rows are the first ones, or the shortest where the model is large.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from microtune.adapt.base import Attachment
from microtune.data.batches import Batch, Item, Items, collate, item_sizes
from microtune.errors import CheckError, MicrotuneError
from microtune.nn.heads import LabelHead, VocabularyHead
from microtune.nn.transformer import Transformer
from microtune.nn.wide import WideHead
from microtune.run.disk import remove_folder
from microtune.run.load import load
from microtune.run.memory import give_back
from microtune.run.movement import RARE, fingerprint
from microtune.tasks.texts import texts_read

ROWS, TOKENS = 16, 256  # what passes three times in float32 costs seconds on a large model, and more rows show no more
WORK = 3e9  # parameters times tokens of a pass: a tenth of a second at most
FEWEST = 16  # tokens of a row: in one of a single token queries and keys have no effect


class Probe:
    """The outputs of a network for a few rows, before training and after."""

    def __init__(self, network: Transformer, attachment: Attachment, items: Items) -> None:
        self._network = network
        self._below_head = any(not name.startswith("head.") for name in attachment.trainable)
        self._batch = collate(_chosen(items, _most_tokens(network, attachment)))
        self._before = outputs(network, self._batch)
        self._after: dict[str, Tensor] | None = None

    def check_effect(self) -> None:
        """What was learnt changes the outputs: the hidden states, or what the head says where it alone trained."""
        kind = "hidden" if self._below_head else "head"
        self._after = outputs(self._network, self._batch)
        if torch.equal(self._before[kind], self._after[kind]):
            raise CheckError(
                f"With and without what was learnt the model gives the same outputs for {len(self._batch.items)} "
                "training rows: the tuning has no effect. Choose other roles, or raise train.lr.",
                check="no-effect",
            )

    def check_reloaded(self, path: Path) -> None:
        """The saved run, loaded anew, gives the very same outputs; else `model/` goes, so that nobody predicts with it.

        The checkpoints stay: the same command saves again.
        """
        try:
            self._compare_with(path)
        except MicrotuneError:
            remove_folder(path / "model")
            raise

    def _compare_with(self, path: Path) -> None:
        """The network itself goes before the other comes: a tight memory does not hold both."""
        here = outputs(self._network, self._batch) if self._after is None else self._after
        marks = {name: fingerprint(value) for name, value in self._network.named_parameters()}
        device = next(self._network.parameters()).device
        self._network.to("meta")
        give_back()
        again = load(path).network.to(device)
        there = outputs(again, self._batch)
        for kind, value in here.items():
            if not torch.equal(value, there[kind]):
                gap = float((value - there[kind]).abs().max())
                raise CheckError(
                    f"{path}: the saved model gives other outputs than the trained one (gap {gap:.2g}"
                    f"{_first_difference(marks, again)}).",
                    check="reload",
                )


def _most_tokens(network: Transformer, attachment: Attachment) -> int:
    """How many tokens pass: fewer through a large model, but not where a single row may hold nothing that trains."""
    rare = all(name in RARE for name in attachment.trainable)
    return TOKENS if rare else min(TOKENS, int(WORK / max(sum(p.numel() for p in network.parameters()), 1)))


def _chosen(items: Items, tokens: int) -> list[Item]:
    """The first rows, as many as `tokens` hold; where those are fewer than TOKENS the shortest, but one at least."""
    sizes = item_sizes(items)
    order: Sequence[int] = range(len(items))
    if tokens < TOKENS:
        order = sorted(order, key=lambda i: (0, sizes[i]) if sizes[i] >= FEWEST else (1, -sizes[i]))
    found, room = [items[order[0]]], tokens - sizes[order[0]]
    for index in order[1:ROWS]:
        room -= sizes[index]
        if room < 0:
            break
        found.append(items[index])
    return found


@torch.inference_mode()
def outputs(network: Transformer, batch: Batch) -> dict[str, Tensor]:
    """Hidden states at the readout `[R, D]`, and label scores `[B, C]` or log-probabilities of the targets `[R]`."""
    training = network.training
    network.eval()
    there = batch.to(next(network.parameters()).device)
    hidden = network(there.inputs, readout=there.readout, sources=there.sources, types=there.types)
    found = {"hidden": hidden}
    if isinstance(network.head, LabelHead):
        found["head"] = network.head(hidden, there.counts)
        if isinstance(network.head, WideHead):
            found["beside"] = network.head.beside(texts_read(there))
    elif isinstance(network.head, VocabularyHead):
        found["head"] = network.head.log_probabilities(hidden, there.targets)
    network.train(training)
    return found


def _first_difference(marks: dict[str, int], other: Transformer) -> str:
    theirs = {name: fingerprint(value) for name, value in other.named_parameters()}
    first = next((name for name, mark in marks.items() if theirs.get(name) != mark), None)
    return f", first tensor that differs: {first}" if first is not None else ""
