"""`lint` from rows to report: planted faults, a clean file, and recipes that train."""

from __future__ import annotations

import html
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lint_files import FORMS, Maker, Rows, clean_rows, renamed
from microtune import InputError, lint
from microtune import recipe as recipes
from microtune.recipe import build
from microtune.run.lint.report import words
from microtune.run.session import Stage
from microtune.run.verbs import tune_recipe
from tiny_model import make_model

pytestmark = pytest.mark.usefixtures("quick")


def write(path: Path, rows: Rows) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_model(tmp_path_factory.mktemp("lint") / "model"))


def test_a_clean_file_has_no_findings(tmp_path: Path) -> None:
    report = lint(write(tmp_path / "clean.jsonl", clean_rows()), model="sprout")
    assert report.findings == []
    assert (report.task, report.rows, report.fields) == ("classification", 600, {"text": "text", "label": "label"})
    assert not report.strict_failure
    assert report.figures["classes"] == {"money": 300, "travel": 300}
    assert report.figures["tokens"]["model"] == "sprout"
    assert report.figures["fertility"]["en"] < 3


def faulty(rows: Rows) -> dict[str, int]:
    """Plants faults in rows; kind -> how many rows have it."""
    rows[10] = dict(rows[11])
    rows[20] = {**rows[21], "label": "money" if rows[21]["label"] == "travel" else "travel"}
    rows[30]["text"] = rows[31]["text"] + " indeed"
    rows[40]["text"] = ""
    rows[50]["text"] += " \ufffd"
    rows[51]["text"] += " cafÃ©"
    rows[60]["text"] += " ann@example.org"
    rows[61]["text"] += " 11010519491231002X"
    rows[62]["text"] += " 13812345678"
    rows[70]["text"] = Maker(2).sentence(300)
    for i in (80, 81, 82, 83):
        rows[i]["text"] = Maker(i).chinese(60)
    rows[90]["label"] = "other"
    for row in rows:
        row["kind"] = "letter"
    kinds = ("exact-copies", "contradictory-labels", "near-copies", "empty-field", "replacement", "mojibake", "email")
    ones = dict.fromkeys((*kinds, "identity-number", "phone", "very-long", "rare-classes"), 1)
    return ones | {"language-mix": 4, "constant-field": len(rows)}


@pytest.mark.parametrize("hide", [False, True], ids=["named", "renamed"])
def test_every_planted_fault_is_found(tmp_path: Path, hide: bool) -> None:
    rows = clean_rows()
    planted = faulty(rows)
    if hide:
        names: dict[str, str] = {}
        rows = [renamed(row, names) for row in rows]
    report = lint(write(tmp_path / "bad.jsonl", rows), model=None)
    found = {told.kind: told.count for told in report.findings}
    found.pop("doubtful-labels", None)  # the row that contradicts another one may be doubted too
    found.pop("class-imbalance")  # of the class with one row
    assert found == planted
    places = {told.kind: [place.line for place in told.places] for told in report.findings}
    assert places["exact-copies"] == [12]
    assert places["empty-field"] == [41]
    assert places["mojibake"] == [52]
    assert report.strict_failure
    assert report.findings[0].severity == "error"


def test_lost_answers_and_unknown_characters(tmp_path: Path, model: str) -> None:
    make = Maker(7)
    rows = [{"prompt": make.question(), "completion": make.sentence()} for _ in range(60)]
    report = lint(write(tmp_path / "long.jsonl", rows), model=model)
    told = next(t for t in report.findings if t.kind == "answers-too-long")
    assert told.count == 60  # two sentences have more than 64 tokens of a vocabulary of 340
    assert "64 tokens" in told.message
    assert report.figures["tokens"]["learnt"]["median"] > 20


def test_copies_of_the_test_file(tmp_path: Path) -> None:
    rows = clean_rows(100)
    test = [rows[5], {"text": rows[9]["text"] + " too", "label": "money"}, *clean_rows(4, seed=8)]
    report = lint(rows, test=write(tmp_path / "test.jsonl", test), model=None)
    assert report.test_rows == 6
    assert {t.kind: t.count for t in report.findings if "test" in t.kind} == {"test-overlap": 1, "near-test": 1}


def test_a_file_that_breaks_in_the_middle_is_reported_up_to_there(tmp_path: Path) -> None:
    path = write(tmp_path / "broken.jsonl", clean_rows(60))
    path.write_text(path.read_text(encoding="utf-8") + '{"text": "a\\u0000b", "label": "money"}\n', encoding="utf-8")
    report = lint(path, model=None)
    assert report.rows == 60
    assert report.findings[0].kind == "unreadable"
    assert "line 61" in report.findings[0].message
    assert "NUL" in report.findings[0].message
    (tmp_path / "first.jsonl").write_text("{]\n", encoding="utf-8")
    with pytest.raises(InputError, match="line 1"):
        lint(tmp_path / "first.jsonl")


def test_a_large_file_is_sampled_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    import microtune.run.lint as module

    monkeypatch.setattr(module, "SAMPLED", 200)
    rows = clean_rows(400)
    stages: list[Any] = []
    report = lint(rows, model=None, on_event=stages.append)
    assert report.sampled == 200
    assert "200 sampled rows of 400" in report.remarks[0]
    assert {stage.name for stage in stages if isinstance(stage, Stage)} >= {"reading rows", "near-copies", "labels"}
    assert lint(rows, model=None, full=True).sampled == 400


ANSWER = ("text", "answer_start")
RECIPES = (
    "classes",
    "several labels",
    "joined labels",
    "pairs",
    "numbers",
    "summary",
    "alpaca",
    "completions",
    "messages",
    "sharegpt",
    "lines",
    "tags",
    "flat squad",
    "choices",
    "lettered",
    "rated pairs",
    "triplets",
)


