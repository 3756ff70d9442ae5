"""At which place a search finds the right passage: ranks among all passages of a split, computed in pieces.

Passages with the same text are one candidate, and other right passages of the same query do not count against it
(Voorhees, 1999, for the reciprocal rank). Equal cosines are no better ones.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from microtune.tasks.outcomes import Column

AT_ONCE = 512  # queries whose cosines exist at one time
MOST = 20_000  # candidates; of more, the first ones, and every row's own


class Found(NamedTuple):
    """Of every row: the rank of its right passage from 1, its loss, and whether it is above the row's own wrong one."""

    ranks: Column
    losses: Column
    above: Column
    candidates: int


def rank(vectors: Column, keys: Column, temperature: float) -> Found:
    """vectors `[n, 2 or 3, D]`: query, right passage, wrong one; keys `[n, 2 or 3]`: equal for equal texts."""
    queries = vectors[:, 0].astype(np.float32)
    flat = np.ascontiguousarray(vectors[:, 1:].transpose(1, 0, 2)).reshape(-1, vectors.shape[-1])
    names, first = np.unique(keys[:, 1:].T.ravel(), return_index=True)
    if len(names) > MOST:
        kept = np.sort(np.argsort(first)[:MOST])
        names, first = names[kept], first[kept]
    passages = flat[first].astype(np.float32)
    right: dict[int, list[int]] = {}
    for query, passage in keys[:, :2].tolist():
        right.setdefault(query, []).append(passage)
    count = len(queries)
    ranks, losses = np.empty(count), np.empty(count)
    own = (queries * vectors[:, 1].astype(np.float32)).sum(-1)
    for start in range(0, count, AT_ONCE):
        part = slice(start, min(start + AT_ONCE, count))
        scores = queries[part] @ passages.T
        for row in range(part.stop - part.start):
            places = np.searchsorted(names, right[int(keys[start + row, 0])])
            places = places[places < len(names)]
            known = np.isin(names[places], right[int(keys[start + row, 0])])
            scores[row, places[known]] = -np.inf  # its own comes back below
        mine = own[part, None]
        ranks[part] = 1 + (scores > mine + 1e-6).sum(1)
        all_scores = np.concatenate([mine, scores], axis=1).astype(np.float64) / temperature
        losses[part] = np.logaddexp.reduce(all_scores, axis=1) - all_scores[:, 0]
    wrong = (queries * vectors[:, 2].astype(np.float32)).sum(-1) if vectors.shape[1] > 2 else np.full(count, -np.inf)
    return Found(ranks, losses, own > wrong, len(names))
