"""`evaluate` and `predict` say what they did to the rows: cut, left out, or learnt from before."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command import call
from planted import write

import microtune as mt
from microtune import recipe as recipes
from microtune.cli.chinese import translated
from microtune.errors import InputError
from microtune.run.report.words.notes import in_chinese
from tiny_model import make_model, rows

pytestmark = pytest.mark.usefixtures("quick")

Capture = pytest.CaptureFixture[str]
LONG = "my card " * 60
FAST = ("train.epochs=1", "train.precision=float32", "-q")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, a folder of three splits, and runs on it."""
    home = tmp_path_factory.mktemp("scored")
    model = str(make_model(home / "model"))
    (home / "data").mkdir()
    values = rows(48)
    for name, part in (("train", values[:32]), ("validation", values[32:40]), ("test", values[40:])):
        write(home / "data" / f"{name}.jsonl", part)
    train = {"precision": "float32"}
    mt.tune(home / "data", task="classification", model=model, method="head", epochs=1, train=train, out=home / "run")
    asked = [{"prompt": f"say {i}", "completion": f"card {i}"} for i in range(20)]
    write(home / "asked.jsonl", asked)
    mt.tune(home / "asked.jsonl", task="instruction", model=model, epochs=1, train=train, out=home / "answers")
    return home


def test_texts_that_are_cut(folder: Path, tmp_path: Path, capsys: Capture) -> None:
    data = write(tmp_path / "more.jsonl", [*rows(4), {"text": LONG, "label": "card"}])
    note = f"[text-cut] 1 of 5 texts of the given split are longer than 64 tokens and were cut. First: {data}, line 5."
    for verb, option in (("evaluate", "--data"), ("predict", "--input")):
        answer = call(capsys, verb, folder / "run", option, data)
        assert (answer.code, answer.err.strip()) == (0, f"note: {note}")
    assert mt.Run(folder / "run").evaluate(data).notes == [note]
    assert call(capsys, "predict", folder / "run", "my card").err == ""
    assert in_chinese(note).startswith("[text-cut] 所给数据的 5 段文本中有 1 段超过 64 个词元")


def test_rows_that_are_left_out(folder: Path, tmp_path: Path, capsys: Capture) -> None:
    values = [{"prompt": "say 1", "completion": "card 1"}, {"prompt": LONG, "completion": "card"}]
    answer = call(capsys, "evaluate", folder / "answers", "--data", write(tmp_path / "more.jsonl", values), "--json")
    assert answer.code == 0
    assert "loss" in json.loads(answer.out)["scores"]
    assert "[answer-cut] 1 of 2 rows of the given split are longer than 64 tokens and were left out" in answer.err


def test_the_files_of_the_run_itself(folder: Path, capsys: Capture) -> None:
    recipe = recipes.load(folder / "run" / "recipe.yaml")
    assert recipe["data"]["train"] == str(folder / "data")  # a Path is a name, not rows in memory
    for name, said in (("train", "say nothing about new rows."), ("validation", "a little too good"), ("test", "")):
        answer = call(capsys, "evaluate", folder / "run", "--data", folder / "data" / f"{name}.jsonl")
        assert answer.code == 0
        assert said in answer.err
        assert bool(said) == bool(answer.err)
    note = mt.Run(folder / "answers").evaluate(folder / "asked.jsonl").notes[0]
    assert note.startswith("These rows are the file that the model was trained with")
    assert in_chinese(note).startswith("这些行就是训练该模型所用的文件")


def test_a_folder_of_splits_is_not_scored_as_one(folder: Path, capsys: Capture) -> None:
    answer = call(capsys, "evaluate", folder / "run", "--data", folder / "data")
    assert answer.code == 2
    assert answer.sentence == (
        f"{folder / 'data'}: holds training rows (train.jsonl) beside others, and they would be scored together; name "
        f"the file to score, such as {folder / 'data' / 'validation.jsonl'}."
    )
    assert "里面既有训练行（train.jsonl）" in translated(answer.sentence)


def test_a_label_called_unsure_is_not_taken_for_a_missing_answer(tmp_path: Path) -> None:
    names = {"card": "sure", "transfer": "unsure"}
    values = [{**row, "label": names[row["label"]]} for row in rows(40)]
    model, train = str(make_model(tmp_path / "model")), {"precision": "float32"}
    run = mt.tune(
        values, task="classification", model=model, method="head", epochs=1, train=train, out=tmp_path / "run"
    )
    assert {p.answer for p in run.predict(["my card"])} <= {"sure", "unsure"}
    with pytest.raises(InputError, match='--min-confidence: "unsure" is a label of this model') as error:
        run.predict(["my card"], min_confidence=0.7)
    assert "无法与“没有把握”区分" in translated(str(error.value))
