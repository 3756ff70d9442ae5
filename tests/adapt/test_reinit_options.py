"""What `reinit` starts anew: blocks, final norm, pooler, head; and what trains then."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import test_contract as contract
import torch
from deep_cases import attach, build, loss_of, moved, outputs, train, values
from torch import Tensor
from torch.testing import assert_close

from microtune.adapt.base import make_method
from microtune.errors import InputError
from microtune.nn.heads import LabelHead
from microtune.nn.transformer import Cut, Transformer
from microtune.recipe import Choice

UNTIED = {"labels": False, "tied": False}
TOP = {"decoder": ("decoder.blocks.2.", "decoder.norm."), "encoder": ("encoder.blocks.2.",)}
# Name -> (kind, how the model is built, options, beginnings of the names of what starts anew)
ANEW: dict[str, tuple[str, dict[str, Any], dict[str, Any], tuple[str, ...]]] = {
    "the default": ("decoder", {}, {}, TOP["decoder"]),
    "two blocks": ("decoder", {}, {"blocks": 2}, ("decoder.blocks.1.", *TOP["decoder"])),
    "not the norm": ("decoder", {}, {"norm": False}, TOP["decoder"][:1]),
    "the norm alone": ("decoder", {}, {"blocks": 0}, TOP["decoder"][1:]),
    "the pooler": ("encoder", {}, {"pooler": True}, (*TOP["encoder"], "head.pooler.")),
    "the pooler alone": ("encoder", {}, {"blocks": 0, "pooler": True}, ("head.pooler.",)),
    "a label head": ("decoder", {}, {"head": True}, (*TOP["decoder"], "head.out.")),
    "pooler and scores": ("encoder", {}, {"pooler": True, "head": True}, (*TOP["encoder"], "head.")),
    "a vocabulary head": ("decoder", UNTIED, {"head": True}, (*TOP["decoder"], "head.out.")),
    "a tied one's transform": ("encoder", {"labels": False}, {"head": True}, (*TOP["encoder"], "head.transform.")),
    "an untied one": ("encoder", UNTIED, {"head": True}, (*TOP["encoder"], "head.")),
    "of two stacks": ("both", {"tied": False}, {"head": True}, (*TOP["decoder"], "head.out.")),
}
every = pytest.mark.parametrize("name", list(ANEW))
thens = pytest.mark.parametrize("then", ["top", "full"])


@every
@thens
def test_exactly_these_start_anew_by_the_scheme(name: str, then: str) -> None:
    """Matrices have deviation initializer_range, biases are 0, norms 1; and all of it trains."""
    kind, built, options, wanted = ANEW[name]
    model = build(kind, **built)
    start = values(model)
    attachment = attach(model, name="reinit", then=then, seed=5, **options)
    after = values(model)
    anew = {n for n in after if n.startswith(wanted)}
    assert moved(model, start) == anew
    assert anew <= set(attachment.trainable)
    matrices = [after[n].flatten() for n in anew if after[n].ndim == 2 and not n.endswith((".o.weight", "down.weight"))]
    if matrices:
        assert float(torch.cat(matrices).std()) == pytest.approx(0.02, rel=0.25)
    assert all(not after[n].any() for n in anew if n.endswith(".bias"))
    assert all(bool((after[n] == 1).all()) for n in anew if "norm" in n and n.endswith("weight"))


@every
@thens
def test_detaching_undoes_it(name: str, then: str) -> None:
    kind, built, options, _ = ANEW[name]
    model = build(kind, **built)
    start = values(model)
    attachment = attach(model, name="reinit", then=then, **options)
    train(model, attachment)
    attachment.detach()
    own = "head." if isinstance(model.head, LabelHead) else "none"
    assert {n for n in moved(model, start) if not n.startswith(own)} == set()
    if options.get("pooler"):  # which came with the files
        assert not {n for n in moved(model, start) if n.startswith("head.pooler.")}


@every
def test_exactly_what_is_reported_moves(name: str) -> None:
    kind, built, options, _ = ANEW[name]
    model = build(kind, **built)
    attachment = attach(model, name="reinit", **options)
    start = values(model)
    train(model, attachment)
    resting = {n for n in start if n.endswith(".k.bias")}  # their gradient is zero but for rounding
    assert moved(model, start) | resting == set(attachment.trainable) | resting


def drawn(**options: Any) -> tuple[Transformer, dict[str, Tensor]]:
    model = build("encoder")
    attach(model, name="reinit", **options)
    return model, values(model)


def test_the_seed_decides_and_further_parts_change_no_draw() -> None:
    """A pooler drawn after the blocks leaves what the blocks were given."""
    _, first = drawn(seed=1)
    _, more = drawn(seed=1, pooler=True)
    model, other = drawn(seed=2, pooler=True)
    assert {n for n in first if not torch.equal(first[n], more[n])} == {"head.pooler.weight", "head.pooler.bias"}
    assert not torch.equal(more["head.pooler.weight"], other["head.pooler.weight"])
    assert outputs(model).isfinite().all()


def test_more_blocks_may_train_than_start_anew() -> None:
    model = build("decoder")
    start = values(model)
    attachment = attach(model, name="reinit", train_blocks=3, embeddings=True)
    assert moved(model, start) == {n for n in start if n.startswith(TOP["decoder"])}
    assert attachment.trainable == attach(build("decoder"), name="full").trainable
    assert attachment.cut == Cut()


def test_norms_pass_through() -> None:
    found = attach(build("decoder"), name="reinit", norms=True)
    assert found.trainable == attach(build("decoder"), name="top", blocks=1, norms=True).trainable
    assert found.cut == Cut()


REFUSALS: dict[str, tuple[str, dict[str, Any], dict[str, Any], str]] = {
    "no pooler": ("decoder", {}, {"pooler": True}, r"^method\.pooler: .* no layer below its scores\.$"),
    "a vocabulary has none": ("encoder", {"labels": False}, {"pooler": True}, r"^method\.pooler: .* below its scores"),
    "a tied head": ("decoder", {"labels": False}, {"head": True}, r"^method\.head: .*token embedding; it cannot start"),
    "nothing": ("decoder", {}, {"blocks": 0, "norm": False}, r"^method: reinit has nothing to start anew; choose"),
    "no norm at the end": ("encoder", {}, {"blocks": 0}, r"^method: reinit has nothing to start anew"),
    "fewer train": ("decoder", {}, {"blocks": 2, "train_blocks": 1}, r"^method\.train_blocks: 2 blocks .*and 1 train;"),
    "too many": ("decoder", {}, {"blocks": 4}, r"^method: 4 blocks were asked for, the model has 3\.$"),
    "too many train": ("decoder", {}, {"train_blocks": 4}, r"^method: 4 blocks were asked for, the model has 3\.$"),
    "top's option": ("decoder", {}, {"then": "full", "norms": True}, r"^method\.norms: says what `then: top` trains;"),
    "unknown word": ("decoder", {}, {"then": "lora"}, r"^method: then: .*'top' or 'full', not 'lora'\.$"),
    "unknown key": ("decoder", {}, {"poolr": True}, r'^method: unknown key "poolr"\. Did you mean "pooler"'),
}


@pytest.mark.parametrize("name", list(REFUSALS))
def test_refusals_leave_the_model_as_it_was(name: str) -> None:
    kind, built, options, sentence = REFUSALS[name]
    model = build(kind, **built)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(InputError, match=sentence):
        make_method(Choice(name="reinit", **options)).attach(model)
    assert_close(dict(model.state_dict()), dict(before), rtol=0, atol=0)
    assert all(p.requires_grad for p in model.parameters())
    loss_of(model)


@contract.kinds
@pytest.mark.parametrize("name", ["reinit", "reinit then full"])
def test_reinit_changes_the_top_and_nothing_else(kind: str, name: str) -> None:
    prepared = contract.prepare(kind, name)
    side = "encoder" if kind == "encoder" else "decoder"
    after = {n: p.detach() for n, p in prepared.model.named_parameters()}
    top = {n for n in after if n.startswith((f"{side}.blocks.2.", f"{side}.norm."))}
    assert {n for n, p in after.items() if not torch.equal(p, prepared.base[n])} == top
    matrices = torch.cat([after[n].flatten() for n in top if n.endswith(("q.weight", "up.weight"))])
    assert 0.015 < float(matrices.std()) < 0.025  # initializer_range is 0.02
    assert all(bool((after[n] == 0).all()) for n in top if n.endswith(".bias"))
    assert all(bool((after[n] == 1).all()) for n in top if n.endswith("norm.weight"))


def test_reinit_is_reproducible_and_leaves_the_generator_alone() -> None:
    def start(seed: int) -> dict[str, Tensor]:
        model = models.pop()
        return make_method(Choice(name="reinit", blocks=2, seed=seed)).attach(model).state()

    models = [contract.build("decoder") for _ in range(3)]  # drawing, too, when they are built
    torch.manual_seed(3)
    wanted = torch.rand(1)
    torch.manual_seed(3)
    first = start(1)
    assert torch.equal(torch.rand(1), wanted)
    assert_close(start(1), first, rtol=0, atol=0)
    name = "decoder.blocks.2.mlp.up.weight"
    assert not torch.equal(start(2)[name], first[name])
