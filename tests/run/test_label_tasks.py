"""Pairs, several labels, scales and numbers from rows to a saved run: trained, loaded again, asked, exported."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import make_base

import microtune as mt
from microtune.errors import InputError
from microtune.run.load import load

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "cli"))
from command import call

pytestmark = pytest.mark.usefixtures("quick")

WORDS = {"card": "my card was declined", "transfer": "the transfer has not arrived"}
TRAIN = {"lr": 0.02, "batch_size": 8, "precision": "float32"}


def many(i: int) -> list[str]:
    return [label for number, label in enumerate(WORDS) if (i >> number) & 1]


ROWS: dict[str, list[dict[str, Any]]] = {
    "multi": [{"text": f"{i} " + " and ".join(WORDS[k] for k in many(i)), "labels": many(i)} for i in range(48)],
    "ordinal": [{"text": f"{i} {'so ' * (i % 3)}", "label": i % 3} for i in range(48)],
    "regression": [{"text": f"{i} {'so ' * (i % 3)}", "score": 2.5 * (i % 3)} for i in range(48)],
    "pairs": [
        {"sentence1": f"{i} {a}", "sentence2": b, "label": "same" if a == b else "other"}
        for i in range(12)
        for a in WORDS.values()
        for b in WORDS.values()
    ],
}
CASES: dict[str, tuple[Any, str]] = {  # task, method: with and without a frozen trunk below
    "multi": ({"name": "classification"}, "lora:2"),
    "ordinal": ({"name": "classification", "ordinal": True, "balance": "weights"}, "full"),
    "regression": ("regression", "top:1"),
    "pairs": ({"name": "classification", "choose": "macro_f1"}, "head"),
}
SPLIT = {"validation": 0.2, "test": 0.2}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def runs(base: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, mt.Run]:
    folder = tmp_path_factory.mktemp("runs")
    return {
        name: mt.tune(
            ROWS[name], task=task, model=base, method=method, epochs=3, train=TRAIN, split=SPLIT, out=folder / name
        )
        for name, (task, method) in CASES.items()
    }


@pytest.mark.parametrize("name", list(CASES))
def test_a_saved_run_scores_as_it_did(name: str, runs: dict[str, mt.Run]) -> None:
    """The run loaded from its folder answers row by row what its evaluation says; its metrics have intervals."""
    run = runs[name]
    again = mt.Run(run.path)
    task = again.model.task
    assert task is not None
    lines = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert any(line.get("split") == "test" and task.chosen_by()[0] in line for line in lines)
    assert run.scores["test"].keys() == run.intervals["test"].keys()
    score = again.evaluate(ROWS[name])
    answers = again.predict(texts_of(name))
    mine, theirs = [p.answer for p in answers], [p.answer for p in score.predictions]
    assert mine == (pytest.approx(theirs, rel=1e-5) if name == "regression" else theirs)
    assert again.model.task.settled_metrics({}) == {}  # type: ignore[union-attr]


def texts_of(name: str) -> list[Any]:
    if name == "pairs":
        return [(row["sentence1"], row["sentence2"]) for row in ROWS[name]]
    return [row["text"] for row in ROWS[name]]


def test_what_each_run_says(runs: dict[str, mt.Run]) -> None:
    notes = {name: " ".join(run.notes) for name, run in runs.items()}
    assert '"labels" holds several labels a row, in a list: 2 labels' in notes["multi"]
    assert 'Each row is a pair: "sentence1" and "sentence2" are read together' in notes["pairs"]
    assert "Always answering the mean of the training rows, 2." in notes["regression"]
    details = {name: json.loads((run.path / "scores.json").read_text(encoding="utf-8")) for name, run in runs.items()}
    for name, key in (("multi", "per_class"), ("ordinal", "coverage"), ("regression", "always_the_mean")):
        assert key in details[name]["scores"]["test"]["details"]
    assert "| unsure below | answered | accuracy |" in (runs["pairs"].path / "README.md").read_text(encoding="utf-8")
    assert runs["multi"].model.task.threshold != 0.5 or runs["multi"].scores["test"]["micro_f1"] > 0  # type: ignore[union-attr]


def test_the_console_answers(runs: dict[str, mt.Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    both = call(capsys, "predict", runs["multi"].path, " and ".join(WORDS.values()), "x")
    assert (both.code, len(both.out.splitlines())) == (0, 2)
    number = call(capsys, "predict", runs["regression"].path, "1 so so")
    assert (number.code, number.err) == (0, "")
    float(number.out)
    pair = call(capsys, "predict", runs["pairs"].path, "a", "b", "--json")
    record = json.loads(pair.out)
    assert record.keys() == {"sentence1", "sentence2", "prediction", "confidence"}
    odd = call(capsys, "predict", runs["pairs"].path, "a")
    assert (odd.code, odd.sentence) == (
        2,
        "This model reads pairs of texts: give them two by two, the first and the second of each.",
    )
    sure = call(capsys, "predict", runs["regression"].path, "a", "--min-confidence", "0.5")
    assert sure.sentence == "--min-confidence is for classifiers; the task regression has no confidence."
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps(ROWS["multi"][3]) + "\n", encoding="utf-8")
    done = call(capsys, "predict", runs["multi"].path, "--input", rows, "--output", tmp_path / "out.csv")
    assert done.code == 0
    assert (tmp_path / "out.csv").read_text(encoding="utf-8-sig").splitlines()[0] == "text,labels,prediction,confidence"
    scored = call(capsys, "evaluate", runs["multi"].path, "--data", rows)
    assert "subset_accuracy" in scored.out


@pytest.mark.parity
@pytest.mark.parametrize("name", ["multi", "regression", "pairs"])
def test_transformers_opens_it(name: str, runs: dict[str, mt.Run], tmp_path: Path) -> None:
    done = mt.export(runs[name].path, format="hf", out=tmp_path / "out")
    assert done.parity.passed
    config = json.loads((tmp_path / "out" / "config.json").read_text(encoding="utf-8"))
    wanted = {"multi": "multi_label_classification", "regression": "regression", "pairs": "single_label_classification"}
    assert config["problem_type"] == wanted[name]
    if name == "regression":
        task = load(runs[name].path).task
        assert (config["target_mean"], config["target_deviation"]) == (task.mean, task.deviation)  # type: ignore[union-attr]
        assert config["id2label"] == {"0": "score"}


def test_a_scale_has_no_class_in_transformers(runs: dict[str, mt.Run], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="A classifier of an ordered scale has thresholds that no class of transf"):
        mt.export(runs["ordinal"].path, format="hf", out=tmp_path / "out")
    assert not (runs["ordinal"].path / "model" / "adapter").exists()


def test_a_class_that_is_never_answered_is_named(base: str, tmp_path: Path) -> None:
    """One row in eight is unfair, and nothing in the texts says which: the frequent answer is all that is learnt."""
    rows = [{"text": f"my card {i}", "label": "unfair" if i % 8 == 0 else "fair"} for i in range(80)]
    options = {"train": TRAIN, "split": SPLIT}
    run = mt.tune(rows, task="classification", model=base, method="head", epochs=4, out=tmp_path / "run", **options)  # type: ignore[arg-type]
    note = next(note for note in run.notes if note.startswith("[never-answered]"))
    assert 'The model never answers "unfair" (2 of 16 test rows)' in note
    assert run.checks["never-answered"] == "warned"


def test_a_number_that_nothing_explains(base: str, tmp_path: Path) -> None:
    rows = [{"text": f"my card {i % 7}", "score": (i * 7919) % 11} for i in range(60)]
    options = {"train": TRAIN | {"lr": 0.5}, "split": SPLIT}
    run = mt.tune(rows, task="regression", model=base, method="head", epochs=1, out=tmp_path / "run", **options)  # type: ignore[arg-type]
    assert run.checks["chance"] == "warned"
    assert any("no better than always answering the mean of the training rows" in note for note in run.notes)


def test_a_temperature_that_changes_the_loss_is_noted(runs: dict[str, mt.Run]) -> None:
    """Else the loss of the table is not that of the last look, and nothing says why."""
    record = json.loads((runs["pairs"].path / "model" / "model.json").read_text(encoding="utf-8"))
    temperature = record["task"]["temperature"]
    assert abs(math.log(temperature)) > 0.1
    said = [note for note in runs["pairs"].notes if note.startswith("Confidences are calibrated")]
    assert [f"divided by {temperature:.3g}, the temperature" in note for note in said] == [True]
    looks = [
        json.loads(line) for line in (runs["pairs"].path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    last = [one["loss"] for one in looks if one["kind"] == "score" and one["split"] == "validation"]
    assert last[-1] < min(last[:-1])  # the last is the final one
    assert not [note for note in runs["multi"].notes if note.startswith("Confidences")]
