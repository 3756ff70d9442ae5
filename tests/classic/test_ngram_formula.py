"""The n-gram tables against the formula written out literally: equal to 1e-12, whatever the order and the parts."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from literal_kneser_ney import Literal

from microtune.classic import counting
from microtune.classic.ngram import Table, count_table
from microtune.data.arrays import map_arrays, write_arrays
from microtune.errors import InputError, RunError

WIDTH, START, END = 30, 28, 29


def make_texts(count: int = 120, seed: int = 0) -> list[list[int]]:
    """Texts of a skewed vocabulary with some memory; `WIDTH - 3` never occurs."""
    draw = random.Random(seed)
    texts = []
    for _ in range(count):
        text, last = [START], 0
        for _ in range(draw.randint(0, 40)):
            last = min(int(draw.expovariate(0.25)) + (last // 2 if draw.random() < 0.6 else 0), WIDTH - 4)
            text.append(last)
        texts.append([*text, END])
    return texts


def build(texts: list[list[int]], order: int, work: Path) -> Table:
    work.mkdir(exist_ok=True)
    tokens = np.concatenate([np.array(text, dtype=np.uint16) for text in texts])
    *_, table = count_table(tokens, order, WIDTH, START, WIDTH - 1, work)
    assert isinstance(table, Table)
    return table


@pytest.mark.parametrize("order", [1, 2, 3, 5, 8])
def test_probabilities_are_those_of_the_formula(tmp_path: Path, order: int) -> None:
    texts, asked = make_texts(), make_texts(20, seed=1)
    table, literal = build(texts, order, tmp_path), Literal(texts, order, START, WIDTH - 1)
    asked[0][3] = WIDTH - 3  # a token that was never seen
    found = table.probabilities(np.concatenate(asked))
    wanted = [1.0 if not i else literal.probability(text[:i], text[i]) for text in asked for i in range(len(text))]
    assert found == pytest.approx(wanted, rel=1e-12, abs=0)  # the same sums in another order
    bits = -np.log2(found).sum()
    assert bits == pytest.approx(-np.log2(wanted).sum(), rel=1e-12)


@pytest.mark.parametrize("order", [1, 2, 5])
def test_a_distribution_sums_to_one_and_agrees(tmp_path: Path, order: int) -> None:
    texts = make_texts()
    table, literal = build(texts, order, tmp_path), Literal(texts, order, START, WIDTH - 1)
    for context in ([START], [START, 3], [5, 1, 2, 0, 4], [WIDTH - 3], [3, WIDTH - 3, 1], []):
        found = table.distribution(context)
        assert found.sum() == pytest.approx(1.0, abs=1e-12)
        assert found[START] == 0
        wanted = [literal.probability(context, token) for token in range(WIDTH) if token != START]
        assert found[np.arange(WIDTH) != START] == pytest.approx(wanted, rel=1e-12)


def test_small_parts_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = make_texts()
    whole = build(texts, 5, tmp_path / "a")
    monkeypatch.setattr(counting, "PART", 37)
    monkeypatch.setattr(counting, "STEP", 50)
    parts = build(texts, 5, tmp_path / "b")
    assert whole.facts() == parts.facts()
    for name, array in whole.arrays().items():
        assert np.array_equal(array, parts.arrays()[name]), name


def test_counts_in_a_file_are_mapped_and_say_the_same(tmp_path: Path) -> None:
    texts = make_texts()
    table = build(texts, 4, tmp_path)
    path = tmp_path / "table.safetensors"
    with open(path, "wb") as out:
        write_arrays(out, table.arrays())
    arrays = map_arrays(path)
    assert isinstance(arrays["keys.4"], np.memmap)
    again = Table.of(arrays, table.facts(), "here")
    tokens = np.concatenate(texts)
    assert np.array_equal(again.probabilities(tokens), table.probabilities(tokens))
    with pytest.raises(RunError, match="here: the arrays of order 2 are missing"):
        Table.of({name: a for name, a in arrays.items() if name != "totals.2"}, table.facts(), "here")
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(RunError, match=r"table\.safetensors: not a readable safetensors file"):
        map_arrays(path)


def test_too_little_text(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="The corpus is empty"):
        build([[START]], 1, tmp_path)
    with pytest.raises(InputError, match=r"order is 5, but the longest text has 4 tokens.*at most 4"):
        build([[START, 1, 2, END]], 5, tmp_path)
    assert build([[START, 1, 2, END]], 4, tmp_path).probabilities(np.array([START, 1])).tolist()[0] == 1.0
