"""Training itself: resuming bit for bit, the cached trunk, the checks that every run makes, choosing and stopping."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_runs import SPEC
from torch import Tensor
from torch.testing import assert_close

from microtune.adapt import methods
from microtune.adapt.base import make_method
from microtune.data.batches import Item
from microtune.data.text import train_bpe
from microtune.errors import CheckError, RunError
from microtune.nn.heads import LabelHead
from microtune.nn.parameters import initialize
from microtune.nn.spec import ModelSpec, StackSpec
from microtune.nn.transformer import Cut, Transformer
from microtune.recipe import Choice as Chosen
from microtune.recipe import Train, build
from microtune.run.disk import write_tensors
from microtune.run.folder import RunFolder
from microtune.run.invariants import check_stops, check_supervision
from microtune.run.movement import Movement
from microtune.run.optimizers import schedule
from microtune.run.session import Choice, Scored, run_training
from microtune.run.train import Step, Training
from microtune.run.trunk import TrunkCache
from microtune.tasks.base import EncodingReport
from microtune.tasks.classification import Classification
from microtune.tasks.language_modelling import LanguageModelling, block_item

assert SPEC.decoder is not None
DROPPING = replace(SPEC, decoder=replace(SPEC.decoder, num_layers=3, dropout=0.2))
STILL = replace(DROPPING, decoder=replace(DROPPING.decoder, dropout=0.0))  # type: ignore[type-var]
LABELS = Classification(labels=("a", "b"), text_field="text", label_field="label")


def label_items(count: int = 20) -> list[Item]:
    """Texts of different lengths; the label follows from the first token."""
    generator = np.random.default_rng(0)
    items = []
    for row in range(count):
        ids = generator.integers(60, 320, size=int(generator.integers(3, 12))).tolist()
        items.append(Item(ids, [len(ids) - 1], [int(ids[0] > 190)], row=row))
    return items


def text_items(count: int = 20) -> list[Item]:
    return [block_item([*item.ids, 1]) for item in label_items(count)]


def make(
    method: str | dict[str, Any] = "full",
    *,
    spec: ModelSpec = DROPPING,
    task: Classification | LanguageModelling = LABELS,
    seed: int = 4,
    **settings: Any,
) -> Training:
    """A training in float32 of a model whose weights do not depend on `seed`."""
    torch.manual_seed(1)
    model = Transformer(spec)
    initialize(model, 0.2, num_layers=3)
    labelled = isinstance(task, Classification)
    if labelled:
        model.head = LabelHead(spec, 2)
    chosen = make_method(Chosen(**({"name": method} if isinstance(method, str) else method)))
    values = {"epochs": 2, "batch_size": 5, "lr": 1e-2, "precision": "float32", **settings}
    attachment = chosen.attach(model)
    items = label_items() if labelled else text_items()
    if spec.pooling == "mean":
        items = [replace(item, readout=range(len(item.ids))) for item in items]
    return Training(model, task, chosen, attachment, items, Train(**values), seed=seed, precision="float32")


def weights(training: Training) -> dict[str, Tensor]:
    return {n: p.detach().clone() for n, p in training.model.named_parameters()}


def run(training: Training, steps: int = 1000) -> list[Step]:
    found = []
    for step in training.fit():
        found.append(step)
        if len(found) == steps:
            break
    return found


LORA = {"name": "lora", "rank": 2, "dropout": 0.3}
OPTIONS: dict[str, Any] = {"lora": LORA, "top": {"name": "top", "blocks": 1}, "reinit": {"name": "reinit", "blocks": 1}}
RESUMED: dict[str, dict[str, Any]] = {
    "adamw": {"method": "full"},
    "muon": {"method": "full", "optimizer": "muon"},
    "lora": {"method": LORA},
    "top, cosine": {"method": "top", "schedule": "cosine"},
    "language modelling": {"method": "full", "task": LanguageModelling()},
    **{name: {"method": OPTIONS.get(name, name)} for name in methods if name not in ("full", "lora", "top")},
}


@pytest.mark.parametrize("name", list(RESUMED))
@pytest.mark.parametrize("at", [1, 4, 7])
def test_a_resumed_training_is_the_uninterrupted_one_bit_for_bit(name: str, at: int, tmp_path: Path) -> None:
    """Dropout is on; the state goes through safetensors and JSON, as a checkpoint does. Step 4 ends an epoch."""
    whole = make(**RESUMED[name])
    losses = [step.loss for step in run(whole)]
    assert len(losses) == 8
    first = make(**RESUMED[name])
    begun = [step.loss for step in run(first, at)]
    tensors, plain = first.state()
    write_tensors(tmp_path / "state.safetensors", tensors)
    torch.manual_seed(99)  # another process has another random state
    second = make(**RESUMED[name])
    second.load_state(load_file(tmp_path / "state.safetensors"), json.loads(json.dumps(plain)))
    assert begun + [step.loss for step in run(second)] == losses
    assert_close(weights(second), weights(whole), rtol=0, atol=0)


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


AVERAGED = replace(DROPPING, pooling="mean")
CUT: dict[str, tuple[Any, ModelSpec, Classification]] = {
    "top": ({"name": "top", "blocks": 1}, DROPPING, LABELS),
    "lora": ({**LORA, "first_block": 2}, DROPPING, LABELS),
    "head": ({"name": "head"}, DROPPING, LABELS),
    "head over means": ({"name": "head"}, AVERAGED, LABELS.fitted(AVERAGED)),
    "top under means": ({"name": "top", "blocks": 1}, AVERAGED, LABELS.fitted(AVERAGED)),
}


@pytest.mark.parametrize("name", list(CUT))
def test_a_cached_trunk_gives_the_same_weights(name: str, tmp_path: Path) -> None:
    """Two epochs with dropout above the cut; only the order of sums may differ: 1e-6 in float32 of the losses.

    1e-5 of the weights after eight steps of 1e-2: Adam enlarges what rounding does to a gradient near zero.
    """
    choice, spec, task = CUT[name]
    plain, cached = (make(choice, spec=spec, task=task) for _ in range(2))
    trunk = TrunkCache(cached.model, cached.items, tmp_path / "trunk.bin", "float32", 10**9)
    assert trunk.usable
    assert trunk.pooled == (name == "head over means")
    assert (trunk.bytes == 4 * SPEC.hidden_size * len(cached.items)) == name.startswith("head")
    assert list(trunk.fill())[-1] == len(cached.items)
    cached.trunk = trunk
    losses = [step.loss for step in run(plain)]
    assert_close([step.loss for step in run(cached)], losses, rtol=0, atol=1e-6)
    assert_close(weights(cached), weights(plain), rtol=0, atol=1e-5)
    trunk.close()
    assert not (tmp_path / "trunk.bin").exists()


def two_stacks(placement: str) -> ModelSpec:
    """An encoder-decoder with dropout in both stacks; encoder and decoder of other depths and head counts."""
    shape: dict[str, Any] = {"hidden_size": 16, "intermediate_size": 24, "dropout": 0.2, "placement": placement}
    encoder = StackSpec(num_layers=2, num_heads=2, positions="relative", **shape)
    decoder = StackSpec(num_layers=3, num_heads=4, causal=True, cross_attention=True, positions="relative", **shape)
    return ModelSpec(vocab_size=320, encoder=encoder, decoder=decoder, tied=True)


@pytest.mark.parametrize("placement", ["pre", "post"])
@pytest.mark.parametrize("first_block", [1, 2])
def test_a_cached_encoder_and_decoder_give_the_same_weights(
    placement: str, first_block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both stacks below the cut are computed once; tolerances as above."""
    spec, choice = two_stacks(placement), {"name": "top", "blocks": 3 - first_block}

    def training() -> Training:
        found = make(choice, spec=spec, task=LanguageModelling())
        found.items = [replace(item, sources=label_items()[i].ids[::-1]) for i, item in enumerate(found.items)]
        found.sizes = [item.size for item in found.items]
        return found

    plain, cached = training(), training()
    trunk = TrunkCache(cached.model, cached.items, tmp_path / "trunk.bin", "float32", 10**9)
    assert trunk.usable
    assert trunk.bytes == 4 * 16 * sum(cached.sizes)  # of the encoder as many vectors as sources, of the decoder as ids
    for _ in trunk.fill():
        pass
    cached.trunk = trunk
    losses = [step.loss for step in run(plain)]
    monkeypatch.setattr(Transformer, "_lower", lambda *_, **__: pytest.fail("a block below the cut ran again"))
    assert_close([step.loss for step in run(cached)], losses, rtol=0, atol=1e-6)
    assert_close(weights(cached), weights(plain), rtol=0, atol=1e-5)
    trunk.close()
    assert not list(tmp_path.iterdir())