@pytest.mark.parametrize("hide", [False, True], ids=["named", "renamed"])
@pytest.mark.parametrize("form", RECIPES)
def test_the_recipe_trains(tmp_path: Path, model: str, form: str, hide: bool) -> None:
    """Two steps with the recipe that stands in the folder of the report."""
    make: Callable[[Maker, int], Rows] = FORMS[form][0]
    rows = make(Maker(1), 60)
    if hide:
        names: dict[str, str] = {}
        rows = [renamed(row, names) for row in rows]
    if form in ("messages", "sharegpt") and hide:  # what a turn is called inside must be as templates read it
        inner = {"messages": ("role", "content"), "sharegpt": ("from", "value")}[form]
        rows = [{"f1": [dict(zip(inner, turn.values(), strict=True)) for turn in row["f1"]]} for row in rows]
    if form == "flat squad" and hide:  # and so must the inside of an answer
        rows = [
            {k: dict(zip(ANSWER, v.values(), strict=True)) if isinstance(v, dict) else v for k, v in row.items()}
            for row in rows
        ]
    report = lint(write(tmp_path / "data.jsonl", rows), model=model)
    assert report.recipe is not None
    assert "recipe-stops" not in {told.kind for told in report.findings}
    report.save(tmp_path / "report")
    values = recipes.load(tmp_path / "report" / "recipe.yaml")
    values["model"]["max_length"] = 64
    values |= {"train": {"max_steps": 2, "batch_size": 4, "precision": "float32"}, "out": str(tmp_path / "run")}
    values["task"] |= {"max_new_tokens": 4} if report.task == "sequence-to-sequence" else {}
    if report.task in ("instruction", "sequence-to-sequence"):  # texts short enough for the tiny model
        short = [{k: cut(v) for k, v in row.items()} for row in rows]
        write(tmp_path / "data.jsonl", short)
    run = tune_recipe(build(values))
    assert run.scores["test"]


def cut(value: Any) -> Any:
    """A value with its texts cut to their last 12 characters."""
    if isinstance(value, list):
        return [{k: v[-12:] if " " in v else v for k, v in turn.items()} for turn in value[:2]]
    return value[-12:] if isinstance(value, str) else value


def test_what_is_learnt_is_marked() -> None:
    make = Maker(1)
    report = lint(FORMS["messages"][0](make, 40), model=None)
    assert len(report.rendered) == 3
    assert [(p.role, p.supervised) for p in report.rendered[0]] == [("user", False), ("assistant", True)]
    report = lint(FORMS["alpaca"][0](make, 40), model=None)
    assert [(p.role, p.supervised) for p in report.rendered[0]] == [
        ("prompt", False),
        ("input", False),
        ("completion", True),
    ]
    report = lint(FORMS["lines"][0](make, 40), model=None)
    assert all(piece.supervised for pieces in report.rendered for piece in pieces)


def test_a_task_may_be_named_instead() -> None:
    rows = FORMS["completions"][0](Maker(1), 40)
    report = lint(rows, model=None, task="sequence-to-sequence", text_field="prompt", label_field="completion")
    assert (report.task, report.fields) == ("sequence-to-sequence", {"source": "prompt", "target": "completion"})
    with pytest.raises(InputError, match="Did you mean"):
        lint(rows, task="sequence-to-sequense")


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_page_is_closed_and_escaped(tmp_path: Path, lang: Any) -> None:
    rows = clean_rows(60)
    rows[0]["text"] = "<script>alert(1)</script><img src=http://a.example/x.png> \u202e reversed"
    report = lint(rows, model=None, lang=lang)
    report.save(tmp_path)
    text = (tmp_path / "lint.html").read_text(encoding="utf-8")
    assert "<script" not in text
    assert "<img" not in text
    assert "\u202e" not in text
    assert "&lt;script&gt;" in text
    assert "Content-Security-Policy" in text
    assert "default-src 'none'; style-src 'sha256-" in html.unescape(text)
    assert "unsafe-inline" not in text
    assert "width=device-width" in text
    assert "<svg" in text
    assert str(words(lang, "PAGE")["title"]) in text
    record = json.loads((tmp_path / "lint.json").read_text(encoding="utf-8"))
    assert record["task"] == "classification"
    assert record["rows"] == 60
    assert record["recipe"] is None  # rows in memory have no file
    with pytest.raises(InputError, match="en and zh"):
        lint(rows, lang="fr")  # type: ignore[arg-type]


def test_a_folder_with_a_test_file(tmp_path: Path) -> None:
    """Rows of test.jsonl are no training rows; copies of them are."""
    rows = clean_rows(60)
    write(tmp_path / "train.jsonl", rows)
    write(tmp_path / "test.jsonl", [rows[4], *clean_rows(9, seed=8)])
    report = lint(tmp_path, model=None)
    assert (report.rows, report.test_rows) == (60, 10)
    assert [told.kind for told in report.findings] == ["test-overlap"]
    assert report.recipe is not None
    assert report.recipe["data"] == {"train": str(tmp_path)}


def test_a_row_may_have_none_of_several_labels() -> None:
    rows = FORMS["joined labels"][0](Maker(1), 60)
    rows[4]["labels"] = ""
    assert not lint(rows, model=None).findings


def test_a_named_task_is_read_by_its_own_fields() -> None:
    """What the user names sees what the guess would have seen."""
    make = Maker(1)
    rows = FORMS["flat squad"][0](make, 60)
    rows[3] |= {"question": rows[3]["question"] + " mail ann.lee@example.com"}
    kinds = {told.kind: told.count for told in lint(rows, task="question-answering", model=None).findings}
    assert kinds["email"] == 1
