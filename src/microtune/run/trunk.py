"""The frozen trunk, computed once: after one pass over the rows its outputs come from memory-mapped storage.

Below `attachment.cut` nothing trains, so the states at the cut are the same in every epoch. They are kept in bfloat16
when products run in bfloat16 and in float32 otherwise; live batches round to the same type, so cached and uncached
runs agree to the rounding of products. The pass runs over rows of equal length in a fixed order, so a resumed run
sees the same bits. Prior art: AutoFreeze (Liu et al., 2021), the bottleneck files of TensorFlow Hub's retrain script.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from microtune.data.batches import Batch, Items, collate, in_order, item_sizes
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
        whole = cut < len(model.output_stack.blocks)  # above the last block only the readout positions are left
        each = (items[j] for j in range(len(items)))
        self.lengths = np.array([len(i.ids) if whole else len(i.readout) for i in each], dtype=np.int64)
        self.starts = np.cumsum(self.lengths) - self.lengths
        self.width = model.spec.hidden_size
        self.bytes = int(self.lengths.sum()) * self.width * self.dtype.itemsize
        one_stack = model.encoder is None or model.decoder is None
        self.usable = cut > 0 and one_stack and 0 < self.bytes <= limit
        self._path = path
        self._store: Tensor | None = None

    def fill(self) -> Iterator[int]:
        """Compute every item's states; yields how many items are done."""
        reserve(self._path, self.bytes)
        count = int(self.lengths.sum()) * self.width
        store = torch.from_file(str(self._path), shared=True, size=count, dtype=self.dtype).view(-1, self.width)
        device, done = next(self.model.parameters()).device, 0
        self.model.eval()
        for piece in in_order(item_sizes(self.items), FILL_TOKENS):
            states = self.live(collate([self.items[i] for i in piece]).to(device)).output
            assert states is not None
            for index, part in zip(piece, states.cpu().split(self.lengths[piece].tolist()), strict=True):
                store[self.starts[index] : self.starts[index] + self.lengths[index]] = part
            done += len(piece)
            yield done
        self._store = store

    def states(self, batch: Batch, indexes: Sequence[int]) -> Trunk:
        """The trunk's output for `batch`, whose items have these `indexes`: from storage, else computed now."""
        if self._store is None:
            live = self.live(batch)
            return Trunk(live.encoder, None if live.output is None else live.output.to(torch.float32))
        rows = [self._store[self.starts[i] : self.starts[i] + self.lengths[i]] for i in indexes]
        return Trunk(None, torch.cat(rows).to(batch.readout.device, torch.float32))

    def live(self, batch: Batch) -> Trunk:
        """The trunk's output for `batch`, computed now, in the type of the storage."""
        with autocast(batch.readout.device, self.precision):
            trunk = self.model.compute_trunk(
                batch.inputs, readout=batch.readout, sources=batch.sources, types=batch.types
            )
        return Trunk(trunk.encoder, None if trunk.output is None else trunk.output.to(self.dtype))

    def close(self) -> None:
        """Let go of the storage and delete it."""
        self._store = None
        with suppress(OSError):
            self._path.unlink(missing_ok=True)
