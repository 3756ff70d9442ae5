"""Head tuning of a model whose vocabulary head is the token embedding: the head gets a copy, the embedding rests."""

from __future__ import annotations

import copy

import pytest
import torch
from test_contract import GATED, Prepared, V, outputs, train
from torch.testing import assert_close

from microtune.adapt.base import make_method
from microtune.nn.heads import VocabularyHead
from microtune.nn.spec import ModelSpec
from microtune.nn.transformer import Transformer
from microtune.recipe import Choice

SPEC = ModelSpec(vocab_size=V, decoder=GATED, head_bias=True)


@pytest.fixture
def model() -> Transformer:
    torch.manual_seed(3)
    return Transformer(SPEC).double().eval()


@torch.no_grad()
def scores(model: Transformer) -> torch.Tensor:
    return outputs(model)


def tuned(model: Transformer) -> Prepared:
    """After two steps on the head alone."""
    before = scores(model)
    base = copy.deepcopy(model.state_dict())
    prepared = Prepared(model, make_method(Choice(name="head")).attach(model), base, before)
    assert sorted(prepared.attachment.trainable) == ["head.out.bias", "head.out.weight"]
    assert not model.spec.tied
    assert torch.equal(scores(model), before)
    train(prepared)
    assert isinstance(model.head, VocabularyHead)
    assert torch.equal(model.tokens.weight, base["tokens.weight"])
    assert not torch.equal(model.head.out.weight, base["tokens.weight"])
    return prepared


def test_detaching_ties_them_again(model: Transformer) -> None:
    assert isinstance(model.head, VocabularyHead)
    tied = model.head.out
    prepared = tuned(model)
    prepared.attachment.detach()
    assert model.spec == SPEC
    assert model.head.out is tied
    assert tied.weight is model.tokens.weight
    assert_close(dict(model.state_dict()), dict(prepared.base), rtol=0, atol=0)
    assert all(p.requires_grad for p in model.parameters())


def test_merging_leaves_them_two(model: Transformer) -> None:
    prepared = tuned(model)
    learnt = scores(model)
    prepared.attachment.merge()
    assert not model.spec.tied
    assert torch.equal(scores(model), learnt)
    assert {"head.out.weight", "tokens.weight"} <= dict(model.named_parameters()).keys()


def test_what_was_learnt_goes_back_into_another_base(model: Transformer) -> None:
    prepared = tuned(model)
    again = Transformer(SPEC).double().eval()
    again.load_state_dict(prepared.base)
    attachment = make_method(Choice(name="head")).attach(again)
    attachment.load_state(prepared.attachment.state())
    assert torch.equal(scores(again), scores(model))
