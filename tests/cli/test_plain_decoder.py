"""A base that was tuned for nothing goes on with texts and is scored on them; a pretrained run is such a base."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from command import call

import microtune as mt
from microtune.tasks.language_modelling import document_ids
from tiny_model import make_model

pytestmark = pytest.mark.usefixtures("quick")

SHORT = ("the card is here", "a transfer")


def _rows(path: Path, *rows: dict[str, object]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_bits_per_byte_of_a_base_are_those_of_its_probabilities(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = make_model(tmp_path / "base")
    rows = _rows(tmp_path / "rows.jsonl", *({"body": text} for text in SHORT))  # the only field, whatever its name
    found = json.loads(call(capsys, "evaluate", base, "--data", rows, "--json").out)["scores"]
    model, nats = mt.load(base), 0.0
    for text in SHORT:
        ids = document_ids(model.text, text)
        logp = torch.log_softmax(model.logits([ids[:-1]])[0], -1)
        nats -= float(logp.gather(1, torch.tensor(ids[1:])[:, None]).sum())
    assert found["bits_per_byte"] == pytest.approx(nats / math.log(2) / sum(map(len, SHORT)), rel=1e-5)
    assert call(capsys, "predict", base, SHORT[0], "--max-new-tokens", "5").out.strip("\n") == model.generate(
        SHORT[0], max_new_tokens=5
    )


def test_a_pretrained_run_is_named_by_its_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = make_model(tmp_path / "base")
    run = tmp_path / "run"
    shutil.copytree(base, run / "model")
    (run / "model" / "manifest.json").write_text("{}", encoding="utf-8")
    (run / "recipe.yaml").write_text("task: language-modelling\n", encoding="utf-8")
    rows = _rows(tmp_path / "rows.jsonl", {"text": SHORT[0], "source": "a"})
    whole, named = (call(capsys, "evaluate", place, "--data", rows, "--json") for place in (base, run))
    assert whole.code == named.code == 0
    assert json.loads(whole.out) == json.loads(named.out)
    assert mt.load(run).place == mt.load(run / "model").place


def test_what_a_plain_model_cannot_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = make_model(tmp_path / "base")
    rows = _rows(tmp_path / "rows.jsonl", {"body": "a", "title": "b"})
    for arguments in (("evaluate", base, "--data", rows), ("predict", base, "--input", rows)):
        said = call(capsys, *arguments)
        assert said.code == 2
        assert said.sentence == (
            f'{rows}, line 1: a plain model reads the field "text"; the fields are "body", "title". Rename one.'
        )
    said = call(capsys, "evaluate", base)
    assert said.sentence == f"{base}: not a finished run; there is no scores.json in it."
