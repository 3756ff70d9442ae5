"""A vocabulary head that trained beside an adapter, both ways against peft: `modules_to_save`, tied or not."""

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
from test_peft import PLAIN, ROWS, SIZES, stir, their_logits
from torch import Tensor
from torch.testing import assert_close
from transformers import (
    BertConfig,
    BertForMaskedLM,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
)

import microtune as mt
from microtune.adapt.base import make_method
from microtune.adapt.ia3 import IA3
from microtune.adapt.lora import LoRA
from microtune.errors import InputError
from microtune.recipe import Choice
from microtune.run.load import Model, load
from microtune.run.peft import write_peft

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning"),  # peft 0.21 with transformers 5
    pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`:UserWarning"),  # peft, of such a head
    pytest.mark.filterwarnings("ignore:.*tied_target_modules:UserWarning"),
]
transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()

MODELS: dict[str, Callable[[], Any]] = {
    "gpt2": lambda: GPT2LMHeadModel(GPT2Config(n_embd=16, n_layer=2, n_head=4, n_positions=24, **PLAIN)),
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SIZES, **PLAIN)),
    "llama, tied": lambda: LlamaForCausalLM(LlamaConfig(tie_word_embeddings=True, **SIZES, **PLAIN)),
    "gpt_neox": lambda: GPTNeoXForCausalLM(GPTNeoXConfig(max_position_embeddings=24, rotary_pct=0.5, **SIZES, **PLAIN)),
    "bert": lambda: BertForMaskedLM(BertConfig(max_position_embeddings=24, **SIZES, **PLAIN)),
}
HEAD = "base_model.model.lm_head.weight"
TARGETS = {"gpt2": ["c_attn"]}
each = pytest.mark.parametrize("kind", ["gpt2", "llama", "llama, tied"])


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    found = {}
    for number, (kind, build) in enumerate(MODELS.items()):
        folder = tmp_path_factory.mktemp("base")
        torch.manual_seed(number)
        model = build()
        stir(model, 0.2)
        model.save_pretrained(folder)
        found[kind] = str(folder)
    return found


def reference(kind: str, folder: str) -> Any:
    return type(MODELS[kind]()).from_pretrained(folder)


def tuned(folder: str, second: str = "lora") -> Model:
    """A model whose head and adapter have learnt something."""
    model = load(folder, dtype="float32")
    attachment = make_method(Choice.model_validate({"name": "several", "parts": ["head", second]})).attach(
        model.network
    )
    torch.manual_seed(5)
    with torch.no_grad():
        for parameter in dict(attachment.parameters()).values():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return model


def theirs(kind: str, base: str, adapter: Path) -> list[Tensor]:
    return their_logits(PeftModel.from_pretrained(reference(kind, base), str(adapter)))


@each
@pytest.mark.parametrize("second", ["lora", "ia3"])
def test_peft_reads_the_head(kind: str, second: str, bases: dict[str, str], tmp_path: Path) -> None:
    model = tuned(bases[kind], second)
    write_peft(tmp_path, model, LoRA() if second == "lora" else IA3(), base_name=bases[kind], head=True)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config["modules_to_save"] == ["lm_head"]
    found, wanted = theirs(kind, bases[kind], tmp_path), model.logits(ROWS)
    assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    plain = load(bases[kind], dtype="float32").logits(ROWS)
    assert max(float((a - b).abs().max()) for a, b in zip(wanted, plain, strict=True)) > 0.1
    again = load(tmp_path, dtype="float32")
    assert_close(again.logits(ROWS), wanted, rtol=1e-5, atol=1e-5)
    assert torch.equal(again.network.head.out.weight, model.network.head.out.weight)
    assert not again.spec.tied


@each
def test_a_head_that_peft_saved(kind: str, bases: dict[str, str], tmp_path: Path) -> None:
    config = LoraConfig(
        r=3,
        lora_alpha=5,
        target_modules=TARGETS.get(kind, ["q_proj", "down_proj"]),
        modules_to_save=["lm_head"],
        fan_in_fan_out=kind == "gpt2",
        task_type="CAUSAL_LM",
    )
    torch.manual_seed(7)
    made = get_peft_model(reference(kind, bases[kind]), config)
    with torch.no_grad():
        for parameter in (p for p in made.parameters() if p.requires_grad):
            parameter.add_(torch.randn_like(parameter) * 0.2)
    made.save_pretrained(str(tmp_path / "one"))
    model = load(tmp_path / "one", dtype="float32")
    assert_close(model.logits(ROWS), their_logits(made), rtol=1e-5, atol=1e-5)
    assert torch.equal(model.network.tokens.weight, load(bases[kind], dtype="float32").network.tokens.weight)
    done = mt.export(tmp_path / "one", format="peft", out=tmp_path / "two")
    one, two = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("one", "two"))
    assert one.keys() == two.keys()
    assert torch.equal(one[HEAD], two[HEAD])
    assert done.parity.gap < 1e-5


def test_among_other_adapters(bases: dict[str, str], tmp_path: Path) -> None:
    """The head of one adapter touches neither the base nor the others, and is kept when that one is saved."""
    base = bases["llama, tied"]
    model = tuned(base)
    write_peft(tmp_path / "a", model, LoRA(), base_name=base, head=True)
    many = mt.load_adapters(base, {"a": tmp_path / "a"})
    plain = load(base).logits(ROWS)
    assert_close(many.logits(ROWS, "a"), model.logits(ROWS), rtol=1e-5, atol=1e-5)
    many.use(None)
    assert_close(many.logits(ROWS), plain, rtol=0, atol=0)
    many.save("a", tmp_path / "b")
    assert_close(load(tmp_path / "b").logits(ROWS), model.logits(ROWS), rtol=1e-5, atol=1e-5)
    many.add("c", tmp_path / "a")
    with pytest.raises(InputError, match="has no low-rank form that could be added"):
        many.combine("both", {"a": 0.5, "c": 0.5})
    many.remove("c")
    many.remove("a")
    assert_close(many.logits(ROWS), plain, rtol=0, atol=0)


@pytest.mark.parametrize("kind", ["bert", "gpt_neox"])
def test_a_head_that_is_not_one_module_has_no_form(kind: str, bases: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"^peft saves modules by their names, and .* of {kind} is not one"):
        write_peft(tmp_path, tuned(bases[kind]), LoRA(), base_name="", head=True)
    assert not list(tmp_path.iterdir())


BROKEN: dict[str, tuple[Callable[[dict[str, Any], dict[str, Tensor]], Any], str]] = {
    "missing": (
        lambda _, t: t.pop("base_model.model.lm_head.weight"),
        "is missing, which adapter_config.json promises",
    ),
    "shape": (
        lambda _, t: t.update({HEAD: torch.ones(40, 16)}),
        r'tensor "base_model.model.lm_head.weight" has shape \[40, 16\], but the base and .* ask for \[41, 16\]',
    ),
    "not named": (lambda c, _: c.update(modules_to_save=None), r'lm_head.weight" is not part of a LoRA'),
    "another module": (
        lambda c, t: (
            c["modules_to_save"].append("embed_tokens"),
            t.update({"base_model.model.model.embed_tokens.weight": torch.ones(41, 16)}),
        ),
        r'embed_tokens.weight" is not part of a LoRA',
    ),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_damaged_folders(fault: str, bases: dict[str, str], tmp_path: Path) -> None:
    write_peft(tmp_path, tuned(bases["llama"]), LoRA(), base_name=bases["llama"], head=True)
    damage, sentence = BROKEN[fault]
    config, file = tmp_path / "adapter_config.json", tmp_path / "adapter_model.safetensors"
    values, tensors = json.loads(config.read_text()), load_file(file)
    damage(values, tensors)
    config.write_text(json.dumps(values))
    save_file(tensors, file)
    with pytest.raises(InputError, match=sentence):
        load(tmp_path)
