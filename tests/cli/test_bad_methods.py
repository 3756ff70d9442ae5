"""Bad options of full, head, top and reinit: exit code 2, one sentence with the field, and nothing written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command import call

from tiny_model import make_model, rows

pytestmark = pytest.mark.usefixtures("quick")

FAST = ["train.precision=float32", "train.batch_size=8", "--epochs", "1", "--quiet"]
# Method -> further arguments -> how the sentence begins.
BAD: list[tuple[str, list[str], str]] = [
    ("full", ["method.layer_decay=0"], "method: layer_decay: the value should be greater than 0, not '0'."),
    ("top:1", ["method.layer_decay=-0.9"], "method: layer_decay: the value should be greater than 0, not '-0.9'."),
    ("reinit", ["method.layer_decay=1.5"], "method: layer_decay: the value should be less than or equal to 1, not"),
    ("top:1", ["method.unfreeze=slow"], "method: unfreeze: the value should be 'at-once' or 'gradual', not 'slow'."),
    ("full", ["method.unfreze=gradual"], 'method: unknown key "unfreze". Did you mean "unfreeze"?'),
    ("top:3", ["method.unfreeze=gradual"], "method: 3 blocks were asked for, the model has 2."),
    ("reinit:3", [], "method: 3 blocks were asked for, the model has 2."),
    ("reinit:1", ["method.train_blocks=3"], "method: 3 blocks were asked for, the model has 2."),
    ("reinit:2", ["method.train_blocks=1"], "method.train_blocks: 2 blocks start anew, and 1 train;"),
    ("reinit:1", ["method.pooler=true"], "method.pooler: the head of this model and task has no layer below its"),
    ("reinit:0", ["method.norm=false"], "method: reinit has nothing to start anew; choose blocks, pooler or head."),
    ("reinit", ["method.then=lora"], "method: then: the value should be 'top' or 'full', not 'lora'."),
    ("head", ["method.hidden=-1"], "method: hidden: the value should be greater than or equal to 0, not '-1'."),
    ("head", ["method.dropout=0.5"], "method.dropout: is on the hidden layer; say how wide it is, for instance hidden"),
    ("head", ["method.hidden=8", "method.dropout=1"], "method: dropout: the value should be less than 1, not '1'."),
    ("head", ["method.hidden=8", "method.activation=relu"], "method: activation: the value should be 'tanh' or 'gelu'"),
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model"))


@pytest.mark.parametrize(("method", "more", "beginning"), BAD)
def test_bad_options(
    method: str, more: list[str], beginning: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows(30)), encoding="utf-8")
    names = ["--model", model, "--task", "classification", "--method", method, "--out", tmp_path / "run"]
    answer = call(capsys, "tune", data, *names, *more, *FAST)
    assert answer.code == 2
    assert answer.sentence.startswith(beginning)
    assert [path.name for path in tmp_path.iterdir()] == ["data.jsonl"]


def test_a_hidden_layer_over_a_vocabulary(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "data.txt"
    data.write_text("my card was declined at the shop\n" * 30, encoding="utf-8")
    names = ["--model", model, "--task", "language-modelling", "--method", "head", "--out", tmp_path / "run"]
    answer = call(capsys, "tune", data, *names, "method.hidden=8", "data.block_size=16", "split=none", *FAST)
    assert answer.code == 2
    assert answer.sentence.startswith("method.hidden: the head of this task scores the vocabulary and came with the")
