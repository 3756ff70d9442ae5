"""How long a run will take: a few of its own optimizer steps, timed.

The steps are drawn from the first epoch's plan, so their lengths are those of the run; seconds per token of the sample
times the tokens of an epoch. The same for filling the cache of a frozen trunk and for evaluating. The steps are real
and move the weights: only for a training that is thrown away.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from microtune.data.batches import Items, collate, in_order, item_sizes
from microtune.run.evaluate import EVALUATION_TOKENS, predict_items
from microtune.run.plan import Known
from microtune.run.train import Training
from microtune.run.trunk import FILL_TOKENS, TrunkCache
from microtune.tasks.base import Encoded

Piece = TypeVar("Piece")
BUDGET = 2.5  # seconds for each of the three
FEWEST, MOST = 2, 24  # steps timed


@dataclass(frozen=True)
class Pace:
    """Seconds by parts: `once` fills the cache of a frozen trunk, `judging` evaluates after each epoch."""

    steps_per_epoch: int
    epochs: float
    epoch: float
    once: float
    judging: float
    steps_timed: int

    @property
    def total(self) -> float:
        """From the first step (or the cache) to the last evaluation of the training."""
        return self.once + self.epochs * self.epoch + max(round(self.epochs), 1) * self.judging


def plan_pace(
    training: Training, trunks: Mapping[str, TrunkCache], judged: Encoded | None, budget: float = BUDGET
) -> Pace:
    """Time steps, cache and evaluation, `budget` seconds for each; `training` is spoilt afterwards."""
    batches = training.plan(0)
    trunk = trunks.get("train")

    def one_step(batch: list[list[int]]) -> float:
        training.trunk = None if trunk is None else Known.of(trunk, batch)  # type: ignore[assignment]
        training.model.train()
        start = time.perf_counter()
        training.optimize(batch)
        training.optimizers.step(training.step)
        return time.perf_counter() - start

    def size(batch: list[list[int]]) -> int:
        return sum(training.sizes[i] for piece in batch for i in piece)

    one_step(batches[0])  # makes the optimizer's state
    epoch, timed = _sampled(batches, one_step, size, budget)
    training.trunk = None
    return Pace(
        steps_per_epoch=training.steps_per_epoch,
        epochs=training.total_steps / training.steps_per_epoch,
        epoch=epoch,
        once=sum(_filling(cache, budget) for cache in trunks.values()),
        judging=0.0 if judged is None else _judging(training, judged, trunks.get("validation"), budget),
        steps_timed=timed,
    )


def _filling(cache: TrunkCache, budget: float) -> float:
    sizes = item_sizes(cache.items)
    device = next(cache.model.parameters()).device
    cache.model.eval()

    def one(piece: list[int]) -> float:
        start = time.perf_counter()
        cache.computed(collate([cache.items[i] for i in piece]).to(device))
        return time.perf_counter() - start

    return _sampled(in_order(sizes, FILL_TOKENS), one, lambda piece: sum(sizes[i] for i in piece), budget)[0]


def _judging(training: Training, judged: Encoded, trunk: TrunkCache | None, budget: float) -> float:
    sizes, items = item_sizes(judged.items), judged.items

    def one(piece: list[int]) -> float:
        some: Items = [items[i] for i in piece]
        known = None if trunk is None else Known.of(trunk, [piece]).shifted()
        start = time.perf_counter()
        encoded = Encoded(some, judged.report)
        for _ in predict_items(
            training.model,
            training.task,
            encoded,
            precision=training.precision,
            trunk=known,  # type: ignore[arg-type]
        ):
            pass
        return time.perf_counter() - start

    return _sampled(in_order(sizes, EVALUATION_TOKENS), one, lambda piece: sum(sizes[i] for i in piece), budget)[0]


def _sampled(
    pieces: Sequence[Piece], seconds: Callable[[Piece], float], size: Callable[[Piece], int], budget: float
) -> tuple[float, int]:
    """Seconds of all pieces, from a sample in proportion to their sizes, and how many were timed."""
    order = np.random.default_rng(0).permutation(len(pieces))[:MOST]
    seconds(pieces[order[0]])  # the first one is always slower
    spent, done, count = 0.0, 0, 0
    for index in order:
        spent += seconds(pieces[index])
        done += size(pieces[index])
        count += 1
        if count >= FEWEST and spent > budget:
            break
    return spent / done * sum(size(piece) for piece in pieces), count
