"""Weights of messages between 0 and 1 and above: the weighted mean per target token, on every path, in float64."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny_runs import SPEC
from tiny_trainings import STILL
from torch import Tensor
from torch.testing import assert_close

from microtune.adapt.base import make_method
from microtune.data.batches import Item, collate, headed
from microtune.data.sources import Row
from microtune.data.text import train_bpe
from microtune.errors import InputError
from microtune.nn import heads
from microtune.nn.parameters import initialize
from microtune.nn.spec import ModelSpec, StackSpec
from microtune.nn.transformer import Transformer
from microtune.recipe import Choice, Train
from microtune.run.evaluate import evaluate_items
from microtune.run.train import Training
from microtune.run.trunk import TrunkCache
from microtune.tasks.base import Encoded
from microtune.tasks.instruction import Instruction
from microtune.tasks.preference_rows import turns_of

TOKENIZER = train_bpe(["my card was declined at the shop number 1 2 3"], SPEC.vocab_size)
TASK = Instruction(form="messages", messages_field="messages")
SIDE = StackSpec(num_layers=2, hidden_size=16, num_heads=2, intermediate_size=24, positions="learned", max_positions=64)
PAIR = ModelSpec(
    vocab_size=SPEC.vocab_size, encoder=SIDE, decoder=replace(SIDE, causal=True, cross_attention=True), head_bias=True
)
WEIGHTS = [(0.5, 1.0), (0.25, 3.0), (0.0, 0.125), (1.0, 1.0), (2.0, 0.0), (1.5, 0.75), (0.5, 0.5), (1.0, 0.1)]


def conversation(number: int, weights: tuple[float, ...]) -> list[dict[str, Any]]:
    """Two questions with their answers; all begin alike."""
    said = [("my card was declined", "at the shop"), (f"number {number}", f"number {number + 1} was declined")]
    turns: list[dict[str, Any]] = []
    for (asked, answer), weight in zip(said, weights, strict=True):
        turns += [{"role": "user", "content": asked}, {"role": "assistant", "content": answer, "weight": weight}]
    return turns


def encoded(values: list[list[dict[str, Any]]]) -> Encoded:
    rows = [Row({"messages": turns}, "m.jsonl", number) for number, turns in enumerate(values, 1)]
    return TASK.encode_all(rows, TOKENIZER, 64, training=True)


def items_of(paired: bool) -> list[Item]:
    """Conversations as items; for an encoder-decoder with a source each."""
    found = [encoded([conversation(i, w)]).items[0] for i, w in enumerate(WEIGHTS)]
    return [replace(item, sources=np.arange(4 + i) + 60) for i, item in enumerate(found)] if paired else found  # type: ignore[arg-type]


def make(spec: ModelSpec, items: list[Item], method: str = "full", micro_tokens: int = 4096, **more: Any) -> Training:
    torch.manual_seed(1)
    model = Transformer(spec)
    initialize(model, 0.2, num_layers=2)
    model = model.double()
    chosen = make_method(Choice(**({"name": "top", "blocks": 1} if method == "top" else {"name": method})))
    settings = {"epochs": 2, "batch_size": 8, "lr": 1e-2, "micro_tokens": micro_tokens, "clip": 0, **more}
    attachment = chosen.attach(model)
    return Training(model, TASK, chosen, attachment, items, Train(**settings), seed=4, precision="float32")


def literal(training: Training, items: list[Item], smoothing: float = 0.0) -> Tensor:
    """sum of w x cross-entropy over all targets / sum of w, from whole logits, one conversation at a time."""
    total, weight = torch.zeros((), dtype=torch.float64), 0.0
    for item in items:
        batch = collate([replace(item, weights=())])
        logits = training.model.head(training.model(batch.inputs, readout=batch.readout, sources=batch.sources))
        times = torch.tensor(list(item.weights) or [1.0] * len(item.targets), dtype=torch.float64)
        losses = F.cross_entropy(logits, batch.targets, reduction="none", label_smoothing=smoothing)
        total, weight = total + (losses * times).sum(), weight + float(times.sum())
    return total / weight


def vocabulary(spec: ModelSpec, **fields: Any) -> ModelSpec:
    return replace(spec, **fields)


PATHS: dict[str, tuple[ModelSpec, str, dict[str, Any]]] = {
    "gradient by formula": (STILL, "full", {}),
    "gradient by autograd in chunks": (vocabulary(STILL, head_bias=True, logit_softcap=3.0, tied=False), "full", {}),
    "smoothed": (STILL, "full", {"label_smoothing": 0.1}),
    "low-rank": (STILL, "lora", {}),
    "one by one": (STILL, "full", {"micro_tokens": 1}),
    "encoder and decoder": (PAIR, "full", {}),
}


@pytest.mark.parametrize("path", list(PATHS))
def test_loss_and_gradient_are_the_weighted_mean(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """1e-10: sums in another order."""
    monkeypatch.setattr(heads, "CHUNK_ELEMENTS", 16 * SPEC.vocab_size)  # several chunks
    spec, method, more = PATHS[path]
    items = items_of(spec.encoder is not None)
    training = make(spec, items, method, **more)
    wanted = literal(training, items, more.get("label_smoothing", 0.0))
    named = dict(training.attachment.parameters())
    slopes = torch.autograd.grad(wanted, list(named.values()))
    loss, _, _, supervised = training.optimize(training.plan(0)[0])
    assert loss == pytest.approx(float(wanted.detach()), rel=0, abs=1e-10)
    assert supervised == sum(len(item.targets) for item in items)
    for (name, parameter), slope in zip(named.items(), slopes, strict=True):
        assert parameter.grad is not None
        assert_close(parameter.grad, slope, rtol=0, atol=1e-10, msg=name)


def test_a_shared_beginning_and_a_stored_trunk_keep_the_weights(tmp_path: Path) -> None:
    """Rows that begin alike are laid down once; states that are stored need no ids."""
    items = items_of(False)
    training = make(STILL, items)
    shared = collate(items, share=True)
    assert shared.inputs.shared
    loss, weight = TASK.loss(training.model.head, training.model(shared.inputs, readout=shared.readout), shared)
    assert float(loss.detach()) / weight == pytest.approx(float(literal(training, items).detach()), rel=0, abs=1e-10)
    assert headed(items).weights is not None
    top = make(STILL, items, "top")
    trunk = TrunkCache(top.model, items, tmp_path / "t.bin", "float32", 10**9)
    assert list(trunk.fill())[-1] == len(items)
    top.trunk = trunk
    stored = sum(float(top.loss(top.collate([i]), [i]).detach()) for i in range(len(items))) / sum(
        map(TASK.weight, items)
    )
    assert stored == pytest.approx(float(literal(top, items).detach()), rel=0, abs=1e-5)  # the store rounds to float32
    trunk.close()


def test_one_by_one_is_all_at_once() -> None:
    """Two steps of Adam; 1e-10 as in test_accumulation."""
    single, whole = (make(STILL, items_of(False), micro_tokens=tokens) for tokens in (1, 4096))
    for one, other in zip(single.fit(), whole.fit(), strict=True):
        assert one.loss == pytest.approx(other.loss, rel=0, abs=1e-10)
        assert one.supervised == other.supervised
    for mine, theirs in zip(single.model.parameters(), whole.model.parameters(), strict=True):
        assert_close(mine, theirs, rtol=0, atol=1e-10)


def test_scores_count_a_turn_of_weight_2_twice() -> None:
    """Weights 1 and 2 score as the same two rows would if the second's answer stood there twice."""
    model = make(STILL, items_of(False)).model
    doubled = evaluate_items(model, TASK, encoded([conversation(7, (0.0, 2.0)), conversation(9, (0.0, 1.0))]))
    rows = [conversation(7, (0.0, 1.0)), conversation(7, (0.0, 1.0)), conversation(9, (0.0, 1.0))]
    twice = evaluate_items(model, TASK, encoded(rows))
    assert doubled.values == pytest.approx(twice.values, rel=1e-12)
    both = encoded([conversation(7, (0.5, 1.5))]).items[0]
    first, second = (encoded([conversation(7, w)]).items[0] for w in ((1.0, 0.0), (0.0, 1.0)))
    assert both.extra == 0.5 * first.extra + 1.5 * second.extra
    assert TASK.weight(both) == 0.5 * len(first.targets) + 1.5 * len(second.targets)


