"""Bad corpora through the console: one sentence with the place, exit code 2, and nothing half-written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from command import Answer, call

import microtune as mt
from microtune.errors import InputError, RunError
from microtune.run.session import Stage
from microtune.run.train import Step

STACK = {
    "num_layers": 1,
    "hidden_size": 16,
    "num_heads": 2,
    "intermediate_size": 24,
    "causal": True,
    "norm": "rms",
    "mlp": "gated",
    "activation": "silu",
    "positions": "rotary",
    "max_positions": 64,
    **{f"{name}_bias": False for name in ("query", "key", "value", "output", "mlp")},
}
TEXT = b"the cat sat on the mat and the dog ran\n" * 40


@pytest.fixture
def ask(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """`microtune pretrain` on files with these bytes."""

    def asked(files: dict[str, bytes], *overrides: str, **recipe: object) -> Answer:
        for name, data in files.items():
            (tmp_path / name).write_bytes(data)
        values = {
            "task": "language-modelling",
            "method": "full",
            "model": {"source": None, "tokenizer": {"vocab_size": 320}, "spec": {"decoder": STACK}},
            "data": {"folder": str(tmp_path), "block_size": 16, "sources": [{"path": name} for name in files]},
            "train": {"epochs": 1, "batch_size": 8, "precision": "float32"},
            **recipe,
        }
        (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
        return call(capsys, "pretrain", tmp_path / "recipe.yaml", "--out", tmp_path / "run", "--quiet", *overrides)

    return asked


PLACED: dict[str, tuple[bytes, list[str], list[str]]] = {
    "binary": (TEXT + b"\0\1\2" * 9, [], ["a.txt, line 41: ", "NUL"]),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8, [], ["a.txt, line 1: "]),
    "two encodings": (
        TEXT + "Grüße\n".encode() + "café\n".encode("latin-1"),
        [],
        ["a.txt, line 42: byte ", "(0xe9) is not valid UTF-8"],
    ),
    "an endless line": (
        b"word " * 1000,
        ["limits.field_characters=1000"],
        ["a.txt, line 1: the line is too long for one record, and limits.field_characters is 1,000"],
    ),
    "nothing": (b"", [], ["a.txt: the file is empty"]),
    "white space": (b"\n \n\t\n", [], ["a.txt: "]),
    "shorter than a block": (b"a b\n", [], ["The corpus is shorter than one block of 16 tokens"]),
    "a wrong kind": (TEXT, ["model.tokenizer.kind=sentencepiece"], ["model.tokenizer: kind: ", "'bpe'"]),
    "an option of another objective": (
        TEXT,
        ["task.mean_span=3"],
        ["task: ", "mean_span belongs to the objective span-denoising or infilling, not to causal"],
    ),
    "an unknown objective": (TEXT, ["task.objective=mask"], ["task: objective: ", "'masked'"]),
}


@pytest.mark.parametrize("case", PLACED)
def test_the_place_and_what_to_do(case: str, ask: Callable[..., Answer], tmp_path: Path) -> None:
    data, overrides, parts = PLACED[case]
    answer = ask({"a.txt": data}, *overrides)
    assert answer.code == 2
    for part in parts:
        assert part in answer.sentence
    assert not (tmp_path / "run").exists()


def test_a_line_without_end_and_a_word_without_end_are_text(ask: Callable[..., Answer], tmp_path: Path) -> None:
    answer = ask({"a.txt": b"word " * 2000, "b.txt": b"x" * 20000})
    assert answer.code == 0
    assert (tmp_path / "run" / "scores.json").is_file()


def test_too_few_blocks_and_too_few_words_are_said(ask: Callable[..., Answer], tmp_path: Path) -> None:
    answer = ask({"a.txt": TEXT[:400]}, "train.batch_size=1000", "model.tokenizer.vocab_size=5000")
    assert answer.code == 0
    said = " ".join(answer.err.split())
    assert "fewer than train.batch_size 1000: every step sees all of it" in said
    assert "fewer than the 5,000 asked for" in said
    model = mt.load(tmp_path / "run" / "model")
    assert model.spec.vocab_size == len(model.text) < 400


def test_a_missing_held_out_file_is_said_before_training(ask: Callable[..., Answer], tmp_path: Path) -> None:
    data = {"folder": str(tmp_path), "block_size": 16, "sources": [{"path": "a.txt", "held_out": "none.txt"}]}
    answer = ask({"a.txt": TEXT}, data=data)
    assert answer.code == 2
    assert "none.txt" in answer.sentence
    assert not (tmp_path / "run").exists()


def test_a_source_that_vanishes(ask: Callable[..., Answer], tmp_path: Path) -> None:
    files = {"a.txt": TEXT, "b.txt": TEXT[: len(TEXT) // 2]}
    ask(files, "model.tokenizer.vocab_size=1")  # only to write the recipe
    recipe, second = tmp_path / "recipe.yaml", tmp_path / "b.txt"

    def vanish(event: object) -> None:
        if isinstance(event, Stage) and (event.name, event.done) == ("tokenise", 1):
            second.unlink()

    with pytest.raises(InputError, match=r"b\.txt: "):
        mt.pretrain(recipe, out=tmp_path / "run", on_event=vanish)
    assert not (tmp_path / "run").exists()

    second.write_bytes(files["b.txt"])

    class Stopped(Exception):  # noqa: N818 - an event
        pass

    def stop(event: object) -> None:
        if isinstance(event, Step) and event.step == 3:
            raise Stopped

    steps = "train.checkpoint_steps=1"
    with pytest.raises(Stopped):
        mt.pretrain(recipe, steps, out=tmp_path / "run", on_event=stop)
    second.unlink()
    with pytest.raises(RunError, match=r"holds a different run \(data b\.txt is gone\)"):
        mt.pretrain(recipe, steps, out=tmp_path / "run")
    second.write_bytes(files["b.txt"])
    with pytest.raises(RunError, match=r"holds a different run \(train\.lr: .* 0\.5.*\); choose another folder"):
        mt.pretrain(recipe, steps, "train.lr=0.5", out=tmp_path / "run")
    done = mt.pretrain(recipe, steps, out=tmp_path / "run")
    assert any("Resumed at step" in note for note in done.notes)
