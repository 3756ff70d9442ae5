"""What runs on the same data and the same base hand on to each other: encoded rows, and the states of frozen trunks.

A comparison trains many methods on one split. Rows are read, parted and encoded once. The states below a cut are kept
on disk under a key made of all that decides them (trunk weights, cut, tokens, number format), so that every run whose
trunk is the same reads them: `top:1` and `reinit:1`, several seeds, and a run that was paused and goes on. A folder of
states is bounded; the states that were used longest ago make room.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from copy import copy, deepcopy
from pathlib import Path
from typing import Any

import numpy as np

from microtune.data.batches import Items
from microtune.data.objects import read_object
from microtune.data.store import content_key
from microtune.errors import MicrotuneError
from microtune.nn.transformer import Transformer
from microtune.recipe import Recipe
from microtune.run.disk import write_json
from microtune.run.movement import fingerprint
from microtune.run.precision import Precision
from microtune.run.prepare import Splits
from microtune.run.trunk import TrunkCache
from microtune.tasks.base import Encoded, Task

Rows = tuple[Task, Splits, dict[str, Encoded]]


class Sharing:
    """What runs have in common; `folder` holds the states of trunks and may be deleted at any time between two runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.saved = 0.0  # seconds of filling that runs did not have to spend again
        self._rows: dict[str, Rows] = {}

    def rows(self, recipe: Recipe) -> Rows | None:
        """Task, splits and items as an earlier run with the same data, task and base made them."""
        found = self._rows.get(_rows_key(recipe))
        return None if found is None else (found[0], _copied(found[1]), found[2])

    def keep(self, recipe: Recipe, task: Task, splits: Splits, encoded: Mapping[str, Encoded]) -> None:
        """Hand these on; notes and checks of one run do not reach another."""
        self._rows = {_rows_key(recipe): (task, _copied(splits), dict(encoded))}  # one kind at a time: memory

    def trunk(self, model: Transformer, items: Items, precision: Precision, limit: int) -> TrunkCache:
        """Storage for the states of these items, found or to be filled."""
        return SharedTrunk(self, model, items, precision, limit)


class SharedTrunk(TrunkCache):
    """A TrunkCache whose files stay when it is closed, and are found again by their content."""

    def __init__(self, sharing: Sharing, model: Transformer, items: Items, precision: Precision, limit: int) -> None:
        super().__init__(model, items, sharing.folder / "unnamed", precision, limit)
        self._sharing, self._limit = sharing, limit

    def fill(self) -> Iterator[int]:
        """The states that stand there already, or computed ones."""
        mark = self._sharing.folder / f"{trunk_key(self)}.json"
        for side, states in self.stored.items():
            states.path = mark.with_suffix(f".{side}.bin")
        seconds = self._found(mark)
        if seconds is not None:
            for states in self.stored.values():
                states.map()
            self.filled = True
            self._sharing.saved += seconds
            os.utime(mark)
            yield len(self.items)
            return
        _make_room(mark.parent, self._limit - self.bytes)
        start = time.perf_counter()
        yield from super().fill()
        write_json(mark, {"bytes": self.bytes, "seconds": time.perf_counter() - start})

    def _found(self, mark: Path) -> float | None:
        """Seconds that it took to fill what stands there, or None where it is not whole."""
        try:
            whole = all(states.path.stat().st_size == states.bytes for states in self.stored.values())
            return float(read_object(mark, error=MicrotuneError)["seconds"]) if whole else None
        except (OSError, MicrotuneError, KeyError, TypeError, ValueError):
            return None

    def close(self) -> None:
        """Let go of the files, which stay."""
        self.filled = False
        for states in self.stored.values():
            states.let_go()


def trunk_key(cache: TrunkCache) -> str:
    """A name that changes with anything that decides the states: weights and fields of the trunk, cut, tokens."""
    model = cache.model
    cut = model.cut
    side = "decoder" if model.decoder is not None else "encoder"
    first = cut.decoder if model.decoder is not None else cut.encoder
    weights = {}
    for name, value in [*model.named_parameters(), *model.named_buffers()]:
        parts = name.split(".")
        above = parts[:2] == [side, "blocks"] and int(parts[2]) >= first
        if not (above or parts[0] == "head" or (parts[:2] == [side, "norm"] and not cache.pooled)):
            weights[name] = fingerprint(value)
    tokens = hashlib.sha256()
    for index in range(len(cache.items)):
        item = cache.items[index]
        for ids in (item.ids, item.sources, item.types, item.readout if cache.whole else (), item.pieces):
            tokens.update(np.asarray([len(ids), *ids], dtype=np.int64).tobytes())
    form = [first, cut.encoder, cache.whole, cache.pooled, str(cache.dtype), cache.precision, sorted(cache.stored)]
    form.append(model.virtual_tokens)  # by which positions are shifted
    return content_key(json.dumps(model.spec.to_dict(), sort_keys=True, default=str), weights, form, tokens.hexdigest())


def _make_room(folder: Path, room: int) -> None:
    """Delete the states that were used longest ago until the others take no more than `room` bytes."""
    with suppress(OSError):
        marks = sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True)
        for mark in marks:
            files = [path for path in folder.glob(f"{mark.stem}.*.bin") if path.is_file()]
            room -= sum(path.stat().st_size for path in files)
            if room < 0:
                for path in (mark, *files):
                    path.unlink(missing_ok=True)


def _copied(splits: Splits) -> Splits:
    """The same rows with notes and a ledger of their own."""
    ledger, notes = deepcopy(splits.ledger), list(splits.notes)
    return Splits(copy(splits.rows), notes, list(splits.removed), ledger, splits.steps, splits.order)


def _rows_key(recipe: Recipe) -> str:
    seed = recipe.seed if recipe.data.split_seed is None else recipe.data.split_seed
    data = recipe.data.model_dump(mode="json", exclude={"split_seed"})
    parts: list[Any] = [recipe.task, recipe.model, recipe.limits]
    return content_key(*(part.model_dump(mode="json") for part in parts), data, seed)
