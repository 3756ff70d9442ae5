"""Written answers to some rows of a split: which ones, what is scored over them, and where it is said."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_runs import make_base, run

from microtune.cli.console import show_score
from microtune.data.sources import Row
from microtune.errors import InputError
from microtune.recipe import build
from microtune.run import answers as answering
from microtune.run.answers import Answers
from microtune.run.batched import Question
from microtune.run.evaluate import evaluate_items
from microtune.run.load import Model, load
from microtune.run.prepare import make_task
from microtune.run.report.outcomes import badness, judged
from microtune.run.verbs import Run
from microtune.tasks.base import Encoded
from microtune.tasks.instruction import ANSWERED, Instruction

FIELDS: dict[str, Any] = {"form": "prompt", "prompt_field": "prompt", "completion_field": "completion", "words": "13a"}
ROWS = [Row({"prompt": f"{i}:", "completion": f"card {i} {'so ' * (i % 3)}"}, "a.jsonl", i + 1) for i in range(9)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load(make_base(tmp_path_factory.mktemp("base")))


def scored(model: Model, task: Instruction, rows: list[Row]) -> tuple[Any, Encoded, Answers]:
    encoded = task.encode_all(rows, model.text, 64, training=False)
    answers = Answers(model, task, encoded, rows)
    done = list(answers.fill())
    assert (done or [0])[-1] == len(answers.asked)
    return evaluate_items(model.network, task, encoded, answers=answers.columns), encoded, answers


def told(model: Model, questions: Sequence[Question], **options: Any) -> Iterator[tuple[int, str]]:
    """A stand-in for the writing model: right for the rows without "so", the last question first."""
    for index in reversed(range(len(questions))):
        yield index, f"card {model.text.decode(questions[index].ids).strip().rstrip(':')}"


def test_the_scores_are_those_of_the_rows_that_were_drawn(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """Written scores as of these rows alone, the likelihood of all rows, and the same rows each time."""
    monkeypatch.setattr(answering, "written", told)
    task = Instruction(generate=True, generate_rows=4, generate_seed=3, max_new_tokens=6, **FIELDS)
    score, encoded, answers = scored(model, task, ROWS)
    assert len(answers.asked) == len(set(answers.asked)) == 4
    assert list(scored(model, task, ROWS)[2].asked) == list(answers.asked)
    there = score.predictions.columns["written"]
    assert np.flatnonzero(there).tolist() == list(answers.asked)
    whole = task.model_copy(update={"generate_rows": 0})
    few = scored(model, whole, [ROWS[i] for i in answers.asked])[0].values
    every = scored(model, whole, ROWS)[0].values
    for name, value in score.values.items():
        wanted = every if name in ("loss", "perplexity", "token_accuracy", "bits_per_byte") else few
        assert value == pytest.approx(wanted[name], rel=1e-6), name
    assert score.values["rougeL"] != pytest.approx(every["rougeL"], rel=1e-3)
    assert [p.answer for p in score.predictions] == [f"card {i}" if there[i] else None for i in range(9)]
    assert score.values["exact_match"] == sum(i % 3 == 0 for i in answers.asked) / 4
    assert task.details(score.predictions) == {"written": 4, "rows": 9}
    assert whole.details(scored(model, whole, ROWS)[0].predictions) == {}
    low, high = score.intervals["rougeL"]
    assert low <= score.values["rougeL"] <= high
    bad = badness(task, score.predictions)
    assert bad is not None
    assert np.isfinite(bad[1]).tolist() == there.tolist()
    shown = judged(task, score.predictions, encoded, ROWS)["examples"]
    assert {one["line"] - 1 for found in shown.values() for one in found} == set(answers.asked)


def test_numbers_are_counted_over_the_same_rows(model: Model) -> None:
    rows = [Row({"prompt": f"{i}:", "completion": f"so #### {i}"}, "a.jsonl", i + 1) for i in range(5)]
    task = Instruction(generate=True, generate_rows=2, max_new_tokens=4, **FIELDS)
    score = scored(model, task, rows)[0]
    columns = dict(score.predictions.columns)
    columns["number"] = np.where(columns["written"], 1, 0).astype(np.int8)
    score.predictions.columns = columns
    assert task.metrics(score.predictions)["numeric_match"] == 1.0
    none = task.metrics(score.predictions, (~columns["written"]).astype(float))
    assert "numeric_match" not in none
    assert "exact_match" not in none
    assert math.isfinite(none["loss"])


def test_which_rows_are_drawn() -> None:
    """A number of rows says all where there are not more; another seed draws others."""
    task = Instruction(generate=True)
    rows = [Row({}, "a.jsonl", i) for i in range(5000)]
    assert list(task.to_answer(rows[:ANSWERED])) == list(range(ANSWERED))
    drawn = {seed: list(Instruction(generate=True, generate_seed=seed).to_answer(rows)) for seed in (0, 1)}
    assert all(len(found) == 200 and found == sorted(set(found)) for found in drawn.values())
    assert drawn[0] != drawn[1]
    assert list(task.model_copy(update={"generate_rows": 0}).to_answer(rows)) == list(range(5000))
    assert list(task.to_answer([])) == []
    several = [Row({"(task)": "ab"[i % 20 == 0]}, "a.jsonl", i) for i in range(400)]
    few = task.model_copy(update={"generate_rows": 5}).to_answer(several)
    assert [sum((i % 20 == 0) == rare for i in few) for rare in (False, True)] == [5, 5], "of each task"
    made = make_task(build({"task": {"name": "instruction", "generate": True}, "seed": 7}))
    assert isinstance(made, Instruction)
    assert made.generate_seed == 7
    with pytest.raises(InputError, match=r"generate_rows: it says how many .* needs task.generate=true"):
        make_task(build({"task": {"name": "instruction", "generate_rows": 5}}))


def test_a_run_says_so_and_evaluates_the_same_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base, file = make_base(tmp_path / "base"), tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row.data) + "\n" for row in ROWS), encoding="utf-8")
    recipe = {
        "task": {"name": "instruction", "generate": True, "generate_rows": 3, "max_new_tokens": 4},
        "model": {"source": base},
        "data": {"train": str(file), "validation": str(file), "split": "none"},
        "method": "full",
        "train": {"epochs": 1, "batch_size": 9, "lr": 0.01, "precision": "float32"},
        "seed": 5,
    }
    done = run(build(recipe), tmp_path / "run")
    record = json.loads((done.path / "scores.json").read_text(encoding="utf-8"))
    assert record["scores"]["validation"]["details"] == {"written": 3, "rows": 9}
    said = [note for note in record["notes"] if "task.generate_rows" in note]
    assert said == [
        "Answers are written to 3 of the 9 rows of validation, drawn by the seed 5, the same ones at each evaluation; "
        "task.generate_rows says how many (0: all)."
    ]
    page = (done.path / "report.html").read_text(encoding="utf-8")
    assert "Answers were written to 3 of 9 rows" in page
    score = Run(done.path).evaluate(str(file))
    assert score.values == pytest.approx(record["scores"]["validation"]["values"], rel=1e-6)
    show_score("rows.jsonl", score, Run(done.path).model.task)
    assert "Answers were written to 3 of 9 rows (task.generate_rows)." in capsys.readouterr().out
