"""`head` with a hidden layer, and `top` with the embedding or all norms: what trains, counts, undoing."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from deep_cases import LABELS, RELATIVE, V, attach, build, loss_of, moved, outputs, train, values
from torch.testing import assert_close

from microtune.adapt.base import make_method
from microtune.errors import InputError
from microtune.nn.heads import LabelHead
from microtune.nn.hidden_layer import HiddenLayer
from microtune.nn.transformer import Cut
from microtune.recipe import Choice

D, W, H = 16, 24, 10  # widths: of the states, of the MLP, of the hidden layer
kinds = pytest.mark.parametrize("kind", ["decoder", "encoder"])
BELOW = {"decoder": 0, "encoder": D * D + D}  # BERT's pooler
BIAS = {"decoder": 0, "encoder": LABELS}


@kinds
@pytest.mark.parametrize("activation", ["tanh", "gelu"])
def test_the_scores_are_those_of_the_formula(kind: str, activation: str) -> None:
    model = build(kind)
    attach(model, name="head", hidden=H, activation=activation)
    head = model.head
    assert isinstance(head, LabelHead)
    assert isinstance(head.out, HiddenLayer)
    x = torch.randn(5, D, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    inner = torch.tanh(F.linear(x, head.pooler.weight, head.pooler.bias)) if head.pooler is not None else x
    inner = F.linear(inner, head.out.hidden.weight, head.out.hidden.bias)
    inner = torch.tanh(inner) if activation == "tanh" else 0.5 * inner * (1 + torch.erf(inner / 2**0.5))
    wanted = inner @ head.out.out.weight.T + (0 if head.out.out.bias is None else head.out.out.bias)
    assert_close(head.scores(x), wanted, rtol=0, atol=1e-12)


@kinds
def test_counts_follow_the_closed_formula_and_all_of_it_moves(kind: str) -> None:
    model = build(kind)
    start = values(model)
    attachment = attach(model, name="head", hidden=H)
    assert sum(attachment.trainable.values()) == BELOW[kind] + (D + 1) * H + H * LABELS + BIAS[kind]
    assert attachment.cut == Cut(**{kind: 3})
    own = values(model)
    train(model, attachment)
    assert moved(model, own) == set(attachment.trainable)
    assert all(torch.equal(value, own[name]) for name, value in start.items() if not name.startswith("head."))


@kinds
def test_detaching_gives_the_linear_head_back(kind: str) -> None:
    model = build(kind)
    start, linear = values(model), model.head.out
    attachment = attach(model, name="head", hidden=H)
    train(model, attachment)
    attachment.detach()
    assert model.head.out is linear
    assert {n: p for n, p in values(model).items() if not n.startswith("head.pooler")}.keys() <= start.keys()
    assert all(n.startswith("head.pooler") for n in moved(model, start))  # the task's own head is not base
    assert all(p.requires_grad for p in model.parameters())


@kinds
def test_merging_keeps_the_hidden_layer(kind: str) -> None:
    model = build(kind)
    attachment = attach(model, name="head", hidden=H)
    train(model, attachment)
    with torch.no_grad():
        learnt = outputs(model)
        attachment.merge()
        assert torch.equal(outputs(model), learnt)
    assert isinstance(model.head.out, HiddenLayer)


@kinds
def test_the_state_alone_restores_the_outputs(kind: str) -> None:
    model, other = build(kind), build(kind)
    attachment = attach(model, name="head", hidden=H, activation="tanh")
    train(model, attachment)
    attach(other, name="head", hidden=H, activation="tanh").load_state(attachment.state())
    assert torch.equal(outputs(other), outputs(model))


def test_dropout_is_on_the_hidden_layer_and_in_training_only() -> None:
    """Of 4,000 units a share of 0.25 is dropped: 0.25 within 0.03, four deviations."""
    model = build("decoder")
    attach(model, name="head", hidden=4000, dropout=0.25)
    layer = model.head.out
    assert isinstance(layer, HiddenLayer)
    with torch.no_grad():
        layer.out.weight.fill_(1.0)
        layer.hidden.weight.zero_()
        layer.hidden.bias.fill_(1.0)
    x = torch.zeros(1, D, dtype=torch.float64)
    whole = float(layer.eval()(x)[0, 0].detach())
    assert whole == pytest.approx(4000 * 0.5 * (1 + float(torch.erf(torch.tensor(0.5**0.5)))), rel=1e-6)
    torch.manual_seed(0)
    assert float(layer.train()(x)[0, 0].detach()) / whole * 0.75 == pytest.approx(0.75, abs=0.03)


@kinds
def test_it_begins_with_unit_variance_inside(kind: str) -> None:
    """U has deviation 1 / sqrt(D), V the model's initializer_range; within a tenth for 16 x 4,000 draws."""
    model = build(kind, dtype=torch.float32)
    attach(model, name="head", hidden=4000)
    layer = model.head.out
    assert isinstance(layer, HiddenLayer)
    assert float(layer.hidden.weight.detach().std()) == pytest.approx(D**-0.5, rel=0.1)
    assert float(layer.out.weight.detach().std()) == pytest.approx(0.02, rel=0.1)
    assert layer.hidden.weight.dtype == torch.float32
    assert not layer.hidden.bias.any()


