"""LoRA adapters in both directions against the real peft: equal logits, one trajectory, and refusals with a reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.testing import assert_close
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    BertForMaskedLM,
    BertModel,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
)

from microtune.adapt.base import make_method
from microtune.adapt.lora import LoRA, LoRALinear
from microtune.errors import InputError
from microtune.nn.heads import LabelHead
from microtune.ragged import Ragged
from microtune.recipe import Choice, Train
from microtune.run.load import Model, load
from microtune.run.peft import has_peft_form, write_peft
from microtune.run.train import Training
from microtune.tasks.language_modelling import LanguageModelling, block_item

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning"),  # peft 0.21 with transformers 5
]
transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()

ROWS = [[3, 1, 4, 1, 5, 9, 2], [6, 5, 3], [35, 8, 9, 7, 9, 3, 2, 38]]
LABELS = 3
SIZES = {"hidden_size": 16, "intermediate_size": 20, "num_hidden_layers": 2, "num_attention_heads": 4}
PLAIN = {"vocab_size": 41, "bos_token_id": None, "eos_token_id": None, "pad_token_id": 40, "num_labels": LABELS}
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
MODELS: dict[str, Callable[[], Any]] = {
    "gpt2": lambda: GPT2LMHeadModel(GPT2Config(n_embd=16, n_layer=2, n_head=4, n_positions=24, **PLAIN)),
    "llama": lambda: LlamaForCausalLM(LlamaConfig(num_key_value_heads=2, **SIZES, **PLAIN)),
    "bert": lambda: BertForMaskedLM(BertConfig(max_position_embeddings=24, **SIZES, **PLAIN, **NO_DROPOUT)),
}
each = pytest.mark.parametrize("kind", list(MODELS))


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A folder with a random model of each family, BERT with a pooler."""
    found = {}
    for number, (kind, build) in enumerate(MODELS.items()):
        folder = tmp_path_factory.mktemp(kind)
        torch.manual_seed(number)
        model = build()
        stir(model, 0.2)
        if kind == "bert":
            pooled = BertModel(model.config)
            pooled.load_state_dict(model.bert.state_dict(), strict=False)
            stir(pooled.pooler, 0.2)
            model.save_pretrained(folder)
            state = load_file(folder / "model.safetensors")
            state |= {f"bert.pooler.{n}": t.detach() for n, t in pooled.pooler.state_dict().items()}
            save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
        else:
            model.save_pretrained(folder)
        found[kind] = str(folder)
    return found


