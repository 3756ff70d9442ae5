"""`microtune pretrain TEXT`: a file of text in place of a recipe, and models that are made rather than loaded."""

from __future__ import annotations

import json
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
        ("seq2seq-rnn", "microtune tune DATA recipes/seq2seq-rnn.yaml (docs/recurrent.md)"),
    ],
)
def test_what_is_made_is_not_loaded(name: str, command: str, text: str, capsys: Capture) -> None:
    answer = call(capsys, "tune", text, "--task", "language-modelling", "--model", name)
    assert answer.sentence == f'"{name}" is not loaded, it is made: {command}.'
