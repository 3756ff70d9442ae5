"""Label smoothing in the chunked loss against torch's own on whole logits; float64, 1e-12."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from nn_specs import VOCAB
from test_heads import EXACT, ROWS, gradients, make
from torch.testing import assert_close

from microtune.nn import heads
from microtune.nn.heads import VocabularyHead

VARIANTS: dict[str, dict[str, Any]] = {  # the first two go by formula, the others through autograd
    "plain": {},
    "scale": {"logit_scale": 0.25},
    "bias": {"head_bias": True},
    "softcap": {"logit_softcap": 2.0, "tied": False},
    "all": {"head_transform": True, "head_bias": True, "logit_softcap": 2.0, "logit_scale": 0.5, "tied": False},
}
each = pytest.mark.parametrize("fields", VARIANTS.values(), ids=VARIANTS.keys())


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heads, "CHUNK_ELEMENTS", 16 * VOCAB)
    monkeypatch.setattr(heads, "SOFTMAX_ELEMENTS", 5 * VOCAB)


@each
@pytest.mark.parametrize("smoothing", [0.1, 0.9])
@pytest.mark.parametrize("weighted", [False, True])
def test_a_smoothed_loss_equals_that_of_torch(fields: dict[str, Any], smoothing: float, weighted: bool) -> None:
    head, hidden, targets = make(fields)
    weights = torch.rand(ROWS, dtype=torch.float64) if weighted else None
    losses = F.cross_entropy(head(hidden), targets, reduction="none", label_smoothing=smoothing)
    wanted = (losses if weights is None else losses * weights).sum()
    head.label_smoothing = smoothing
    found = head.loss(hidden, targets, weights)
    assert_close(found, wanted, **EXACT)
    for mine, theirs in zip(gradients(found, head, hidden), gradients(wanted, head, hidden), strict=True):
        assert_close(mine, theirs, **EXACT)


@each
def test_switched_off_again_not_a_bit_differs(fields: dict[str, Any]) -> None:
    head, hidden, targets = make(fields)
    found = head.loss(hidden, targets)
    mine = gradients(found, head, hidden)
    head.label_smoothing = 0.25
    smoothed = gradients(head.loss(hidden, targets), head, hidden)
    head.label_smoothing = 0.0
    again = head.loss(hidden, targets)
    assert torch.equal(found, again)
    assert all(torch.equal(a, b) for a, b in zip(mine, gradients(again, head, hidden), strict=True))
    assert not torch.equal(mine[0], smoothed[0])


@each
def test_what_evaluation_reads_is_never_smoothed(fields: dict[str, Any]) -> None:
    head, hidden, targets = make(fields)
    plain = head.log_probabilities(hidden, targets), *head.judge(hidden, targets), *head.top_k(hidden, 3)
    head.label_smoothing = 0.3
    again = head.log_probabilities(hidden, targets), *head.judge(hidden, targets), *head.top_k(hidden, 3)
    assert all(torch.equal(a, b) for a, b in zip(plain, again, strict=True))


def test_a_head_begins_without() -> None:
    head: VocabularyHead = make({})[0]
    assert head.label_smoothing == 0.0
    assert "label_smoothing" not in head.state_dict()
