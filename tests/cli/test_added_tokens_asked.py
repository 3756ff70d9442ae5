"""Added tokens through the command line: the recipe's field as an override, and every refusal as one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from command import call

from microtune.recipe import build, override
from microtune.run.disk import read_tensors
from tiny_model import SPEC, make_model

pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return make_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    lines = [{"prompt": f"ask {i}", "completion": f"<call>{i}</call>"} for i in range(24)]
    path.write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")
    return path


def test_tokens_are_given_as_an_override(
    base: Path, rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    asked = ["--task", "instruction", "--model", base, "--method", "lora:2", "--out", out, "--json"]
    answer = call(capsys, "tune", rows, *asked, 'model.added_tokens=["<call>","</call>"]', "train.precision=float32")
    assert answer.code == 0
    assert json.loads(answer.out)["path"] == str(out)
    found = read_tensors(out / "model" / "trained.safetensors")
    assert found["tokens.added"].shape == (2, 16)
    assert "- <call>" in (out / "recipe.yaml").read_text(encoding="utf-8")
    said = call(capsys, "predict", out, "ask 3")
    assert said.code == 0


def test_the_field_is_a_list_of_texts() -> None:
    values = override({"task": "instruction", "model": "sprout"}, ['model.added_tokens=["<a>", "<b>"]'])
    assert build(values).model.added_tokens == ["<a>", "<b>"]
    assert build({"task": "instruction"}).model.added_tokens == []


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ('[""]', "model.added_tokens: a token is empty or white space alone"),
        ('["<a>", "<a>"]', 'model.added_tokens: "<a>" stands twice; name each token once.'),
        (json.dumps([f"<{i}>" for i in range(4097)]), "model.added_tokens: 4097 tokens are more than 4096"),
        ('"<a>"', "model.added_tokens: the value should be a valid list"),
        ("[1]", "model.added_tokens.0: the value should be a valid string"),
    ],
)
def test_refusals(
    value: str, sentence: str, base: Path, rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    asked = ["--task", "instruction", "--model", base, "--out", out, "--quiet"]
    answer = call(capsys, "tune", rows, *asked, f"model.added_tokens={value}")
    assert answer.code == 2
    assert sentence in answer.sentence
    assert not out.exists()


def test_a_model_without_a_tokenizer(
    base: Path, rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("config.json", "model.safetensors"):
        (bare / name).write_bytes((base / name).read_bytes())
    asked = ["--task", "instruction", "--model", bare, "--out", tmp_path / "run", "--quiet"]
    answer = call(capsys, "tune", rows, *asked, "model.added_tokens=[<a>]")
    assert answer.code == 2
    assert "model.added_tokens: this model has no tokenizer" in answer.sentence


def test_a_tokenizer_of_another_model_is_refused_as_before(
    base: Path, rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for path in base.iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    values = json.loads((other / "tokenizer.json").read_text(encoding="utf-8"))
    flags = {"special": False, "normalized": False, "single_word": False, "lstrip": False, "rstrip": False}
    values["added_tokens"].append({"id": SPEC.vocab_size, "content": "<far>", **flags})
    values["model"]["vocab"] |= {f"far{i}": i for i in range(len(values["model"]["vocab"]), SPEC.vocab_size)}
    (other / "tokenizer.json").write_text(json.dumps(values), encoding="utf-8")
    asked = ["--task", "instruction", "--model", other, "--out", tmp_path / "run", "--quiet"]
    answer = call(capsys, "tune", rows, *asked, "model.added_tokens=[<a>]")
    assert answer.code == 2
    assert f"can give ids up to {SPEC.vocab_size}, but the model's embedding ends at" in answer.sentence