def test_the_trunk_is_really_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    training = make({"name": "top", "blocks": 1})
    training.trunk = TrunkCache(training.model, training.items, tmp_path / "trunk.bin", "float32", 10**9)
    calls = []
    lower = Transformer._lower
    monkeypatch.setattr(Transformer, "_lower", lambda *a, **k: calls.append(1) or lower(*a, **k))
    done = list(training.trunk.fill())
    assert len(calls) == len(done)
    run(training)
    assert len(calls) == len(done)  # the blocks below the cut never ran again
    assert training.trunk.filled
    expected = 4 * sum(len(item.ids) for item in label_items()) * SPEC.hidden_size
    assert (tmp_path / "trunk.bin").stat().st_size == training.trunk.bytes == expected
    training.trunk.close()


def test_what_cannot_be_cached(tmp_path: Path) -> None:
    def usable(method: Any, limit: int = 10**9) -> bool:
        training = make(method)
        return TrunkCache(training.model, training.items, tmp_path / "trunk.bin", "float32", limit).usable

    assert not usable("full")
    assert not usable("lora")
    assert usable({"name": "top", "blocks": 1})
    assert not usable({"name": "top", "blocks": 1}, limit=1000)
    assert not usable({"name": "top", "blocks": 3})


def test_no_dropout_in_a_frozen_trunk() -> None:
    training = make({"name": "top", "blocks": 1})
    run(training, 1)
    assert [block.training for block in training.model.output_stack.blocks] == [False, False, True]


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
