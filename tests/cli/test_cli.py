"""What the commands print: help without torch, results alone on stdout, progress on stderr, files in their order."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import call, child

import microtune as mt
from microtune.cli.app import app
from microtune.run.train import Step
from microtune.version import __version__
from tiny_model import make_model, rows

VERBS = [str(command.name) for command in app.registered_commands]
FAST = {"precision": "float32", "batch_size": 8, "lr": 5e-3}
ROWS = rows(40)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def run(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tuned classifier."""
    out = tmp_path_factory.mktemp("runs") / "run"
    return mt.tune(ROWS, task="classification", model=str(model), method="full", epochs=6, out=out, train=FAST).path


@pytest.fixture(scope="module")
def talker(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model tuned on prompts and answers."""
    turns = [{"prompt": f"say {i}", "completion": f"yes {i}"} for i in range(20)]
    out = tmp_path_factory.mktemp("runs") / "talker"
    return mt.tune(turns, task="instruction", model=str(model), method="top:1", epochs=1, split="none", out=out).path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    texts = [
        "my card was declined",
        "=HYPERLINK(1)",
        "the transfer has not arrived",
        "@x",
        "＝1",
        "-5",
        "+1",
        'a,b\n"c"',
    ]
    path.write_text("".join(json.dumps({"id": i, "text": t}) + "\n" for i, t in enumerate(texts)), encoding="utf-8")
    return path


def answers(path: Path) -> Iterator[dict[str, object]]:
    return (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())


# ------------------------------------------------------------------------------------------------- help


def test_help_does_not_import_torch() -> None:
    """Every verb in one process, so that it stays quick; each must answer before anything heavy is loaded."""
    script = """
import contextlib, io, sys
from microtune.cli.app import main
for arguments in ([], *([v] for v in sys.argv[1:])):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        try:
            main([*arguments, "--help"])
        except SystemExit as stop:
            assert not stop.code, stop.code
    assert "Usage: " in out.getvalue(), arguments
    heavy = {"torch", "numpy", "tokenizers", "pyarrow", "safetensors"} & set(sys.modules)
    assert not heavy, (arguments, heavy)
print("done")
"""
    done = subprocess.run(
        [sys.executable, "-c", script, *VERBS], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.stdout, done.stderr) == ("done\n", "")


def test_version_in_a_process_of_its_own() -> None:
    answer = child("--version", options=("-W", "error"))
    assert (answer.code, answer.out, answer.err) == (0, f"microtune {__version__}\n", "")


def test_help_shows_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    answer = call(capsys, "--help")
    assert answer.code == 0
    assert answer.err == ""
    assert all(f" {verb} " in answer.out for verb in VERBS)
    assert call(capsys, "tune", "-h").out == call(capsys, "tune", "--help").out


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("models", ["sprout", "minilm"]),
        ("families", ["bert", "distilbert", "electra", "gpt2", "llama", "modernbert", "roberta", "xlm-roberta"]),
        ("methods", ["full", "head", "lora:K", "reinit:K", "top:K"]),
        ("tasks", ["classification", "instruction", "language-modelling"]),
        ("checks", ["stop-token", "no-effect", "after two steps", "(warn or stop)"]),
    ],
)
def test_list(kind: str, names: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    answer = call(capsys, "list", kind)
    assert answer.code == 0
    assert answer.err == ""
    assert all(name in answer.out for name in names)
    everything = call(capsys, "list").out
    assert all(name in everything for name in names)


# ------------------------------------------------------------------------------------------------- tune


def test_tune_json_alone_on_stdout(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    where = [
        "--model",
        model,
        "--method",
        "head",
        "--epochs",
        "1",
        "train.precision=float32",
        "--out",
        tmp_path / "run",
    ]
    answer = call(capsys, "tune", file, "--task", "classification", *where, "--json")
    assert answer.code == 0
    result = json.loads(answer.out)
    assert sorted(result) == ["intervals", "path", "scores"]
    assert result["path"] == str(tmp_path / "run")
    assert 0 <= result["scores"]["test"]["accuracy"] <= 1
    assert len(result["intervals"]["test"]["accuracy"]) == 2


def test_tune_shows_what_happens_and_resumes(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Results on stdout, the rest on stderr; the same command continues an interrupted run and says so."""
    file = tmp_path / "a.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    out = tmp_path / "run"

    def stop(event: object) -> None:
        if isinstance(event, Step) and event.step == 3:
            raise KeyboardInterrupt

    train = {"precision": "float32", "batch_size": 8, "checkpoint_steps": 1}
    options = {"task": "classification", "model": str(model), "method": "head", "epochs": 2, "out": out}
    with pytest.raises(KeyboardInterrupt):
        mt.tune(str(file), train=train, on_event=stop, **options)
    same = ["--task", "classification", "--model", model, "--method", "head", "--epochs", "2", "--out", out]
    answer = call(capsys, "tune", file, *same, *(f"train.{key}={value}" for key, value in train.items()))
    assert answer.code == 0
    assert "Resumed at step 2 of 8." in answer.err
    assert "rows: 32 train, 4 validation, 4 test; 2 labels" in answer.err
    for part in ("test split, 4 rows", "accuracy", "per class", "confusion", f"saved: {out}"[:40], "microtune predict"):
        assert part in answer.out
    assert "\x1b" not in answer.out + answer.err


# ------------------------------------------------------------------------------------------------- predict


def test_predict_texts(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = call(capsys, "predict", run, ROWS[0]["text"], ROWS[1]["text"])
    assert answer.code == 0
    lines = answer.out.splitlines()
    assert [line.split()[0] for line in lines] == ["card", "transfer"]
    assert all(line.endswith(")") for line in lines)
    records = [json.loads(line) for line in call(capsys, "predict", run, "x", "y", "--json").out.splitlines()]
    assert [record["text"] for record in records] == ["x", "y"]
    assert all(0 <= record["confidence"] <= 1 and record["prediction"] in ("card", "transfer") for record in records)


def test_predict_a_file(run: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The rows of the input, in their order, with two fields more; formulas are quoted for spreadsheets only."""
    given = list(answers(data))
    lines = call(capsys, "predict", run, "--input", data).out.splitlines()
    assert [json.loads(line)["id"] for line in lines] == list(range(len(given)))
    written = call(capsys, "predict", run, "--input", data, "--output", tmp_path / "out.jsonl")
    assert (written.code, written.out) == (0, "")
    records = list(answers(tmp_path / "out.jsonl"))
    assert [{k: r[k] for k in ("id", "text")} for r in records] == given
    assert call(capsys, "predict", run, "--input", data, "--output", tmp_path / "out.csv").code == 0
    raw = (tmp_path / "out.csv").read_text(encoding="utf-8")
    assert raw.startswith("\ufeffid,text,prediction,confidence\n")
    table = list(csv.DictReader(io.StringIO(raw.removeprefix("\ufeff"))))
    assert [row["prediction"] for row in table] == [r["prediction"] for r in records]
    dangerous = [row["text"] for row in table if row["id"] in "13456"]
    assert dangerous == ["'=HYPERLINK(1)", "'@x", "'＝1", "'-5", "'+1"]
    assert table[7]["text"] == given[7]["text"]
    assert not list(tmp_path.glob("*.part"))


def test_unsure(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = call(capsys, "predict", run, "zzz", "--min-confidence", "1", "--json")
    assert json.loads(answer.out)["prediction"] == "unsure"
    assert call(capsys, "predict", run, "zzz", "--min-confidence", "0", "--json").out != answer.out


def test_predict_with_a_talker(talker: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = call(capsys, "predict", talker, "say 3", "--max-new-tokens", "4", "--json")
    assert list(json.loads(answer.out)) == ["text", "prediction"]
    assert call(capsys, "predict", talker, "x", "--min-confidence", "0.5").sentence.startswith(
        "--min-confidence is for"
    )


# ------------------------------------------------------------------------------------------------- evaluate


def test_evaluate(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without data the run's own scores; with data new ones, for the rows that are given."""
    own = json.loads(call(capsys, "evaluate", run, "--json").out)
    assert own["scores"] == mt.Run(run).scores
    shown = call(capsys, "evaluate", run)
    assert shown.code == 0
    assert f"{own['scores']['test']['accuracy']:.4f}" in shown.out
    file = tmp_path / "more.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in ROWS[:6]))
    new = json.loads(call(capsys, "evaluate", run, "--data", file, "--json").out)
    assert {"accuracy", "loss", "macro_f1"} <= new["scores"].keys()
    table = call(capsys, "evaluate", run, "--data", file).out
    assert "6 rows" in table
    assert "confusion" in table


# ------------------------------------------------------------------------------------------------- chat


@pytest.mark.parametrize("which", ["model", "talker"])
def test_chat_reads_lines_until_an_empty_one(
    which: str, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = request.getfixturevalue(which)
    monkeypatch.setattr("sys.stdin", io.StringIO("hello\nand again\n\nnever read\n"))
    answer = call(capsys, "chat", folder, "--max-new-tokens", "3", "--temperature", "0")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.count("\n") >= 2
    monkeypatch.setattr("sys.stdin", io.StringIO("hello\nand again\n"))  # Ctrl-D ends it too
    assert call(capsys, "chat", folder, "--max-new-tokens", "3", "--temperature", "0") == answer


# ------------------------------------------------------------------------------------------------- foreign text


def test_what_comes_from_data_cannot_speak_to_the_terminal(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Labels, texts and file names with escapes, markup and hidden characters are shown, never obeyed."""
    evil = ["\x1b]52;c;aGk=\x07[bold]x[/]", "\x1b[31mred\u202e\x9b[link=file:///etc]"]
    file = tmp_path / "[red]a.jsonl"
    file.write_text(
        "".join(json.dumps({"text": f"{ROWS[i]['text']} {evil[0]}", "label": evil[i % 2]}) + "\n" for i in range(40))
    )
    where = [
        "--model",
        model,
        "--method",
        "head",
        "--epochs",
        "1",
        "train.precision=float32",
        "--out",
        tmp_path / "[b]run",
    ]
    answer = call(capsys, "tune", file, "--task", "classification", *where)
    assert answer.code == 0
    answer2 = call(capsys, "predict", tmp_path / "[b]run", f"x {evil[0]}")
    wrong = call(capsys, "predict", tmp_path / "[b]run", "--input", tmp_path / "\x1b[31m.csv")
    assert wrong.code == 2
    for text in (answer.out, answer.err, answer2.out, wrong.err):
        assert not any(character in text for character in "\x1b\x07\x9b\u202e")
    assert "\\x1b[31mred\\u202e" in answer2.out or "\\x1b]52;c;aGk=\\x07[bold]x[/]" in answer2.out


def test_no_secret_of_the_process_stands_in_a_run(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the environment holds, it is neither stored nor printed."""
    for name in ("HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "WANDB_API_KEY", "MICROTUNE_X", "PASSWORD"):
        monkeypatch.setenv(name, "canary-5f1e")
    file = tmp_path / "a.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    where = ["--model", model, "--method", "lora:2", "--epochs", "1", "train.precision=float32"]
    answer = call(capsys, "tune", file, "--task", "classification", *where, "--out", tmp_path / "run")
    assert answer.code == 0
    assert "canary" not in answer.out + answer.err
    written = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert len(written) > 8
    assert not any(b"canary" in path.read_bytes() for path in written)
