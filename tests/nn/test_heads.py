"""Chunked vocabulary losses against F.cross_entropy on whole logits, and the labels' pooling; float64, 1e-12."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from nn_specs import PLAIN, VOCAB
from torch import Tensor
from torch.testing import assert_close

from microtune.nn import heads
from microtune.nn.heads import LabelHead, VocabularyHead, pool_mean
from microtune.nn.spec import ModelSpec

ROWS = 41  # no multiple of the chunk below
EXACT = {"rtol": 1e-12, "atol": 1e-12}
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "bias": {"head_bias": True},
    "softcap": {"logit_softcap": 2.0, "tied": False},
    "scale": {"logit_scale": 0.25},
    "transform": {"head_transform": True, "head_bias": True},
    "all": {"head_transform": True, "head_bias": True, "logit_softcap": 2.0, "logit_scale": 0.5, "tied": False},
}
each = pytest.mark.parametrize("fields", VARIANTS.values(), ids=VARIANTS.keys())


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heads, "CHUNK_ELEMENTS", 16 * VOCAB)
    monkeypatch.setattr(heads, "SOFTMAX_ELEMENTS", 5 * VOCAB)


def make(fields: dict[str, Any]) -> tuple[VocabularyHead, Tensor, Tensor]:
    torch.manual_seed(3)
    tokens = torch.nn.Embedding(VOCAB, PLAIN.hidden_size)
    spec = ModelSpec(vocab_size=VOCAB, decoder=PLAIN, **fields)
    head = VocabularyHead(spec, tokens if spec.tied else None).double()
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.copy_(torch.randn_like(parameter))
    hidden = torch.randn(ROWS, PLAIN.hidden_size, dtype=torch.float64, requires_grad=True)
    return head, hidden, torch.randint(VOCAB, (ROWS,))


def gradients(loss: Tensor, head: VocabularyHead, hidden: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(loss * 1.7, [hidden, *head.parameters()]))


@each
@pytest.mark.parametrize("weighted", [False, True])
def test_chunked_loss_equals_cross_entropy_on_full_logits(fields: dict[str, Any], weighted: bool) -> None:
    head, hidden, targets = make(fields)
    weights = torch.rand(ROWS, dtype=torch.float64) if weighted else None
    losses = F.cross_entropy(head(hidden), targets, reduction="none")
    wanted = (losses if weights is None else losses * weights).sum()
    found = head.loss(hidden, targets, weights)
    assert_close(found, wanted, **EXACT)
    for mine, theirs in zip(gradients(found, head, hidden), gradients(wanted, head, hidden), strict=True):
        assert_close(mine, theirs, **EXACT)


def test_chunked_loss_agrees_with_finite_differences() -> None:
    head, hidden, targets = make(VARIANTS["all"])
    short, weights = hidden[:5].detach().requires_grad_(), torch.rand(5, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda h: head.loss(h, targets[:5], weights), (short,))


@each
@pytest.mark.parametrize("frozen", ["head", "hidden"])
def test_chunked_loss_gives_gradients_only_where_asked(fields: dict[str, Any], frozen: str) -> None:
    head, hidden, targets = make(fields)
    wanted = gradients(head.loss(hidden, targets), head, hidden)
    if frozen == "head":
        head.requires_grad_(False)
        head.loss(hidden, targets).backward()
        assert_close(hidden.grad, wanted[0] / 1.7, **EXACT)
        assert all(p.grad is None for p in head.parameters())
    else:
        still = hidden.detach()
        head.loss(still, targets).backward()
        for parameter, grad in zip(head.parameters(), wanted[1:], strict=True):
            assert_close(parameter.grad, grad / 1.7, **EXACT)


def test_a_tied_head_adds_to_the_gradient_of_the_embedding() -> None:
    torch.manual_seed(4)
    tokens = torch.nn.Embedding(VOCAB, PLAIN.hidden_size).double()
    head = VocabularyHead(ModelSpec(vocab_size=VOCAB, decoder=PLAIN), tokens)
    ids, targets = torch.randint(VOCAB, (ROWS,)), torch.randint(VOCAB, (ROWS,))
    found = torch.autograd.grad(head.loss(tokens(ids).tanh(), targets), tokens.weight)[0]
    full = F.cross_entropy(head(tokens(ids).tanh()), targets, reduction="sum")
    assert_close(found, torch.autograd.grad(full, tokens.weight)[0], **EXACT)


@each
def test_log_probabilities_and_top_k_equal_full_ones(fields: dict[str, Any]) -> None:
    head, hidden, targets = make(fields)
    full = head(hidden).log_softmax(-1)
    assert_close(head.log_probabilities(hidden, targets), full.gather(1, targets[:, None])[:, 0], **EXACT)
    values, ids = head.top_k(hidden, 5)
    wanted, places = full.topk(5, -1)
    assert_close(values, wanted, **EXACT)
    assert torch.equal(ids, places)


def test_losses_of_half_precision_are_summed_in_float32() -> None:
    head, hidden, targets = make(VARIANTS["bias"])
    head, hidden = head.bfloat16(), hidden.detach().bfloat16()
    assert head.loss(hidden, targets).dtype == torch.float32
    wanted = F.cross_entropy(head(hidden).float(), targets, reduction="sum")
    assert_close(head.loss(hidden, targets), wanted, rtol=1e-5, atol=0.0)  # float32 sums of 41 terms


@pytest.mark.parametrize("rows", [0, 1])
def test_no_row_and_one_row(rows: int) -> None:
    head, hidden, targets = make({})
    assert_close(
        head.loss(hidden[:rows], targets[:rows]), F.cross_entropy(head(hidden), targets, reduction="none")[:rows].sum()
    )
    assert head.log_probabilities(hidden[:rows], targets[:rows]).shape == (rows,)
    assert head.top_k(hidden[:rows], 3)[1].shape == (rows, 3)


def test_mean_pooling_is_the_mean_of_each_sequence() -> None:
    hidden = torch.randn(9, 16, dtype=torch.float64)
    wanted = torch.stack([part.mean(0) for part in hidden.split([4, 1, 4])])
    assert_close(pool_mean(hidden, torch.tensor([4, 1, 4])), wanted, **EXACT)
    spec = ModelSpec(vocab_size=VOCAB, decoder=PLAIN, pooling="mean")
    head = LabelHead(spec, 3).double()
    assert_close(head(hidden, torch.tensor([4, 1, 4])), wanted @ head.out.weight.T, **EXACT)


@each
def test_judging_is_log_probabilities_and_the_best_id_in_one_pass(fields: dict[str, Any]) -> None:
    head, hidden, targets = make(fields)
    targets = targets.clone()
    targets[::2] = head.top_k(hidden, 1)[1][::2, 0]
    logp, right = head.judge(hidden, targets)
    assert_close(logp, head.log_probabilities(hidden, targets), **EXACT)
    assert torch.equal(right, head.top_k(hidden, 1)[1][:, 0] == targets)
    assert head.judge(hidden[:0], targets[:0])[1].shape == (0,)
