"""What prompts and prefixes promise in training: what moves, what is counted, saved, undone and refused."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import test_contract as contract
import torch
from test_contract import GATED, PLAIN, ROWS, SOURCES, D, V
from test_virtual_tokens import INNER, KINDS, METHODS, P, attached, every, run
from torch.testing import assert_close

from microtune.adapt.base import Attachment, make_method
from microtune.adapt.virtual import refuse_virtual
from microtune.errors import InputError
from microtune.nn.frozen import freeze_linears, thaw_linears
from microtune.nn.fused import fusible
from microtune.nn.heads import VocabularyHead
from microtune.nn.spec import ModelSpec, StackSpec
from microtune.nn.transformer import Cut, Transformer
from microtune.nn.virtual import Prompt, VirtualTokens
from microtune.ragged import Ragged
from microtune.recipe import Choice, parse_short

BLOCKS, KV = 3, {"decoder": 2 * 4, "decoder with vocabulary": D, "encoder": D, "both": D}
SMALL = [(kind, name) for kind in KINDS for name in ("prompt", "prefix", "prefix above")]
GRID = [(kind, name, dtype) for kind in KINDS for name in METHODS for dtype in ("float32", "bfloat16")]
QUICK = {
    (kind, name, dtype) for kind, name, dtype in GRID if kind in ("encoder", "both") and name in ("prompt", "prefix")
}
some = pytest.mark.parametrize(("kind", "name"), SMALL)


@every
def test_exactly_the_reported_parameters_get_gradients_and_move(kind: str, name: str) -> None:
    model, attachment = attached(kind, name)
    prepared = contract.Prepared(model, attachment, {}, torch.empty(0))
    start = {n: p.detach().clone() for n, p in model.named_parameters()}
    contract.loss_of(model).backward()
    assert {n for n, p in model.named_parameters() if p.grad is not None} == set(attachment.trainable)
    contract.train(prepared)
    moved = {n for n, p in model.named_parameters() if not torch.equal(p, start[n])}
    assert moved == set(attachment.trainable)
    virtual = {n for n in moved if not n.startswith("head.")}
    assert all(".virtual." in n for n in virtual)
    assert (moved == virtual) == isinstance(model.head, VocabularyHead)


@pytest.mark.parametrize("kind", KINDS)
def test_counts_follow_closed_formulas(kind: str) -> None:
    own = contract.HEAD[kind] if kind in contract.LABELLED else 0
    each = 2 * P * KV[kind]  # keys and values of one block
    made = P * D + (D + 1) * INNER + (INNER + 1) * BLOCKS * 2 * KV[kind]
    wanted = {
        "prompt": P * D,
        "random prompt": P * D,
        "prefix": BLOCKS * each,
        "random prefix": BLOCKS * each,
        "prefix above": (BLOCKS - 1) * each,
        "projected prefix": made,
    }
    assert {name: sum(attached(kind, name)[1].trainable.values()) - own for name in METHODS} == wanted


@every
def test_detach_restores_the_base_bit_for_bit(kind: str, name: str) -> None:
    base = contract.build(kind)
    before = {n: p.detach().clone() for n, p in base.named_parameters()}
    model, attachment = attached(kind, name)
    with torch.no_grad():
        plain, adapted = contract.outputs(base), contract.outputs(model)
    assert not torch.equal(plain, adapted)  # on and off differ
    contract.train(contract.Prepared(model, attachment, {}, plain))
    attachment.detach()
    found = dict(model.named_parameters())
    assert list(found) == list(before)
    assert [n for n, p in found.items() if not n.startswith("head.out") and not torch.equal(p, before[n])] == [] or (
        kind in contract.LABELLED
    )
    assert all(torch.equal(p, before[n]) for n, p in found.items() if not n.startswith("head."))
    assert all(p.requires_grad for p in found.values())
    assert model.virtual_tokens == 0


@some
def test_state_alone_restores_the_outputs(kind: str, name: str) -> None:
    model, attachment = attached(kind, name)
    contract.train(contract.Prepared(model, attachment, {}, torch.empty(0)))
    other, same = attached(kind, name)
    same.load_state(attachment.state())
    with torch.no_grad():
        assert torch.equal(contract.outputs(other), contract.outputs(model))


@some
def test_the_cut_changes_no_gradient(kind: str, name: str) -> None:
    model, attachment = attached(kind, name)
    found = []
    for cut in (attachment.cut, Cut()):
        model.cut = cut
        model.zero_grad()
        contract.loss_of(model).backward()
        found.append({n: p.grad for n, p in attachment.parameters()})
    assert_close(found[0], found[1], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("kind", "name", "cut"),
    [
        ("decoder", "prompt", Cut()),
        ("both", "prompt", Cut()),
        ("decoder", "prefix", Cut()),
        ("decoder", "prefix above", Cut(decoder=1)),
        ("encoder", "prefix above", Cut(encoder=1)),
        ("both", "prefix", Cut(encoder=2)),
        ("both", "prefix above", Cut(encoder=2, decoder=1)),
    ],
)
def test_the_cut_is_as_high_as_it_can_be(kind: str, name: str, cut: Cut) -> None:
    assert attached(kind, name)[1].cut == cut


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_the_trunk_below_a_prefix_is_the_same_when_stored(kind: str) -> None:
    model, _ = attached(kind, "prefix above")
    inputs, both = Ragged.from_lists(ROWS), kind == "both"
    sources, readout = Ragged.from_lists(SOURCES) if both else None, torch.tensor([4, 7, 13])
    trunk = model.compute_trunk(inputs, readout=readout, sources=sources)
    assert trunk.output is not None
    assert trunk.output.shape == (len(inputs.values), D)
    wanted = model(inputs, readout=readout, sources=sources)
    assert torch.equal(model(inputs, readout=readout, sources=sources, trunk=trunk), wanted)


@pytest.mark.parametrize(
    ("kind", "name", "dtype"), [one if one in QUICK else pytest.param(*one, marks=pytest.mark.slow) for one in GRID]
)
def test_narrower_types(kind: str, name: str, dtype: str) -> None:
    """Virtual tokens stay float32; what is computed with them is as near as its type allows."""
    wide, _ = attached(kind, name)
    narrow = contract.build(kind)
    state = dict(wide.state_dict())
    number = getattr(torch, dtype)
    narrow = narrow.to(number)
    attachment = make_method(Choice(**METHODS[name])).attach(narrow)
    narrow.load_state_dict(state)
    contract.loss_of(narrow).backward()
    found = {n: p for n, p in attachment.parameters() if ".virtual." in n}
    assert {p.dtype for p in found.values()} == {torch.float32}
    assert all(p.grad is not None and bool(p.grad.any()) and bool(p.grad.isfinite().all()) for p in found.values())
    with torch.no_grad():
        wanted, got = contract.outputs(wide), contract.outputs(narrow).double()
    eps = torch.finfo(number).eps
    assert_close(got, wanted, rtol=0, atol=40 * eps * float(wanted.abs().max()))


FAST = replace(GATED, num_kv_heads=None, query_key_norm="none")


@pytest.mark.parametrize("form", ["float32", "bfloat16", "int8"])
@pytest.mark.parametrize("name", ["prompt", "prefix", "prefix above"])
def test_beside_prepared_weights(form: Any, name: str) -> None:
    """A prompt goes the fast way through prepared blocks, a prefix the plain one; with the gradients of plain ones."""
    found = {}
    for prepared in (False, True):
        torch.manual_seed(0)
        model = Transformer(ModelSpec(vocab_size=V, decoder=FAST))
        base = copy.deepcopy(model)
        attachment = make_method(Choice(**METHODS[name])).attach(model)
        weights = {n: p.detach().clone() for n, p in model.named_parameters()}
        replaced = freeze_linears(model, form) if prepared else {}
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=form == "bfloat16"):
            loss = contract.loss_of(model)
        loss.backward()
        gradient = next(p.grad for _, p in attachment.parameters())
        assert gradient is not None
        found[prepared] = (loss.detach(), gradient)
        if prepared:
            thaw_linears(model, replaced, lambda base=base: base)
            assert all(torch.equal(p, weights[n]) for n, p in model.named_parameters())
    near = {"float32": 1e-5, "bfloat16": 0.05, "int8": 0.1}[form]  # relative; the last two are their rounding
    assert_close(found[True][0], found[False][0], rtol=near, atol=0)
    gap = (found[True][1] - found[False][1]).norm() / found[False][1].norm()
    assert float(gap) < near


def test_the_fast_path_refuses_a_prefix() -> None:
    """Its blocks have keys that no token has; those below `first_block` have none."""
    for name, wanted in (("prompt", [True] * 3), ("prefix", [False] * 3), ("prefix above", [True, False, False])):
        model = Transformer(ModelSpec(vocab_size=V, decoder=FAST))
        make_method(Choice(**METHODS[name])).attach(model)
        freeze_linears(model, "float32")
        asked: list[bool] = []

        def remember(block: Any, args: Any, asked: list[bool] = asked) -> None:
            asked.append(fusible(block, args[1], args[0]) is not None)

        hooks = [block.register_forward_pre_hook(remember) for block in model.output_stack.blocks]
        run(model, ROWS)
        assert asked == wanted
        for hook in hooks:
            hook.remove()


@every
def test_merging_is_refused_and_changes_nothing(kind: str, name: str) -> None:
    model, attachment = attached(kind, name)
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    with pytest.raises(InputError, match=r"Virtual tokens .* cannot be folded into weights"):
        attachment.merge()
    assert all(torch.equal(p, before[n]) for n, p in model.named_parameters())
    with pytest.raises(InputError, match="cannot be folded"):
        refuse_virtual(model)
    attachment.detach()
    refuse_virtual(model)


def attach(kind: str, *, stack: StackSpec | None = None, **choice: Any) -> Attachment:
    model = contract.build(kind) if stack is None else Transformer(ModelSpec(vocab_size=V, decoder=stack))
    return make_method(Choice(**choice)).attach(model)


def attach_twice() -> None:
    model = contract.build("decoder")
    for name in ("prompt", "prefix"):
        make_method(Choice(name=name)).attach(model)


REFUSALS: dict[str, tuple[Callable[[], Any], str]] = {
    "no tokens": (lambda: make_method(Choice(**parse_short("prompt:0"))), "tokens: .* greater than or equal to 1"),
    "no keys": (lambda: make_method(Choice(**parse_short("prefix:0"))), "tokens: .* greater than or equal to 1"),
    "too many": (
        lambda: attach("encoder", name="prompt", tokens=16),
        "16 virtual tokens leave no room .* 16 positions",
    ),
    "too many keys": (lambda: attach("encoder", name="prefix", tokens=16), "leave no room for a text"),
    "offset": (
        lambda: attach("", stack=replace(PLAIN, causal=True, position_offset=2), name="prompt", tokens=14),
        "there are 14 positions",
    ),
    "no text": (lambda: make_method(Choice(name="prompt", init="text")), "text: init: text needs words to begin as"),
    "empty": (lambda: make_method(Choice(name="prefix", init="text", text="  ")), "text: init: text needs words"),
    "unread": (lambda: make_method(Choice(name="prompt", text="Say")), r"text: read with init: text only \(it is voc"),
    "no such start": (lambda: make_method(Choice(name="prompt", init="zero")), "init: the value should be 'random'"),
    "no block": (lambda: attach("decoder", name="prefix", first_block=3), "first_block: 3 leaves no block, .* has 3"),
    "no inner width": (
        lambda: make_method(Choice(name="prefix", projection=0)),
        "projection: .* greater than or equal",
    ),
    "two of them": (attach_twice, "this model has 16 virtual tokens already"),
}


@pytest.mark.parametrize("name", list(REFUSALS))
def test_refusals(name: str) -> None:
    action, message = REFUSALS[name]
    with pytest.raises(InputError, match=message):
        action()


def test_a_refused_method_leaves_the_model_as_it_was() -> None:
    model = contract.build("encoder")
    with pytest.raises(InputError):
        make_method(Choice(name="prompt", tokens=20)).attach(model)
    assert all(p.requires_grad for p in model.parameters())
    assert model.virtual_tokens == 0
    assert type(model.output_stack.virtual) is VirtualTokens


def test_short_forms() -> None:
    assert make_method(Choice(**parse_short("prompt:7"))).virtual_tokens == 7
    assert make_method(Choice(**parse_short("prefix:9"))).virtual_tokens == 9
    assert make_method(Choice(name="lora")).virtual_tokens == 0
    model, _ = attached("both", "prompt")
    assert isinstance(model.encoder.virtual, Prompt)  # type: ignore[union-attr]
    assert model.decoder.virtual.count == 0  # type: ignore[union-attr]
