"""`microtune pretrain TEXT`: a file of text in place of a recipe, and models that are made rather than loaded."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from command import call

from tiny_model import TEXTS, make_model

Capture = pytest.CaptureFixture[str]
pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture
def text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    Path("poems.txt").write_text("\n".join(TEXTS * 40), encoding="utf-8")
    return "poems.txt"


def test_somebody_has_to_learn_from_it(text: str, capsys: Capture) -> None:
    answer = call(capsys, "pretrain", text, "train.epochs=1")
    assert answer.code == 2
    assert answer.sentence == (
        "poems.txt: say which model learns from this text: --model sprout goes on from one, model.classic=ngram:5 "
        "counts n-grams; a new network is described in a recipe (.yaml)."
    )
    assert call(capsys, "pretrain", "peoms.txt", "--model", "sprout").sentence.startswith("peoms.txt: no such file")
    assert not list(Path().glob("runs/*"))


def test_n_grams_of_a_text(text: str, capsys: Capture) -> None:
    assert call(capsys, "pretrain", text, "model.classic=ngram:3").code == 0
    (run,) = Path("runs").iterdir()
    assert run.name.startswith("poems-ngram-language-modelling-full-")
    assert json.loads((run / "scores.json").read_text(encoding="utf-8")) is not None
    score = json.loads(call(capsys, "evaluate", run, "--data", text, "--json").out)["scores"]
    assert 0 < score["bits_per_byte"] < 1  # it has counted these very lines


def test_a_model_goes_on_with_a_text(text: str, capsys: Capture) -> None:
    make_model(Path("m"))
    before = json.loads(call(capsys, "evaluate", "m", "--data", text, "--json").out)["scores"]["loss"]
    done = call(
        capsys, "pretrain", text, "--model", "m", "--out", "r", "train.lr=0.01", "data.block_size=16", "train.epochs=1"
    )
    assert done.code == 0, done.err
    after = json.loads(call(capsys, "evaluate", "r", "--data", text, "--json").out)["scores"]["loss"]
    assert after < before - 1  # nats per token: from a network of random weights to one that has read the lines


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("ngram:5", "microtune pretrain TEXT model.classic=ngram (docs/classic.md)"),
        ("word2vec", "microtune pretrain TEXT model.classic=word2vec (docs/classic.md)"),
        ("seq2seq-rnn", "microtune tune recipes/seq2seq-rnn.yaml data.train=DATA (docs/recurrent.md)"),
    ],
)
def test_what_is_made_is_not_loaded(name: str, command: str, text: str, capsys: Capture) -> None:
    answer = call(capsys, "tune", text, "--task", "language-modelling", "--model", name)
    assert answer.sentence == f'"{name}" is not loaded, it is made: {command}.'


def test_a_text_of_few_blocks_is_said_to_be_few_steps(
    text: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MICROTUNE_LANG", "zh")
    make_model(Path("m"))
    lines = [f"{one} and {i}" for i, one in enumerate(TEXTS * 40)]
    Path(text).write_text("\n".join(lines), encoding="utf-8")
    asked = ("tune", text, "--task", "language-modelling", "--model", "m", "--method", "lora:2")
    said = call(capsys, *asked, "--epochs", "1", "data.block_size=32", "train.precision=float32", "--out", "few")
    assert said.code == 0, said.err
    rows = re.search(
        r"说明：训练文本切成 (\d+) 块，每块最多 32 个词元，总共只有 (\d+) 步，学不到多少。请提高 --epochs，", said.err
    )
    assert rows is not None, said.err
    assert -(-int(rows[1]) // 16) == int(rows[2]) < 20
    more = call(capsys, *asked, "--epochs", "20", "data.block_size=8", "train.precision=float32", "--dry-run")
    assert "学不到多少" not in more.err


def test_a_table_names_its_text(text: str, capsys: Capture) -> None:
    Path("t.csv").write_text(
        "id,poem\n" + "".join(f"{i},{one}\n" for i, one in enumerate(TEXTS * 40)), encoding="utf-8"
    )
    answer = call(capsys, "pretrain", "t.csv", "model.classic=ngram:3")
    assert answer.sentence == (
        't.csv, line 2: there is no field "text"; the row has id, poem; name it with --text-field, or as `fields` of '
        "the source."
    )
    assert call(capsys, "pretrain", "t.csv", "model.classic=ngram:3", "--text-field", "poem", "--out", "r").code == 0
    Path("r.yaml").write_text("task: language-modelling\n", encoding="utf-8")
    answer = call(capsys, "pretrain", "r.yaml", "--text-field", "poem")
    assert answer.sentence == "r.yaml: --text-field is for a table; in a recipe a source names its `fields`."
