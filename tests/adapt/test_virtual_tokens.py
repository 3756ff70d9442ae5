"""What prompts and prefixes promise on every kind of model (DESIGN, sections 4 and 6).

In float64, so that "equal" can mean equal to the order of sums (1e-12); half types have the gap of their own rounding.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import test_contract as contract
import torch
from test_contract import GATED, PLAIN, ROWS, SOURCES, SPECS, D, V
from torch import Tensor
from torch.testing import assert_close

from microtune.adapt.base import Attachment, make_method
from microtune.adapt.virtual import VirtualMethod
from microtune.errors import InputError
from microtune.nn.heads import VocabularyHead
from microtune.nn.spec import ModelSpec, RopeScaling
from microtune.nn.transformer import Cache, Transformer
from microtune.ragged import Ragged
from microtune.recipe import Choice
from microtune.run.generate import generate_ids

P, INNER = 3, 5
METHODS: dict[str, dict[str, Any]] = {
    "prompt": {"name": "prompt", "tokens": P},
    "random prompt": {"name": "prompt", "tokens": P, "init": "random", "seed": 4},
    "prefix": {"name": "prefix", "tokens": P, "init": "vocabulary"},
    "random prefix": {"name": "prefix", "tokens": P, "init": "random", "seed": 4},
    "prefix above": {"name": "prefix", "tokens": P, "init": "vocabulary", "first_block": 1},
    "projected prefix": {"name": "prefix", "tokens": P, "projection": INNER},
}
KINDS = list(SPECS)
CLOSE = {"rtol": 0.0, "atol": 1e-12}  # states are of order 1; the order of sums moves them by a few 1e-16
every = pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in KINDS for name in METHODS])


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
