"""The schedule of gradual unfreezing, and what stands above a cut."""

from __future__ import annotations

from typing import Any

import pytest
from deep_cases import attach, build

from microtune.adapt.added import attach as attach_with_rows
from microtune.adapt.base import make_method
from microtune.adapt.unfreezing import lies_above
from microtune.errors import InputError
from microtune.nn.added import New, grow
from microtune.nn.transformer import Cut
from microtune.recipe import Choice

GRADUAL = {"unfreeze": "gradual"}
SCHEDULES: dict[str, tuple[str, dict[str, Any], list[tuple[int, Cut]]]] = {
    "top of a decoder": ("decoder", {"name": "top", "blocks": 2}, [(0, Cut(0, 2)), (1, Cut(0, 1))]),
    "one block": ("decoder", {"name": "top", "blocks": 1}, [(0, Cut(0, 2))]),
    "top of an encoder": ("encoder", {"name": "top", "blocks": 3}, [(0, Cut(2)), (1, Cut(1)), (2, Cut())]),
    "top of both": ("both", {"name": "top", "blocks": 2}, [(0, Cut(2, 2)), (1, Cut(2, 1))]),
    "with embeddings": ("decoder", {"name": "top", "blocks": 2, "embeddings": True}, [(0, Cut(0, 2)), (1, Cut())]),
    "with norms": ("both", {"name": "top", "blocks": 2, "norms": True}, [(0, Cut(2, 2)), (1, Cut(2, 0))]),
    "full": ("decoder", {"name": "full"}, [(0, Cut(0, 2)), (1, Cut(0, 1)), (2, Cut())]),
    "full of both": (
        "both",
        {"name": "full"},
        [(0, Cut(2, 2)), (1, Cut(2, 1)), (2, Cut(2, 0)), (3, Cut(1, 0)), (4, Cut())],
    ),
    "two new blocks": (
        "decoder",
        {"name": "reinit", "blocks": 2, "then": "full"},
        [(0, Cut(0, 1)), (1, Cut())],  # what is random trains from the start
    ),
    "all new": ("decoder", {"name": "reinit", "blocks": 3}, [(0, Cut())]),
    "reinit": ("encoder", {"name": "reinit", "train_blocks": 2}, [(0, Cut(2)), (1, Cut(1))]),
}


@pytest.mark.parametrize("name", list(SCHEDULES))
def test_one_more_block_each_epoch(name: str) -> None:
    kind, choice, wanted = SCHEDULES[name]
    model = build(kind)
    attachment = attach(model, **choice, **GRADUAL)
    assert attachment.schedule == wanted
    assert attachment.schedule[-1][1] == attachment.cut == model.cut
    at_once = attach(build(kind), **choice)
    assert at_once.schedule == []
    assert at_once.trainable == attachment.trainable
    assert at_once.cut == attachment.cut


@pytest.mark.parametrize("kind", ["decoder", "encoder", "both"])
def test_every_tensor_begins_once(kind: str) -> None:
    """What stands above a cut stands above every lower one, and at the end everything does."""
    model = build(kind)
    attachment = attach(model, name="full", **GRADUAL)
    begun: set[str] = set()
    for _, cut in attachment.schedule:
        above = {name for name in attachment.trainable if lies_above(model, name, cut)}
        assert begun < above
        begun = above
    assert begun == set(attachment.trainable)


def test_what_begins_when_in_two_stacks() -> None:
    model = build("both")
    places = {
        "decoder.blocks.2.mlp.up.weight": 0,
        "decoder.norm.weight": 0,
        "decoder.blocks.1.cross.v.weight": 1,
        "decoder.relative_bias.table.weight": 2,  # all blocks share it
        "encoder.norm.weight": 3,
        "encoder.blocks.1.mlp.up.weight": 3,
        "encoder.relative_bias.table.weight": 4,
        "tokens.weight": 4,  # both stacks read it
    }
    schedule = attach(model, name="full", **GRADUAL).schedule
    first = {n: next(epoch for epoch, cut in schedule if lies_above(model, n, cut)) for n in places}
    assert first == places


def test_rows_of_added_tokens_begin_last() -> None:
    model, new = build("decoder", labels=False), New(37, 2)
    grow(model, new)
    attachment = attach_with_rows(make_method(Choice(name="top", blocks=2, **GRADUAL)), model, new)
    assert attachment.schedule == [(0, Cut(0, 2)), (1, Cut())]
    assert "tokens.added" in attachment.trainable
    assert not lies_above(model, "tokens.added", Cut(0, 1))


def test_an_unknown_word_is_refused() -> None:
    with pytest.raises(InputError, match=r"^method: unfreeze: .*'at-once' or 'gradual', not 'slowly'\.$"):
        make_method(Choice(name="top", unfreeze="slowly"))
