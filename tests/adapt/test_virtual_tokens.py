"""What prompts and prefixes promise on every kind of model (DESIGN, sections 4 and 6).

In float64, so that "equal" can mean equal to the order of sums (1e-12); half types have the gap of their own rounding.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import test_contract as contract
import torch
from test_contract import GATED, PLAIN, ROWS, SOURCES, SPECS, D, V
from torch import Tensor
from torch.testing import assert_close

from microtune.adapt.base import Attachment, make_method
from microtune.adapt.virtual import VirtualMethod, refuse_virtual
from microtune.errors import InputError
from microtune.nn.frozen import freeze_linears, thaw_linears
from microtune.nn.fused import fusible
from microtune.nn.heads import VocabularyHead
from microtune.nn.spec import ModelSpec, RopeScaling, StackSpec
from microtune.nn.transformer import Cache, Cut, Transformer
from microtune.nn.virtual import Prompt, VirtualTokens
from microtune.ragged import Ragged
from microtune.recipe import Choice, parse_short
from microtune.run.generate import generate_ids

P, INNER = 3, 5
METHODS: dict[str, dict[str, Any]] = {
    "prompt": {"name": "prompt", "tokens": P},
    "random prompt": {"name": "prompt", "tokens": P, "init": "random", "seed": 4},
    "prefix": {"name": "prefix", "tokens": P},
    "random prefix": {"name": "prefix", "tokens": P, "init": "random", "seed": 4},
    "prefix above": {"name": "prefix", "tokens": P, "first_block": 1},
    "projected prefix": {"name": "prefix", "tokens": P, "projection": INNER},
}
KINDS = list(SPECS)
CLOSE = {"rtol": 0.0, "atol": 1e-12}  # states are of order 1; the order of sums moves them by a few 1e-16
ONES = {"decoder": "decoder", "decoder with vocabulary": "decoder", "encoder": "encoder"}  # one stack
BLOCKS, KV = 3, {"decoder": 2 * 4, "decoder with vocabulary": D, "encoder": D, "both": D}
SMALL = [(kind, name) for kind in KINDS for name in ("prompt", "prefix", "prefix above")]
GRID = [(kind, name, dtype) for kind in KINDS for name in METHODS for dtype in ("float32", "bfloat16")]
QUICK = {
    (kind, name, dtype) for kind, name, dtype in GRID if kind in ("encoder", "both") and name in ("prompt", "prefix")
}
every = pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in KINDS for name in METHODS])
some = pytest.mark.parametrize(("kind", "name"), SMALL)


def attached(kind: str, name: str, dtype: torch.dtype = torch.float64) -> tuple[Transformer, Attachment]:
    model = contract.build(kind, dtype)
    return model, make_method(Choice(**METHODS[name])).attach(model)


def run(model: Transformer, rows: list[list[int]], sources: list[list[int]] | None = None, **options: Any) -> Tensor:
    """Hidden states of rows, whose encoder reads the `sources` where there is one."""
    both = model.encoder is not None and model.decoder is not None
    there = Ragged.from_lists(SOURCES[: len(rows)] if sources is None else sources) if both else None
    return model(Ragged.from_lists(rows), sources=there, **options)


@torch.no_grad()
@every
def test_alone_as_in_a_batch_and_where_asked(kind: str, name: str) -> None:
    model, _ = attached(kind, name)
    together = run(model, ROWS)
    assert together.shape == (sum(map(len, ROWS)), D)  # given tokens, and no virtual one
    for i, part in enumerate(together.split([len(row) for row in ROWS])):
        assert_close(run(model, [ROWS[i]], [SOURCES[i]]), part, **CLOSE)
    assert_close(run(model, ROWS[::-1], SOURCES[::-1])[: len(ROWS[2])], together[-len(ROWS[2]) :], **CLOSE)
    for readout in (torch.tensor([0, 4, 6, 13]), torch.tensor([9]), torch.tensor([], dtype=torch.int64)):
        assert_close(run(model, ROWS, readout=readout), together[readout], **CLOSE)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["decoder", "decoder with vocabulary"])
@pytest.mark.parametrize("name", list(METHODS))
def test_beside_a_shared_beginning(kind: str, name: str) -> None:
    model, _ = attached(kind, name)
    rows = [[7, 7, 3, 4], [7, 7, 1], [7, 7, 5, 6, 2]]
    whole = run(model, rows)
    shared = Ragged(torch.tensor([7, 7, 3, 4, 1, 5, 6, 2]), torch.tensor([2, 2, 1, 3]), 2)
    assert model.is_causal
    assert_close(model(shared), whole[[0, 1, 2, 3, 6, 9, 10, 11]], **CLOSE)
    assert_close(model(shared, readout=torch.tensor([3, 4, 7])), whole[[3, 6, 11]], **CLOSE)


@torch.no_grad()
@pytest.mark.parametrize("name", list(METHODS))
@pytest.mark.parametrize("kind", ["decoder", "decoder with vocabulary", "both"])
def test_the_cache_equals_the_full_pass(kind: str, name: str) -> None:
    model, _ = attached(kind, name)
    whole = run(model, ROWS).split([len(row) for row in ROWS])
    taken = model.output_stack.virtual.count
    cache = Cache(model.spec, len(ROWS), taken + max(map(len, ROWS)))
    first = run(model, [row[:2] for row in ROWS], cache=cache).split(2)
    assert cache.lengths.tolist() == [taken + 2] * len(ROWS)
    rest = run(model, [row[2:] for row in ROWS], cache=cache).split([len(row) - 2 for row in ROWS])
    assert cache.lengths.tolist() == [taken + len(row) for row in ROWS]
    for i, states in enumerate(whole):
        assert_close(torch.cat((first[i], rest[i])), states, **CLOSE)
    with pytest.raises(ValueError, match="do not fit into a cache"):
        run(model, [[1]] * len(ROWS), cache=cache)


@torch.no_grad()
@pytest.mark.parametrize("name", list(METHODS))
@pytest.mark.parametrize("kind", ["decoder with vocabulary", "both"])
def test_generation_follows_the_full_pass(kind: str, name: str) -> None:
    model, _ = attached(kind, name)
    assert isinstance(model.head, VocabularyHead)
    sources = SOURCES[0] if kind == "both" else None
    found = list(generate_ids(model, [5, 1], max_new_tokens=6, stop_ids=[], sources=sources))
    row = [5, 1]
    for token in found:
        scores = model.head(run(model, [row], [SOURCES[0]])[-1:])[0]
        assert int(scores.argmax()) == token
        row.append(token)
    assert len(found) == 6


STACKS: dict[str, ModelSpec] = {
    **SPECS,
    "windowed": ModelSpec(vocab_size=V, decoder=replace(GATED, window=4, pattern="LG")),
    "scaled": ModelSpec(vocab_size=V, decoder=replace(PLAIN, causal=True, embedding_scale=4.0), tied=False),
    "wide": ModelSpec(vocab_size=V, decoder=replace(PLAIN, causal=True, embedding_size=10), head_transform=True),
    "turning by length": ModelSpec(
        vocab_size=V,
        decoder=replace(
            GATED, max_positions=64, rope_scaling=RopeScaling(kind="dynamic", factor=2.0, original_max_positions=4)
        ),
    ),
    "parallel": ModelSpec(vocab_size=V, decoder=replace(GATED, residuals="parallel")),
    "sandwich": ModelSpec(vocab_size=V, decoder=replace(GATED, placement="sandwich", attention_softcap=5.0)),
}
WORDS = [11, 30, 8]


def twins(kind: str) -> tuple[Transformer, Transformer]:
    """The same random model twice, with heads that score tokens."""
    found = []
    for _ in range(2):
        model = Transformer(STACKS[kind]).double().eval()
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * 0.4)
        found.append(model)
    return found[0], found[1]


def begun(kind: str, name: str) -> tuple[Transformer, Transformer]:
    """A plain model, and one whose virtual tokens have begun as WORDS."""
    base, model = twins(kind)
    method = make_method(Choice(name=name, tokens=P, init="text", text="words"))
    assert isinstance(method, VirtualMethod)
    method.attach(model)
    assert all(bool(p.isnan().all()) for n, p in model.named_parameters() if ".virtual." in n)  # until it is told
    method.begin(model, WORDS)
    return base, model


@torch.no_grad()
@pytest.mark.parametrize("kind", list(STACKS))
def test_a_prompt_of_words_is_these_words(kind: str) -> None:
    """Positions, windows, biases, scales and rotary angles count virtual tokens as they count words."""
    base, model = begun(kind, "prompt")
    if kind == "both":
        wanted = run(base, ROWS, [WORDS + row for row in SOURCES])
        assert_close(run(model, ROWS), wanted, **CLOSE)
        kept = model.encode(Ragged.from_lists(SOURCES))
        states = base.encode(Ragged.from_lists([WORDS + row for row in SOURCES]))
        given = [i for i, p in enumerate(Ragged.from_lists([WORDS + row for row in SOURCES]).positions) if p >= P]
        assert_close(kept, states[given], **CLOSE)
        return
    longer = Ragged.from_lists([WORDS + row for row in ROWS])
    assert_close(run(model, ROWS), base(longer)[longer.positions >= P], **CLOSE)


@torch.no_grad()
@pytest.mark.parametrize(
    "kind", [kind for kind, spec in STACKS.items() if spec.encoder is None and kind != "turning by length"]
)
def test_a_prefix_of_words_is_these_words(kind: str) -> None:
    """In a causal stack words do not see what follows, so their keys and values are all that they leave."""
    base, model = begun(kind, "prefix")
    longer = Ragged.from_lists([WORDS + row for row in ROWS])
    assert_close(run(model, ROWS), base(longer)[longer.positions >= P], **CLOSE)


def test_words_are_repeated_or_cut() -> None:
    table = contract.build("decoder").tokens.weight.detach()
    for ids, wanted in (([4], [4, 4, 4]), ([4, 9], [4, 9, 4]), ([1, 2, 3, 4], [1, 2, 3])):
        model, _ = attached("decoder", "prompt")
        method = make_method(Choice(name="prompt", tokens=P, init="text", text="x"))
        assert isinstance(method, VirtualMethod)
        method.begin(model, ids)
        assert torch.equal(model.output_stack.virtual.get_parameter("weight"), table[wanted])
    with pytest.raises(InputError, match=r"method\.text: the text has no token"):
        method.begin(model, [])


def test_where_they_begin() -> None:
    table = contract.build("decoder").tokens.weight.detach()
    drawn, again, other, random = (
        make_method(Choice(name="prompt", tokens=200, **options)).attach(contract.build("decoder")).state()
        for options in ({}, {}, {"seed": 1}, {"init": "random"})
    )
    rows = drawn["decoder.virtual.weight"]
    assert bool((rows[:, None] == table[None]).all(-1).any(-1).all())  # each is a row of the table
    assert torch.equal(rows, again["decoder.virtual.weight"])
    assert not torch.equal(rows, other["decoder.virtual.weight"])
    assert 0.9 < float(random["decoder.virtual.weight"].std() / table.std()) < 1.1


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
            asked.append(fusible(block, args[1], args[0]))

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