def stir(module: nn.Module, size: float) -> None:
    """Random values everywhere, so that no term vanishes by chance."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * size)


def reference(kind: str, folder: str, *, label: bool) -> Any:
    if label:
        torch.manual_seed(9)
        return AutoModelForSequenceClassification.from_pretrained(folder, num_labels=LABELS)
    return type(MODELS[kind]()).from_pretrained(folder)


@torch.no_grad()
def their_logits(model: Any) -> list[Tensor]:
    model.eval()
    return [model(input_ids=torch.tensor([row])).logits[0] for row in ROWS]


@torch.no_grad()
def our_logits(model: Model) -> list[Tensor]:
    head = model.network.head
    if not isinstance(head, LabelHead):
        return model.logits(ROWS)
    inputs, counts = Ragged.from_lists(ROWS), torch.ones(len(ROWS), dtype=torch.int64)
    places = inputs.starts if head.pooling == "first" else inputs.starts + inputs.lengths - 1
    return list(head(model.network.eval()(inputs, readout=places), counts))


def adapted(folder: str, *, label: bool = False, **options: Any) -> tuple[Model, LoRA]:
    """Our base with a LoRA whose B is not zero."""
    torch.manual_seed(5)
    model, method = load(folder), LoRA(**options)
    if label:
        model.network.head = LabelHead(model.spec, LABELS)
        stir(model.network.head, 0.3)
    method.attach(model.network)
    for module in model.network.modules():
        if isinstance(module, LoRALinear):
            nn.init.normal_(module.lora_B, std=0.2)
    return model, method


OURS: dict[str, dict[str, Any]] = {
    "everything": {"rank": 3},
    "alpha": {"rank": 4, "alpha": 3.0, "dropout": 0.1},
    "some roles": {"rank": 2, "roles": ["q", "v", "down"]},
    "one part of a fused module": {"rank": 2, "roles": ["v"]},
    "an ending that others share": {"rank": 2, "roles": ["down"]},
    "upper blocks": {"rank": 2, "first_block": 1},
}


@each
@pytest.mark.parametrize("label", [False, True], ids=["vocabulary", "label"])
@pytest.mark.parametrize("options", list(OURS.values()), ids=list(OURS))
def test_peft_loads_what_we_write(
    kind: str, label: bool, options: dict[str, Any], bases: dict[str, str], tmp_path: Path
) -> None:
    model, method = adapted(bases[kind], label=label, **options)
    write_peft(tmp_path, model, method, base_name=bases[kind])
    wanted = our_logits(model)
    base = reference(kind, bases[kind], label=label)
    before = their_logits(base)
    theirs = their_logits(PeftModel.from_pretrained(base, str(tmp_path)))
    assert max(float((a - b).abs().max()) for a, b in zip(before, theirs, strict=True)) > 1e-2
    assert_close(theirs, wanted, rtol=1e-5, atol=1e-5)
    assert_close(our_logits(load(tmp_path)), wanted, rtol=1e-5, atol=1e-5)


def test_roles_of_different_ranks_and_scales(bases: dict[str, str], tmp_path: Path) -> None:
    model, method = adapted(bases["gpt2"], rank=2)
    with torch.no_grad():
        for role, rank, scale in (("attention.q", 3, 0.5), ("attention.v", 1, 2.0), ("mlp.down", 4, 1.25)):
            parent = model.network.get_submodule(f"decoder.blocks.1.{role.partition('.')[0]}")
            old = model.network.get_submodule(f"decoder.blocks.1.{role}")
            assert isinstance(old, LoRALinear)
            update = LoRALinear(old.base, rank, scale * rank, 0.0)
            nn.init.normal_(update.lora_B, std=0.2)
            setattr(parent, role.partition(".")[2], update)
    write_peft(tmp_path, model, method, base_name=bases["gpt2"])
    theirs = PeftModel.from_pretrained(reference("gpt2", bases["gpt2"], label=False), str(tmp_path))
    assert_close(their_logits(theirs), our_logits(model), rtol=1e-5, atol=1e-5)
    assert_close(our_logits(load(tmp_path)), our_logits(model), rtol=1e-5, atol=1e-5)


THEIRS: dict[str, dict[str, Any]] = {
    "gpt2 fused": {"target_modules": ["c_attn"], "fan_in_fan_out": True},
    "gpt2 all": {"target_modules": ["c_attn", "c_proj", "c_fc"], "fan_in_fan_out": True},
    "gpt2 rank and alpha patterns": {
        "target_modules": ["c_attn", "mlp.c_proj"],
        "rank_pattern": {"c_attn": 5, r"h\.0\.mlp\.c_proj": 1},
        "alpha_pattern": {r"h.1.attn.c_attn": 7},
        "fan_in_fan_out": True,
    },
    "gpt2 label": {"target_modules": ["c_attn"], "task_type": "SEQ_CLS", "fan_in_fan_out": True},
    "llama": {"target_modules": ["q_proj", "v_proj"]},
    "llama expression": {"target_modules": r".*layers\.1\..*(q_proj|down_proj)"},
    "llama all-linear": {"target_modules": "all-linear"},
    "llama rank-stabilised": {"target_modules": ["o_proj", "gate_proj"], "use_rslora": True, "r": 3},
    "llama layers": {"target_modules": ["k_proj"], "layers_to_transform": [1]},
    "llama layers pattern": {"target_modules": ["k_proj"], "layers_to_transform": 0, "layers_pattern": "layers"},
    "llama excluded": {"target_modules": ["q_proj", "k_proj"], "exclude_modules": ["layers.0.self_attn.q_proj"]},
    "llama label": {"target_modules": ["up_proj"], "task_type": "SEQ_CLS"},
    "bert": {"target_modules": ["query", "value"], "task_type": None},
    "bert dense": {"target_modules": ["output.dense"], "task_type": None},
    "bert label": {"target_modules": ["query"], "task_type": "SEQ_CLS"},
    "bert label and pooler": {"target_modules": ["key"], "task_type": "SEQ_CLS", "modules_to_save": ["pooler"]},
}


@pytest.mark.parametrize("name", list(THEIRS))
def test_we_load_what_peft_writes(name: str, bases: dict[str, str], tmp_path: Path) -> None:
    kind, options = name.split()[0], {"task_type": "CAUSAL_LM", "r": 4, "lora_alpha": 6, **THEIRS[name]}
    base = reference(kind, bases[kind], label=options["task_type"] == "SEQ_CLS")
    torch.manual_seed(7)
    model = get_peft_model(base, LoraConfig(**options))
    trainable = [p for p in model.parameters() if p.requires_grad]
    with torch.no_grad():
        for parameter in trainable:
            parameter.add_(torch.randn_like(parameter) * 0.2)
    model.save_pretrained(tmp_path)
    found = load(tmp_path)
    assert_close(our_logits(found), their_logits(model), rtol=1e-5, atol=1e-5)
    again = tmp_path / "again"
    write_peft(again, found, LoRA(), base_name=bases[kind])
    base = reference(kind, bases[kind], label=options["task_type"] == "SEQ_CLS")
    assert_close(their_logits(PeftModel.from_pretrained(base, str(again))), their_logits(model), rtol=1e-5, atol=1e-5)


def test_a_bare_encoder(bases: dict[str, str], tmp_path: Path) -> None:
    base = BertModel.from_pretrained(bases["bert"])
    model = get_peft_model(base, LoraConfig(r=2, target_modules=["query"], task_type="FEATURE_EXTRACTION"))
    stir(model, 0.2)
    with torch.no_grad():  # only the updates may differ from the base
        for name, parameter in BertModel.from_pretrained(bases["bert"]).named_parameters():
            prefix, _, last = name.rpartition(".")
            target = f"{prefix}.base_layer.{last}" if prefix.endswith("query") else name
            base.get_parameter(target).copy_(parameter)
    model.save_pretrained(tmp_path)
    inputs = Ragged.from_lists(ROWS)
    with torch.no_grad():
        mine = load(tmp_path).network(inputs).split(inputs.lengths.tolist())
        theirs = [model.eval()(input_ids=torch.tensor([row])).last_hidden_state[0] for row in ROWS]
    assert_close(list(mine), theirs, rtol=1e-5, atol=1e-5)


def test_the_label_head_makes_a_task(bases: dict[str, str], tmp_path: Path) -> None:
    model, method = adapted(bases["llama"], label=True, rank=2)
    write_peft(tmp_path, model, method, base_name=bases["llama"])
    task = load(tmp_path).task
    assert task is not None
    assert getattr(task, "labels") == ("LABEL_0", "LABEL_1", "LABEL_2")  # noqa: B009


def test_a_base_beside_the_adapter(bases: dict[str, str], tmp_path: Path) -> None:
    model, method = adapted(bases["llama"], rank=2)
    (tmp_path / "base").symlink_to(bases["llama"])
    write_peft(tmp_path / "adapter", model, method, base_name="../base")
    assert_close(our_logits(load(tmp_path / "adapter")), our_logits(model), rtol=1e-5, atol=1e-5)


def test_double_precision(bases: dict[str, str], tmp_path: Path) -> None:
    model, method = adapted(bases["llama"], rank=2)
    write_peft(tmp_path, model, method, base_name=bases["llama"])
    network = load(tmp_path, dtype="float64").network
    assert {p.dtype for p in network.parameters()} == {torch.float64}
    assert not any(p.requires_grad for p in network.parameters())


@pytest.mark.parametrize("variant", ["plain", "rslora"])
def test_twenty_steps_along_one_trajectory(variant: str, bases: dict[str, str], tmp_path: Path) -> None:
    """Same start, same rows, AdamW: losses within 1e-4 for twenty steps."""
    model = load(bases["llama"])
    torch.manual_seed(11)
    method = make_method(Choice(name="lora", rank=4, variant=variant))
    assert isinstance(method, LoRA)
    attachment = method.attach(model.network)
    write_peft(tmp_path, model, method, base_name=bases["llama"])
    items = [block_item(row) for row in ROWS]
    settings = Train(epochs=20, batch_size=3, lr=1e-2, schedule="constant", warmup=0.0, precision="float32")
    training = Training(
        model.network, LanguageModelling(), method, attachment, items, settings, seed=0, precision="float32"
    )
    ours = [step.loss for step in training.fit()]
    plain = reference("llama", bases["llama"], label=False)
    theirs = PeftModel.from_pretrained(plain, str(tmp_path), is_trainable=True)
    moving = [p for p in theirs.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(moving, lr=1e-2, weight_decay=0.01)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        sums = [
            nn.functional.cross_entropy(
                theirs(input_ids=torch.tensor([row])).logits[0, :-1], torch.tensor(row[1:]), reduction="sum"
            )
            for row in ROWS
        ]
        loss = torch.stack(sums).sum() / sum(len(row) - 1 for row in ROWS)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(moving, 1.0)
        optimizer.step()
        losses.append(float(loss.detach()))
    assert ours[-1] < ours[0] - 0.1
    assert_close(ours, losses, rtol=0, atol=1e-4)


@pytest.fixture
def adapter(bases: dict[str, str], tmp_path: Path) -> Path:
    model, method = adapted(bases["llama"], rank=2)
    write_peft(tmp_path, model, method, base_name=bases["llama"])
    return tmp_path


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "another method": ({"peft_type": "LOHA"}, 'peft_type "LOHA" is not supported'),
    "another method's name": ({"peft_type": "IA3"}, 'down_proj.ia3_l" is missing'),
    "dora": ({"use_dora": True}, 'lora_magnitude_vector" is missing'),
    "bias": ({"bias": "all"}, 'bias "all" is not supported'),
    "lora_bias": ({"lora_bias": True}, 'option "lora_bias" is not supported'),
    "an option of the future": ({"use_magic": 3}, 'option "use_magic" is not supported'),
    "pissa": ({"init_lora_weights": "pissa"}, "changes the base weights"),
    "task": ({"task_type": "TOKEN_CLS"}, 'task_type "TOKEN_CLS" is not supported'),
    "no base": ({"base_model_name_or_path": None}, '"base_model_name_or_path" is missing'),
    "unknown base": ({"base_model_name_or_path": "sprouts"}, "cannot be found"),
    "long base": ({"base_model_name_or_path": "x" * 5000}, "is not a usable name"),
    "no targets": ({"target_modules": []}, "target_modules is empty"),
    "strange targets": ({"target_modules": ["nothing"]}, "does not select"),
    "too few targets": ({"target_modules": ["q_proj"]}, "does not select"),
    "hostile expression": ({"target_modules": "(a+)+$"}, "too complicated"),
    "broken expression": ({"target_modules": "(["}, "not a regular expression"),
    "hostile rank pattern": ({"rank_pattern": {"(.*)*x": 3}}, "too complicated"),
    "other rank": ({"r": 3}, "has shape"),
    "no rank": ({"r": 0}, "r: "),
    "rank as text": ({"r": "eight"}, "r: "),
    "infinite alpha": ({"lora_alpha": float("inf")}, "lora_alpha"),
    "label head promised": ({"task_type": "SEQ_CLS"}, "holds no label head"),
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_refused_options(name: str, adapter: Path) -> None:
    change, message = REFUSED[name]
    path = adapter / "adapter_config.json"
    values = json.loads(path.read_text()) | change
    path.write_text(json.dumps(values))
    with pytest.raises(InputError, match=message) as error:
        load(adapter)
    assert "\n" not in str(error.value)


def with_tensors(folder: Path, change: Callable[[dict[str, Tensor]], Any]) -> None:
    tensors = load_file(folder / "adapter_model.safetensors")
    change(tensors)
    save_file(tensors, folder / "adapter_model.safetensors")


FIRST = "base_model.model.model.layers.0.self_attn.q_proj"
CHANGES: dict[str, tuple[Callable[[dict[str, Tensor]], Any], str]] = {
    "half a pair": (lambda t: t.pop(f"{FIRST}.lora_B.weight"), 'lora_B.weight" is missing'),
    "a whole pair": (
        lambda t: [t.pop(f"{FIRST}.lora_{x}.weight") for x in "AB"],
        r"lora_A.weight\" is missing, which adapter_config.json promises",
    ),
    "something else": (lambda t: t.update({"base_model.model.lm_head.weight": torch.ones(2)}), "not part of a LoRA"),
    "no prefix": (lambda t: t.update({"x": torch.ones(2)}), "does not begin with"),
    "not a number": (lambda t: t[f"{FIRST}.lora_A.weight"].fill_(float("nan")), "no finite numbers"),
    "whole numbers": (
        lambda t: t.update({f"{FIRST}.lora_A.weight": torch.ones(2, 16, dtype=torch.int64)}),
        "no finite",
    ),
}


@pytest.mark.parametrize("name", list(CHANGES))
def test_refused_tensors(name: str, adapter: Path) -> None:
    change, message = CHANGES[name]
    with_tensors(adapter, change)
    with pytest.raises(InputError, match=message):
        load(adapter)


def test_refused_files(adapter: Path) -> None:
    path = adapter / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(InputError, match="not a readable safetensors file"):
        load(adapter)
    path.unlink()
    with pytest.raises(InputError, match="there is no such file"):
        load(adapter)
    (adapter / "adapter_model.bin").write_bytes(b"")
    with pytest.raises(InputError, match="pickled weights"):
        load(adapter)
    (adapter / "adapter_config.json").write_text("{")
    with pytest.raises(InputError, match="not readable as JSON"):
        load(adapter)


def test_an_adapter_is_no_base(adapter: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")
    for file in adapter.iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    values = json.loads((other / "adapter_config.json").read_text()) | {"base_model_name_or_path": str(adapter)}
    (other / "adapter_config.json").write_text(json.dumps(values))
    with pytest.raises(InputError, match="is a folder with an adapter"):
        load(other)


def test_a_head_that_transformers_does_not_have(bases: dict[str, str], tmp_path: Path) -> None:
    model, method = adapted(bases["llama"], label=True, rank=2)
    assert has_peft_form(model)
    assert isinstance(model.network.head, LabelHead)
    model.network.head.pooling = "mean"
    assert not has_peft_form(model)
    with pytest.raises(InputError, match="no llama classifier that reads mean"):
        write_peft(tmp_path, model, method, base_name="")
    with pytest.raises(InputError, match="holds no LoRA update"):
        write_peft(tmp_path, load(bases["llama"]), method, base_name="")
