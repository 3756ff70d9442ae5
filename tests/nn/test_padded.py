"""Sequences of nearly one length in one group: the same outputs and gradients, fewer groups, nothing for nobody."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from nn_specs import DECODERS, LEARNED, SPECS, build, rows, run
from test_fused import FUSED, READOUT, assert_same_gradients, gradients
from torch import Tensor
from torch.testing import assert_close

from microtune.nn import fused
from microtune.nn import padded as module
from microtune.nn.layout import Layout, make_layout
from microtune.ragged import Ragged

HALF = torch.bfloat16
LONE = torch.tensor([4, 7])  # tokens of two of the five rows: nobody asks in the others


def _layout(lengths: list[int], *, causal: bool = True, **other: int) -> Layout:
    rows = Ragged(torch.zeros(sum(lengths), dtype=torch.int64), torch.tensor(lengths, dtype=torch.int64))
    return make_layout(rows.lengths, rows.positions, rows.lengths, causal=causal, aligned=True, **other)


def _shapes(layout: Layout) -> list[tuple[int, int]]:
    found = module.padded(layout, HALF)
    assert found is not None
    return [(group.size, group.key_positions.shape[1]) for group in found.groups]


@pytest.mark.parametrize("more", [0, 10], ids=["as many tokens", "more tokens"])
@pytest.mark.parametrize("readout", [None, READOUT, LONE], ids=["all", "readout", "of two rows"])
@pytest.mark.parametrize("name", FUSED)
def test_outputs_and_gradients_are_those_of_groups_of_one_shape(
    name: str, readout: Tensor | None, more: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Float64, 1e-12: the same sums, and zeros."""
    model = build(SPECS[name])
    monkeypatch.setattr(fused, "more_tokens", lambda *_: more)
    made: list[int] = []
    back = module.Padded.keys_back
    monkeypatch.setattr(module.Padded, "keys_back", lambda self, *a: made.append(len(self.groups)) or back(self, *a))
    found, mine = gradients(model, readout)
    assert made
    made.clear()
    monkeypatch.setattr(module, "pad", lambda *_: None)
    wanted, theirs = gradients(model, readout)
    assert not made
    assert_close(found, wanted, rtol=1e-12, atol=1e-12)
    assert_same_gradients(mine, theirs, 1e-12)


