"""One function broken in an otherwise ordinary run: the check of its name stops each fault and names tensor or row.

docs/checks.md names these tests.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from command import call
from planted import answers, conversations, labelled, made, stopped, tune, write
from torch import Tensor, nn

from microtune.adapt.base import Attachment
from microtune.data.batches import Item
from microtune.nn.transformer import Transformer
from microtune.run import beginning, models, networks, optimizers, saved
from microtune.run import predict as prediction
from microtune.run.adamw import AdamW
from microtune.run.optimizers import Optimizers
from microtune.run.train import Training
from microtune.tasks.instruction import Instruction
from tiny_model import SPEC, make_model

pytestmark = pytest.mark.usefixtures("quick")

Capture = pytest.CaptureFixture[str]
Patch = pytest.MonkeyPatch


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def trainings(monkeypatch: Patch) -> list[Training]:
    """The trainings that begin while the test runs."""
    found: list[Training] = []
    begin = Training.__init__

    def remembered(self: Training, *args: Any, **options: Any) -> None:
        begin(self, *args, **options)
        found.append(self)

    monkeypatch.setattr(Training, "__init__", remembered)
    return found


def after_step(monkeypatch: Patch, act: Callable[[int], None]) -> None:
    """Do something after every update of the weights."""
    step = Optimizers.step

    def both(self: Optimizers, number: int) -> float:
        rate = step(self, number)
        act(number + 1)
        return rate

    monkeypatch.setattr(Optimizers, "step", both)


# ------------------------------------------------------------------------------------------------- what moves


def test_a_backward_pass_that_gives_zeros(model: Path, tmp_path: Path, capsys: Capture, monkeypatch: Patch) -> None:
    """Weight decay moves the matrices all the same, so that looking at the weights alone would not show it."""
    begin = Attachment.__init__

    def broken(self: Attachment, *args: Any, **options: Any) -> None:
        begin(self, *args, **options)
        for name, parameter in self.parameters():
            if name.endswith("lora_A"):
                parameter.register_hook(torch.zeros_like)

    monkeypatch.setattr(Attachment, "__init__", broken)
    sentence = stopped(tune(capsys, model, labelled(tmp_path), "train.weight_decay=0.1"), "gradient")
    assert sentence.startswith(
        "After 2 steps 14 trainable tensors are moved by weight decay alone (first: "
        "decoder.blocks.0.attention.q.lora_A): no gradient reaches them."
    )


def test_an_optimizer_of_other_tensors(model: Path, tmp_path: Path, capsys: Capture, monkeypatch: Patch) -> None:
    """The adapter is copied before the optimizer sees it, as when a model is moved to its device too late."""
    parameters = Attachment.parameters

    def copies(self: Attachment) -> Iterator[tuple[str, nn.Parameter]]:
        for name, parameter in parameters(self):
            yield name, nn.Parameter(parameter.detach().clone()) if "lora" in name else parameter

    monkeypatch.setattr(Optimizers, "__init__", _with(Optimizers.__init__, monkeypatch, copies))
    sentence = stopped(tune(capsys, model, labelled(tmp_path)), "gradient")  # each B stays 0: no A has a gradient
    assert sentence.startswith("After 2 steps 14 trainable tensors have not moved (first: decoder.blocks.0.attention.q")


def _with(begin: Any, monkeypatch: Patch, parameters: Any) -> Any:
    """`begin` that sees other parameters of the attachment."""

    def changed(self: Optimizers, *args: Any, **options: Any) -> None:
        with monkeypatch.context() as inside:
            inside.setattr(Attachment, "parameters", parameters)
            begin(self, *args, **options)

    return changed


def test_an_optimizer_that_does_not_step(model: Path, tmp_path: Path, capsys: Capture, monkeypatch: Patch) -> None:
    monkeypatch.setattr(AdamW, "step", lambda self: None)
    sentence = stopped(tune(capsys, model, labelled(tmp_path), method="top:1"), "moved")
    assert sentence.startswith("After 2 steps 11 trainable tensors have not moved (first: decoder.blocks.1.")


@pytest.mark.parametrize("step", [1, 7])
def test_a_frozen_tensor_that_moves(
    step: int, trainings: list[Training], model: Path, tmp_path: Path, capsys: Capture, monkeypatch: Patch
) -> None:
    """At once, or long after the first steps: then the end shows it."""

    def meddle(number: int) -> None:
        if number == step:
            trainings[0].model.tokens.weight.data[319, 15] += 1e-7

    after_step(monkeypatch, meddle)
    sentence = stopped(tune(capsys, model, labelled(tmp_path)), "frozen")
    assert sentence.startswith(f"After {2 if step == 1 else 8} steps 1 frozen tensors have changed (first: tokens.weig")
    assert not (tmp_path / "run" / "scores.json").exists()


def test_a_schedule_that_never_rises(model: Path, tmp_path: Path, capsys: Capture, monkeypatch: Patch) -> None:
    monkeypatch.setattr(optimizers, "schedule", lambda settings, step, total: 0.0)
    sentence = stopped(tune(capsys, model, labelled(tmp_path)), "rate-zero")
    assert sentence.startswith("The learning rate is never above zero in 8 steps (train.lr 0.01, schedule linear)")
    assert not (tmp_path / "run").exists()


def test_a_matrix_that_is_no_longer_tied(model: Path, tmp_path: Path, capsys: Capture, monkeypatch: Patch) -> None:
    """The model is loaded tied, but its head is a copy that would be trained apart."""
    load = beginning.load

    def untied(*args: Any, **options: Any) -> Any:
        loaded = load(*args, **options)
        assert loaded.spec.tied
        loaded.network.head.out.weight = nn.Parameter(loaded.network.tokens.weight.detach().clone())
        return loaded

    monkeypatch.setattr(beginning, "load", untied)
    answer = tune(capsys, model, answers(tmp_path), "--split", "none", task="instruction", method="full")
    sentence = stopped(answer, "tied")
    assert sentence.startswith("head.out.weight and tokens.weight are two tensors (largest difference 0), but ")


# ------------------------------------------------------------------------------------------------- numbers


def test_a_loss_that_is_nan_once(
    trainings: list[Training], model: Path, tmp_path: Path, capsys: Capture, monkeypatch: Patch
) -> None:
    """Step 7 fails; the checkpoint of step 6 stays, and the same command goes on from it to the very same end."""
    data = labelled(tmp_path)
    assert tune(capsys, model, data, "train.checkpoint_steps=3").code == 0
    whole = (tmp_path / "run" / "model" / "trained.safetensors").read_bytes()
    loss = Training.loss

    again = ["--overwrite", "train.checkpoint_steps=3"]
    with monkeypatch.context() as inside:
        plan = trainings[0].plan(1)[6 - trainings[0].steps_per_epoch]
        bad = max(i for piece in plan for i in piece)
        inside.setattr(
            Training,
            "loss",
            lambda self, batch, piece: (
                loss(self, batch, piece) * (float("nan") if self.step == 6 and bad in piece else 1.0)
            ),
        )
        sentence = stopped(tune(capsys, model, data, *again), "finite")
    assert "The loss is nan at step 7: lower train.lr, or mend the rows that give it, 1 of 8 in this step: " in sentence
    assert sentence.endswith(f"{data}, line {trainings[0].rows[bad].line}.")
    kept = [path.name for path in sorted((tmp_path / "run" / "checkpoints").iterdir())]
    assert kept == ["step-00000003", "step-00000006"]
    answer = tune(capsys, model, data, *again)
    assert answer.code == 0
    assert "Resumed at step 6 of 8." in answer.err
    assert (tmp_path / "run" / "model" / "trained.safetensors").read_bytes() == whole


def test_weights_that_go_astray_leave_the_checkpoint_before(
    trainings: list[Training], model: Path, tmp_path: Path, capsys: Capture, monkeypatch: Patch
) -> None:
    """After step 4 the weights are finite but far too large: the checkpoint of step 3 is the last good one."""

    def explode(number: int) -> None:
        if number == 4:
            for _, parameter in trainings[0].attachment.parameters():
                parameter.data.fill_(1e37)

    after_step(monkeypatch, explode)
    sentence = stopped(tune(capsys, model, labelled(tmp_path), "train.checkpoint_steps=1"), "finite")
    assert "at step 5: lower train.lr, for all 8 rows of the step give it" in sentence
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["step-00000003"]


def test_a_gradient_that_is_infinite(model: Path, tmp_path: Path, capsys: Capture, monkeypatch: Patch) -> None:
    monkeypatch.setattr(Optimizers, "clip", lambda self: float("inf"))
    sentence = stopped(tune(capsys, model, labelled(tmp_path)), "finite")
    assert sentence.startswith("The gradient norm is inf at step 1: lower train.lr (none of its rows gives it alone;")


def test_a_weight_that_is_nan_is_not_saved(
    trainings: list[Training], model: Path, tmp_path: Path, capsys: Capture, monkeypatch: Patch
) -> None:
    def spoil(number: int) -> None:
        if number == 3:
            dict(trainings[0].attachment.parameters())["head.out.weight"].data[0, 0] = float("nan")

    after_step(monkeypatch, spoil)
    sentence = stopped(tune(capsys, model, labelled(tmp_path), "train.checkpoint_steps=3"), "finite")
    assert sentence.startswith("After step 3 the tensor head.out.weight holds values that are no finite numbers")
    assert not (tmp_path / "run" / "checkpoints").exists()


# ------------------------------------------------------------------------------------------------- ids and masks


def test_an_answer_that_is_cut_after_all(model: Path, tmp_path: Path, capsys: Capture, monkeypatch: Patch) -> None:
    """Encoding cuts instead of leaving the row out: the answer has lost its end."""
    encode = Instruction.encode

    def cut(self: Instruction, row: Any, index: int, *others: Any) -> Item | None:
        item = encode(self, row, index, *others)
        assert item is not None
        return item if index != 5 else Item(item.ids[:-1], item.readout[:-1], item.targets[:-1], row=index)

    monkeypatch.setattr(Instruction, "encode", cut)
    data = answers(tmp_path)
    sentence = stopped(tune(capsys, model, data, "--split", "none", task="instruction"), "stop-token")
    assert sentence.startswith(f"{data}, line 6: An answer does not end with a stop token")


def test_prompts_that_generation_begins_otherwise(
    model: Path, tmp_path: Path, capsys: Capture, monkeypatch: Patch
) -> None:
    real = prediction.chat_prompt
    monkeypatch.setattr(prediction, "chat_prompt", lambda *given: [2, *real(*given)])
    data = conversations(tmp_path)
    sentence = stopped(tune(capsys, model, data, "--split", "none", task="instruction"), "prompt-ids")
    assert sentence.startswith(f"{data}, line 1: generation would start from other ids than training has")
    assert "(they part at token 0)" in sentence


# ------------------------------------------------------------------------------------------------- what is saved


def test_an_adapter_that_is_not_applied(model: Path, tmp_path: Path, capsys: Capture, monkeypatch: Patch) -> None:
    """It trains, but outside of training it is switched off."""
    forward = Transformer.forward

    def off(self: Transformer, *args: Any, **options: Any) -> Tensor:
        updates = [] if self.training else [p for n, p in self.named_parameters() if n.endswith("lora_B")]
        kept = [p.detach().clone() for p in updates]
        for parameter in updates:
            parameter.data.zero_()
        found = forward(self, *args, **options)
        for parameter, value in zip(updates, kept, strict=True):
            parameter.data.copy_(value)
        return found

    monkeypatch.setattr(Transformer, "forward", off)
    sentence = stopped(tune(capsys, model, labelled(tmp_path)), "no-effect")
    assert sentence.startswith("With and without what was learnt the model gives the same outputs for 11 training rows")
    assert not (tmp_path / "run" / "scores.json").exists()


@pytest.mark.parametrize(
    ("spoil", "check", "said"),
    [
        (
            lambda t: t.update({"head.out.weight": t["head.out.weight"] + 1e-6}),
            "reload",
            "first tensor that differs: h",
        ),
        (lambda t: t.pop("head.out.weight"), "fits", 'tensor "head.out.weight": none in the files, but'),
        (lambda t: t.update({k: torch.zeros(0) for k in t if "lora_A" in k}), "fits", "lora_A"),
    ],
    ids=["values", "head left out", "empty"],
)
def test_a_run_that_is_saved_wrongly(
    spoil: Any, check: str, said: str, model: Path, tmp_path: Path, capsys: Capture, monkeypatch: Patch
) -> None:
    write_tensors = saved.write_tensors

    def broken(path: Path, tensors: dict[str, Tensor], *more: Any) -> None:
        if path.name == "trained.safetensors":
            spoil(tensors)
        write_tensors(path, tensors, *more)

    monkeypatch.setattr(saved, "write_tensors", broken)
    sentence = stopped(tune(capsys, model, labelled(tmp_path)), check)
    assert said in sentence
    assert not (tmp_path / "run" / "scores.json").exists()
    assert not (tmp_path / "run" / "model").exists()  # nobody shall predict with it


# ------------------------------------------------------------------------------------------------- pretraining


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A tied network of one block, a corpus of a hundred lines, half an epoch."""
    (tmp_path / "corpus.txt").write_text("\n".join(f"my card was declined {i}" for i in range(100)), encoding="utf-8")
    spec = SPEC.to_dict()
    spec["decoder"]["num_layers"] = 1
    values = {
        "task": "language-modelling",
        "model": {"spec": {**spec, "vocab_size": 320}, "tokenizer": {"vocab_size": 320}},
        "data": {"folder": str(tmp_path), "block_size": 16, "sources": [{"path": "corpus.txt", "name": "tiny"}]},
        "method": "full",
        "train": {"max_steps": 3, "batch_size": 8, "lr": 0.01, "precision": "float32"},
        "out": str(tmp_path / "run"),
    }
    return write(tmp_path / "recipe.yaml", [values])


