"""DoRA adapters in both directions against the real peft: equal logits, one trajectory, and refusals with a reason.

peft keeps one magnitude vector for a module of transformers; where a family fuses weights, it is that of several roles.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import test_peft as plain
import test_peft_fused as fused
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from torch import nn
from torch.testing import assert_close

from microtune.adapt.base import make_method
from microtune.adapt.lora import DoRALinear, LoRA
from microtune.errors import InputError
from microtune.recipe import Choice, Train
from microtune.run.load import Model, load
from microtune.run.peft import write_peft
from microtune.run.train import Training
from microtune.tasks.language_modelling import LanguageModelling, block_item

pytestmark = plain.pytestmark
CLOSE = {"rtol": 1e-5, "atol": 1e-5}
KINDS = [*plain.MODELS, *fused.MODELS]
OURS: dict[str, dict[str, Any]] = {
    "everything": {"rank": 3},
    "alpha": {"rank": 4, "alpha": 3.0, "dropout": 0.1},
    "some roles": {"rank": 2, "roles": ["q", "v", "down"]},
    "one part of a fused module": {"rank": 2, "roles": ["v"]},
    "upper blocks": {"rank": 2, "first_block": 1},
}
bases = plain.bases


@pytest.fixture(scope="module")
def folders(bases: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A folder with a random model of each family, those with fused weights too."""
    found = dict(bases)
    for number, (kind, build) in enumerate(fused.MODELS.items()):
        torch.manual_seed(number)
        model = build()
        plain.stir(model, 0.2)
        found[kind] = str(tmp_path_factory.mktemp(kind))
        model.save_pretrained(found[kind])
    return found


def reference(kind: str, folder: str, *, label: bool = False) -> Any:
    if kind in plain.MODELS:
        return plain.reference(kind, folder, label=label)
    return type(fused.MODELS[kind]()).from_pretrained(folder)


def adapted(folder: str, *, label: bool = False, **options: Any) -> tuple[Model, LoRA]:
    """Our base with a DoRA whose B is not zero and whose magnitudes are not those of the base."""
    model, method = plain.adapted(folder, label=label, variant="dora", **options)
    with torch.no_grad():
        for module in model.network.modules():
            if isinstance(module, DoRALinear):
                module.magnitude.mul_(1 + 0.4 * torch.rand_like(module.magnitude))
    return model, method


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", list(OURS.values()), ids=list(OURS))
def test_peft_loads_what_we_write(kind: str, options: dict[str, Any], folders: dict[str, str], tmp_path: Path) -> None:
    model, method = adapted(folders[kind], **options)
    write_peft(tmp_path, model, method, base_name=folders[kind])
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert (config["use_dora"], config["use_rslora"]) == (True, False)
    wanted = plain.our_logits(model)
    theirs: Any = PeftModel.from_pretrained(reference(kind, folders[kind]), str(tmp_path))
    found = plain.their_logits(theirs)
    assert_close(found, wanted, **CLOSE)
    assert_close(plain.our_logits(load(tmp_path)), wanted, **CLOSE)
    assert_close(plain.their_logits(theirs.merge_and_unload()), wanted, **CLOSE)
    vectors = {n: t for n, t in load_file(tmp_path / "adapter_model.safetensors").items() if "magnitude" in n}
    assert {tensor.ndim for tensor in vectors.values()} == {1}


@pytest.mark.parametrize("kind", list(plain.MODELS))
def test_with_a_label_head(kind: str, folders: dict[str, str], tmp_path: Path) -> None:
    model, method = adapted(folders[kind], label=True, rank=3)
    write_peft(tmp_path, model, method, base_name=folders[kind])
    theirs = PeftModel.from_pretrained(reference(kind, folders[kind], label=True), str(tmp_path))
    assert_close(plain.their_logits(theirs), plain.our_logits(model), **CLOSE)
    assert_close(plain.our_logits(load(tmp_path)), plain.our_logits(model), **CLOSE)


THEIRS: dict[str, dict[str, Any]] = {
    **plain.THEIRS,
    **{kind: {"target_modules": targets} for kind, targets in fused.TARGETS.items()},
}


