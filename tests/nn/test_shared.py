"""A beginning that all rows have in common is computed once, and nothing else changes: outputs, gradients, counts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from nn_specs import DECODERS, VOCAB, build
from torch import Tensor
from torch.testing import assert_close

from microtune.data.batches import Item, collate, common_beginning, joined, micro_batches
from microtune.nn import transformer
from microtune.nn.spec import ModelSpec
from microtune.nn.transformer import Transformer
from microtune.ragged import Ragged

SUFFIXES = (2, 5, 1, 3, 5)
BEGINNING = 5


def items(read_from: int = BEGINNING - 1) -> list[Item]:
    """Rows of a common beginning and answers of several lengths; the last token of the beginning is read too."""
    generator = np.random.default_rng(0)
    first = generator.integers(0, VOCAB, BEGINNING)
    rows = [np.concatenate([first, generator.integers(0, VOCAB, n)]) for n in SUFFIXES]
    return [Item(ids, np.arange(read_from, len(ids)), row=i) for i, ids in enumerate(rows)]  # type: ignore[arg-type]


def result(model: Transformer, share: bool) -> tuple[Tensor, dict[str, Tensor], int]:
    """Hidden states, gradients, and the tokens that were computed."""
    batch = collate(items(), share=share)
    model.zero_grad()
    hidden = model(batch.inputs, readout=batch.readout)
    hidden.sin().sum().backward()
    return (
        hidden.detach(),
        {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None},
        len(batch.inputs.values),
    )


@pytest.mark.parametrize("fast", [True, False], ids=["fast", "plain"])
@pytest.mark.parametrize("spec", DECODERS.values(), ids=DECODERS)
def test_outputs_and_gradients_are_those_of_whole_rows(
    spec: ModelSpec, fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Float64, 1e-10: the same sums, some of them once."""
    if not fast:
        monkeypatch.setattr(transformer, "fusible", lambda *_: None)
    model = build(spec)
    wanted, gradients, tokens = result(model, share=False)
    found, others, fewer = result(model, share=True)
    shared = BEGINNING - 1  # its last token is read of every row
    assert (tokens, fewer) == (sum(SUFFIXES) + 5 * BEGINNING, sum(SUFFIXES) + 5 * BEGINNING - 4 * shared)
    assert_close(found, wanted, rtol=1e-10, atol=1e-10)
    assert gradients.keys() == others.keys()
    for name, value in gradients.items():
        assert_close(others[name], value, rtol=1e-10, atol=1e-10, msg=name)


def test_what_is_read_or_saves_too_little_is_not_shared() -> None:
    assert common_beginning(items()) == BEGINNING - 1
    assert common_beginning(items(read_from=2)) == 2
    assert common_beginning(items(read_from=0)) == 0
    assert common_beginning(items()[:1]) == 0
    long = [Item(np.r_[1, 2, np.full(60, i)], [61], row=i) for i in range(3, 6)]  # type: ignore[arg-type]
    assert common_beginning(long) == 0
    typed = [Item(item.ids, item.readout, types=[0] * len(item.ids)) for item in items()]
    assert common_beginning(typed) == 0


def test_micro_batches_count_a_shared_beginning_once() -> None:
    generator = np.random.default_rng(0)
    first = generator.integers(0, VOCAB, 40)
    rows = [Item(np.r_[first, generator.integers(0, VOCAB, n)], [40 + n - 1], row=n) for n in range(5, 11)]  # type: ignore[arg-type]
    sizes = [row.size for row in rows]
    pieces = micro_batches(range(6), sizes, 100)
    assert [len(piece) for piece in pieces] == [2, 2, 2]
    cut = joined(pieces, rows, sizes, 100)
    assert cut == [[0, 1, 2, 3, 4, 5]]
    assert sum(len(ids) for ids in [collate(rows, share=True).inputs.values]) == 40 + sum(range(5, 11)) <= 100
    assert joined(pieces, rows, sizes, 70) == [[0, 1, 2, 3], [4, 5]]
    apart = [Item(item.ids[::-1], item.readout) for item in rows]
    assert joined(pieces, apart, sizes, 100) is pieces


def test_a_row_that_is_nothing_but_the_beginning_keeps_its_last_token() -> None:
    rows = [Item([7, 8, 9], [2]), Item([7, 8, 9, 4], [3])]
    batch = collate(rows, share=True)
    assert batch.inputs.shared == 2
    assert batch.inputs.values.tolist() == [7, 8, 9, 9, 4]
    assert batch.inputs.positions.tolist() == [0, 1, 2, 2, 3]
    assert batch.readout.tolist() == [2, 4]
    assert batch.counts.tolist() == [1, 1]


def test_a_shared_beginning_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="shared beginning has 2 elements, not 3"):
        Ragged(torch.arange(5), torch.tensor([2, 3]), shared=3)
