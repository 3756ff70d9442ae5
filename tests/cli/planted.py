"""Ordinary `microtune tune` runs for faults to be planted in: a tiny model folder, files of rows, one call."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command import Answer, call

from tiny_model import rows

FAST = ["train.precision=float32", "train.batch_size=8", "train.lr=0.01", "--epochs", "2", "--quiet"]
END = "<|end|>"


def write(path: Path, values: list[Any]) -> Path:
    """A JSONL file."""
    path.write_text("".join(json.dumps(v, ensure_ascii=False) + "\n" for v in values), encoding="utf-8")
    return path


def labelled(folder: Path, count: int = 40) -> Path:
    """Texts of two classes."""
    return write(folder / "data.jsonl", rows(count))


def answers(folder: Path, count: int = 40) -> Path:
    """Prompts and completions."""
    turns = [{"prompt": f"say {i}", "completion": f"yes {i}"} for i in range(count)]
    return write(folder / "data.jsonl", turns)


def conversations(folder: Path, count: int = 40) -> Path:
    """One question and one answer each, in messages."""
    turns = [{"role": "user", "content": "say {}"}, {"role": "assistant", "content": "yes {}"}]
    values = [{"messages": [{**t, "content": t["content"].format(i)} for t in turns]} for i in range(count)]
    return write(folder / "data.jsonl", values)


def tune(
    capsys: pytest.CaptureFixture[str],
    model: Path,
    data: Path,
    *more: str | Path,
    task: str = "classification",
    method: str = "lora:2",
) -> Answer:
    """`microtune tune DATA` in this process; the run stands beside the data."""
    where = ["--model", model, "--method", method, "--task", task, "--out", data.parent / "run"]
    return call(capsys, "tune", data, *where, *FAST, *more)


def scores(data: Path) -> dict[str, Any]:
    """scores.json of the run beside the data."""
    found: dict[str, Any] = json.loads((data.parent / "run" / "scores.json").read_text(encoding="utf-8"))
    return found


def made(data: Path) -> dict[str, str]:
    """Check -> passed or warned, of the run beside the data."""
    return {check["name"]: check["result"] for check in scores(data)["checks"]}


def change(path: Path, edit: Callable[[dict[str, Any]], Any]) -> None:
    """Edit a JSON file."""
    values = json.loads(path.read_text(encoding="utf-8"))
    edit(values)
    path.write_text(json.dumps(values), encoding="utf-8")


def stopped(answer: Answer, check: str) -> str:
    """The sentence of a run that a check has stopped, without the name of the check."""
    assert answer.code == 2, (answer.code, answer.err)
    assert answer.sentence.startswith(f"[{check}] "), answer.sentence
    return answer.sentence.removeprefix(f"[{check}] ")


def warned(answer: Answer, data: Path, check: str) -> str:
    """The one note of a finished run that begins with the check's name."""
    assert answer.code == 0, answer.err
    assert made(data)[check] == "warned"
    notes = [note for note in scores(data)["notes"] if note.startswith(f"[{check}] ")]
    assert len(notes) == 1, notes
    assert f"note: {notes[0]}" in answer.err.replace("\n", "")
    assert notes[0] in (data.parent / "run" / "README.md").read_text(encoding="utf-8")
    return str(notes[0]).removeprefix(f"[{check}] ")
