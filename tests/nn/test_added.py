"""Rows of added tokens: how an embedding grows, and that new rows alone train as in a table that trains whole.

Gradients in float64 against those of a plainly grown table, 1e-10; values bit for bit.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from nn_specs import PLAIN, VOCAB
from torch import Tensor
from torch.testing import assert_close

from microtune.nn import heads
from microtune.nn.added import AddedEmbedding, AddedLinear, New, grow, settle, train_alone
from microtune.nn.heads import VocabularyHead
from microtune.nn.spec import ModelSpec
from microtune.nn.transformer import Transformer
from microtune.ragged import Ragged

EXACT = {"rtol": 1e-10, "atol": 1e-10}
VARIANTS: dict[str, dict[str, Any]] = {
    "tied": {},
    "untied": {"tied": False},
    "bias": {"head_bias": True},
    "softcap": {"logit_softcap": 2.0},
    "transform": {"head_transform": True, "head_bias": True, "logit_scale": 0.5},
    "all": {"head_transform": True, "head_bias": True, "logit_softcap": 2.0, "tied": False},
}
PAIR = ModelSpec(
    vocab_size=VOCAB,
    encoder=replace(PLAIN, causal=False),
    decoder=replace(PLAIN, cross_attention=True),
    tied=False,
    target_tokens="own",
)
SPECS = {name: ModelSpec(vocab_size=VOCAB, decoder=PLAIN, **fields) for name, fields in VARIANTS.items()}
SPECS["own targets"] = PAIR
NEW = {"behind": New(VOCAB, 3), "half in": New(VOCAB - 2, 4), "within": New(VOCAB - 5, 2)}
each = pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS.keys())
places = pytest.mark.parametrize("new", NEW.values(), ids=NEW.keys())


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heads, "CHUNK_ELEMENTS", 5 * VOCAB)


def make(spec: ModelSpec) -> Transformer:
    torch.manual_seed(1)
    network = Transformer(spec).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.5 * torch.randn_like(parameter))
    return network


def out_of(network: Transformer) -> Any:
    assert isinstance(network.head, VocabularyHead)
    return network.head.out


def batch(new: New) -> tuple[Ragged, Tensor]:
    """Two rows with old and new ids, among the targets too."""
    ids = [1, new.first, 4, new.stop - 1, 2, 3, new.first, new.first, 5]
    return Ragged(torch.tensor(ids), torch.tensor([5, 4])), torch.tensor([*ids[1:], 0])


def loss_of(network: Transformer, new: New) -> Tensor:
    rows, targets = batch(new)
    hidden = network(rows, sources=rows if network.encoder is not None else None)
    assert isinstance(network.head, VocabularyHead)
    return network.head.loss(hidden, targets, torch.linspace(0.5, 1.5, len(targets), dtype=torch.float64))


@each
@places
def test_a_network_grows_by_the_rows_that_it_lacks(spec: ModelSpec, new: New) -> None:
    old = make(spec)
    network = copy.deepcopy(old)
    grow(network, new)
    size = max(VOCAB, new.stop)
    assert network.spec == replace(spec, vocab_size=size)
    assert (out_of(network).weight is network.tokens.weight) == spec.tied
    tables = [(network.tokens.weight, old.tokens.weight), (out_of(network).weight, out_of(old).weight)]
    if spec.head_bias:
        tables.append((out_of(network).bias, out_of(old).bias))
    if network.targets is not None and old.targets is not None:
        tables.append((network.targets.weight, old.targets.weight))
    for found, before in tables:
        assert found.requires_grad
        assert len(found) == size
        assert torch.equal(found[: new.first], before[: new.first])
        assert torch.equal(found[new.stop :], before[new.stop :])
        mean = before[: new.first].mean(0)
        assert_close(found[new.first : new.stop], mean.expand(new.count, *mean.shape), rtol=1e-14, atol=1e-15)
        assert len({tuple(row.reshape(-1).tolist()) for row in found[new.first : new.stop]}) == 1
    logits = network.head(torch.ones(2, spec.hidden_size, dtype=torch.float64))
    assert logits.shape == (2, size)


@each
@places
def test_new_rows_alone_get_the_gradient_of_a_whole_table(spec: ModelSpec, new: New) -> None:
    whole = make(spec)
    grow(whole, new)
    alone = copy.deepcopy(whole).requires_grad_(False)
    assert train_alone(alone, new)
    owners = ["tokens", *(["targets"] if spec.target_tokens == "own" else []), *([] if spec.tied else ["head.out"])]
    names = {f"{owner}.added" if owner != "head.out" else "head.out.rows.added": owner for owner in owners}
    assert {n for n, p in alone.named_parameters() if p.requires_grad} == set(names)
    wanted, found = loss_of(whole, new), loss_of(alone, new)
    assert_close(found, wanted, **EXACT)
    (wanted * 1.7).backward()
    (found * 1.7).backward()
    for name, owner in names.items():
        gradient = whole.get_parameter(f"{owner}.weight").grad
        assert gradient is not None
        part = gradient[new.first : new.stop]
        assert part.abs().max() > 1e-3
        assert_close(alone.get_parameter(name).grad, part, **EXACT)


@each
def test_logits_that_are_asked_for_whole_give_the_same_gradient(spec: ModelSpec) -> None:
    new = NEW["half in"]
    network = make(spec)
    grow(network, new)
    network.requires_grad_(False)
    train_alone(network, new)
    rows = out_of(network)._rows[0].added
    hidden = torch.randn(7, spec.hidden_size, dtype=torch.float64)
    targets = torch.tensor([0, new.first, 2, new.stop - 1, 4, new.first, 6])
    assert isinstance(network.head, VocabularyHead)
    logits = network.head(hidden)
    with torch.no_grad():
        assert_close(network.head(hidden), logits, **EXACT)
    (wanted,) = torch.autograd.grad(torch.nn.functional.cross_entropy(logits, targets, reduction="sum"), rows)
    (found,) = torch.autograd.grad(network.head.loss(hidden, targets), rows)
    assert_close(found, wanted, **EXACT)


@each
@pytest.mark.parametrize("learnt", [False, True])
def test_settled_tables_are_plain_ones_again(spec: ModelSpec, learnt: bool) -> None:
    new = NEW["half in"]
    network = make(spec)
    grow(network, new)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network.requires_grad_(False)
    train_alone(network, new)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("added"):
                parameter.add_(1.0)
    table = network.tokens.weight.clone()
    settle(network, learnt=learnt)
    assert type(network.tokens) is torch.nn.Embedding
    assert type(out_of(network)) is torch.nn.Linear
    assert (out_of(network).weight is network.tokens.weight) == spec.tied
    assert network.state_dict().keys() == before.keys()
    if learnt:
        assert torch.equal(network.tokens.weight, table)
        assert_close(table - before["tokens.weight"], _ones(table, new), **EXACT)
    else:
        assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def _ones(table: Tensor, new: New) -> Tensor:
    expected = torch.zeros_like(table)
    expected[new.first : new.stop] = 1.0
    return expected


@places
def test_the_table_is_one_block_that_is_never_copied(new: New) -> None:
    network = make(SPECS["tied"])
    grow(network, new)
    place = network.tokens.weight.data_ptr()
    network.requires_grad_(False)
    train_alone(network, new)
    rows = network.tokens
    assert isinstance(rows, AddedEmbedding)
    assert isinstance(out_of(network), AddedLinear)
    for _ in range(2):
        assert rows.weight.data_ptr() == place == rows.below.data_ptr()
        assert out_of(network).weight is rows.weight
    with torch.no_grad():
        rows.added.mul_(3.0)
    assert torch.equal(rows.weight[new.first : new.stop], rows.added)
    with torch.inference_mode():
        network.float()
        moved = rows.weight
    assert (moved.dtype, moved.is_inference(), rows.added.dtype) == (torch.float32, False, torch.float32)
    assert rows.weight is moved
    assert rows.below.data_ptr() == moved.data_ptr()
    if rows.above is not None:
        assert rows.above.data_ptr() == moved[new.stop :].data_ptr()


def test_a_rounded_table_takes_rows_that_train_in_full() -> None:
    new = NEW["behind"]
    network = make(SPECS["tied"]).to(torch.bfloat16)
    grow(network, new)
    network.requires_grad_(False)
    train_alone(network, new)
    rows = network.tokens
    assert isinstance(rows, AddedEmbedding)
    assert (rows.weight.dtype, rows.added.dtype) == (torch.bfloat16, torch.float32)
    found = rows(torch.tensor([0, new.first]))
    assert found.dtype == torch.bfloat16
    found.sum().backward()
    assert rows.added.grad is not None
    assert torch.equal(rows.added.grad[0], torch.ones(PLAIN.hidden_size))
    assert not rows.added.grad[1:].any()


def test_a_table_that_trains_whole_stays_whole() -> None:
    network = make(SPECS["tied"])
    grow(network, NEW["behind"])
    assert not train_alone(network, NEW["behind"])
    assert type(network.tokens) is torch.nn.Embedding