NORMS = {"decoder": 7 * D, "encoder": 7 * 2 * D, "both": 10 * D}  # two a block, three with cross-attention; one more
TABLES = {
    "decoder": V * D,
    "encoder": (V + 16 + 2) * D + 2 * D,
    "both": V * D + 2 * RELATIVE.relative_buckets * RELATIVE.num_heads,
}


@pytest.mark.parametrize("kind", list(NORMS))
def test_top_with_norms_and_embeddings(kind: str) -> None:
    def attached(**options: bool) -> tuple[dict[str, int], Cut]:
        found = attach(build(kind), name="top", blocks=1, **options)
        return found.trainable, found.cut

    plain, _ = attached()
    norms, at_norms = attached(norms=True)
    tables, at_tables = attached(embeddings=True)
    both, at_both = attached(norms=True, embeddings=True)
    side = "decoder" if kind == "both" else kind
    named = {n: size for n, size in norms.items() if "norm" in n}
    assert set(norms) == set(plain) | set(named)
    assert all(n.startswith(side) for n in named)
    assert sum(named.values()) == NORMS[kind]
    assert sum(tables.values()) - sum(plain.values()) == TABLES[kind]
    assert both == tables | norms
    assert (at_norms, at_tables, at_both) == (Cut(encoder=2 if kind == "both" else 0), Cut(), Cut())


@pytest.mark.parametrize("kind", ["decoder", "encoder"])
def test_all_blocks_with_the_embedding_are_full(kind: str) -> None:
    top = attach(build(kind), name="top", blocks=3, embeddings=True)
    assert top.trainable == attach(build(kind), name="full").trainable


@pytest.mark.parametrize("kind", list(NORMS))
@pytest.mark.parametrize("options", [{"norms": True}, {"embeddings": True}])
def test_exactly_what_is_reported_moves_and_detaching_undoes_it(kind: str, options: dict[str, Any]) -> None:
    model = build(kind)
    start = values(model)
    attachment = attach(model, name="top", blocks=1, **options)
    train(model, attachment)
    resting = {n for n in start if n.endswith(".k.bias")}  # their gradient is zero but for rounding
    assert moved(model, start) | resting == set(attachment.trainable) | resting
    attachment.detach()
    own = set() if kind == "both" else {n for n in start if n.startswith("head.")}
    assert moved(model, start) <= own


REFUSALS: dict[str, tuple[str, dict[str, Any], str]] = {
    "hidden under a vocabulary": ("both", {"hidden": 8}, r"^method\.hidden: .*scores the vocabulary.*lora or top\.$"),
    "dropout on nothing": ("decoder", {"dropout": 0.1}, r"^method\.dropout: .* hidden: 128\.$"),
    "negative": ("decoder", {"hidden": -1}, r"^method: hidden: .*not '-1'\.$"),
    "too wide": ("decoder", {"hidden": 10**6}, r"^method: hidden: .*less than or equal to 65536"),
    "dropout of all": ("decoder", {"hidden": 8, "dropout": 1.0}, r"^method: dropout: .*less than 1, not '1\.0'\.$"),
    "unknown activation": ("decoder", {"hidden": 8, "activation": "relu"}, r"^method: activation: .*'tanh' or 'gelu'"),
}


@pytest.mark.parametrize("name", list(REFUSALS))
def test_refusals_leave_the_model_as_it_was(name: str) -> None:
    kind, options, sentence = REFUSALS[name]
    model = build(kind)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(InputError, match=sentence):
        make_method(Choice(name="head", **options)).attach(model)
    assert_close(dict(model.state_dict()), dict(before), rtol=0, atol=0)
    assert all(p.requires_grad for p in model.parameters())
    loss_of(model)
