"""Classifiers that the real peft wrote by its own defaults, for each encoder family: the label head read back.

PEFT saves modules whose names end in "classifier" or "score" (DistilBERT's `pre_classifier` among them), whatever
`modules_to_save` says besides; and "all-linear" puts updates on layers below the scores (BERT's pooler).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from encoder_cases import LABELS, MAKERS, our_scores
from peft import LoraConfig, PeftModel, get_peft_model
from references import LABELS as OTHERS
from references import Case, bert, reference, their_logits
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.testing import assert_close
from transformers import AutoModelForSequenceClassification

from microtune.adapt.lora import LoRA
from microtune.errors import InputError
from microtune.run.load import load
from microtune.run.peft import write_peft

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning"),  # peft 0.21 with transformers 5
]
QUERIES = {"distilbert": ["q_lin", "v_lin"], "modernbert": ["Wqkv"]}
DENSE = {"distilbert": ["out_lin", "lin1"], "modernbert": ["Wo"]}
WITH_LABELS = {"modernbert": LABELS["modernbert, first token"], "bert": OTHERS["bert"]}
WITH_LABELS |= {family: LABELS[family] for family in MAKERS if family != "modernbert"}
OPTIONS: dict[str, Callable[[str], dict[str, Any]]] = {
    "defaults": lambda family: {"target_modules": QUERIES.get(family, ["query", "value"])},
    "dense": lambda family: {"target_modules": DENSE.get(family, ["dense"])},
    "everything": lambda family: {"target_modules": "all-linear"},
    "dora everywhere": lambda family: {"target_modules": "all-linear", "use_dora": True, "use_rslora": True},
}


def written(case: Case, folder: Path, **options: Any) -> tuple[Any, int]:
    """A base, and beside it an adapter whose every tensor was changed, as peft saves it; the model and its labels."""
    reference(case, folder / "base", torch.float32)
    torch.manual_seed(9)
    labels = case.config.num_labels
    base = AutoModelForSequenceClassification.from_pretrained(folder / "base", num_labels=labels)
    model = get_peft_model(base, LoraConfig(task_type="SEQ_CLS", r=2, lora_alpha=3, **options))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.2)
    model.save_pretrained(folder / "adapter")
    return model.eval(), labels


def agree(case: Case, model: Any, labels: int, folder: Path) -> None:
    """We read it, and peft reads what we write of it."""
    wanted = their_logits(case, model)
    found = load(folder / "adapter")
    assert_close(our_scores(case, found.network), wanted, rtol=1e-5, atol=2e-5)
    write_peft(folder / "again", found, LoRA(), base_name=str(folder / "base"))
    base = AutoModelForSequenceClassification.from_pretrained(folder / "base", num_labels=labels)
    again = PeftModel.from_pretrained(base, str(folder / "again")).eval()
    assert_close(their_logits(case, again), wanted, rtol=1e-5, atol=2e-5)


# peft itself refuses an update on DistilBERT's pre_classifier, which it saves whole; ELECTRA's lies below the blocks.
PAIRS = [(family, name) for family in WITH_LABELS for name in OPTIONS]
PAIRS = [(f, name) for f, name in PAIRS if "every" not in name or f not in ("distilbert", "electra")]


@pytest.mark.parametrize(("family", "options"), PAIRS)
def test_over_a_base_with_a_label_head(family: str, options: str, tmp_path: Path) -> None:
    model, labels = written(WITH_LABELS[family], tmp_path, **OPTIONS[options](family))
    agree(WITH_LABELS[family], model, labels, tmp_path)


@pytest.mark.parametrize("options", ["defaults", "dense"])
@pytest.mark.parametrize("family", MAKERS)
def test_over_a_base_without_one(family: str, options: str, tmp_path: Path) -> None:
    """PEFT saves all that it draws at random; ModernBERT's layer below the scores is the language model's own."""
    case = MAKERS[family](num_labels=3)
    model, labels = written(case, tmp_path, **OPTIONS[options](family))
    agree(case, model, labels, tmp_path)


@pytest.mark.parametrize("save", [None, ["pooler"]], ids=["lost", "saved"])
def test_a_pooler_that_the_base_lacks(save: list[str] | None, tmp_path: Path) -> None:
    """BERT as a masked language model has none: peft draws one at random, and keeps it only where it is told to."""
    case = bert(num_labels=3)
    model, labels = written(case, tmp_path, target_modules=["query"], modules_to_save=save)
    if save:
        agree(case, model, labels, tmp_path)
        return
    with pytest.raises(InputError, match=r'"pooler.weight" of the label head is neither.* lost: train again with that'):
        load(tmp_path / "adapter")


def test_an_update_below_the_blocks_is_refused(tmp_path: Path) -> None:
    written(WITH_LABELS["electra"], tmp_path, target_modules="all-linear")
    with pytest.raises(InputError, match=r'"electra.embeddings_project" has an update .* merge the adapter') as error:
        load(tmp_path / "adapter")
    assert "\n" not in str(error.value)


POOLER = "base_model.model.bert.pooler.dense"
DAMAGES: dict[str, tuple[Callable[[dict[str, Tensor]], Any], str]] = {
    "half a pair": (lambda t: t.pop(f"{POOLER}.lora_B.weight"), 'pooler.dense.lora_B.weight" is missing'),
    "no pair": (
        lambda t: [t.pop(f"{POOLER}.lora_{x}.weight") for x in "AB"],
        r'pooler.dense.lora_A.weight" is missing, which adapter_config.json promises',
    ),
    "another rank": (
        lambda t: t.update({f"{POOLER}.lora_A.weight": torch.ones(3, 16)}),
        r"has shape \[3, 16\], but the base and adapter_config.json ask for \[2, 16\]",
    ),
    "scores with an update": (
        lambda t: t.update({f"base_model.model.classifier.lora_{x}.weight": torch.ones(2, 2) for x in "AB"}),
        'does not select a linear layer "classifier" of this label head',
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_updates_of_a_head(name: str, tmp_path: Path) -> None:
    change, message = DAMAGES[name]
    written(WITH_LABELS["bert"], tmp_path, target_modules="all-linear")
    path = tmp_path / "adapter" / "adapter_model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)
    with pytest.raises(InputError, match=message) as error:
        load(tmp_path / "adapter")
    assert "\n" not in str(error.value)
