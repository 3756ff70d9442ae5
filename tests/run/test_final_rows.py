"""Which rows are compared before and after training: the first ones, or a short one where a pass takes long."""

from __future__ import annotations

import pytest

from microtune.data.batches import Item
from microtune.run import final
from microtune.run.final import FEWEST, ROWS, TOKENS


def items(*sizes: int) -> list[Item]:
    return [Item([0] * size, [size - 1], row=number) for number, size in enumerate(sizes)]


@pytest.mark.parametrize(
    ("sizes", "tokens", "rows"),
    [
        ([100, 100, 56, 1], TOKENS, [0, 1, 2]),  # as many of the first as have room
        ([900, 3], TOKENS, [0]),
        ([5] * 40, TOKENS, list(range(ROWS))),
        ([90, 20, FEWEST, 30, 4], 40, [2, 1]),  # the shortest, but none in which attention has little to see
        ([900, 800], 40, [1]),
        ([2, 3, 1], 40, [1, 0, 2]),  # none is long enough: the longest first
    ],
)
def test_rows_that_are_compared(sizes: list[int], tokens: int, rows: list[int]) -> None:
    assert [item.row for item in final._chosen(items(*sizes), tokens)] == rows
