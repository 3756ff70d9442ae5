"""Methods and lists of methods that make no sense: one sentence with field and reason, exit code 2, nothing written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command import call

import microtune as mt
from tiny_model import make_model, rows

pytestmark = pytest.mark.usefixtures("quick")

FAST = ["train.precision=float32", "train.batch_size=8", "--epochs", "1", "--quiet"]
ALREADY = "full trains every weight already, so norms has nothing to add to it; take one of them."


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama without biases and thirty rows."""
    there = tmp_path_factory.mktemp("inputs")
    make_model(there / "model")
    (there / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows(30)), encoding="utf-8")
    return there


# Name -> (arguments, what the sentence says).
BAD: dict[str, tuple[list[str], str]] = {
    "no biases": (
        ["--method", "bitfit"],
        "bitfit: there is no bias to train: no linear role (q, k, v, o, up, gate, down) and no norm (RMS norms) has",
    ),
    "no biases beside a head": (["--method", "head+bitfit"], "bitfit: there is no bias to train"),
    "unknown role": (["--method", "ia3", "method.roles=[k, vv]"], 'there is no role "vv" in these blocks. Did you'),
    "block above the depth": (
        ["--method", "norms", "method.first_block=2"],
        "norms finds nothing from block 2 upwards: the model has 2 blocks",
    ),
    "empty range": (
        ["--method", "ia3", "method.first_block=1", "method.last_block=0"],
        "last_block 0 lies below first_block 1; no block is left.",
    ),
    "two for one role": (
        ["--method", "ia3+lora:2"],
        "two methods for one role: ia3 and lora both change decoder.blocks.0.attention.k; part them by last_block,",
    ),
    "full and norms": (["--method", "norms+full"], ALREADY),
    "twice": (
        ["--method", "top:1+top:2"],
        "top stands twice, and both would train decoder.blocks.1.attention.k.weight",
    ),
    "unknown in a list": (["--method", "head+nroms"], 'Unknown method "nroms". Did you mean "norms"'),
    "a number for norms": (["--method", "norms:3"], '"norms:3": norms takes no number.'),
    "an option of a list": (["--method", "head+norms", "method.rank=3"], 'method: unknown key "rank".'),
}


@pytest.mark.parametrize("name", list(BAD))
def test_one_sentence(name: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments, sentence = BAD[name]
    where = ["tune", folder / "data.jsonl", "--task", "classification", "--model", folder / "model"]
    answer = call(capsys, *where, "--out", tmp_path / "run", *FAST, *arguments)
    assert answer.code == 2
    assert sentence in answer.sentence
    assert not (tmp_path / "run").exists()


def test_a_list_in_a_recipe_file(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"task: classification\nmodel: {folder / 'model'}\ndata: {folder / 'data.jsonl'}\n"
        "method: [{name: reinit, blocks: 1}, {name: ia3, last_block: 0}]\n"
        "train: {precision: float32, batch_size: 8}\nepochs: 1\n",
        encoding="utf-8",
    )
    assert call(capsys, "tune", recipe, "--out", tmp_path / "run", "--quiet").code == 0
    saved = (tmp_path / "run" / "recipe.yaml").read_text(encoding="utf-8")
    assert "name: several" in saved
    assert "last_block: 0" in saved
    assert call(capsys, "evaluate", tmp_path / "run").code == 0
    assert mt.load(tmp_path / "run").task is not None
    again = call(capsys, "tune", tmp_path / "run" / "recipe.yaml", "--out", tmp_path / "again", "--quiet")
    assert again.code == 0, again.err


def test_the_list_of_methods(capsys: pytest.CaptureFixture[str]) -> None:
    printed = call(capsys, "list", "methods").out
    for name in ("bitfit", "norms", "ia3", "several", "lora:K"):
        assert name in printed
