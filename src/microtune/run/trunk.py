"""The frozen trunk, computed once: after one pass over the rows its outputs come from memory-mapped storage.

Below `attachment.cut` nothing trains, so the states at the cut are the same in every epoch. They are kept in bfloat16
when products run in bfloat16 and in float32 otherwise; live batches round to the same type, so cached and uncached
runs agree to the rounding of products. The pass runs over rows of equal length in a fixed order, so a resumed run
sees the same bits. Where the head alone trains, no ids are needed any more, and of a text whose states are averaged
only the mean is kept. Prior art: AutoFreeze (Liu et al., 2021), the bottleneck files of TensorFlow Hub's retrain.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from microtune.data.batches import Batch, Item, Items, collate, headed, in_order, item_sizes
from microtune.nn.heads import LabelHead, pool_mean
from microtune.nn.transformer import Transformer, Trunk
from microtune.run.disk import reserve
from microtune.run.precision import Precision, autocast, compute_type

FILL_TOKENS = 4096


class TrunkCache:
    """States at the cut for every item: `fill()` once, then `states()` reads them."""

    def __init__(self, model: Transformer, items: Items, path: Path, precision: Precision, limit: int) -> None:
        self.model, self.items, self.precision = model, items, precision
        self.dtype = compute_type(precision, next(model.parameters()).device)
        cut = model.cut.decoder if model.decoder is not None else model.cut.encoder
        self.whole = cut == len(model.output_stack.blocks)  # then no ids are needed, and only readout positions
        self.pooled = self.whole and isinstance(model.head, LabelHead) and model.head.pooling == "mean"
        each = (items[j] for j in range(len(items)))
        rows = [1 if self.pooled else len(i.readout) if self.whole else len(i.ids) for i in each]
        self.lengths = np.array(rows, dtype=np.int64)
        self.starts = np.cumsum(self.lengths) - self.lengths
        self.width = model.spec.hidden_size
        self.kept = torch.float32 if self.pooled else self.dtype
        self.bytes = int(self.lengths.sum()) * self.width * self.kept.itemsize
        one_stack = model.encoder is None or model.decoder is None
        self.usable = cut > 0 and one_stack and 0 < self.bytes <= limit
        self._path = path
        self._store: Tensor | None = None

    def fill(self) -> Iterator[int]:
        """Compute every item's states; yields how many items are done."""
        reserve(self._path, self.bytes)
        count = int(self.lengths.sum()) * self.width
        store = torch.from_file(str(self._path), shared=True, size=count, dtype=self.kept).view(-1, self.width)
        device, done = next(self.model.parameters()).device, 0
        self.model.eval()
        for piece in in_order(item_sizes(self.items), FILL_TOKENS):
            trunk = self.computed(collate([self.items[i] for i in piece]).to(device))
            states = trunk.pooled if self.pooled else trunk.output
            assert states is not None
            for index, part in zip(piece, states.cpu().split(self.lengths[piece].tolist()), strict=True):
                store[self.starts[index] : self.starts[index] + self.lengths[index]] = part
            done += len(piece)
            yield done
        self._store = store

    def collate(self, items: Sequence[Item]) -> Batch:
        """A batch for `states`."""
        return collate(items) if self._store is None else self.as_stored(items)

    def as_stored(self, items: Sequence[Item]) -> Batch:
        """A batch for stored states: with the ids only where blocks above the cut still need them."""
        return headed(items, pooled=self.pooled) if self.whole else collate(items)

    def states(self, batch: Batch, indexes: Sequence[int]) -> Trunk:
        """The trunk's output for `batch`, whose items have these `indexes`: from storage, else computed now."""
        if self._store is None:
            return self.computed(batch, wide=True)
        if len(self._store) == len(self.items):  # one row each
            found = self._store[torch.tensor(indexes)]
        else:
            found = torch.cat([self._store[self.starts[i] : self.starts[i] + self.lengths[i]] for i in indexes])
        found = found.to(batch.readout.device, torch.float32)
        return Trunk(pooled=found) if self.pooled else Trunk(output=found)

    @torch.no_grad()
    def computed(self, batch: Batch, *, wide: bool = False) -> Trunk:
        """The trunk's output for `batch` (with its ids), in the form of the storage; `wide`: and in float32."""
        with autocast(batch.readout.device, self.precision):
            trunk = self.model.compute_trunk(
                batch.inputs, readout=batch.readout, sources=batch.sources, types=batch.types
            )
        if trunk.output is None:
            return trunk
        states = trunk.output.to(self.dtype)
        if self.pooled:
            hidden = self.model.output_stack.norm(states.to(torch.float32))
            return Trunk(pooled=pool_mean(hidden, batch.counts))
        return Trunk(trunk.encoder, states.to(torch.float32) if wide else states)

    def close(self) -> None:
        """Let go of the storage and delete it."""
        self._store = None
        with suppress(OSError):
            self._path.unlink(missing_ok=True)
