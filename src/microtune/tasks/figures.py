"""The figures that scores are made of, over numpy columns and with a weight per row, as a bootstrap draws them.

scikit-learn has most of them, but sorts and checks its input at every call; five hundred draws of a split need the
sorting done once. Definitions are theirs, and tests compare the numbers. Calibration error: Guo et al. (2017);
Matthews' correlation for many classes: Gorodkin (2004); label ranking average precision: Schapire and Singer (2000).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from microtune.tasks.outcomes import Column

BINS = 15  # of the calibration error
SURE = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)  # confidences at which coverage is told
Kept = TypeVar("Kept")


def once(store: dict[str, Any], name: str, make: Callable[[], Kept]) -> Kept:
    """What `make()` gives, made the first time only."""
    if name not in store:
        store[name] = make()
    return store[name]


@dataclass(frozen=True)
class Counts:
    """Per label: rows answered rightly, rows that have it, rows answered with it (or sums of their weights)."""

    hit: Column
    given: Column
    predicted: Column

    @property
    def f1(self) -> Column:
        """F1 of every label; 0 where it was neither given nor predicted."""
        both = self.given + self.predicted
        return np.divide(2.0 * self.hit, both, out=np.zeros(len(both)), where=both > 0)

    @property
    def macro_f1(self) -> float:
        """Mean F1 over the labels that were given or predicted; 0 where there is none."""
        seen = (self.given + self.predicted) > 0
        return float(np.mean(2 * self.hit[seen] / (self.given + self.predicted)[seen])) if seen.any() else 0.0

    @property
    def micro_f1(self) -> float:
        """F1 over all pairs of a row and a label."""
        both = self.given.sum() + self.predicted.sum()
        return float(2 * self.hit.sum() / both) if both else 0.0

    @property
    def weighted_f1(self) -> float:
        """Mean F1, each label counting as often as it was given."""
        total = self.given.sum()
        return float((self.f1 * self.given).sum() / total) if total else 0.0

    @property
    def mcc(self) -> float:
        """Matthews' correlation of one label per row; 0 where answers or labels are all the same."""
        total, right = float(self.given.sum()), float(self.hit.sum())
        given, predicted = self.given.astype(np.float64), self.predicted.astype(np.float64)
        across = right * total - float(given @ predicted)
        spread = (total**2 - float(given @ given)) * (total**2 - float(predicted @ predicted))
        return across / spread**0.5 if spread > 0 else 0.0

    def table(self, index: int) -> dict[str, float]:
        """precision, recall, F1 and support of one label."""
        hit, given, predicted = (float(c[index]) for c in (self.hit, self.given, self.predicted))
        precision, recall = hit / predicted if predicted else 0.0, hit / given if given else 0.0
        return {"precision": precision, "recall": recall, "f1": float(self.f1[index]), "support": given}


class Ranking:
    """Values in ascending order, equal ones together: found once, used for every draw. 8 bytes a row."""

    def __init__(self, values: Column) -> None:
        self.order = np.argsort(values, kind="stable").astype(np.int32)
        ordered = values[self.order]
        self.starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]).astype(np.int32)

    def sums(self, weights: Column) -> Column:
        """Weight of each group of equal values, ascending."""
        return np.add.reduceat(weights[self.order], self.starts)

    def auc(self, positive: Column, weights: Column) -> float:
        """Area under the ROC curve of the values for the rows that are `positive`; nan where all or none are."""
        ups, all_ = self.sums(weights * positive), self.sums(weights)
        downs = all_ - ups
        pairs = ups.sum() * downs.sum()
        return float((ups * (np.cumsum(downs) - downs / 2)).sum() / pairs) if pairs else float("nan")

    def ranks(self, weights: Column) -> Column:
        """Mean rank of each row's value, as if each row stood there `weights` times."""
        sums = self.sums(weights)
        places = np.cumsum(sums) - (sums - 1) / 2
        sizes = np.diff(np.r_[self.starts, len(self.order)])
        ranks = np.empty(len(self.order))
        ranks[self.order] = np.repeat(places, sizes)
        return ranks


def correlation(a: Column, b: Column, weights: Column) -> float:
    """Pearson's correlation; nan where one of the two is constant."""
    total = weights.sum()
    x, y = a - (weights @ a) / total, b - (weights @ b) / total
    spread = (weights @ (x * x)) * (weights @ (y * y))
    return float((weights @ (x * y)) / spread**0.5) if spread > 0 else float("nan")


def calibration_bins(confidence: Column) -> Column:
    """The bin of each confidence: `BINS` of equal width, each with its upper end; what is no number is in the first."""
    upper = np.ceil(np.nan_to_num(confidence.astype(np.float64)) * BINS)  # of weights that ran away
    return np.clip(upper.astype(np.int64) - 1, 0, BINS - 1)


def calibration_error(bins: Column, confidence: Column, right: Column, weights: Column) -> float:
    """Expected calibration error: how far confidence and accuracy are apart, averaged over bins by their rows."""
    gap = np.bincount(bins, weights * (right - confidence.astype(np.float64)), BINS)
    return float(np.abs(gap).sum() / weights.sum())


def coverage(confidence: Column, right: Column) -> list[dict[str, float]]:
    """For each confidence of `SURE`: the share of rows that are answered with at least that, and their accuracy."""
    found = []
    for least in SURE:
        sure = confidence >= least
        if sure.any():
            share, accuracy = float(sure.mean()), float(right[sure].mean())
            found.append({"min_confidence": least, "answered": share, "accuracy": accuracy})
    return found


def ranking_precision(scores: Column, relevant: Column) -> Column:
    """Label ranking average precision of every row of `scores [n, labels]`; 1 where all or no labels are relevant."""
    found = np.ones(len(scores))
    for index, (row, wanted) in enumerate(zip(scores, relevant.astype(bool), strict=True)):
        if 0 < wanted.sum() < len(row):
            above = row[None, :] >= row[wanted][:, None]
            found[index] = float(np.mean(above[:, wanted].sum(1) / above.sum(1)))
    return found
