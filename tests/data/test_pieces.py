"""Separate documents: every token is learnt from once, and no block holds tokens of two documents."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from microtune.data.corpus import Blocks, Pieces
from microtune.data.store import RaggedStore
from microtune.errors import InputError

LENGTHS = [3, 9, 10, 17, 1, 8]


@pytest.fixture
def store(tmp_path: Path) -> RaggedStore:
    """Documents whose tokens say to which one they belong: 100, 101 ... of the first, 200, 201 ... of the second."""
    return RaggedStore.write(
        tmp_path / "s", [np.arange(n) + 100 * (i + 1) for i, n in enumerate(LENGTHS)], dtype="uint16"
    )


def test_pieces_for_the_next_token(store: RaggedStore) -> None:
    pieces = Pieces([store], [1.0], 8, seed=0)
    targets = []
    for i in range(len(pieces)):
        item = pieces[i]
        assert len({t // 100 for t in (*item.ids, *item.targets)}) == 1
        assert list(item.ids[1:]) == list(item.targets[:-1])
        assert len(item.ids) == pieces.sizes[i] <= 8
        targets += list(item.targets)
    wanted = [100 * (i + 1) + t for i, n in enumerate(LENGTHS) for t in range(1, n)]
    assert sorted(targets) == wanted  # all but the first of each document


def test_pieces_for_hidden_tokens_hold_the_last_token_too(store: RaggedStore) -> None:
    pieces = Pieces([store], [1.0], 8, seed=0, ahead=0)
    found = sorted(int(t) for i in range(len(pieces)) for t in pieces.tokens(i))
    left_out = {100 * 2 + 8, 100 * 4 + 16, 100 * 5}  # pieces of one token, of which nothing could be hidden
    assert found == [
        100 * (i + 1) + t for i, n in enumerate(LENGTHS) for t in range(n) if 100 * (i + 1) + t not in left_out
    ]
    assert {len({t // 100 for t in pieces.tokens(i)}) for i in range(len(pieces))} == {1}


def test_epochs_mix_pieces_as_they_mix_blocks(store: RaggedStore) -> None:
    assert len(Pieces([store], [2.5], 8, seed=0)) == 2 * 7 + 4
    joined = Blocks([store], [1.0], 8, seed=0)
    assert joined.places.tolist() == [[0, 8 * i, 8] for i in range(5)]
    assert joined.tokens(0, 1).tolist() == [100, 101, 102, 200, 201, 202, 203, 204, 205]


def test_nothing_to_learn_from_is_refused(tmp_path: Path) -> None:
    lonely = RaggedStore.write(tmp_path / "l", [np.array([1]), np.array([2])], dtype="uint16")
    with pytest.raises(InputError, match="shorter than one block"):
        Pieces([lonely], [1.0], 8, seed=0)
