"""What runs on the same data and the same base hand on to each other: encoded rows, and the states of frozen trunks.

A comparison trains many methods on one split. Rows are read, parted and encoded once; the states below a cut are kept
on disk (run/shared_trunk.py), so that every run whose trunk is the same reads them: `top:1` and `reinit:1`, several
seeds, and a run that was paused and goes on.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy, deepcopy
from dataclasses import dataclass, field
from typing import Any

from microtune.data.batches import Items
from microtune.data.store import content_key
from microtune.nn.transformer import Transformer
from microtune.recipe import Recipe
from microtune.run.precision import Precision
from microtune.run.prepare import Splits
from microtune.run.shared_trunk import SharedTrunk, Shelf
from microtune.run.trunk import TrunkCache
from microtune.tasks.base import Encoded, Task

Rows = tuple[Task, Splits, dict[str, Encoded]]


@dataclass
class Sharing(Shelf):
    """What runs have in common; `folder` holds the states of trunks and may be deleted at any time between two runs."""

    _rows: dict[str, Rows] = field(default_factory=dict)

    def rows(self, recipe: Recipe) -> Rows | None:
        """Task, splits and items as an earlier run with the same data, task and base made them."""
        found = self._rows.get(_rows_key(recipe))
        return None if found is None else (found[0], _copied(found[1]), found[2])

    def keep(self, recipe: Recipe, task: Task, splits: Splits, encoded: Mapping[str, Encoded]) -> None:
        """Hand these on; notes and checks of one run do not reach another."""
        self._rows = {_rows_key(recipe): (task, _copied(splits), dict(encoded))}  # one kind at a time: memory

    def forget_rows(self) -> None:
        """Have the rows read again: they are known by the name of their file, which may hold others by now."""
        self._rows = {}

    def trunk(self, model: Transformer, items: Items, precision: Precision, limit: int) -> TrunkCache:
        """Storage for the states of these items, found or to be filled."""
        return SharedTrunk(self, model, items, precision, limit)


def _copied(splits: Splits) -> Splits:
    """The same rows with notes and a ledger of their own."""
    ledger, notes = deepcopy(splits.ledger), list(splits.notes)
    return Splits(copy(splits.rows), notes, list(splits.removed), ledger, splits.steps, splits.order)


def _rows_key(recipe: Recipe) -> str:
    seed = recipe.seed if recipe.data.split_seed is None else recipe.data.split_seed
    data = recipe.data.model_dump(mode="json", exclude={"split_seed"})
    parts: list[Any] = [recipe.task, recipe.model, recipe.limits]
    return content_key(*(part.model_dump(mode="json") for part in parts), data, seed)