def test_a_pretraining_says_what_it_verified(recipe: Path, capsys: Capture) -> None:
    assert call(capsys, "pretrain", recipe, "--quiet").code == 0
    names = {"rate-zero", "tied", "finite", "gradient", "moved", "frozen", "reload"}
    assert made(recipe) == dict.fromkeys(names, "passed")


def test_a_pretrained_model_that_is_saved_wrongly(recipe: Path, capsys: Capture, monkeypatch: Patch) -> None:
    save = models.save_folder

    def broken(work: Path, spec: Any, state: dict[str, Tensor], **options: Any) -> None:
        save(work, spec, {**state, "decoder.norm.weight": state["decoder.norm.weight"] * 1.5}, **options)

    monkeypatch.setattr(models, "save_folder", broken)
    sentence = stopped(call(capsys, "pretrain", recipe, "--quiet"), "reload")
    assert sentence.endswith("the saved weights are not those that were scored.")


def test_a_pretrained_head_that_is_a_copy(recipe: Path, capsys: Capture, monkeypatch: Patch) -> None:
    real = networks.initialize

    def untie(network: Transformer, *args: Any, **options: Any) -> None:
        real(network, *args, **options)
        network.head.out.weight = nn.Parameter(network.tokens.weight.detach() * 2)  # type: ignore[union-attr]

    monkeypatch.setattr(networks, "initialize", untie)
    stopped(call(capsys, "pretrain", recipe, "--quiet"), "tied")
    assert not json.loads(recipe.read_text(encoding="utf-8"))["out"] or not (recipe.parent / "run" / "model").exists()
