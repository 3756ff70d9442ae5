"""Rotary angles: what turns together, and scalings that follow the length of each row, whatever stands beside it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import test_fused as fused_tests
import test_invariance as invariance
import torch
from nn_specs import LENGTHS, ROTARY, VOCAB, build, rows, run
from torch.testing import assert_close

from microtune.errors import InputError
from microtune.nn import transformer
from microtune.nn.frozen import Parts
from microtune.nn.positions import rotary_angles, rotate
from microtune.nn.spec import ModelSpec, RopeScaling, StackSpec
from microtune.nn.transformer import Cache
from microtune.ragged import Ragged

EXACT = {"rtol": 0.0, "atol": 1e-12}
DYNAMIC = RopeScaling(kind="dynamic", factor=2.5, original_max_positions=4)
LONGROPE = RopeScaling(
    kind="longrope", original_max_positions=4, attention_factor=1.2,
    short_factor=(1.0, 1.3, 1.1), long_factor=(1.5, 2.0, 3.0),
)  # fmt: skip
BY_ROW = {
    "dynamic": ModelSpec(vocab_size=VOCAB, decoder=replace(ROTARY, rope_scaling=DYNAMIC)),
    "longrope": ModelSpec(vocab_size=VOCAB, decoder=replace(ROTARY, rope_scaling=LONGROPE)),
}
each = pytest.mark.parametrize("spec", BY_ROW.values(), ids=BY_ROW.keys())


def test_neighbours_or_halves_turn_together_and_the_rest_stays() -> None:
    """By complex numbers: a pair is one, and its position turns it."""
    x = torch.randn(5, 3, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    positions = torch.tensor([0, 1, 2, 7, 40])
    turns = torch.polar(torch.ones(5, 3).double(), positions[:, None] / 100.0 ** (torch.arange(3).double() / 3))
    for layout in ("halves", "pairs"):
        cos, sin = rotary_angles(positions, 6, 100.0, x.dtype, layout=layout)
        found = rotate(x, cos, sin, layout)
        pair = (x[..., :3], x[..., 3:6]) if layout == "halves" else (x[..., 0:6:2], x[..., 1:6:2])
        wanted = torch.complex(*(p.contiguous() for p in pair)) * turns[:, None]
        parts = (wanted.real, wanted.imag)
        together = torch.cat(parts, -1) if layout == "halves" else torch.stack(parts, -1).flatten(-2)
        assert_close(found, torch.cat((together, x[..., 6:]), -1), **EXACT)


def test_a_dynamic_base_by_hand() -> None:
    """Rows of 3, 4 and 10 tokens: only the last is longer than the original 4."""
    lengths = torch.tensor([3, 4, 10])
    cos, _ = rotary_angles(torch.tensor([2, 2, 2]), 6, 10_000.0, torch.float64, scaling=DYNAMIC, lengths=lengths)
    base = 10_000.0 * (2.5 * 10 / 4 - 1.5) ** (6 / 4)
    assert_close(cos[0], cos[1])
    assert cos[2, 1].item() == pytest.approx(math.cos(2 / base ** (1 / 3)), abs=1e-14)
    assert cos[0, 1].item() == pytest.approx(math.cos(2 / 10_000.0 ** (1 / 3)), abs=1e-14)


@each
def test_other_rows_and_later_tokens_move_nothing(spec: ModelSpec) -> None:
    invariance.test_a_sequence_alone_equals_itself_in_any_batch(spec)
    invariance.test_the_order_in_a_batch_moves_nothing(spec)
    invariance.test_a_changed_future_token_moves_no_past_logit(spec)
    invariance.test_readout_equals_select_after_full_pass(spec, invariance.SPARSE)
    invariance.test_readout_gives_the_gradients_of_select_after_full_pass(spec)


@each
def test_the_length_of_a_row_matters_beyond_the_original_one(spec: ModelSpec) -> None:
    model, ids = build(spec), rows((8,))
    whole = run(model, ids)
    assert not torch.allclose(run(model, [ids[0][:3]]), whole[:3], atol=1e-3)
    plain = build(replace(spec, decoder=replace(spec.decoder, rope_scaling=None)))  # type: ignore[type-var]
    assert_close(run(plain, [ids[0][:3]]), run(plain, ids)[:3], **EXACT)


@each
@pytest.mark.parametrize("chunks", [(3, 1, 1, 1, 1, 1), (1, 4, 0, 3), (8,)], ids=["steps", "chunks", "whole"])
@torch.no_grad()
def test_a_cache_that_knows_the_final_lengths_equals_a_full_pass(spec: ModelSpec, chunks: tuple[int, ...]) -> None:
    model, ids = build(spec), rows()
    full = run(model, ids).split(LENGTHS)
    cache = Cache(spec, len(ids), capacity=9, totals=torch.tensor(LENGTHS))
    done = 0
    for chunk in chunks:
        new = [row[done : done + chunk] for row in ids]
        if sum(map(len, new)):
            for row, piece in enumerate(run(model, new, cache=cache).split([len(n) for n in new])):
                assert_close(piece, full[row][done : done + chunk], **EXACT)
        done += chunk


@each
def test_a_beginning_is_not_shared_where_angles_follow_the_length(spec: ModelSpec) -> None:
    model = build(spec)
    assert not model.is_causal
    shared = Ragged(torch.tensor([1, 2, 3, 4, 5]), torch.tensor([2, 1, 2]), shared=2)
    with pytest.raises(ValueError, match="share no beginning where rotary angles follow the length"):
        model(shared)
    assert build(replace(spec, decoder=ROTARY)).is_causal


@each
def test_the_fast_path_follows_the_rows_too(spec: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    model, taken = build(spec), []

    def ask(*arguments: Any) -> dict[str, Parts] | None:
        roles = fused_tests.fused.fusible(*arguments) if fast else None
        taken.append(roles is not None)
        return roles

    monkeypatch.setattr(transformer, "fusible", ask)
    for readout in (None, fused_tests.READOUT):
        fast = False
        wanted, plain = fused_tests.gradients(model, readout)
        fast, taken[:] = True, []
        found, quick = fused_tests.gradients(model, readout)
        assert taken == [True] * 3
        assert_close(found, wanted, rtol=1e-10, atol=1e-10)
        fused_tests.assert_same_gradients(quick, plain, 1e-10)


def test_a_spec_says_how_long_its_rows_may_be() -> None:
    """A dynamic scaling is made to go beyond the length that the files call the maximum."""
    stack = replace(ROTARY, max_positions=4, rope_scaling=DYNAMIC)
    assert ModelSpec(vocab_size=9, decoder=stack).max_positions == 10
    assert ModelSpec(vocab_size=9, decoder=replace(stack, rope_scaling=None)).max_positions == 4


@pytest.mark.parametrize("spec", BY_ROW.values(), ids=BY_ROW.keys())
def test_scalings_survive_plain_values(spec: ModelSpec) -> None:
    values = spec.to_dict()
    assert isinstance(values["decoder"]["rope_scaling"]["short_factor"], list)
    assert ModelSpec.from_dict(values) == spec


def test_specs_of_older_runs_are_understood() -> None:
    values = ModelSpec(vocab_size=9, decoder=ROTARY).to_dict()
    for old, new in ((False, "none"), (True, "head")):
        values["decoder"]["query_key_norm"] = old
        stack = ModelSpec.from_dict(values).decoder
        assert stack is not None
        assert stack.query_key_norm == new


BAD = [
    ({"rope_scaling": {"kind": "linea"}}, 'kind: unknown value "linea". Did you mean "linear"?'),
    ({"rope_scaling": {"kind": "linear", "factr": 2}}, 'rope_scaling: unknown key "factr"'),
    ({"rope_scaling": {"kind": "linear", "factor": 0.0}}, "factor is 0.0, but must be"),
    ({"rope_scaling": {"kind": "dynamic"}}, "rope_scaling: dynamic needs `original_max_positions`."),
    ({"rope_scaling": {"kind": "longrope", "original_max_positions": 4}}, "short_factor has 0 numbers, but 3 angles"),
    (
        {"rope_scaling": {"kind": "longrope", "original_max_positions": 4, "short_factor": [1, 2, "3"]}},
        "short_factor is (1, 2, '3'), but must be a list of positive numbers.",
    ),
    (
        {"rope_scaling": {"kind": "llama3", "original_max_positions": 4, "low_freq_factor": 4.0}},
        "low_freq_factor must be below high_freq_factor",
    ),
    ({"rope_scaling": {"kind": "yarn", "original_max_positions": 4}, "rope_theta": 1.0}, "a rope_theta above 1"),
    ({"rope_scaling": {"kind": "dynamic", "original_max_positions": 4}, "rotary_dim": 2}, "a rotary_dim of 4 or more"),
    ({"rope_scaling": 3}, "rope_scaling is 3, but must be"),
    ({"rotary_dim": 3}, "rotary_dim is 3, but rotary positions need an even number."),
    ({"rotary_dim": 8}, "rotary_dim is 8, but a head has 6 numbers."),
    ({"head_dim": 5}, "head_dim is 5, but rotary positions need an even number."),
    ({"residuals": "parallel", "placement": "post"}, "residuals: parallel goes with norms before the branches"),
    ({"residuals": "paralel"}, 'residuals: unknown value "paralel".'),
]


@pytest.mark.parametrize(("fields", "message"), BAD, ids=[m[:40] for _, m in BAD])
def test_what_cannot_be_computed_is_refused(fields: dict[str, object], message: str) -> None:
    values = ModelSpec(vocab_size=9, decoder=ROTARY).to_dict()
    values["decoder"] |= fields
    with pytest.raises(InputError) as caught:
        ModelSpec.from_dict(values)
    assert message in str(caught.value)


def test_only_rotary_stacks_look_at_rotary_fields() -> None:
    assert StackSpec(num_layers=1, hidden_size=3, num_heads=1, intermediate_size=4).rotary_size == 3