def test_weights_of_one_change_nothing_and_some_rows_may_have_none() -> None:
    plain = [{k: v for k, v in turn.items() if k != "weight"} for turn in conversation(3, (1.0, 1.0))]
    one, other = (encoded([turns]).items[0] for turns in (plain, conversation(3, (1.0, 1.0))))
    assert list(one.targets) == list(other.targets)
    assert len(one.weights) == len(other.weights) == 0
    assert collate([one, other]).weights is None
    mixed = collate([one, encoded([conversation(3, (0.5, 1.0))]).items[0]]).weights
    assert mixed is not None
    assert mixed.tolist()[: len(one.targets)] == [1.0] * len(one.targets)
    assert sorted(set(mixed.tolist())) == [0.5, 1.0]
    assert encoded([conversation(3, (0.0, 0.125))]).items[0].weights[0] == 0.125


def test_a_row_of_zeros_is_refused_and_a_preference_weighs_no_answers() -> None:
    with pytest.raises(InputError, match=r"m\.jsonl, line 1: there is no answer to learn in this row"):
        encoded([conversation(0, (0.0, 0.0))])
    row = Row({"chosen": conversation(0, (1.0, 0.5))}, "p.jsonl", 4)
    with pytest.raises(
        InputError, match=r'p\.jsonl, line 4: a preference compares .* in "chosen" is 1 or 0, not "0.5"'
    ):
        turns_of(row, "chosen")
    assert len(turns_of(Row({"chosen": conversation(0, (1.0, 0.0))}, "p.jsonl", 4), "chosen")) == 4
    assert math.isclose(TASK.weight(encoded([conversation(0, (1e-3, 0.0))]).items[0]), 1e-3 * 6, rel_tol=0.9)
