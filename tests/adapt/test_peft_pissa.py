"""PiSSA and LoRA+ against the real peft: one trajectory from one start, and export as LoRA of twice the rank."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import test_peft as plain
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.optimizers import create_loraplus_optimizer
from safetensors.torch import load_file
from torch import nn
from torch.testing import assert_close

from microtune.adapt.base import make_method
from microtune.adapt.lora import LoRA, PiSSALinear
from microtune.families.base import module_name
from microtune.recipe import Choice, Train
from microtune.run.load import Model, load
from microtune.run.peft import write_peft
from microtune.run.train import Training
from microtune.tasks.language_modelling import LanguageModelling, block_item

pytestmark = plain.pytestmark
CLOSE = {"rtol": 1e-5, "atol": 1e-5}
bases = plain.bases
STEPS = 20


def pissa(folder: str, *, label: bool = False, **options: Any) -> tuple[Model, LoRA]:
    """Our base with a PiSSA that has moved."""
    torch.manual_seed(5)
    model, method = load(folder), LoRA(variant="pissa", **options)
    if label:
        model.network.head = plain.LabelHead(model.spec, plain.LABELS)
        plain.stir(model.network.head, 0.3)
    method.attach(model.network)
    with torch.no_grad():
        for module in model.network.modules():
            if isinstance(module, PiSSALinear):
                module.lora_A.add_(0.1 * torch.randn_like(module.lora_A))
                module.lora_B.add_(0.1 * torch.randn_like(module.lora_B))
    return model, method


@pytest.mark.parametrize(
    ("kind", "label", "options"),
    [
        ("llama", False, {"rank": 3}),
        ("llama", True, {"rank": 2, "alpha": 5.0, "roles": ["attention.q", "down"], "first_block": 1}),
        ("gpt2", False, {"rank": 3}),  # q, k and v are one module there
        ("gpt2", False, {"rank": 2, "roles": ["v"]}),
        ("bert", True, {"rank": 3}),
    ],
)
def test_peft_loads_it_as_lora_of_twice_the_rank(
    kind: str, label: bool, options: dict[str, Any], bases: dict[str, str], tmp_path: Path
) -> None:
    model, method = pissa(bases[kind], label=label, **options)
    write_peft(tmp_path, model, method, base_name=bases[kind])
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config["init_lora_weights"] is True
    assert not config["use_rslora"]
    shapes = {len(t) for n, t in load_file(tmp_path / "adapter_model.safetensors").items() if "lora_A" in n}
    fused = kind == "gpt2" and "roles" not in options
    assert shapes == ({2 * options["rank"], 6 * options["rank"]} if fused else {2 * options["rank"]})
    wanted = plain.our_logits(model)
    base = plain.reference(kind, bases[kind], label=label)
    before = plain.their_logits(base)
    theirs: Any = PeftModel.from_pretrained(base, str(tmp_path))
    assert max(float((a - b).abs().max()) for a, b in zip(before, wanted, strict=True)) > 1e-2 or label
    assert_close(plain.their_logits(theirs), wanted, **CLOSE)
    assert_close(plain.our_logits(load(tmp_path)), wanted, **CLOSE)
    assert_close(plain.their_logits(theirs.merge_and_unload()), wanted, **CLOSE)


def our_losses(model: Model, method: LoRA, attachment: Any) -> list[float]:
    items = [block_item(row) for row in plain.ROWS]
    settings = Train(epochs=STEPS, batch_size=3, lr=1e-2, schedule="constant", warmup=0.0, precision="float32")
    training = Training(
        model.network, LanguageModelling(), method, attachment, items, settings, seed=0, precision="float32"
    )
    return [step.loss for step in training.fit()]


def their_losses(theirs: Any, optimizer: torch.optim.Optimizer, moving: Iterable[nn.Parameter]) -> list[float]:
    losses, moving = [], list(moving)
    for _ in range(STEPS):
        optimizer.zero_grad()
        sums = [
            nn.functional.cross_entropy(
                theirs(input_ids=torch.tensor([row])).logits[0, :-1], torch.tensor(row[1:]), reduction="sum"
            )
            for row in plain.ROWS
        ]
        loss = torch.stack(sums).sum() / sum(len(row) - 1 for row in plain.ROWS)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(moving, 1.0)
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def test_pissa_along_one_trajectory(bases: dict[str, str]) -> None:
    """peft's own PiSSA, our singular vectors (whose signs are free) in it: losses within 1e-4 for twenty steps."""
    torch.manual_seed(11)
    model = load(bases["llama"])
    method = make_method(Choice(name="lora", rank=4, alpha=6.0, variant="pissa"))
    assert isinstance(method, LoRA)
    attachment = method.attach(model.network)
    config = LoraConfig(r=4, lora_alpha=6, target_modules="all-linear", init_lora_weights="pissa", bias="none")
    theirs: Any = get_peft_model(plain.reference("llama", bases["llama"], label=False), config)
    with torch.no_grad():
        for role, update in model.network.named_modules():
            if isinstance(update, PiSSALinear):
                module = theirs.base_model.model.get_submodule(module_name("llama", role, spec=model.spec)[0])
                assert_close(module.base_layer.weight, update.base.weight, rtol=0, atol=1e-5)  # what is left agrees
                A, B = module.lora_A["default"].weight, module.lora_B["default"].weight
                assert_close(B @ A, update.lora_B @ update.lora_A, rtol=0, atol=1e-5)
                A.copy_(update.lora_A)
                B.copy_(update.lora_B)
    moving = [p for p in theirs.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(moving, lr=1e-2, weight_decay=0.01)
    ours, found = our_losses(model, method, attachment), their_losses(theirs, optimizer, moving)
    assert ours[-1] < ours[0] - 0.1
    assert_close(ours, found, rtol=0, atol=1e-4)


def test_loraplus_along_one_trajectory(bases: dict[str, str], tmp_path: Path) -> None:
    """peft's own optimizer for it; its groups have the rates of ours."""
    torch.manual_seed(11)
    model = load(bases["llama"])
    method = make_method(Choice(name="lora", rank=4, loraplus=8))
    assert isinstance(method, LoRA)
    attachment = method.attach(model.network)
    write_peft(tmp_path, model, method, base_name=bases["llama"])
    theirs: Any = PeftModel.from_pretrained(
        plain.reference("llama", bases["llama"], label=False), str(tmp_path), is_trainable=True
    )
    optimizer = create_loraplus_optimizer(
        theirs, torch.optim.AdamW, lr=1e-2, loraplus_lr_ratio=8, loraplus_weight_decay=0.01
    )
    moving = [p for p in theirs.parameters() if p.requires_grad]
    ours, found = our_losses(model, method, attachment), their_losses(theirs, optimizer, moving)
    assert ours[-1] < ours[0] - 0.1
    assert_close(ours, found, rtol=0, atol=1e-4)
