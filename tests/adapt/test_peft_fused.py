"""LoRA adapters of families whose files fuse weights, in both directions against the real peft: equal logits.

Phi-3 and GLM fuse parts of several sizes end to end; GPT-NeoX fuses queries, keys and values head by head, so that the
rows of a block-diagonal B are those of the fused weight.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import test_peft as plain
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch.testing import assert_close
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    Glm4Config,
    Glm4ForCausalLM,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
)

from microtune.adapt.lora import LoRA
from microtune.run.load import load
from microtune.run.peft import write_peft

pytestmark = plain.pytestmark
CLOSE = {"rtol": 1e-5, "atol": 1e-5}
GROUPED = plain.SIZES | plain.PLAIN | {"num_key_value_heads": 2}
MODELS: dict[str, Callable[[], Any]] = {
    "phi3": lambda: Phi3ForCausalLM(Phi3Config(**GROUPED)),
    "glm4": lambda: Glm4ForCausalLM(Glm4Config(head_dim=8, **GROUPED)),
    "gpt_neox": lambda: GPTNeoXForCausalLM(GPTNeoXConfig(**(plain.SIZES | plain.PLAIN | {"hidden_size": 32}))),
    "gemma3_text": lambda: Gemma3ForCausalLM(Gemma3TextConfig(head_dim=6, sliding_window=3, **GROUPED)),
}
TARGETS = {
    "phi3": ["qkv_proj", "gate_up_proj", "o_proj"],
    "glm4": ["gate_up_proj", "q_proj"],
    "gpt_neox": ["query_key_value", "dense_4h_to_h"],
    "gemma3_text": ["q_proj", "down_proj"],
}
OURS: list[dict[str, Any]] = [
    {"rank": 3},
    {"rank": 2, "roles": ["k", "up"]},
    {"rank": 2, "roles": ["q", "v", "gate", "o"]},
]
each = pytest.mark.parametrize("kind", list(MODELS))


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    found = {}
    for number, (kind, build) in enumerate(MODELS.items()):
        torch.manual_seed(number)
        model = build()
        plain.stir(model, 0.2)
        found[kind] = str(tmp_path_factory.mktemp(kind))
        model.save_pretrained(found[kind])
    return found


@each
@pytest.mark.parametrize("options", OURS, ids=["everything", "one part", "some parts"])
def test_peft_loads_what_we_write(kind: str, options: dict[str, Any], bases: dict[str, str], tmp_path: Path) -> None:
    roles = options.get("roles", ())
    if kind == "gpt_neox" and "gate" in roles:  # whose MLP has none
        options = options | {"roles": [role for role in roles if role != "gate"]}
    model, method = plain.adapted(bases[kind], **options)
    write_peft(tmp_path, model, method, base_name=bases[kind])
    wanted = plain.our_logits(model)
    base = type(MODELS[kind]()).from_pretrained(bases[kind])
    before = plain.their_logits(base)
    theirs = plain.their_logits(PeftModel.from_pretrained(base, str(tmp_path)))
    assert max(float((a - b).abs().max()) for a, b in zip(before, theirs, strict=True)) > 1e-2
    assert_close(theirs, wanted, **CLOSE)
    assert_close(plain.our_logits(load(tmp_path)), wanted, **CLOSE)


@each
def test_we_load_what_peft_writes(kind: str, bases: dict[str, str], tmp_path: Path) -> None:
    torch.manual_seed(7)
    base = type(MODELS[kind]()).from_pretrained(bases[kind])
    model = get_peft_model(base, LoraConfig(r=4, lora_alpha=6, target_modules=TARGETS[kind], task_type="CAUSAL_LM"))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.2)
    model.save_pretrained(tmp_path)
    found = load(tmp_path)
    wanted = plain.their_logits(model)
    assert_close(plain.our_logits(found), wanted, **CLOSE)
    write_peft(tmp_path / "again", found, LoRA(), base_name=bases[kind])
    base = type(MODELS[kind]()).from_pretrained(bases[kind])
    assert_close(plain.their_logits(PeftModel.from_pretrained(base, str(tmp_path / "again"))), wanted, **CLOSE)
