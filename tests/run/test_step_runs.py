"""A run with steps: they are counted, kept beside the model, and repeated at prediction time."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import WORDS, make_base, run, tune_recipe

from microtune.recipe import Recipe, build
from microtune.run.prepare import make_splits, make_task
from microtune.run.verbs import Run

pytestmark = pytest.mark.usefixtures("quick")

STEPS: list[Any] = [{"name": "unicode"}, {"name": "html"}, "lowercase", {"name": "duplicates"}]


def recipe_of(base: str, data: str, steps: list[Any], **task: Any) -> Recipe:
    values = tune_recipe(base, data).model_dump(mode="json")
    values["data"]["steps"] = steps
    values["task"] |= task
    return build(values)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("steps")
    with open(folder / "data.csv", "w", encoding="utf-8", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(["text", "label"])
        for i in range(24):
            for label, text in WORDS.items():
                rows.writerow([f"<p>{text.upper()} {i // 2 * 2}</p>" if i % 2 else f"{text} {i}", label])
    run(recipe_of(make_base(folder / "base"), str(folder / "data.csv"), STEPS), folder / "run")
    return folder / "run"


def test_counts_stand_in_the_run(finished: Path) -> None:
    found = {step["name"]: step for step in json.loads((finished / "report.json").read_text(encoding="utf-8"))["steps"]}
    assert list(found) == ["unicode", "html", "lowercase", "duplicates"]
    assert (found["html"]["touched"], found["html"]["rows"], found["html"]["characters"]) == (24, 48, 24 * 7)
    assert (found["lowercase"]["touched"], found["unicode"]["touched"]) == (24, 0)
    splits = json.loads((finished / "report.json").read_text(encoding="utf-8"))["splits"]
    assert splits["validation"]["rows"] == splits["test"]["rows"] == 8, "only the training split loses rows"
    notes = json.loads((finished / "scores.json").read_text(encoding="utf-8"))["notes"]
    assert notes[1].startswith("Step html: 24 of 48 rows changed, 168 characters removed. First (")
    assert any(note.startswith("The step lowercase is likely to hurt: a model whose tokenizer") for note in notes)
    page = (finished / "report.html").read_text(encoding="utf-8")
    assert "&lt;p&gt;MY CARD" in page


def test_prediction_repeats_the_changes(finished: Path) -> None:
    done = Run(finished)
    plain, marked = done.predict(["my card was declined", "<b>MY</b> ＣＡＲＤ was <i>declined</i>"])
    assert plain.scores == marked.scores
    assert done.predict(["my card was  declined!"])[0].scores != plain.scores
    rows = [{"text": "<p>MY CARD</p>", "label": "card"}]
    assert done.evaluate(rows).values == done.evaluate([{"text": "my card", "label": "card"}]).values


def test_no_step_no_change(finished: Path) -> None:
    data = str(finished.parent / "data.csv")
    recipe = recipe_of(str(finished.parent / "base"), data, [])
    task, splits = make_splits(recipe, make_task(recipe), {"train": data})
    assert (task.steps, splits.steps) == ((), [])
    texts = [row.data["text"] for part in splits.rows.values() for row in part]
    assert sum("<p>" in text for text in texts) == 24


def test_steps_read_what_a_template_makes(finished: Path) -> None:
    data = str(finished.parent / "data.csv")
    recipe = recipe_of(str(finished.parent / "base"), data, ["html"], text="[{text}]")
    task, splits = make_splits(recipe, make_task(recipe), {"train": data})
    assert task.text_fields == ("(text)",)
    assert not any("<p>" in row.data["(text)"] for part in splits.rows.values() for row in part)
    assert task.ready(splits.rows["test"][:1])[0].data["(text)"] == splits.rows["test"][0].data["(text)"]
