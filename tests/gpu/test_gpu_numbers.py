"""On a GPU the same numbers as on a CPU: states, losses, gradients, answers.

In float32 both sides differ by the order of sums alone (torch's default: no TF32), 1e-4 of the largest number. In
bfloat16 there are two ways through attention; each is held against float32, and the one kernel for all sequences may
be no further from it than the plain products by groups, but for a quarter: both round queries, keys and outputs to 8
bits, at other places.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from where import DEVICE, MARKS, ON_GPU

from microtune.adapt.base import make_method
from microtune.data.batches import Item
from microtune.nn import packed as packing
from microtune.nn.fused import run_block
from microtune.nn.heads import LabelHead, VocabularyHead, pool_mean
from microtune.nn.parameters import initialize
from microtune.nn.spec import ModelSpec, StackSpec
from microtune.nn.transformer import Transformer
from microtune.ragged import Ragged
from microtune.recipe import Choice, Train
from microtune.run.batched import Question, generate_many
from microtune.run.precision import HeldBase, autocast
from microtune.run.train import Training, micro_tokens
from microtune.tasks.classification import Classification
from microtune.tasks.instruction import Instruction

pytestmark = MARKS
VOCAB = 99
LLAMA = StackSpec(
    num_layers=3,
    hidden_size=64,
    num_heads=4,
    num_kv_heads=2,
    intermediate_size=96,
    causal=True,
    norm="rms",
    mlp="gated",
    activation="silu",
    positions="rotary",
    max_positions=256,
)
BERT = StackSpec(
    num_layers=3,
    hidden_size=64,
    num_heads=4,
    intermediate_size=96,
    causal=False,
    positions="learned",
    max_positions=256,
    placement="post",
    final_norm=False,
    embedding_norm=True,
)
T5 = replace(BERT, positions="relative", placement="pre", final_norm=True, embedding_norm=False, norm="rms")
BART = replace(BERT, cross_attention=True, causal=True)
MODERN = replace(LLAMA, causal=False, window=8, pattern="LG", rope_local_theta=100.0)
SPECS = {
    "decoder": ModelSpec(vocab_size=VOCAB, decoder=LLAMA),
    "windowed decoder": ModelSpec(vocab_size=VOCAB, decoder=replace(LLAMA, window=8, pattern="LG")),
    "softcap": ModelSpec(vocab_size=VOCAB, decoder=replace(LLAMA, attention_softcap=20.0)),
    "encoder": ModelSpec(vocab_size=VOCAB, encoder=BERT, token_types=2),
    "windowed encoder": ModelSpec(vocab_size=VOCAB, encoder=MODERN),
    "t5": ModelSpec(vocab_size=VOCAB, encoder=T5, decoder=replace(T5, causal=True, cross_attention=True)),
    "bart": ModelSpec(vocab_size=VOCAB, encoder=BERT, decoder=BART),
}
KERNEL = [name for name in SPECS if name not in ("softcap", "t5")]
LENGTHS = (17, 40, 3, 1, 17, 64, 29)


def build(spec: ModelSpec, seed: int = 0) -> Transformer:
    torch.manual_seed(seed)
    model = Transformer(spec)
    initialize(model, 0.15, num_layers=3)
    return model


def rows(lengths: tuple[int, ...] = LENGTHS, seed: int = 1) -> list[list[int]]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(VOCAB, (length,), generator=generator).tolist() for length in lengths]


def states(model: Transformer, readout: Tensor | None = None) -> Tensor:
    """Hidden states of ragged rows, on the device of the model."""
    device = next(model.parameters()).device
    ids = Ragged.from_lists(rows()).to(device)
    both = model.encoder is not None and model.decoder is not None
    sources = Ragged.from_lists(rows(LENGTHS[::-1], seed=2)).to(device) if both else None
    types = None if model.types is None else ids.values % 2
    return model(ids, sources=sources, types=types, readout=None if readout is None else readout.to(device))


def near(found: Tensor, wanted: Tensor, share: float = 1e-4) -> None:
    found, wanted = found.detach().cpu().float(), wanted.detach().float()
    assert_close(found, wanted, rtol=0, atol=share * float(wanted.abs().max()))


def gap(found: Tensor, wanted: Tensor) -> float:
    """Distance in shares of the norm."""
    return float((found.detach().cpu().double() - wanted.detach().double()).norm() / wanted.detach().double().norm())


READOUT = torch.tensor([0, 5, 16, 20, 50, 56, 59, 60, 61, 77, 100, 141, 170])


@pytest.mark.parametrize("readout", [None, READOUT], ids=["all", "readout"])
@pytest.mark.parametrize("name", SPECS)
@torch.no_grad()
def test_float32_states_and_scores_are_those_of_the_cpu(name: str, readout: Tensor | None) -> None:
    model = build(SPECS[name]).eval()
    wanted = states(model, readout)
    scores = model.head(wanted)
    found = states(model.to(DEVICE), readout)
    near(found, wanted)
    near(model.head(found), scores)


def bfloat16_pass(model: Transformer, readout: Tensor | None) -> tuple[Tensor, Tensor]:
    """States, and the gradients of all parameters in one vector."""
    model.zero_grad()
    with autocast(DEVICE, "bfloat16"):
        hidden = states(model, readout)
    hidden.float().square().mean().backward()
    return hidden, torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


@pytest.mark.parametrize("fast", [True, False], ids=["fast", "plain"])
@pytest.mark.parametrize("readout", [None, READOUT], ids=["all", "readout"])
@pytest.mark.parametrize("name", KERNEL)
def test_one_kernel_for_all_sequences_is_as_near_as_groups(
    name: str, readout: Tensor | None, fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build(SPECS[name])
    hidden = states(model, readout)
    hidden.square().mean().backward()
    wanted = hidden.detach(), torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    calls: list[int] = []
    if not fast:
        monkeypatch.setattr("microtune.nn.transformer.fusible", lambda *_: None)
    flash = packing.flash
    monkeypatch.setattr(packing, "flash", lambda *a: calls.append(1) or flash(*a))
    model.to(DEVICE)
    found = bfloat16_pass(model, readout)
    assert bool(calls) == ON_GPU
    monkeypatch.setattr(packing, "packs", lambda _: False)
    groups = bfloat16_pass(model, readout)
    for one, other, exact in zip(found, groups, wanted, strict=True):
        assert gap(one, exact) < 0.05
        assert gap(one, exact) <= 1.25 * gap(other, exact) + 2e-3


def test_a_decoder_takes_the_fast_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []
    monkeypatch.setattr("microtune.nn.transformer.run_block", lambda *a: taken.append(1) or run_block(*a))
    bfloat16_pass(build(SPECS["decoder"]).to(DEVICE), None)
    assert len(taken) == 3


def answers(count: int = 12) -> list[Item]:
    """Prompts and answers of several lengths."""
    made = []
    for row, ids in enumerate(rows(tuple(8 + 5 * (i % 5) for i in range(count)), seed=5)):
        first = 3 + row % 4
        made.append(Item(ids[:-1], range(first, len(ids) - 1), ids[first + 1 :], row=row))
    return made


def labelled(count: int = 12, pooled: bool = False) -> list[Item]:
    texts = rows(tuple(5 + 4 * (i % 6) for i in range(count)), seed=6)
    return [Item(ids, range(len(ids)) if pooled else [len(ids) - 1], [i % 2], row=i) for i, ids in enumerate(texts)]


def training(
    method: str,
    device: torch.device,
    *,
    label: bool = False,
    prepare: Callable[[Transformer], object] = lambda _: None,
    **other: Any,
) -> Training:
    """A training of the decoder; drawn on the CPU, so that both devices begin alike."""
    model = build(SPECS["decoder"])
    pooled = other.pop("pooling", None)
    if label:
        model.head = LabelHead(replace(model.spec, pooling=pooled or "last"), 2)
    chosen = make_method(Choice(name=method, **({"rank": 4} if method == "lora" else {})))
    attachment = chosen.attach(model)
    for name, parameter in attachment.parameters():  # the B of a LoRA is zero, and hides the gradient of its A
        if name.endswith("lora_B"):
            torch.nn.init.normal_(parameter, 0.0, 0.1)
    model.to(device)
    prepare(model)
    task = Classification(labels=("a", "b"), text_field="text", label_field="label") if label else Instruction()
    items = labelled(pooled=pooled == "mean") if label else answers()
    precision = other.pop("precision", "float32")
    settings = Train(**{"batch_size": 6, "lr": 1e-3, "epochs": 1, **other})
    return Training(model, task, chosen, attachment, items, settings, seed=3, precision=precision)


@pytest.mark.parametrize(
    ("method", "label", "pooling"),
    [("full", False, None), ("lora", False, None), ("lora", True, None), ("head", True, "mean")],
)
def test_losses_and_gradients_in_float32_are_those_of_the_cpu(method: str, label: bool, pooling: str | None) -> None:
    sides = [training(method, device, label=label, pooling=pooling) for device in (torch.device("cpu"), DEVICE)]
    results = [side.optimize(side.plan(0)[0]) for side in sides]
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-5)
    assert results[0][2:] == results[1][2:]
    for (name, mine), (_, theirs) in zip(*(s.attachment.parameters() for s in sides), strict=True):
        assert mine.grad is not None, name
        assert theirs.grad is not None, name
        near(theirs.grad, mine.grad)


def test_micro_batches_of_a_step_give_its_gradients() -> None:
    """One micro-batch for all rows, or one for each; float32, so that only the order of sums differs."""
    whole, cut = training("lora", DEVICE), training("lora", DEVICE, micro_tokens=1)
    batch = whole.plan(0)[0]
    assert len(batch) == 1
    assert len(cut.plan(0)[0]) == 6
    one, other = whole.optimize(batch), cut.optimize(cut.plan(0)[0])
    assert one[0] == pytest.approx(other[0], rel=1e-5)
    for (_, mine), (_, theirs) in zip(whole.attachment.parameters(), cut.attachment.parameters(), strict=True):
        near(theirs.grad, mine.grad.cpu())  # type: ignore[union-attr, arg-type]


@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
def test_frozen_weights_in_other_formats_train_and_come_back(precision: Any) -> None:
    exact = training("lora", DEVICE)
    plain = {n: p.detach().clone() for n, p in exact.model.named_parameters() if not p.requires_grad}
    loss = exact.optimize(exact.plan(0)[0])[0]
    made: list[HeldBase] = []

    def prepare(model: Transformer) -> None:
        made.append(HeldBase(model, precision, lambda: build(SPECS["decoder"])))

    one = training("lora", DEVICE, precision=precision, prepare=prepare)
    losses = [step.loss for step in one.fit()]
    assert losses[0] == pytest.approx(loss, rel=0.05)
    made[0].release()
    for name, parameter in one.model.named_parameters():
        if name in plain:
            assert torch.equal(parameter, plain[name]), name
            assert parameter.device.type == DEVICE.type


def test_losses_fall_and_the_moments_stand_on_the_device() -> None:
    one = training("lora", DEVICE, precision="bfloat16", epochs=30, lr=1e-2)
    losses = [step.loss for step in one.fit()]
    assert sum(losses[-2:]) < 0.8 * sum(losses[:2])
    tensors, _ = one.state()
    assert {t.device.type for t in tensors.values()} == {DEVICE.type}


def test_a_state_of_training_continues_on_the_device() -> None:
    """Saved in the middle, loaded into a new training, the rest gives the same weights (atomic sums: to 1e-5)."""
    whole = training("lora", DEVICE, epochs=2)
    kept = None
    for step in whole.fit():
        if step.step == 2:
            tensors, plain = whole.state()
            kept = {name: value.cpu() for name, value in tensors.items()}, plain
    again = training("lora", DEVICE, epochs=2)
    assert kept is not None
    again.load_state(*kept)
    assert [step.step for step in again.fit()] == [3, 4]
    for name, value in whole.attachment.state().items():
        near(again.attachment.state()[name], value.cpu(), 1e-5)


@pytest.mark.parametrize("name", ["decoder", "bart", "t5"])
def test_answers_are_those_of_the_cpu(name: str) -> None:
    """In float32, greedy, in batches with a cache; and in bfloat16 they come to an end."""
    model = build(SPECS[name])
    sources = rows((9, 9, 4), seed=8) if name != "decoder" else [[], [], []]
    questions = [Question(ids, src) for ids, src in zip(rows((5, 12, 5), seed=7), sources, strict=True)]
    asked = {"max_new_tokens": 12, "stop_ids": (0,)}
    wanted = dict(generate_many(model, questions, **asked))
    model.to(DEVICE)
    assert dict(generate_many(model, questions, **asked)) == wanted
    with autocast(DEVICE, "bfloat16"):
        found = dict(generate_many(model, questions, **asked))
    assert found.keys() == wanted.keys()


def test_a_mean_of_tokens_is_the_same_every_time() -> None:
    hidden, counts = torch.randn(500, 32), torch.tensor([200, 1, 0, 299])
    wanted = pool_mean(hidden, counts)
    moved = hidden.to(DEVICE).requires_grad_()
    found = [pool_mean(moved, counts.to(DEVICE)) for _ in range(3)]
    keep = [0, 1, 3]  # a sequence of no tokens has no mean
    near(found[0][keep], wanted[keep], 1e-5)
    assert all(torch.equal(found[0][keep], other[keep]) for other in found)
    found[0][keep].sum().backward()
    shares = (1 / counts[keep]).repeat_interleave(counts[keep])
    assert moved.grad is not None
    near(moved.grad, shares[:, None].expand_as(hidden), 1e-5)


def test_the_loss_over_the_vocabulary_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build(SPECS["decoder"])
    head = model.head
    assert isinstance(head, VocabularyHead)
    hidden, targets = torch.randn(50, 64), torch.randint(VOCAB, (50,))
    wanted = torch.nn.functional.cross_entropy(head(hidden), targets, reduction="sum")
    head.to(DEVICE)
    monkeypatch.setattr("microtune.nn.heads.GPU_CHUNK_ELEMENTS", 17 * VOCAB)
    leaf = hidden.to(DEVICE).requires_grad_()
    found = head.loss(leaf, targets.to(DEVICE))
    near(found, wanted, 1e-5)
    found.backward()
    assert leaf.grad is not None
    assert float(leaf.grad.abs().sum()) > 0


def test_a_gpu_takes_many_tokens_at_once() -> None:
    spec = SPECS["decoder"]
    if ON_GPU:
        assert micro_tokens(spec, device=DEVICE) == 65_536
    assert micro_tokens(spec) == 4096
