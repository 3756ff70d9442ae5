"""Gradual unfreezing in a training: what moves in which epoch, caches, resuming, checks, and AdamW written out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_trainings import DROPPING, LABELS, label_items, make, run, weights
from torch import Tensor
from torch.testing import assert_close

from microtune.adapt.unfreezing import lies_above
from microtune.errors import CheckError, RunError
from microtune.nn.spec import ModelSpec, StackSpec
from microtune.nn.transformer import Cut, Transformer
from microtune.run.evaluate import predict_items
from microtune.run.movement import Movement
from microtune.run.precision import Precision
from microtune.run.train import Training
from microtune.run.trunk import TrunkCache
from microtune.tasks.base import Encoded, EncodingReport
from microtune.tasks.language_modelling import LanguageModelling

pytestmark = pytest.mark.usefixtures("quick")

SHAPE: dict[str, Any] = {"num_layers": 3, "hidden_size": 16, "num_heads": 2, "intermediate_size": 24, "dropout": 0.2}
SPECS = {
    "decoder": DROPPING,
    "encoder": ModelSpec(vocab_size=320, encoder=StackSpec(**SHAPE, positions="learned", max_positions=32)),
    "both": ModelSpec(
        vocab_size=320,
        encoder=StackSpec(**{**SHAPE, "num_layers": 2}, positions="relative"),
        decoder=StackSpec(**SHAPE, causal=True, cross_attention=True, positions="relative"),
    ),
}
TOP = {"name": "top", "blocks": 3, "unfreeze": "gradual"}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "decoder, top": ("decoder", TOP),
    "decoder, top with norms": ("decoder", {**TOP, "blocks": 2, "norms": True}),
    "decoder, full": ("decoder", {"name": "full", "unfreeze": "gradual"}),
    "encoder, top": ("encoder", {**TOP, "blocks": 2}),
    "encoder, reinit": ("encoder", {"name": "reinit", "then": "full", "unfreeze": "gradual"}),
    "both, top": ("both", {**TOP, "blocks": 2}),
    "both, full": ("both", {"name": "full", "unfreeze": "gradual"}),  # tied: the embedding is the head
}
every = pytest.mark.parametrize("case", list(CASES))
PER_EPOCH = 4


def training(case: str, **settings: Any) -> Training:
    """Twenty rows in steps of five, so four steps an epoch, for as many epochs as there are stages and one more."""
    kind, method = CASES[case]
    task: Any = LanguageModelling() if kind == "both" else LABELS
    found = make(method, spec=SPECS[kind], task=task, **{"epochs": 6, **settings})
    if kind == "both":
        found.items = [replace(item, sources=label_items()[i].ids[::-1]) for i, item in enumerate(found.items)]
        found.sizes = [item.size for item in found.items]
    return found


def begun(found: Training, epoch: int) -> set[str]:
    """Names of what the schedule lets train in an epoch, asked of the schedule alone."""
    cut = [cut for first, cut in found.attachment.schedule if first <= epoch][-1]
    return {name for name in found.attachment.trainable if lies_above(found.model, name, cut)}


def changed(found: Training, start: dict[str, Tensor]) -> set[str]:
    return {n for n, p in found.model.named_parameters() if not torch.equal(p, start[n])}


def unmoved(name: str) -> bool:
    """Key biases without rotary positions: their gradient is zero but for rounding."""
    return name.endswith("attention.k.bias")


@pytest.mark.parametrize(("case", "precision"), [*((c, "float32") for c in CASES), ("decoder, top", "bfloat16")])
def test_exactly_the_scheduled_tensors_move_in_each_epoch(case: str, precision: Precision) -> None:
    """The others are as they were, bit for bit, without gradient and without moments."""
    found = training(case)
    found.precision = precision
    start, names = weights(found), {id(p): n for n, p in found.model.named_parameters()}
    total = dict(found.attachment.trainable)
    for step in found.fit():
        wanted = begun(found, (step.step - 1) // PER_EPOCH)
        moving = changed(found, start)
        assert moving <= wanted
        assert {n for n in wanted - moving if not unmoved(n)} == set()
        assert {n for n, p in found.model.named_parameters() if p.grad is not None} <= wanted
        moments = {names[id(p)] for member in found.optimizers.members for p in member.state}
        assert {n for n in wanted ^ moments if not unmoved(n)} == set()
        assert found.attachment.trainable == total  # between two steps everything counts
    assert wanted == set(total)
    assert found.model.cut == found.attachment.cut
    assert len(found.attachment.schedule) < 6


@every
def test_the_cut_moves_and_dropout_follows_it(case: str) -> None:
    found = training(case)
    schedule = found.attachment.schedule
    for step in found.fit():
        cut = schedule[min((step.step - 1) // PER_EPOCH, len(schedule) - 1)][1]
        assert found.model.cut == cut
        below = cut.decoder if found.model.decoder is not None else cut.encoder
        assert [block.training for block in found.model.output_stack.blocks] == [i >= below for i in range(3)]


def test_the_rate_is_that_of_a_run_at_once() -> None:
    gradual, at_once = training("decoder, full"), make("full", spec=DROPPING, epochs=6)
    assert [s.lr for s in run(gradual)] == [s.lr for s in run(at_once)]


@pytest.mark.parametrize("case", ["decoder, top", "both, top", "both, full"])
def test_every_interruption_changes_nothing(case: str) -> None:
    """Saved after each of 14 steps and put into a new training: the same bits at the end, with Muon, too."""
    for optimizer in ("adamw", "muon") if case == "decoder, top" else ("adamw",):
        whole = training(case, max_steps=14, optimizer=optimizer)
        states = [whole.state()]
        steps = []
        for step in whole.fit():
            steps.append(step)
            states.append(whole.state())
        for done in (0, 1, 3, 4, 5, 8, 9, 13):
            again = training(case, max_steps=14, optimizer=optimizer)
            again.load_state(*states[done])
            rest = run(again) if done < 14 else []
            assert [(s.step, s.loss, s.lr, s.grad_norm) for s in rest] == [
                (s.step, s.loss, s.lr, s.grad_norm) for s in steps[done:]
            ]
            assert_close(weights(again), weights(whole), rtol=0, atol=0)
            again.movement.finish(again.step)


def test_a_checkpoint_without_the_moments_of_the_top_is_refused() -> None:
    """Only what had not begun may lack them."""
    found = training("decoder, top")
    run(found, 2)
    tensors, plain = found.state()
    top = next(name for name in tensors if name.startswith("optimizer.0.") and name.endswith("exp_avg"))
    with pytest.raises(RunError, match="does not fit this run"):
        training("decoder, top").load_state({n: t for n, t in tensors.items() if n != top}, plain)


@pytest.mark.parametrize("case", ["decoder, top", "encoder, top", "both, top"])
def test_stored_states_serve_all_epochs(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They stand at the lowest cut. Only the order of sums differs: 1e-6 of the losses, 1e-5 of the weights (Adam)."""
    blocks = {"blocks": 2}  # of three, so that something is trunk to the end
    monkeypatch.setitem(CASES, case, (CASES[case][0], {**CASES[case][1], **blocks}))
    plain, cached = training(case), training(case)
    cached.trunk = TrunkCache(cached.model, cached.items, tmp_path / "trunk.bin", "float32", 10**9)
    assert cached.trunk.usable
    for _ in cached.trunk.fill():
        pass
    losses = [step.loss for step in run(plain)]
    monkeypatch.setattr(Transformer, "_lower", lambda *_, **__: pytest.fail("the trunk ran again"))
    start, found = weights(cached), []
    for step in cached.fit():
        found.append(step.loss)
        assert changed(cached, start) <= begun(cached, (step.step - 1) // PER_EPOCH)
    assert_close(found, losses, rtol=0, atol=1e-6)
    assert_close(weights(cached), weights(plain), rtol=0, atol=1e-5)
    cached.trunk.close()


def test_scores_do_not_depend_on_the_cut_of_the_epoch(tmp_path: Path) -> None:
    """While one block of two trains: live, from states of the lowest cut, and with no cut at all; 1e-6 in float32."""
    found = make({**TOP, "blocks": 2}, spec=DROPPING, epochs=3)
    trunk = TrunkCache(found.model, found.items, tmp_path / "trunk.bin", "float32", 10**9)
    for _ in trunk.fill():
        pass
    encoded = Encoded(found.items, EncodingReport())

    def scores(stored: TrunkCache | None) -> list[float]:
        return [p.confidence or 0.0 for p in predict_items(found.model, found.task, encoded, trunk=stored)]

    steps = found.fit()
    next(steps)
    assert found.model.cut == Cut(decoder=2) != trunk.cut
    staged, stored = scores(None), scores(trunk)
    found.model.cut = Cut()
    assert scores(None) == staged
    assert stored == pytest.approx(staged, rel=0, abs=1e-6)
    steps.close()
    trunk.close()


def test_micro_batches_change_nothing() -> None:
    """float32 without dropout: losses of 20 steps, 4 of them after the last block began, within 2e-5."""
    still = replace(DROPPING, decoder=replace(DROPPING.decoder, dropout=0.0))  # type: ignore[type-var]
    one, all_at_once = (
        make({**TOP, "unfreeze": "gradual"}, spec=still, epochs=4, lr=1e-3, micro_tokens=tokens) for tokens in (1, 4096)
    )
    found = [[step.loss for step in run(t)] for t in (one, all_at_once)]
    assert found[0] == pytest.approx(found[1], rel=0, abs=2e-5)


def reference(found: Training) -> Iterator[dict[str, Tensor]]:
    """The weights after each step by AdamW as it is written, whose moments begin when a tensor does."""
    model, settings = found.model, found.settings
    now = {n: p.detach().clone() for n, p in model.named_parameters()}
    moments: dict[str, tuple[Tensor, Tensor, int]] = {}
    for step in range(found.total_steps):
        model.load_state_dict(now, strict=False)
        loss = torch.zeros((), dtype=torch.float64)
        batch = found.plan(step // PER_EPOCH)[step % PER_EPOCH]
        for piece in batch:
            loss = loss + found.loss(found.collate(piece), piece)
        names = sorted(begun(found, step // PER_EPOCH))
        gradients = torch.autograd.grad(loss / sum(map(len, batch)), [model.get_parameter(n) for n in names])
        rate = settings.lr or 0.0
        for name, gradient in zip(names, gradients, strict=True):
            mean, square, count = moments.get(name, (torch.zeros_like(gradient), torch.zeros_like(gradient), 0))
            mean, square, count = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2, count + 1
            moments[name] = mean, square, count
            decay = settings.weight_decay if gradient.ndim >= 2 else 0.0
            update = mean / (1 - 0.9**count) / ((square / (1 - 0.999**count)).sqrt() + 1e-8)
            now[name] = now[name] * (1 - rate * decay) - rate * update
        yield {n: t.clone() for n, t in now.items()}


def test_moments_and_decay_begin_with_the_tensor() -> None:
    """Against AdamW written out, with every gradient computed in full: 1e-10 in float64 over three epochs."""
    still = replace(DROPPING, decoder=replace(DROPPING.decoder, dropout=0.0))  # type: ignore[type-var]
    settings = {"epochs": 3, "schedule": "constant", "warmup": 0.0, "weight_decay": 0.3, "clip": 0.0, "lr": 1e-3}

    def double() -> Training:
        made = make({**TOP}, spec=still, **settings)
        made.model.double()
        made.movement = Movement(made.model, made.attachment)  # which remembers float32
        return made

    ours, theirs = double(), double()
    theirs.model.train()
    theirs.model.cut = Cut()
    for _, wanted in zip(ours.fit(), reference(theirs), strict=True):
        assert_close(weights(ours), wanted, rtol=0, atol=1e-10)


def test_what_moves_before_its_time_stops_the_run() -> None:
    found = training("decoder, top")
    run(found, 5)  # the first in which two blocks train
    with torch.no_grad():
        found.model.get_parameter("decoder.blocks.0.mlp.up.weight")[0, 0] += 1
    with pytest.raises(CheckError, match=r"After 6 steps 1 frozen tensors have changed \(first: decoder\.blocks\.0\."):
        run(found)


def test_what_gets_no_gradient_in_its_time_stops_the_run() -> None:
    found = training("decoder, top")
    found.model.get_parameter("decoder.blocks.1.mlp.up.weight").register_hook(torch.zeros_like)
    with pytest.raises(CheckError, match=r"After 6 steps 1 trainable tensors are .* \(first: decoder\.blocks\.1\.mlp"):
        run(found)


def test_weights_kept_from_an_earlier_epoch_pass_the_last_look() -> None:
    """The best weights may be older than the last blocks to begin; those are in them as in the base."""
    found = training("decoder, top")
    best: dict[str, Tensor] = {}
    for step in found.fit():
        if step.step == 4:
            best = found.attachment.state()
    found.attachment.load_state(best)
    found.movement.finish(found.step, 4)
    with pytest.raises(CheckError, match="have not moved"):
        found.movement.finish(found.step)


def test_what_a_run_is_too_short_for_is_said() -> None:
    found = training("decoder, top")
    said = found.unfreezing.not_begun(2 * PER_EPOCH)
    assert said == (
        "method.unfreeze: after step 8, in epoch 2 of the 3 that gradual unfreezing takes, decoder.blocks.0 had not "
        "begun to train and are as in the base."
    )
    assert "decoder.blocks.0 to decoder.blocks.1" in str(found.unfreezing.not_begun(1))
    assert found.unfreezing.not_begun(2 * PER_EPOCH + 1) is None
    assert make("full").unfreezing.not_begun(1) is None
