"""LoRA over encoder-only families in PEFT form: the real peft reads what we write, classifiers and fused roles too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from encoder_cases import BIASED, MAKERS, our_scores
from peft import PeftModel
from references import Case, reference, their_logits
from torch import Tensor, nn
from torch.testing import assert_close
from transformers import AutoModelForSequenceClassification

from microtune.adapt.lora import LoRA, LoRALinear
from microtune.nn.heads import LabelHead
from microtune.run.load import Model, load
from microtune.run.peft import write_peft

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning"),  # peft 0.21 with transformers 5
]
OPTIONS: dict[str, dict[str, Any]] = {
    "everything": {"rank": 3},
    "one part of a fused module": {"rank": 2, "roles": ["v"]},
    "dora": {"rank": 2, "variant": "dora", "roles": ["q", "v", "up"]},
}
FIELDS: dict[str, dict[str, Any]] = {"modernbert": BIASED}


def stir(module: nn.Module, size: float) -> None:
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * size)


def adapted(folder: Path, *, label: bool, **options: Any) -> tuple[Model, LoRA]:
    """Our base with a LoRA whose B is not zero, and a label head unlike anything in the files."""
    torch.manual_seed(5)
    model, method = load(folder), LoRA(**options)
    if label:
        head = LabelHead(model.spec, 3)
        head.take(model.spare)
        stir(head, 0.3)
        model.network.head = head
    method.attach(model.network)
    for module in model.network.modules():
        if isinstance(module, LoRALinear):
            nn.init.normal_(module.lora_B, std=0.2)
    model.network.eval()
    return model, method


def scores(case: Case, model: Model) -> list[Tensor]:
    return our_scores(case, model.network)


@pytest.mark.parametrize("family", MAKERS)
@pytest.mark.parametrize("label", [False, True], ids=["vocabulary", "label"])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_peft_loads_what_we_write(family: str, label: bool, options: dict[str, Any], tmp_path: Path) -> None:
    case, base = MAKERS[family](**FIELDS.get(family, {})), tmp_path / "base"
    theirs: Any = reference(case, base, torch.float32)
    if label:
        theirs = AutoModelForSequenceClassification.from_pretrained(base, num_labels=3)
    model, method = adapted(base, label=label, **options)
    write_peft(tmp_path / "adapter", model, method, base_name=str(base))
    wanted, before = scores(case, model), their_logits(case, theirs.eval())
    found = their_logits(case, PeftModel.from_pretrained(theirs, str(tmp_path / "adapter")).eval())
    assert max(float((a - b).abs().max()) for a, b in zip(before, found, strict=True)) > 1e-2
    assert_close(found, wanted, rtol=1e-5, atol=2e-5)
    assert_close(scores(case, load(tmp_path / "adapter")), wanted, rtol=1e-5, atol=1e-5)
