"""The frozen trunk, computed once: after one pass over the rows its outputs come from memory-mapped storage.

Below `attachment.cut` nothing trains, so the states at the cut are the same in every epoch: those of the output stack,
and of the encoder under a decoder that reads it. They are kept in bfloat16 when products run in bfloat16 and in float32
otherwise; live batches round to the same type, so cached and uncached runs agree to the rounding of products. The pass
runs over rows of equal length in a fixed order, so a resumed run sees the same bits. Where the head alone trains, no
ids are needed any more, and of a text whose states are averaged only the mean is kept. Prior art: AutoFreeze (Liu et
al., 2021), the bottleneck files of TensorFlow Hub's retrain.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from microtune.data.batches import Batch, Item, Items, collate, headed, in_order, item_sizes
from microtune.nn.heads import LabelHead, pool_mean
from microtune.nn.transformer import Cut, Transformer, Trunk
from microtune.run.disk import reserve
from microtune.run.precision import Precision, autocast, compute_type

FILL_TOKENS = 4096
Side = Literal["encoder", "output", "pooled"]  # the fields of a Trunk


class States:
    """A file of vectors: `lengths[i]` of them for item i, of `width` numbers each."""

    def __init__(self, path: Path, lengths: Sequence[int], width: int, dtype: torch.dtype) -> None:
        self.path, self.width, self.dtype = path, width, dtype
        self.lengths = np.array(lengths, dtype=np.int64)
        self.starts = np.cumsum(self.lengths) - self.lengths
        self.rows = int(self.lengths.sum())
        self.bytes = self.rows * width * dtype.itemsize
        self.store = torch.empty(0)

    def open(self) -> None:
        """Make the file, with room on the disk."""
        reserve(self.path, self.bytes)
        self.map()

    def map(self) -> None:
        """Read and write the file through memory."""
        size = self.rows * self.width
        self.store = torch.from_file(str(self.path), shared=True, size=size, dtype=self.dtype).view(-1, self.width)

    def put(self, items: Sequence[int], states: Tensor) -> None:
        """Keep the vectors of these items, end to end."""
        for index, part in zip(items, states.cpu().split(self.lengths[items].tolist()), strict=True):
            self.store[self.starts[index] : self.starts[index] + self.lengths[index]] = part

    def get(self, items: Sequence[int], device: torch.device) -> Tensor:
        """The vectors of these items, end to end, in float32."""
        if self.rows == len(self.lengths):  # one each
            found = self.store[torch.tensor(items)]
        else:
            found = torch.cat([self.store[self.starts[i] : self.starts[i] + self.lengths[i]] for i in items])
        return found.to(device, torch.float32)

    def let_go(self) -> None:
        """Stop reading the file, which stays."""
        self.store = torch.empty(0)

    def close(self) -> None:
        """Let go of the file and delete it."""
        self.let_go()
        with suppress(OSError):
            self.path.unlink(missing_ok=True)


class TrunkCache:
    """States at the cut for every item: `fill()` once, then `states()` reads them. cut: default, the model's."""

    def __init__(
        self,
        model: Transformer,
        items: Items,
        path: Path,
        precision: Precision,
        limit: int,
        cut: Cut | None = None,
    ) -> None:
        self.model, self.items, self.precision = model, items, precision
        self.dtype = compute_type(precision, next(model.parameters()).device)
        self.cut = cut or model.cut  # as it is now: where blocks join one by one, the lowest of the run
        self.below: TrunkCache | None = None  # filled, at a lower cut: where `fill` goes on from
        depth = self.cut.decoder if model.decoder is not None else self.cut.encoder
        self.whole = depth == len(model.output_stack.blocks)  # then no ids are needed, and only readout positions
        self.pooled = self.whole and isinstance(model.head, LabelHead) and model.head.pooling == "mean"
        self.stored: dict[Side, States] = {}
        if model.decoder is not None and model.encoder is not None and self.cut.encoder and not self.whole:
            lengths = [len(items[j].sources) + model.beside_tokens for j in range(len(items))]
            width = model.encoder.spec.hidden_size
            self.stored["encoder"] = States(path.with_suffix(".sources.bin"), lengths, width, self.dtype)
        if depth:
            side: Side = "pooled" if self.pooled else "output"
            kept = torch.float32 if self.pooled else self.dtype
            self.stored[side] = States(path, self._lengths(), model.spec.hidden_size, kept)
        self.bytes = sum(states.bytes for states in self.stored.values())
        self.usable = 0 < self.bytes <= limit
        self.filled = False

    def _lengths(self) -> list[int]:
        each = (self.items[j] for j in range(len(self.items)))
        if self.pooled:
            return [max(len(item.pieces), 1) for item in each]
        return [len(item.readout) if self.whole else len(item.ids) for item in each]

    def fill(self) -> Iterator[int]:
        """Compute every item's states; yields how many items are done."""
        for states in self.stored.values():
            states.open()
        device, done = next(self.model.parameters()).device, 0
        self.model.eval()
        for piece in in_order(item_sizes(self.items), FILL_TOKENS):
            batch = collate([self.items[i] for i in piece]).to(device)
            known = None if self.below is None else self.below.states(batch, piece)
            trunk = self.computed(batch, cut=self.cut, below=known)
            for side, states in self.stored.items():
                states.put(piece, getattr(trunk, side))
            done += len(piece)
            yield done
        self.filled = True

    def collate(self, items: Sequence[Item]) -> Batch:
        """A batch for `states`."""
        return self.as_stored(items) if self.filled else collate(items)

    def as_stored(self, items: Sequence[Item]) -> Batch:
        """A batch for stored states: with the ids only where blocks above the cut still need them."""
        return headed(items, pooled=self.pooled) if self.whole else collate(items)

    def states(self, batch: Batch, indexes: Sequence[int]) -> Trunk:
        """The trunk's output for `batch`, whose items have these `indexes`: from storage, else computed now."""
        if not self.filled:
            return self.computed(batch, wide=True)
        found = {side: states.get(indexes, batch.readout.device) for side, states in self.stored.items()}
        return Trunk(**found, at=self.cut)

    @torch.no_grad()
    def computed(
        self, batch: Batch, *, wide: bool = False, cut: Cut | None = None, below: Trunk | None = None
    ) -> Trunk:
        """The trunk's output for `batch` (with its ids), in the form of the storage; `wide`: and in float32.

        cut, below: as for `Transformer.compute_trunk`.
        """
        with autocast(batch.readout.device, self.precision):
            trunk = self.model.compute_trunk(
                batch.inputs, readout=batch.readout, sources=batch.sources, types=batch.types, cut=cut, below=below
            )
        encoder, output = (None if t is None else t.to(self.dtype) for t in (trunk.encoder, trunk.output))
        if self.pooled and output is not None:
            hidden = self.model.output_stack.norm(output.to(torch.float32))
            return Trunk(pooled=pool_mean(hidden, batch.counts))
        if wide:
            encoder, output = (None if t is None else t.to(torch.float32) for t in (encoder, output))
        return Trunk(encoder, output)

    def close(self) -> None:
        """Let go of the storage and delete it."""
        self.filled = False
        for states in self.stored.values():
            states.close()