@pytest.mark.parametrize("name", list(THEIRS))
def test_we_load_what_peft_writes(name: str, folders: dict[str, str], tmp_path: Path) -> None:
    kind, options = name.split()[0], {"task_type": "CAUSAL_LM", "r": 4, "lora_alpha": 6, **THEIRS[name]}
    label = options["task_type"] == "SEQ_CLS"
    torch.manual_seed(7)
    model = get_peft_model(reference(kind, folders[kind], label=label), LoraConfig(use_dora=True, **options))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.2)
    model.save_pretrained(tmp_path)
    found, wanted = load(tmp_path), plain.their_logits(model)
    assert any(isinstance(m, DoRALinear) for m in found.network.modules())
    assert_close(plain.our_logits(found), wanted, **CLOSE)
    write_peft(tmp_path / "again", found, LoRA(), base_name=folders[kind])
    again = PeftModel.from_pretrained(reference(kind, folders[kind], label=label), str(tmp_path / "again"))
    assert_close(plain.their_logits(again), wanted, **CLOSE)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_twenty_steps_along_one_trajectory(kind: str, folders: dict[str, str], tmp_path: Path) -> None:
    """Same start, same rows, AdamW: losses within 1e-4 for twenty steps. They tell whether the norm has a gradient."""
    folder = tmp_path / "base"
    shutil.copytree(folders[kind], folder)
    config = json.loads((folder / "config.json").read_text())
    still = {name: 0.0 for name in config if name.endswith("pdrop")}
    (folder / "config.json").write_text(json.dumps(config | still))
    model = load(folder)
    torch.manual_seed(11)
    method = make_method(Choice(name="lora", rank=4, variant="dora", roles=["o", "up", "down"]))
    assert isinstance(method, LoRA)
    attachment = method.attach(model.network)
    write_peft(tmp_path / "adapter", model, method, base_name=str(folder))
    items = [block_item(row) for row in plain.ROWS]
    settings = Train(epochs=20, batch_size=3, lr=1e-2, schedule="constant", warmup=0.0, precision="float32")
    training = Training(
        model.network, LanguageModelling(), method, attachment, items, settings, seed=0, precision="float32"
    )
    ours = [step.loss for step in training.fit()]
    theirs = PeftModel.from_pretrained(reference(kind, str(folder)), str(tmp_path / "adapter"), is_trainable=True)
    moving = {n: p for n, p in theirs.named_parameters() if p.requires_grad}
    groups = [{"params": [p for p in moving.values() if (p.ndim > 1) == matrix]} for matrix in (True, False)]
    groups[1]["weight_decay"] = 0.0  # type: ignore[assignment]
    optimizer = torch.optim.AdamW(groups, lr=1e-2, weight_decay=0.01)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        sums = [
            nn.functional.cross_entropy(
                theirs(input_ids=torch.tensor([row])).logits[0, :-1], torch.tensor(row[1:]), reduction="sum"
            )
            for row in plain.ROWS
        ]
        loss = torch.stack(sums).sum() / sum(len(row) - 1 for row in plain.ROWS)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(list(moving.values()), 1.0)
        optimizer.step()
        losses.append(float(loss.detach()))
    assert len(ours) == 20
    assert ours[-1] < ours[0] - 0.1
    assert_close(ours, losses, rtol=0, atol=1e-4)


@pytest.fixture
def adapter(bases: dict[str, str], tmp_path: Path) -> Path:
    model, method = adapted(bases["llama"], rank=2)
    write_peft(tmp_path, model, method, base_name=bases["llama"])
    return tmp_path


FIRST = f"{plain.FIRST}.lora_magnitude_vector"
CHANGES: dict[str, tuple[Any, dict[str, Any], str]] = {
    "no magnitude": (lambda t: t.pop(FIRST), {}, 'q_proj.lora_magnitude_vector" is missing'),
    "another length": (
        lambda t: t.update({FIRST: t[FIRST][:3].clone()}),
        {},
        r"has shape \[3\], but the base and .* ask",
    ),
    "not a number": (lambda t: t[FIRST].fill_(float("nan")), {}, "no finite numbers"),
    "not named": (lambda t: None, {"use_dora": False}, "is one of DoRA, which adapter_config.json does not name"),
    "a bias of the update": (lambda t: None, {"lora_bias": True}, 'option "lora_bias" is not supported'),
    "no truth value": (lambda t: None, {"use_dora": "so"}, "use_dora: "),
}


@pytest.mark.parametrize("name", list(CHANGES))
def test_refused(name: str, adapter: Path) -> None:
    change, options, message = CHANGES[name]
    plain.with_tensors(adapter, change)
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | options))
    with pytest.raises(InputError, match=message) as error:
        load(adapter)
    assert "\n" not in str(error.value)
