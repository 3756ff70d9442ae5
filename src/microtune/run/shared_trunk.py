"""States of frozen trunks that several runs read: a folder of them, found by content, bounded, checked when read.

Runs whose trunks are equal up to the same cut read the same file. A run with a higher cut goes on from the highest
lower one that stands there and computes the blocks between them alone; where it is known that other runs want a lower
cut, its states are kept on the way, so that one pass through the blocks serves all. A lower cut is never served by a
higher one. In float32 the states are those of a run that shares nothing, bit for bit; states kept in bfloat16 are
rounded, so there a run only reads those of its own cut.

A file is named by a hash of all that decides it (weights below the cut, tokens, number format, versions), written under
a working name, and believed only if its own hash is the one that was noted. Where the disk is full, older states make
room; if that is not enough, the trunk is computed anew for every batch.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from microtune.data.batches import Items
from microtune.data.objects import read_object
from microtune.data.store import content_key
from microtune.errors import MicrotuneError, RunError
from microtune.nn.transformer import Cut, Transformer
from microtune.run.disk import FULL, write_json
from microtune.run.precision import Precision
from microtune.run.trunk import TrunkCache
from microtune.version import __version__

NO_ROOM = "The disk has no room for the states of frozen trunks; they were computed anew for every batch."
NAMED = re.compile(r"[0-9a-f]{16}\.")  # what this module writes; nothing else in the folder is touched
ABANDONED = 24 * 3600.0  # seconds after which an unfinished file is taken for that of a dead process


@dataclass
class Shelf:
    """A folder of states of trunks.

    limit: bytes of all that stands in it; cuts: those that runs have or are known to want; counts: how often states
    were `found`, `raised` from those of a lower cut, or `filled` from the tokens; saved: seconds of filling (and of
    the processor) that runs did not have to spend.
    """

    folder: Path
    limit: int = 8_000_000_000
    cuts: set[Cut] = field(default_factory=set)
    counts: Counter[str] = field(default_factory=Counter)
    saved: float = 0.0
    saved_cpu: float = 0.0
    notes: set[str] = field(default_factory=set)


class SharedTrunk(TrunkCache):
    """A TrunkCache whose files stay when it is closed, and are found again by their content."""

    def __init__(
        self,
        shelf: Shelf,
        model: Transformer,
        items: Items,
        precision: Precision,
        limit: int,
        cut: Cut | None = None,
    ) -> None:
        self.limit = min(limit, shelf.limit)
        super().__init__(model, items, shelf.folder / "unnamed", precision, self.limit, cut)
        self.shelf = shelf
        self.mark = shelf.folder / "unnamed.json"
        self.seconds = self.cpu = 0.0  # that it takes to fill it from the tokens
        if self.usable and cut is None:
            shelf.cuts.add(self.cut)

    def fill(self) -> Iterator[int]:
        """The states that stand there already, else computed ones, on from the highest lower cut that is known."""
        chain = [self]
        try:
            chain = self._chain(Content(self))
            for below, level in zip([None, *chain], chain, strict=False):
                level.below = below
                if not level.take():
                    yield from level.compute(chain)
        except RunError as error:
            if not _is_full(error):
                raise
            self.shelf.notes.add(NO_ROOM)
            self.close()
        finally:
            for level in chain[:-1]:
                level.close()
        yield len(self.items)

    def _chain(self, content: Content) -> list[SharedTrunk]:
        """Lower cuts that are wanted, from the highest that stands there, and at the end this one."""
        self.mark = self.shelf.folder / f"{content.key(self)}.json"
        chain, room = [self], self.limit - self.bytes
        if self.dtype != torch.float32 or not self.model.goes_on or self.standing() is not None:
            return chain
        for cut in sorted(self.shelf.cuts | set(_marked(self.shelf.folder)), key=_depth, reverse=True):
            if not _is_below(cut, chain[0].cut):
                continue
            level = SharedTrunk(self.shelf, self.model, self.items, self.precision, max(room, 0), cut)
            level.mark = self.shelf.folder / f"{content.key(level)}.json"
            stands = level.standing() is not None
            if stands or (level.usable and cut in self.shelf.cuts):
                chain.insert(0, level)
                room -= level.bytes
            if stands:
                break
        return chain

    def standing(self) -> dict[str, Any] | None:
        """What was noted about the states that stand there, or None where they are not whole."""
        try:
            for side, states in self.stored.items():
                states.path = self.mark.with_suffix(f".{side}.bin")
            whole = all(states.path.stat().st_size == states.bytes for states in self.stored.values())
            noted = read_object(self.mark, error=MicrotuneError)
            known = {"seconds": float(noted["seconds"]), "cpu": float(noted["cpu"]), "sha256": dict(noted["sha256"])}
            return known if whole and self.stored else None
        except (OSError, MicrotuneError, KeyError, TypeError, ValueError):
            return None

    def take(self) -> bool:
        """Read what stands there, if it is what was written."""
        noted = self.standing()
        if noted is None:
            return False
        for states in self.stored.values():
            states.map()
        if noted["sha256"] != self._hashes():
            self.close()
            _delete(self.mark)
            return False
        self.filled = True
        self.seconds, self.cpu = noted["seconds"], noted["cpu"]
        if self.below is None:
            self.shelf.saved += self.seconds
            self.shelf.saved_cpu += self.cpu
        self.shelf.counts["found"] += 1
        with suppress(OSError):
            os.utime(self.mark)
        return True

    def compute(self, chain: list[SharedTrunk]) -> Iterator[int]:
        """Fill it, on from `below` where that is given, and leave it for others. chain: what has to stand beside it."""
        kept = {level.mark.stem for level in chain}
        make_room(self.shelf.folder, self.shelf.limit - sum(level.bytes for level in chain), kept)
        start, cpu = time.perf_counter(), time.process_time()
        for side, states in self.stored.items():
            states.path = self.mark.with_suffix(f".{side}.{os.getpid()}.part")
        try:
            yield from super().fill()
        except RunError as error:
            if not _is_full(error):
                raise
            make_room(self.shelf.folder, 0, kept)
            yield from super().fill()
        self.seconds, self.cpu = time.perf_counter() - start, time.process_time() - cpu
        if isinstance(self.below, SharedTrunk):
            self.seconds, self.cpu = self.seconds + self.below.seconds, self.cpu + self.below.cpu
        self.shelf.counts["filled" if self.below is None else "raised"] += 1
        self._leave()

    def _leave(self) -> None:
        """Give the files their names, then note their hashes; where that fails they serve this run alone."""
        left = True
        for side, states in self.stored.items():
            states.let_go()
            try:
                os.replace(states.path, self.mark.with_suffix(f".{side}.bin"))
                states.path = self.mark.with_suffix(f".{side}.bin")
            except OSError:
                left = False
            states.map()
        noted = {"cut": [self.cut.encoder, self.cut.decoder], "bytes": self.bytes, "sha256": self._hashes()}
        if left:
            with suppress(RunError):
                write_json(self.mark, noted | {"seconds": self.seconds, "cpu": self.cpu})

    def _hashes(self) -> dict[str, str]:
        return {side: _hash(states.store) for side, states in self.stored.items()}

    def close(self) -> None:
        """Let go of the files; those that were finished stay."""
        self.filled = False
        for states in self.stored.values():
            if states.path.suffix == ".part":
                states.close()
            states.let_go()


class Content:
    """What decides the states of a trunk, hashed once for all cuts up to its own."""

    def __init__(self, cache: TrunkCache) -> None:
        model = cache.model
        named = [*model.named_parameters(), *model.named_buffers()]
        self.weights = {name: _hash(value) for name, value in named if _decides(name, cache)}
        tokens, reads = hashlib.sha256(), hashlib.sha256()
        for index in range(len(cache.items)):
            item = cache.items[index]
            for ids in (item.ids, item.sources, item.types, item.pieces):
                tokens.update(np.asarray([len(ids), *ids], dtype=np.int64).tobytes())
            reads.update(np.asarray([len(item.readout), *item.readout], dtype=np.int64).tobytes())
        self.tokens, self.reads = tokens.hexdigest(), reads.hexdigest()
        self.spec = json.dumps(model.spec.to_dict(), sort_keys=True, default=str)
        self.device = next(model.parameters()).device.type

    def key(self, cache: TrunkCache) -> str:
        """A name that changes with anything that decides the states at the cut of `cache`."""
        weights = {name: digest for name, digest in self.weights.items() if _decides(name, cache)}
        form = [cache.cut.encoder, cache.cut.decoder, cache.whole, cache.pooled, str(cache.dtype), cache.precision]
        form += [sorted(cache.stored), cache.model.virtual_tokens, self.device]  # by which positions are shifted
        tokens = [self.tokens, self.reads if cache.whole else ""]
        return content_key(self.spec, weights, form, tokens, [__version__, torch.__version__])


def _decides(name: str, cache: TrunkCache) -> bool:
    """Whether the states at the cut of `cache` depend on a weight."""
    model, cut = cache.model, cache.cut
    side, kind, *rest = [*name.split("."), "", ""]
    if side == "head" or (side == "decoder" and not cut.decoder):
        return False
    if kind == "blocks":  # the decoder reads the finished encoder
        read = side == "encoder" and cut.decoder
        return bool(read) or int(rest[0]) < getattr(cut, side)
    output = "encoder" if model.decoder is None else "decoder"
    return cache.pooled if (side, kind) == (output, "norm") else True


def _hash(value: Tensor) -> str:
    raw = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return hashlib.sha256(raw.numpy().data).hexdigest()


def _depth(cut: Cut) -> tuple[int, int, int]:
    return (cut.encoder + cut.decoder, cut.encoder, cut.decoder)


def _is_below(cut: Cut, other: Cut) -> bool:
    """Whether the states at `cut` lie on the way to `other`."""
    return Cut() != cut != other and cut.encoder <= other.encoder and cut.decoder <= other.decoder


def _marked(folder: Path) -> Iterator[Cut]:
    """The cuts of all states that stand there."""
    for mark in folder.glob("*.json"):
        with suppress(MicrotuneError, OSError, KeyError, TypeError, ValueError):
            encoder, decoder = read_object(mark, error=MicrotuneError)["cut"]
            yield Cut(int(encoder), int(decoder))


def make_room(folder: Path, room: int, kept: set[str] | None = None) -> None:
    """Delete the states that were used longest ago until the others take no more than `room` bytes, but not `kept`."""
    found: dict[str, list[Path]] = {}
    with suppress(OSError):
        for path in folder.iterdir():
            if NAMED.match(path.name):
                found.setdefault(path.name.partition(".")[0], []).append(path)
    used = {stem: _used(folder / f"{stem}.json", paths) for stem, paths in found.items() if stem not in (kept or ())}
    for stem in sorted(used, key=lambda stem: used[stem], reverse=True):
        with suppress(OSError):
            room -= sum(path.stat().st_size for path in found[stem] if path.suffix != ".json")
        if room < 0 or used[stem] < 0:
            _delete(folder / f"{stem}.json")


def _used(mark: Path, paths: list[Path]) -> float:
    """When states were last read; -1 where they were left unfinished long ago."""
    try:
        if mark.is_file():
            return mark.stat().st_mtime
        last = max(path.stat().st_mtime for path in paths)
        return last if time.time() - last < ABANDONED else -1.0
    except OSError:
        return -1.0


def _delete(mark: Path) -> None:
    """Delete states, their mark first."""
    for path in (mark, *mark.parent.glob(f"{mark.stem}.*")):
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _is_full(error: RunError) -> bool:
    return isinstance(error.__cause__, OSError) and error.__cause__.errno in FULL
