"""Folders of classes on the command line: tuned on, scored on, answered, linted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command import call
from planted import scores, tune

from microtune.run.verbs import Run
from microtune.tasks.classification import Classification
from tiny_model import make_model, rows

pytestmark = pytest.mark.usefixtures("quick")

Capture = pytest.CaptureFixture[str]


def laid(folder: Path, count: int = 30) -> Path:
    for i, row in enumerate(rows(count)):
        for part, text in (("train", row["text"]), ("test", f"{row['text']} once more")):
            path = folder / part / row["label"] / f"{i}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}\nand a second line {i}\n", encoding="utf-8")
    (folder / "train" / "urls.txt").write_text("x", encoding="utf-8")
    return folder


def test_a_folder_of_classes_is_tuned_scored_and_answered(tmp_path: Path, capsys: Capture) -> None:
    model, data = make_model(tmp_path / "model"), laid(tmp_path / "reviews")
    assert tune(capsys, model, data).code == 0
    run, notes = tmp_path / "run", scores(data)["notes"]
    assert "Each file is a row, and the name of its folder its label." in notes
    beside = data / "train" / "urls.txt"
    assert f'Files beside the folders of the classes are not read: 1 (first: "{beside}").' in notes
    task = Run(run).model.task
    assert isinstance(task, Classification)
    assert (task.whole, task.form, task.labels) == (True, "single", ("card", "transfer"))
    record = json.loads((run / "scores.json").read_text(encoding="utf-8"))
    assert call(capsys, "evaluate", run, "--data", data / "test", "--json").out.startswith('{"scores": {"accuracy": ')
    answered = call(capsys, "predict", run, "--input", data / "test")
    found = [json.loads(line) for line in answered.out.splitlines()]
    assert len(found) == 30
    assert found[0]["file"] == "card/0.txt"
    assert found[0].keys() == {"text", "label", "file", "prediction", "confidence"}
    right = sum(one["prediction"] == one["label"] for one in found)
    assert right / 30 == pytest.approx(record["scores"]["test"]["values"]["accuracy"])
    alone = call(capsys, "predict", run, "--input", data / "test" / "card")
    flat = [json.loads(line) for line in alone.out.splitlines()]
    assert [one["file"] for one in flat] == [
        one["file"].removeprefix("card/") for one in found if one["label"] == "card"
    ]
    assert [one["confidence"] for one in flat] == [one["confidence"] for one in found if one["label"] == "card"]
    lines = call(capsys, "predict", run, "--source", data / "test" / "card" / "0.txt")
    assert len(lines.out.splitlines()) == 2


def test_a_lint_reads_it(tmp_path: Path, capsys: Capture) -> None:
    answer = call(capsys, "lint", laid(tmp_path / "reviews"), "--model", "none", "--json")
    report = json.loads(answer.out)
    assert (report["task"], report["fields"]) == ("classification", {"text": "text", "label": "label"})
    assert (report["rows"], report["test_rows"]) == (30, 30)


def test_a_picture_among_the_texts_stops_before_any_work(tmp_path: Path, capsys: Capture) -> None:
    data = laid(tmp_path / "reviews", 4)
    (data / "train" / "card" / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0")
    answer = tune(capsys, make_model(tmp_path / "model"), data)
    assert answer.code == 2
    assert answer.sentence == (
        f"{data / 'train' / 'card' / 'a.png'}: not a text file; each file in the folder of a class is a text, "
        "so move it elsewhere."
    )
    assert not (tmp_path / "run").exists()
