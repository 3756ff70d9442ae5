"""Training itself: resuming bit for bit, the checks that every run makes, choosing and stopping."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny_trainings import LABELS, LORA, OPTIONS, STILL, label_items, make, run, weights
from torch import Tensor
from torch.testing import assert_close

from microtune.adapt import methods
from microtune.adapt.base import make_method
from microtune.data.batches import Item
from microtune.data.text import train_bpe
from microtune.errors import CheckError, RunError
from microtune.nn.transformer import Cut
from microtune.recipe import Choice as Chosen
from microtune.recipe import Train, build
from microtune.run.disk import write_tensors
from microtune.run.folder import RunFolder
from microtune.run.invariants import check_stops, check_supervision
from microtune.run.movement import Movement
from microtune.run.optimizers import schedule
from microtune.run.session import Choice, Scored, run_training
from microtune.run.train import Training
from microtune.tasks.base import EncodingReport
from microtune.tasks.language_modelling import LanguageModelling

RESUMED: dict[str, dict[str, Any]] = {
    "adamw": {"method": "full"},
    "muon": {"method": "full", "optimizer": "muon"},
    "lora": {"method": LORA},
    "dora": {"method": LORA | {"variant": "dora"}},
    "dora, muon": {"method": {"name": "lora", "rank": 2, "variant": "dora"}, "optimizer": "muon"},
    "top, cosine": {"method": "top", "schedule": "cosine"},
    "language modelling": {"method": "full", "task": LanguageModelling()},
    **{name: {"method": OPTIONS.get(name, name)} for name in methods if name not in ("full", "lora", "top")},
}


STOPS = (1, 4, 7)  # of eight steps; the fourth ends an epoch


@cache
def uninterrupted(name: str) -> tuple[list[float], dict[str, Tensor]]:
    """Losses of the eight steps, and the weights then."""
    whole = make(**RESUMED[name])
    return [step.loss for step in run(whole)], weights(whole)


@cache
def stopped(name: str) -> dict[int, tuple[list[float], dict[str, Tensor], dict[str, Any]]]:
    """Of a second training, the losses so far and the state after each of STOPS, as a checkpoint takes it."""
    losses, found, training = [], {}, make(**RESUMED[name])
    for step in training.fit():
        losses.append(step.loss)
        if step.step in STOPS:
            found[step.step] = ([*losses], *training.state())
        if step.step == STOPS[-1]:
            break
    return found


@pytest.mark.parametrize("name", list(RESUMED))
@pytest.mark.parametrize("at", STOPS)
def test_a_resumed_training_is_the_uninterrupted_one_bit_for_bit(name: str, at: int, tmp_path: Path) -> None:
    """Dropout is on; the state goes through safetensors and JSON, as a checkpoint does."""
    losses, end = uninterrupted(name)
    assert len(losses) == 8
    begun, tensors, plain = stopped(name)[at]
    write_tensors(tmp_path / "state.safetensors", tensors)
    torch.manual_seed(99)  # another process has another random state
    second = make(**RESUMED[name])
    second.load_state(load_file(tmp_path / "state.safetensors"), json.loads(json.dumps(plain)))
    assert begun + [step.loss for step in run(second)] == losses
    assert_close(weights(second), end, rtol=0, atol=0)


def test_a_state_of_other_frozen_weights_is_refused() -> None:
    training = make(LORA)
    run(training, 2)
    state = training.state()
    other = make(LORA, spec=STILL)
    with torch.no_grad():
        other.model.tokens.weight[7, 3] += 1e-7
    changed = Training(
        other.model, LABELS, make_method(Chosen(**LORA)), other.attachment, other.items, other.settings, seed=4,
        precision="float32",
    )  # fmt: skip
    with pytest.raises(RunError, match="The base model has changed since this run began"):
        changed.load_state(*state)


@pytest.mark.parametrize("name", list(methods))
def test_the_seed_decides_everything(name: str) -> None:
    first, again, other = (make(OPTIONS.get(name, name), seed=seed) for seed in (4, 4, 5))
    losses = [[step.loss for step in run(training)] for training in (first, again, other)]
    assert losses[0] == losses[1] != losses[2]
    assert_close(weights(first), weights(again), rtol=0, atol=0)


def test_evaluating_between_two_steps_changes_nothing() -> None:
    plain, watched = make(), make()
    losses = [step.loss for step in run(plain)]
    found = []
    for step in watched.fit():
        watched.model.eval()
        torch.rand(3)
        found.append(step.loss)
    assert found == losses


def test_an_update_without_a_gradient_is_noticed() -> None:
    training = make(LORA)
    training.model.cut = Cut(decoder=1)  # as a wrong cut would have it
    pattern = r"After 2 steps 14 trainable tensors have not moved \(first: decoder.blocks.0.attention.q.lora_A\)"
    with pytest.raises(CheckError, match=pattern):
        run(training)


def test_a_detached_update_is_noticed() -> None:
    training = make({"name": "top", "blocks": 2})
    training.optimizers.parameters.clear()
    for member in training.optimizers.members:
        for group in member.param_groups:
            group["params"] = group["params"][:-1]
    with pytest.raises(CheckError, match="have not moved"):
        run(training)


@pytest.mark.parametrize("change", [1.0, 1e-30])
def test_a_frozen_tensor_that_moves_is_noticed(change: float) -> None:
    training = make(LORA)
    with torch.no_grad():
        training.model.tokens.weight[319, 15] = 0.0
    training.movement = Movement(training.model, training.attachment)

    def meddle() -> None:
        for _ in training.fit():
            training.model.tokens.weight.data[319, 15] = change

    with pytest.raises(CheckError, match=r"1 frozen tensors have changed \(first: tokens.weight\)"):
        meddle()


def test_steps_without_a_rate_do_not_count() -> None:
    training = make(LORA)
    for step in range(5):
        training.movement.check(step, 0.0)
    training.movement.check(6, 1e-3)
    with pytest.raises(CheckError, match="After 7 steps"):
        training.movement.check(7, 1e-3)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_stops_the_run(value: float) -> None:
    training = make(LORA)
    before = training.attachment.state()
    with torch.no_grad():
        training.model.output_stack.blocks[0].mlp.up.base.weight[0, 0] = value  # type: ignore[union-attr, index]
    with pytest.raises(CheckError, match=r"The loss is nan at step 1: lower train.lr"):
        run(training)
    assert_close(training.attachment.state(), before, rtol=0, atol=0)  # nothing was learnt from it


def test_supervision_is_checked() -> None:
    def check(whole_text: bool = False, **values: int) -> None:
        check_supervision(EncodingReport(**{"rows": 100, "items": 100, "tokens": 900, "supervised": 300, **values}),
                          whole_text=whole_text)  # fmt: skip

    check()
    check(dropped=5)
    check(whole_text=True, supervised=900)
    with pytest.raises(CheckError, match="No token is supervised"):
        check(supervised=0)
    with pytest.raises(CheckError, match="Every token is supervised, prompts included"):
        check(supervised=900)
    with pytest.raises(CheckError, match="6 of 100 rows are longer than the model can read"):
        check(dropped=6)


def test_stop_tokens_are_checked() -> None:
    tokenizer = train_bpe(["a text"], 320)
    stop = tokenizer.stop_ids[0]
    check_stops([Item([9, 8], [1], [stop])], tokenizer)
    for items in ([Item([9, 8], [1], [70])], [Item([9], [], [])]):
        with pytest.raises(CheckError, match="does not end with a stop token"):
            check_stops(items, tokenizer)


@pytest.mark.parametrize("task", [LABELS, LanguageModelling()], ids=["label", "text"])
def test_micro_batches_do_not_change_the_result(task: Any) -> None:
    """float32, without dropout; 1e-5 per weight after eight steps of 1e-2, because Adam enlarges rounding errors."""
    found = [make(spec=STILL, task=task, micro_tokens=tokens) for tokens in (1, 20, 4096)]
    steps = [run(training) for training in found]
    for other, mine in zip(steps[1:], found[1:], strict=True):
        assert_close([s.loss for s in other], [s.loss for s in steps[0]], rtol=1e-6, atol=1e-6)
        assert [(s.tokens, s.supervised) for s in other] == [(s.tokens, s.supervised) for s in steps[0]]
        assert_close(weights(mine), weights(found[0]), rtol=0, atol=1e-5)


def test_steps_say_what_happened() -> None:
    training = make(epochs=2, batch_size=8, lr=0.1, warmup=0.5, clip=1e-3)
    steps = run(training)
    sizes = [len(item.ids) for item in label_items()]
    assert [step.step for step in steps] == [1, 2, 3, 4, 5, 6]
    assert [step.epoch for step in steps] == pytest.approx([i / 3 for i in range(1, 7)])
    assert sum(step.tokens for step in steps) == 2 * sum(sizes)
    assert sorted(step.supervised for step in steps) == [4, 4, 8, 8, 8, 8]
    assert [step.lr for step in steps] == pytest.approx([0.1 * x for x in (1 / 3, 2 / 3, 1, 1, 2 / 3, 1 / 3)])
    assert all(step.grad_norm > 1e-3 and step.seconds > 0 for step in steps)  # the norm before clipping


def test_schedules() -> None:
    def rates(kind: str, warmup: float = 0.0) -> list[float]:
        return [schedule(Train(schedule=kind, warmup=warmup), step, 10) for step in range(10)]

    assert rates("constant") == [1.0] * 10
    assert rates("linear") == pytest.approx([1 - i / 10 for i in range(10)])
    assert rates("cosine") == pytest.approx([0.05 + 0.95 * (1 + math.cos(math.pi * i / 10)) / 2 for i in range(10)])
    assert rates("wsd")[:8] == [1.0] * 8
    assert rates("wsd")[9] == pytest.approx(0.5)
    assert rates("linear", 0.2)[:3] == pytest.approx([0.5, 1.0, 1.0])
    assert all(0 < rate <= 1 for kind in ("linear", "cosine", "wsd") for rate in rates(kind, 0.3))


def test_decay_spares_biases_and_norms_and_the_head_has_its_own_rate() -> None:
    training = make("full", lr=None, weight_decay=0.1)
    groups = [group for member in training.optimizers.members for group in member.param_groups]
    decays = {id(p): (group["weight_decay"], group["peak"]) for group in groups for p in group["params"]}
    found = {name: decays[id(p)] for name, p in training.attachment.parameters()}
    assert found["decoder.norm.weight"] == (0.0, 1e-4)
    assert found["decoder.blocks.0.mlp.up.weight"] == (0.1, 1e-4)
    assert found["head.out.weight"] == (0.1, 1e-3)
    assert len(decays) == len(found)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[RunFolder]:
    found = RunFolder(tmp_path / "run")
    found.open(build({"task": "classification", "data": "x"}), {}, overwrite=False)
    yield found
    found.close()


def judged(training: Training, folder: RunFolder, values: list[float], *, greater: bool = True) -> list[Any]:
    """Train with the given scores, one per epoch -> [(scores, weights then)]."""
    seen: list[Any] = []

    def evaluate() -> Scored:
        seen.append(training.attachment.state())
        return Scored("validation", training.step, {"score": values[len(seen) - 1]})

    events = list(run_training(training, folder, Choice("score", greater), evaluate))
    scored = [event for event in events if isinstance(event, Scored)]
    return list(zip(scored, seen, strict=True))


@pytest.mark.parametrize(
    ("keep", "greater", "values", "kept"),
    [
        ("best", True, [0.5, 0.9, 0.9, 0.7], 1),  # the earlier one of two equals
        ("best", False, [0.5, 0.9, 0.4, 0.7], 2),
        ("last", True, [0.9, 0.5, 0.4, 0.3], 3),
        ("best", True, [0.1, 0.2, 0.3, 0.4], 3),
    ],
)
def test_the_weights_that_a_run_ends_with(
    keep: str, greater: bool, values: list[float], kept: int, folder: RunFolder
) -> None:
    training = make(epochs=4, batch_size=10, keep=keep)
    found = judged(training, folder, values, greater=greater)
    assert len(found) == 4
    assert_close(training.attachment.state(), found[kept][1], rtol=0, atol=0)
    better = max if greater else min
    assert [scored.best for scored, _ in found] == [
        i == 0 or better(values[:i]) != better(values[: i + 1]) for i in range(4)
    ]


def test_patience_stops_and_keeps_the_best(folder: RunFolder) -> None:
    training = make(epochs=8, batch_size=10, patience=2)
    found = judged(training, folder, [0.5, 0.6, 0.4, 0.6, 0.9, 0.9, 0.9, 0.9])
    assert len(found) == 4  # two epochs in a row without gain
    assert training.step == 8
    assert_close(training.attachment.state(), found[1][1], rtol=0, atol=0)


def test_without_patience_a_run_goes_to_its_end(folder: RunFolder) -> None:
    assert len(judged(make(epochs=4, batch_size=10), folder, [0.9, 0.1, 0.1, 0.1])) == 4


def test_max_steps_end_an_epoch_early(folder: RunFolder) -> None:
    training = make(epochs=4, batch_size=10, max_steps=3)
    assert [scored.step for scored, _ in judged(training, folder, [0.1, 0.2])] == [2, 3]
