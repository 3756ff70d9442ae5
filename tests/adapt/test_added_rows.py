"""Methods on a model with added tokens: what trains, where the trunk ends, and that everything can be undone."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from microtune.adapt.added import attach, rows_train
from microtune.adapt.base import Attachment, make_method
from microtune.nn.added import New, grow
from microtune.nn.heads import LabelHead
from microtune.nn.spec import ModelSpec, StackSpec
from microtune.nn.transformer import Cut, Transformer
from microtune.ragged import Ragged
from microtune.recipe import Choice

V, NEW = 29, New(29, 2)
STACK = StackSpec(num_layers=3, hidden_size=16, num_heads=4, intermediate_size=24, causal=True)
SPECS = {
    "tied": ModelSpec(vocab_size=V, decoder=STACK),
    "untied": ModelSpec(vocab_size=V, decoder=STACK, tied=False),
    "labels": ModelSpec(vocab_size=V, decoder=STACK),
}
METHODS: dict[str, dict[str, Any]] = {
    "lora": {"name": "lora", "rank": 2},
    "lora above": {"name": "lora", "rank": 2, "first_block": 2},
    "top": {"name": "top", "blocks": 1},
    "reinit": {"name": "reinit", "blocks": 1},
    "full": {"name": "full"},
    "head": {"name": "head"},
}
ROWS = Ragged.from_lists([[3, 29, 4], [30, 5, 29, 6]])
kinds = pytest.mark.parametrize("kind", list(SPECS))
every = pytest.mark.parametrize("name", list(METHODS))


def make(kind: str) -> Transformer:
    torch.manual_seed(2)
    network = Transformer(SPECS[kind])
    grow(network, NEW)
    if kind == "labels":
        network.head = LabelHead(network.spec, 3)
    return network.double()


def prepare(kind: str, name: str) -> tuple[Transformer, Attachment]:
    network = make(kind)
    return network, attach(make_method(Choice(**METHODS[name])), network, NEW)


def outputs(network: Transformer) -> Tensor:
    with torch.no_grad():
        hidden = network(ROWS)
        return network.head.scores(hidden) if isinstance(network.head, LabelHead) else network.head(hidden)


def disturb(attachment: Attachment) -> None:
    torch.manual_seed(4)
    with torch.no_grad():
        for _, parameter in attachment.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))


@kinds
@every
def test_only_the_new_rows_of_a_frozen_embedding_train(kind: str, name: str) -> None:
    network, attachment = prepare(kind, name)
    tables = {n: size for n, size in attachment.trainable.items() if n.startswith(("tokens.", "head.out"))}
    if kind == "labels":
        tables.pop("head.out.weight")
    rows = NEW.count * STACK.hidden_size
    whole = (V + NEW.count) * STACK.hidden_size
    if name == "full":
        wanted = {"tokens.weight": whole} | ({"head.out.weight": whole} if kind == "untied" else {})
    elif name == "head":
        wanted = {} if kind == "labels" else {"head.out.weight": whole}
    else:
        wanted = {"tokens.added": rows} | ({"head.out.rows.added": rows} if kind == "untied" else {})
    assert tables == wanted
    assert rows_train(attachment, NEW) == (name != "head")
    assert attachment.cut == network.cut == (Cut(decoder=3) if name == "head" else Cut())


@kinds
@every
def test_detaching_restores_the_grown_base_bit_for_bit(kind: str, name: str) -> None:
    base, (network, attachment) = make(kind), prepare(kind, name)
    disturb(attachment)
    assert not torch.equal(outputs(network), outputs(base))
    attachment.detach()
    found = network.state_dict()
    assert found.keys() == base.state_dict().keys()
    own = "head." if kind == "labels" else "-"
    assert all(torch.equal(found[n], value) for n, value in base.state_dict().items() if not n.startswith(own))
    assert network.spec == base.spec
    assert all(p.requires_grad for p in network.parameters())
    if kind == "tied":
        assert network.head.out.weight is network.tokens.weight  # type: ignore[union-attr]


@kinds
@every
def test_merging_keeps_the_outputs_in_a_plain_model(kind: str, name: str) -> None:
    network, attachment = prepare(kind, name)
    disturb(attachment)
    wanted = outputs(network)
    attachment.merge()
    assert type(network.tokens) is torch.nn.Embedding
    assert_close(outputs(network), wanted, rtol=1e-10, atol=1e-10)


@kinds
@pytest.mark.parametrize("name", ["lora", "top"])
def test_a_saved_state_restores_the_outputs(kind: str, name: str) -> None:
    network, attachment = prepare(kind, name)
    disturb(attachment)
    again, other = prepare(kind, name)
    assert not torch.equal(outputs(again), outputs(network))
    other.load_state(attachment.state())
    assert torch.equal(outputs(again), outputs(network))
    copied = copy.deepcopy(network)
    with torch.no_grad():
        network.tokens.added.add_(1.0)  # type: ignore[operator, union-attr]
    assert torch.equal(outputs(copied), outputs(again))
