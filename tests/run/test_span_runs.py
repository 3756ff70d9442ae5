"""Spans, answers in passages and options from rows to a saved run: trained, loaded again, asked, refused."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import make_base

import microtune as mt
from microtune.errors import InputError

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "cli"))
from command import call

pytestmark = pytest.mark.usefixtures("quick")

TRAIN = {"lr": 0.02, "batch_size": 8, "precision": "float32"}
SPLIT = {"validation": 0.2, "test": 0.2}
PLACES = ("shop", "bank", "站")


def span_row(i: int) -> dict[str, Any]:
    place = PLACES[i % 3]
    text = f"{i} 卡 in the {place} {'so ' * (i % 4)}"
    start = text.index(place)
    return {"text": text, "entities": [{"label": f"place{i % 2}", "start": start, "end": start + len(place)}]}


def asked_row(i: int) -> dict[str, Any]:
    context = f"{i} my card in the {PLACES[i % 3]}"
    answers = [] if i % 4 == 3 else [{"text": PLACES[i % 3], "answer_start": context.index(PLACES[i % 3])}]
    return {"question": "where", "context": context, "answers": answers}


def option_row(i: int) -> dict[str, Any]:
    return {"question": f"{i} where is it", "A": "in the shop", "B": "我的卡", "answer": "AB"[i % 2]}


def pair_row(i: int) -> dict[str, Any]:
    return {"query": f"{i} card", "passage": f"我的卡 {i} in the {PLACES[i % 3]}"}


ROWS = {
    "similarity": [pair_row(i) for i in range(40)],
    "multiple-choice": [option_row(i) for i in range(40)],
    "token-labelling": [span_row(i) for i in range(40)],
    "question-answering": [asked_row(i) for i in range(40)],
}
CASES: dict[str, tuple[Any, str]] = {  # with and without a frozen trunk below
    "token-labelling head": ("token-labelling", "head"),
    "token-labelling lora": ("token-labelling", "lora:2"),
    "question-answering top": ("question-answering", "top:1"),
    "question-answering full": ("question-answering", "full"),
    "multiple-choice lora": ("multiple-choice", "lora:2"),
    "multiple-choice head": ({"name": "multiple-choice", "form": "head", "pooling": "mean"}, "head"),
    "multiple-choice top": ("multiple-choice", "top:1"),
    "similarity head": ("similarity", "head"),
    "similarity lora": ("similarity", "lora:2"),
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def runs(base: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, mt.Run]:
    folder = tmp_path_factory.mktemp("runs")
    return {
        name: mt.tune(
            rows_of(task), task=task, model=base, method=method, epochs=2, train=TRAIN, split=SPLIT, out=folder / name
        )
        for name, (task, method) in CASES.items()
    }


def rows_of(task: Any) -> list[dict[str, Any]]:
    return ROWS[task if isinstance(task, str) else task["name"]]


def texts_of(task: str) -> list[Any]:
    if task == "question-answering":
        return [(row["question"], row["context"]) for row in ROWS[task]]
    if task == "similarity":
        return [(row["query"], row["passage"]) for row in ROWS[task]]
    if task == "multiple-choice":
        return [(row["question"], row["A"], row["B"]) for row in ROWS[task]]
    return [row["text"] for row in ROWS[task]]


@pytest.mark.parametrize("name", list(CASES))
def test_a_saved_run_scores_as_it_did(name: str, runs: dict[str, mt.Run]) -> None:
    """The run loaded from its folder answers row by row what its evaluation says; its metrics have intervals."""
    task = name.partition(" ")[0]
    again = mt.Run(runs[name].path)
    assert set(again.scores["test"]) >= {{"multiple-choice": "accuracy", "similarity": "mrr"}.get(task, "f1"), "loss"}
    assert again.scores["test"].keys() == again.intervals["test"].keys()
    score = again.evaluate(ROWS[task])
    answers = again.predict(texts_of(task))
    mine, theirs = [p.answer for p in answers], [p.answer for p in score.predictions]
    assert mine == (pytest.approx(theirs, abs=1e-6) if task == "similarity" else theirs)
    assert [p.row for p in answers] == list(range(40))
    assert not (again.path / "model" / "adapter").exists() or "choice" in task


def test_answers_of_a_file(runs: dict[str, mt.Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = runs["token-labelling lora"]
    source, target = tmp_path / "rows.jsonl", tmp_path / "answers.csv"
    source.write_text("".join(json.dumps({"text": r["text"]}) + "\n" for r in ROWS["token-labelling"]), "utf-8")
    assert call(capsys, "predict", run.path, "--input", source, "--output", target).code == 0
    with open(target, encoding="utf-8-sig", newline="") as file:
        found = [json.loads(row["prediction"] or "[]") for row in csv.DictReader(file)]
    assert found == [p.answer for p in run.predict(texts_of("token-labelling"))]
    for row, spans in zip(ROWS["token-labelling"], found, strict=True):
        assert all(row["text"][s["start"] : s["end"]] == s["text"] for s in spans)
    told = call(capsys, "predict", runs["multiple-choice lora"].path, "where is it", "in the shop", "我的卡", "--json")
    answer = json.loads(told.out)
    assert (told.code, answer["A"], answer["B"]) == (0, "in the shop", "我的卡")
    assert answer["prediction"] in ("in the shop", "我的卡")
    assert 0.5 <= answer["confidence"] <= 1
    told = call(capsys, "predict", runs["question-answering full"].path, "where", "1 my card in the bank")
    assert (told.code, told.out.count("\n")) == (0, 1)


def test_tuned_vectors(runs: dict[str, mt.Run], base: str) -> None:
    """`embed` gives the vectors that the run compares; a batch of one row has nothing to compare."""
    run = runs["similarity lora"]
    one, other = mt.load(run.path).embed(["1 card", "我的卡 2 in the bank"])  # type: ignore[union-attr]
    assert float(one @ other) == pytest.approx(run.predict([("1 card", "我的卡 2 in the bank")])[0].answer, abs=1e-5)
    assert float(one @ one) == pytest.approx(1.0, abs=1e-6)
    with pytest.raises(InputError, match=r"train\.batch_size: this task learns by comparing the rows of a batch"):
        mt.tune(ROWS["similarity"], task="similarity", model=base, train={**TRAIN, "batch_size": 1}, out=run.path / "x")


def test_refusals(runs: dict[str, mt.Run], base: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = runs["question-answering full"]
    told = call(capsys, "predict", run.path, "only a question")
    assert (told.code, told.sentence.split(":")[0]) == (2, "This model answers a question from a passage")
    source = tmp_path / "bad.jsonl"
    source.write_text(json.dumps({"text": "my card", "entities": [[3, 40, "a"]]}) + "\n", "utf-8")
    told = call(capsys, "tune", source, "--task", "token-labelling", "--model", base, "--out", tmp_path / "run")
    assert told.code == 2
    assert told.sentence.endswith('line 1: the span 3 to 40 of "a" ends past the text, which has 7 characters.')
    assert not (tmp_path / "run").exists()
    for form in ("hf", "onnx"):
        with pytest.raises(InputError, match="has a head of its own, which no exported form has yet"):
            mt.export(run.path, format=form, out=tmp_path / form)
    with pytest.raises(InputError, match=r'does not know the label "x"'):
        runs["token-labelling head"].evaluate([{"text": "my card", "entities": [[0, 2, "x"]]}])