@pytest.mark.parametrize("readout", [None, READOUT], ids=["all", "readout"])
def test_rows_behind_the_tokens_draw_no_dropout(readout: Tensor | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pass without gradients, which is not this one, drops the same."""
    model = build(replace(DECODERS["learned"], decoder=replace(LEARNED, dropout=0.3))).train()
    monkeypatch.setattr(fused, "more_tokens", lambda *_: 10)
    found = []
    for grad in (True, False):
        torch.manual_seed(2)
        with torch.set_grad_enabled(grad):
            found.append(run(model, rows(), readout=readout))
    assert_close(found[0].detach(), found[1], rtol=1e-12, atol=1e-12)


def test_what_stands_behind_the_end_of_a_text_says_nothing() -> None:
    """A text beside a longer one, which repeats its last token to be as long, has the states it has alone: to the bit
    that a product of another shape leaves."""
    model = build(DECODERS["rotary, grouped heads"])
    short, long = [3, 1, 4, 1], [5, 9, 2, 6, 5, 3]
    alone = model(Ragged.from_lists([short]))
    beside = model(Ragged.from_lists([long, short]))[len(long) :]
    assert_close(beside, alone, rtol=1e-12, atol=1e-12)


def test_a_group_is_as_wide_as_a_group_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STEP", 1)
    assert _shapes(_layout([28, 31, 29, 28, 30])) == [(5, 31)]
    # a text of 100 would be laid out to 134 for 7,956 scores, to 135 for 8,225, more than WORTH
    assert _shapes(_layout([100, 134, 134])) == [(3, 134)]
    assert _shapes(_layout([100, 135, 135])) == [(1, 100), (2, 135)]
    assert _shapes(_layout([10, 10, 11, 300, 301])) == [(3, 11), (2, 301)]


def test_what_is_of_one_shape_or_shares_a_beginning_stays_as_it_is() -> None:
    assert module.padded(_layout([7, 7, 7]), HALF) is None
    assert module.padded(_layout([]), HALF) is None
    assert module.padded(_layout([7, 3, 2], shared=2), HALF) is None
    assert module.padded(_layout([7, 3, 2], ahead=2), HALF) is None


def test_short_groups_are_as_long_as_a_number_that_comes_back() -> None:
    assert _shapes(_layout([28, 31, 29])) == [(3, 32)]
    plain = module.padded(_layout([28, 31, 29]), torch.float32)
    assert plain is not None
    assert [group.key_positions.shape[1] for group in plain.groups] == [31]
    assert _shapes(_layout([33, 40, 1])) == [(3, 48)]
    assert _shapes(_layout([127, 128, 300, 301])) == [(2, 128), (2, 301)]
    layout = _layout([9, 8])
    asked = make_layout(torch.tensor([1, 1]), torch.tensor([8, 7]), layout.rows.key_lengths, causal=True, aligned=False)  # type: ignore[union-attr]
    found = module.padded(asked, HALF)
    assert found is not None
    assert [group.query_positions.shape[1] for group in found.groups] == [1]  # one query each stays one


def test_tokens_of_narrow_blocks_are_as_many_as_a_number_that_comes_back() -> None:
    ragged, even = _layout([5, 6]), _layout([6, 6])
    counts = [1, 7, 15, 16, 100, 470, 480, 481, 1500, 4090]
    found = [count + module.more_tokens(count, module.NARROW, ragged, HALF) for count in counts]
    assert found == [1, 7, 15, 16, 104, 480, 480, 512, 1536, 4096]
    assert all(module.more_tokens(count, module.NARROW + 1, ragged, HALF) == 0 for count in counts)
    assert all(module.more_tokens(count, module.NARROW, even, HALF) == 0 for count in counts)
    assert all(module.more_tokens(count, module.NARROW, ragged, torch.float32) == 0 for count in counts)


def test_places_come_into_groups_and_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STEP", 1)
    layout = _layout([3, 1, 2])
    found = module.padded(layout, HALF)
    assert found is not None
    assert found is module.padded(layout, HALF)
    assert found.query_order.view(3, 3).tolist() == [[3, 3, 3], [4, 5, 5], [0, 1, 2]]
    assert found.query_order[found.query_back].tolist() == list(range(6))
    assert found.query_pads.tolist() == [1, 2, 5]
    assert found.key_tokens is None
    mask = found.mask(0, None, torch.float32)
    assert mask is not None
    seen = [[[True, False, False]] * 3, [[True, False, False], [True, True, False], [True, True, False]]]
    assert (mask == 0)[:2].tolist() == seen
    two = found.mask(0, 2, torch.float32)
    assert two is not None
    assert (two == 0)[2].tolist() == [[True, False, False], [True, True, False], [False, True, True]]
    both = module.padded(_layout([3, 1, 2], causal=False), HALF)
    assert both is not None
    open_mask = both.mask(0, None, torch.float32)
    assert open_mask is not None
    assert (open_mask == 0).tolist() == [[[True, False, False]], [[True, True, False]], [[True, True, True]]]


@pytest.mark.parametrize("lengths", [[28, 31, 29, 28, 30], [7, 7], [100, 300, 301, 5], [64]])
def test_what_is_computed_is_foreseen(lengths: list[int]) -> None:
    layout = _layout(lengths)
    tokens, groups = module.computed(lengths, module.NARROW)
    assert tokens == sum(lengths) + module.more_tokens(sum(lengths), module.NARROW, layout, HALF)
    laid = module.padded(layout, HALF) or layout
    assert groups == [(group.key_positions.shape[1], group.size) for group in laid.groups]
