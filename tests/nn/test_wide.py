"""The table of n-grams beside a label head: the rows of a text, its scores by hand, gradients of unit vectors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from nn_specs import PLAIN, VOCAB

from microtune.nn import wide
from microtune.nn.spec import ModelSpec
from microtune.nn.wide import SCALE, WideHead, ngrams, table_rows

SPEC = ModelSpec(vocab_size=VOCAB, decoder=PLAIN)
PINNED = [2338, 9377, 95404, 146251, 219929]  # two tokens, three pairs
TEXTS = [[5, 5, 7, 5], [9], [3, 1, 4, 1, 5, 9, 2, 6]]


@pytest.fixture(autouse=True)
def _small_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wide, "MOST_ROWS", 1024)


def make(longest: int = 2) -> WideHead:
    torch.manual_seed(2)
    head = WideHead(SPEC, 3, longest).double()
    with torch.no_grad():
        head.wide.copy_(torch.randn_like(head.wide))
    return head


def test_rows_follow_from_the_ids_and_their_order_alone() -> None:
    """Written down once: a saved table is of use only while every machine and version finds the same rows."""
    assert ngrams([5, 5, 7, 5], 2, 2**18).tolist() == PINNED
    assert len(ngrams([5, 5, 7, 5], 1, 2**18)) == 2  # 5 and 7, each once
    assert len(ngrams([5, 5, 7, 5], 3, 2**18)) == 2 + 3 + 2
    assert len(ngrams([9], 5, 2**18)) == 1  # shorter than the n-grams that are asked for
    pairs = [set(ngrams(ids, 2, 2**18).tolist()) - set(ngrams(ids, 1, 2**18).tolist()) for ids in ([5, 7], [7, 5])]
    assert pairs[0].isdisjoint(pairs[1])
    assert ngrams(np.array([5, 5, 7, 5], dtype=np.int32), 2, 2**18).tolist() == PINNED  # as a store gives them


def test_rows_spread_over_the_table() -> None:
    """Of 4,000 ids into 2**18 rows chance alone makes about 30 meet."""
    found = {int(ngrams([i], 1, 2**18)[0]) for i in range(4000)}
    assert 3940 <= len(found) < 4000
    assert min(found) < 2**10
    assert max(found) > 2**18 - 2**10


def test_scores_are_those_of_a_vector_of_ones() -> None:
    head = make()
    found = head.beside(TEXTS)
    for text, scores in zip(TEXTS, found, strict=True):
        rows = ngrams(text, 2, 1024)
        wanted = SCALE * head.wide[rows].sum(0) / len(rows) ** 0.5
        torch.testing.assert_close(scores, wanted, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(head.beside([text])[0], scores, rtol=0, atol=0)  # alone as in any batch


def test_gradients_are_those_of_unit_vectors() -> None:
    head = make()
    head.beside(TEXTS)[:, 1].sum().backward()
    assert head.wide.grad is not None
    wanted = torch.zeros(1024, 3, dtype=torch.float64)
    for text in TEXTS:
        rows = ngrams(text, 2, 1024)
        wanted[rows, 1] += len(rows) ** -0.5
    torch.testing.assert_close(head.wide.grad, wanted, rtol=1e-12, atol=1e-12)


def test_the_table_begins_as_zeros_and_shrinks_with_many_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not WideHead(SPEC, 3, 2).wide.any()
    monkeypatch.undo()
    assert [table_rows(labels) for labels in (2, 16, 77, 600)] == [2**18, 2**18, 2**15, 2**12]


def test_what_came_with_a_model_below_its_scores_is_taken() -> None:
    """A pooler of the model's files: the table, which no file has, must not stand in its way."""
    spec = ModelSpec(vocab_size=VOCAB, decoder=PLAIN, label_head="tanh_pooler")
    head, other = make(), WideHead(spec, 3, 2)
    spare = {f"head.{n}": torch.full_like(p, 0.5) for n, p in other.named_parameters() if n.startswith("pooler.")}
    other.take(spare)
    assert len(spare) == 2
    assert other.pooler is not None
    assert bool((other.pooler.weight == 0.5).all())
    assert not other.wide.any()
    before = head.wide.detach().clone()
    head.take({})
    assert torch.equal(head.wide, before)
