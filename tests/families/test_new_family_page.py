"""docs/new-family.md, followed literally: its code is run, and the family that it adds loads, goes back and learns."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf
from references import PAD, VOCAB, Case, open_ours, our_logits, reference, their_logits, their_padded
from safetensors.torch import load_file
from test_encoder_tuning import TEXTS, VOCABULARY, rows
from test_parity import ROUNDING, TOLERANCE, compare
from test_refusals import configure, refused
from test_roundtrip import WEIGHTS, assert_same_bits, save_again

import microtune as mt
from microtune.data.text import train_bpe
from microtune.families import families, load_folder

pytestmark = pytest.mark.usefixtures("quick")

PAGE = Path(__file__).resolve().parents[2] / "docs" / "new-family.md"
MOST_LINES = 40
SIZES = {"hidden_size": 16, "intermediate_size": 20, "num_hidden_layers": 2, "num_attention_heads": 4}


def code() -> str:
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 1, "the page shows one file"
    return str(blocks[0])


@pytest.fixture(autouse=True)
def added() -> Iterator[None]:
    """The page's block, run as it stands; the registry is as before afterwards."""
    assert "ernie" not in families, "the page's family has come into the package: take another example"
    exec(compile(code(), str(PAGE), "exec"), {"__name__": "page"})
    yield
    del families._records["ernie"]


def ernie(build: type[Any] = hf.ErnieForMaskedLM, **fields: Any) -> Case:
    base = {"vocab_size": VOCAB, "max_position_embeddings": 64, "pad_token_id": PAD}
    return Case(build, hf.ErnieConfig(**(base | SIZES | fields)), types=True)


def test_the_code_is_shorter_than_forty_lines() -> None:
    assert len(code().splitlines()) < MOST_LINES


@pytest.mark.parametrize(
    "case",
    [
        ernie(),
        ernie(tie_word_embeddings=False, hidden_act="relu", type_vocab_size=4),
        ernie(hf.ErnieForSequenceClassification, num_labels=3),
    ],
    ids=["tied", "untied", "labels"],
)
def test_a_tiny_model_loads_and_goes_back(case: Case, tmp_path: Path) -> None:
    theirs, mine = reference(case, tmp_path / "theirs"), open_ours(tmp_path / "theirs")
    compare(our_logits(case, mine), their_logits(case, theirs), **ROUNDING)
    compare(our_logits(case, mine), their_padded(case, theirs), **TOLERANCE)
    save_again(load_folder(tmp_path / "theirs"), tmp_path / "ours")
    wanted, found = (load_file(tmp_path / name / WEIGHTS) for name in ("theirs", "ours"))
    if "cls.predictions.decoder.bias" in wanted:  # untied: the other of the two is never read, but expected
        wanted["cls.predictions.bias"] = wanted["cls.predictions.decoder.bias"]
    assert_same_bits(found, wanted)
    _, report = case.build.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not any(report.values()), report


def test_what_it_does_not_compute_is_refused(tmp_path: Path) -> None:
    reference(ernie(), tmp_path)
    configure(tmp_path, use_task_id=True)
    refused(tmp_path, "use_task_id is True, which is not supported: this family is computed with False only.")


def test_it_tunes(tmp_path: Path) -> None:
    """Random weights from transformers, a tokenizer beside them, one step of LoRA, and an answer."""
    case = ernie(vocab_size=VOCABULARY)
    torch.manual_seed(0)
    case.build(case.config).save_pretrained(tmp_path / "base")
    train_bpe(TEXTS, VOCABULARY).save(tmp_path / "base")
    run = mt.tune(
        rows(),
        task="classification",
        model=str(tmp_path / "base"),
        method={"name": "lora", "rank": 2},
        train={"batch_size": 64, "epochs": 1, "precision": "float32"},
        out=tmp_path / "run",
    )
    assert run.predict("my card was declined")[0].answer in ("card", "transfer")
    assert mt.load(tmp_path / "run").family == "ernie"
