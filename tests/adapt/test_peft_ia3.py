"""IA3 adapters in both directions against the real peft: equal logits, one trajectory, and refusals with a reason."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import test_contract as contract
import test_peft as plain
import test_peft_fused as fused
import torch
from peft import IA3Config, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.testing import assert_close

from microtune.adapt.ia3 import IA3, IA3Linear
from microtune.errors import InputError
from microtune.nn.heads import LabelHead
from microtune.nn.transformer import Transformer
from microtune.recipe import Train
from microtune.run.load import Model, load
from microtune.run.peft import write_peft
from microtune.run.peft.modules import task_type
from microtune.run.train import Training
from microtune.tasks.language_modelling import LanguageModelling, block_item

pytestmark = plain.pytestmark
CLOSE = {"rtol": 1e-5, "atol": 1e-5}
KINDS = [*plain.MODELS, *fused.MODELS]
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


def adapted(folder: str, *, label: bool = False, **options: Any) -> tuple[Model, IA3]:
    """Our base with factors between a half and one and a half."""
    torch.manual_seed(5)
    model, method = load(folder), IA3(**options)
    if label:
        model.network.head = LabelHead(model.spec, plain.LABELS)
        plain.stir(model.network.head, 0.3)
    method.attach(model.network)
    with torch.no_grad():
        for module in model.network.modules():
            if isinstance(module, IA3Linear):
                module.factor.uniform_(0.5, 1.5)
    model.network.eval()
    return model, method


OURS: dict[str, dict[str, Any]] = {
    "the paper's": {},
    "one part of a fused module": {"roles": ["v"]},
    "outputs only": {"roles": ["q", "o", "up"]},
    "upper blocks": {"roles": ["down", "o"], "first_block": 1},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", list(OURS.values()), ids=list(OURS))
def test_peft_loads_what_we_write(kind: str, options: dict[str, Any], folders: dict[str, str], tmp_path: Path) -> None:
    model, method = adapted(folders[kind], **options)
    write_peft(tmp_path, model, method, base_name=folders[kind])
    wanted = plain.our_logits(model)
    base = reference(kind, folders[kind])
    before = plain.their_logits(base)
    theirs: Any = PeftModel.from_pretrained(base, str(tmp_path))
    found = plain.their_logits(theirs)
    assert max(float((a - b).abs().max()) for a, b in zip(before, found, strict=True)) > 1e-2
    assert_close(found, wanted, **CLOSE)
    assert_close(plain.our_logits(load(tmp_path)), wanted, **CLOSE)
    again = tmp_path / "again"
    write_peft(again, load(tmp_path), method, base_name=folders[kind])
    first, second = (load_file(folder / "adapter_model.safetensors") for folder in (tmp_path, again))
    assert_close(second, first, rtol=0, atol=0)


@pytest.mark.parametrize("kind", list(plain.MODELS))
def test_with_a_label_head(kind: str, folders: dict[str, str], tmp_path: Path) -> None:
    model, method = adapted(folders[kind], label=True)
    write_peft(tmp_path, model, method, base_name=folders[kind])
    theirs = PeftModel.from_pretrained(reference(kind, folders[kind], label=True), str(tmp_path))
    assert_close(plain.their_logits(theirs), plain.our_logits(model), **CLOSE)
    assert_close(plain.our_logits(load(tmp_path)), plain.our_logits(model), **CLOSE)


def ends(targets: list[str] | str, forward: list[str] | str, **more: Any) -> dict[str, Any]:
    return {"target_modules": targets, "feedforward_modules": forward, **more}


THEIRS: dict[str, dict[str, Any]] = {
    "gpt2": ends(["c_attn", "mlp.c_proj"], ["mlp.c_proj"], fan_in_fan_out=True),
    "gpt2 inputs": ends(["c_attn"], ["c_attn"], fan_in_fan_out=True),
    "gpt2 label": ends(["c_attn"], [], fan_in_fan_out=True, task_type="SEQ_CLS"),
    "llama": ends(["k_proj", "v_proj", "down_proj"], ["down_proj"]),
    "llama expression": ends(r".*layers\.1\..*(q_proj|up_proj)", r".*up_proj"),
    "llama label": ends(["v_proj", "gate_proj"], ["gate_proj"], task_type="SEQ_CLS"),
    "bert": ends(["key", "value", "output.dense"], ["output.dense"], task_type=None),
    "bert label": ends(["key", "value", "intermediate.dense"], [], task_type="SEQ_CLS"),
    "phi3": ends(["qkv_proj", "down_proj", "gate_up_proj"], ["down_proj", "gate_up_proj"]),
    "gpt_neox": ends(["query_key_value", "dense_4h_to_h"], ["dense_4h_to_h"]),
}


@pytest.mark.parametrize("name", list(THEIRS))
def test_we_load_what_peft_writes(name: str, folders: dict[str, str], tmp_path: Path) -> None:
    kind, options = name.split()[0], {"task_type": "CAUSAL_LM", **THEIRS[name]}
    label = options["task_type"] == "SEQ_CLS"
    torch.manual_seed(7)
    model = get_peft_model(reference(kind, folders[kind], label=label), IA3Config(**options))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.2)
    model.save_pretrained(tmp_path)
    found, wanted = load(tmp_path), plain.their_logits(model)
    assert_close(plain.our_logits(found), wanted, **CLOSE)
    write_peft(tmp_path / "again", found, IA3(), base_name=folders[kind])
    again = PeftModel.from_pretrained(reference(kind, folders[kind], label=label), str(tmp_path / "again"))
    assert_close(plain.their_logits(again), wanted, **CLOSE)


@pytest.mark.parametrize("kind", list(plain.MODELS))
def test_twenty_steps_along_one_trajectory(kind: str, folders: dict[str, str], tmp_path: Path) -> None:
    """Same start, same rows, AdamW, without dropout: losses within 1e-4 after twenty steps."""
    base = shutil.copytree(folders[kind], tmp_path / "base")
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps({k: 0.0 if "drop" in k else v for k, v in config.items()}))
    model, method = load(base), IA3()
    attachment = method.attach(model.network)
    write_peft(tmp_path, model, method, base_name=str(base))
    items = [block_item(row) for row in plain.ROWS]
    settings = Train(epochs=20, batch_size=3, lr=2e-2, schedule="constant", warmup=0.0, precision="float32")
    training = Training(
        model.network, LanguageModelling(), method, attachment, items, settings, seed=0, precision="float32"
    )
    ours = [step.loss for step in training.fit()]
    theirs: Any = PeftModel.from_pretrained(reference(kind, str(base)), str(tmp_path), is_trainable=True)
    moving = [p for p in theirs.parameters() if p.requires_grad]
    if kind == "gpt2":  # the fused factor of c_attn holds queries, which ours leave alone
        for name, parameter in theirs.named_parameters():
            if "c_attn.ia3_l" in name:
                parameter.register_hook(lambda g: torch.cat([torch.zeros_like(g[:16]), g[16:]]))
    decays = {"weight_decay": 0.0}  # theirs are matrices of one row or column; ours are vectors, which do not decay
    optimizer, losses = torch.optim.AdamW(moving, lr=2e-2, **decays), []
    for _ in range(20):
        optimizer.zero_grad()
        sums = [
            nn.functional.cross_entropy(
                theirs(input_ids=torch.tensor([row[:-1]])).logits[0], torch.tensor(row[1:]), reduction="sum"
            )
            for row in plain.ROWS
        ]
        loss = torch.stack(sums).sum() / sum(len(row) - 1 for row in plain.ROWS)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(moving, 1.0)
        optimizer.step()
        losses.append(float(loss.detach()))
    assert ours[-1] < ours[0] - 0.1
    assert_close(ours, losses, rtol=0, atol=1e-4)


@pytest.mark.parametrize(("kind", "name"), [("decoder", "CAUSAL_LM"), ("both", "SEQ_2_SEQ_LM"), ("encoder", None)])
def test_the_class_of_transformers_does_not_depend_on_the_method(kind: str, name: str | None) -> None:
    model = Model(Transformer(contract.SPECS[kind]), None)
    assert task_type(model) == name
    model.network.head = LabelHead(model.spec, 2)
    assert task_type(model) == "SEQ_CLS"


def test_what_one_factor_of_a_fused_module_cannot_say(folders: dict[str, str], tmp_path: Path) -> None:
    model, method = load(folders["phi3"]), IA3()
    mlp = model.network.get_submodule("decoder.blocks.0.mlp")
    mlp.up = IA3Linear(mlp.up, on_input=True)  # type: ignore[assignment,arg-type]
    with pytest.raises(InputError, match=r"gate_up_proj: its parts read one input by different factors"):
        write_peft(tmp_path, model, method, base_name="")
    mlp.gate = IA3Linear(mlp.gate, on_input=False)  # type: ignore[assignment,arg-type]
    with pytest.raises(InputError, match=r"gate_up_proj: has factors on input and output of its parts"):
        write_peft(tmp_path, model, method, base_name="")
    with pytest.raises(InputError, match="holds no IA3 factor"):
        write_peft(tmp_path, load(folders["llama"]), method, base_name="")


@pytest.fixture
def adapter(folders: dict[str, str], tmp_path: Path) -> Path:
    model, method = adapted(folders["llama"])
    write_peft(tmp_path, model, method, base_name=folders["llama"])
    return tmp_path


FIRST = "base_model.model.model.layers.0.self_attn.k_proj.ia3_l"
CHANGES: dict[str, tuple[Callable[[dict[str, Tensor]], Any], dict[str, Any], str]] = {
    "missing": (lambda t: t.pop(FIRST), {}, r"k_proj.ia3_l\" is missing, which adapter_config.json promises"),
    "shape": (lambda t: t.update({FIRST: t[FIRST].T.contiguous()}), {}, r"has shape \[1, 8\], .* ask for \[8, 1\]"),
    "not selected": (lambda t: None, {"target_modules": ["v_proj", "down_proj"]}, "does not select a linear layer"),
    "other side": (lambda t: None, {"feedforward_modules": []}, r"down_proj.ia3_l\" has shape \[1, 20\]"),
    "hostile expression": (lambda t: None, {"feedforward_modules": "(a+)+$"}, "too complicated"),
    "outside the blocks": (
        lambda t: t.update({"base_model.model.lm_head.ia3_l": torch.ones(41, 1)}),
        {},
        '"lm_head" has a factor and is no linear layer inside the blocks',
    ),
    "something else": (
        lambda t: t.update({"base_model.model.lm_head.weight": torch.ones(2)}),
        {},
        "not part of an IA3",
    ),
    "a LoRA": (lambda t: t.update({"base_model.model.x.lora_A.weight": torch.ones(2)}), {}, "not part of an IA3"),
    "an option of the future": (lambda t: None, {"use_magic": 3}, 'option "use_magic" is not supported'),
    "not a number": (lambda t: t[FIRST].fill_(float("nan")), {}, "no finite numbers"),
}


@pytest.mark.parametrize("name", list(CHANGES))
def test_refused(name: str, adapter: Path) -> None:
    change, values, message = CHANGES[name]
    tensors = load_file(adapter / "adapter_model.safetensors")
    change(tensors)
    save_file(tensors, adapter / "adapter_model.safetensors")
    config = adapter / "adapter_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | values))
    with pytest.raises(InputError, match=message) as error:
        load(adapter)
    assert "\n" not in str(error.value)
