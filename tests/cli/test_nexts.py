"""The commands that a run ends with can be pasted: paths with blanks, and models that read more than one text."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from typing import Any

import pytest

from microtune.cli.nexts import after, asking, in_shell


@pytest.mark.skipif(os.name == "nt", reason="how a POSIX shell reads it")
@pytest.mark.parametrize("name", ["runs/a", "运行/短答案-1", "my runs/a", "a&b", "it's", 'a "b"', "a$b`c"])
def test_a_path_is_one_word_of_the_shell(name: str) -> None:
    assert shlex.split(f"microtune predict {in_shell(name)} x") == ["microtune", "predict", name, "x"]


def test_ordinary_paths_stand_as_they_are() -> None:
    assert in_shell("runs/reviews-classification-lora-0a1b2c3d") == "runs/reviews-classification-lora-0a1b2c3d"
    assert in_shell("my runs") == '"my runs"'


@pytest.mark.parametrize(
    ("task", "texts"),
    [
        ({"name": "classification", "pair_field": None}, ["your text"]),
        ({"name": "classification", "pair_field": "hypothesis"}, ["the first text", "the second text"]),
        ({"name": "question-answering"}, ["a question", "its passage"]),
        (
            {"name": "multiple-choice", "choices_field": "options", "context_field": "article"},
            ["a passage", "a question", "an option", "another option"],
        ),
        ({"name": "multiple-choice"}, ["a question with its options"]),
        ({"name": "instruction", "mixture": {"a": {}}}, ["--input", "FILE"]),
        (None, ["your text"]),
    ],
)
def test_as_many_texts_as_the_model_reads(task: dict[str, Any] | None, texts: list[str], tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.json").write_text(json.dumps({"task": task}), encoding="utf-8")
    assert shlex.split(asking(tmp_path)) == ["microtune", "predict", str(tmp_path), *texts]


def test_without_a_record_one_text(tmp_path: Path) -> None:
    assert after(tmp_path, base=False) == [
        f'microtune predict {in_shell(tmp_path)} "your text"',
        f"microtune evaluate {in_shell(tmp_path)} --data FILE",
    ]
    assert after(tmp_path, base=True) == [
        f"microtune tune DATA --task classification --model {in_shell(tmp_path / 'model')}"
    ]


@pytest.mark.parametrize(("architecture", "count"), [("LlamaForCausalLM", 2), ("BertForMaskedLM", 1)])
def test_a_base_that_writes_can_be_asked_to(architecture: str, count: int, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text(json.dumps({"architectures": [architecture]}), encoding="utf-8")
    said = after(tmp_path, base=True)
    assert len(said) == count
    assert said[-1].endswith(f"--task classification --model {in_shell(tmp_path / 'model')}")
    assert said[0] == f'microtune predict {in_shell(tmp_path)} "Once upon a time"' or count == 1


@pytest.mark.parametrize(
    ("task", "asked", "scored"),
    [
        ({"name": "regression"}, '"你的文本"', "--data 文件"),
        ({"name": "question-answering"}, '"问题" "所在的段落"', "--data 文件"),
        ({"name": "instruction", "mixture": {"a": {}}}, "--input 文件", "--data 文件"),
    ],
)
def test_in_chinese(
    task: dict[str, Any], asked: str, scored: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MICROTUNE_LANG", "zh")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.json").write_text(json.dumps({"task": task}), encoding="utf-8")
    run = in_shell(tmp_path)
    assert after(tmp_path, base=False) == [f"microtune predict {run} {asked}", f"microtune evaluate {run} {scored}"]
