"""Several tasks in one model: how rows are worded and mixed, what is scored by itself, and what is refused."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import make_base, run

from microtune.cli.ask import evaluate
from microtune.data.sources import Row
from microtune.errors import InputError
from microtune.recipe import Recipe, build
from microtune.run.mixture import data_of, data_title, mixed, sources_of
from microtune.run.prepare import Splits, make_splits, make_task
from microtune.run.quick_lint import quick_lint
from microtune.run.verbs import Run
from microtune.tasks.base import Task
from microtune.tasks.instruction import Instruction
from microtune.tasks.sequence_to_sequence import SequenceToSequence

KIND: dict[str, Any] = {"name": "kind", "train": "kind.jsonl", "prompt": "Kind of: {text}", "answer": "{label}"}
ZH: dict[str, Any] = {"name": "翻译", "train": "zh.jsonl", "prompt": "翻译：{en}", "answer": "{zh}"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two files: 40 rows of labels (with a column that Alpaca would take for a second input), 20 of translations."""
    path = tmp_path_factory.mktemp("mixture")
    kinds = [{"text": f"my card {i}", "label": ("card", "money")[i % 2], "input": "no"} for i in range(40)]
    pairs = [{"en": f"the card {i}", "zh": f"卡{i}"} for i in range(20)]
    for name, rows in (("kind", kinds), ("zh", pairs)):
        lines = [json.dumps(row, ensure_ascii=False) for row in rows]
        (path / f"{name}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    both = [row | {"task": "kind"} for row in kinds] + [row | {"task": "翻译"} for row in pairs]
    (path / "both.jsonl").write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in both), encoding="utf-8")
    make_base(path / "base")
    return path


def recipe_of(folder: Path, *tasks: dict[str, Any], task: str = "instruction", **data: Any) -> Recipe:
    there = [t | {k: str(folder / t[k]) for k in ("train", "validation", "test") if k in t} for t in tasks]
    return build(
        {
            "task": task,
            "model": {"source": str(folder / "base")},
            "data": {"tasks": there, "split": {"validation": 0.2, "test": 0.2}, **data},
            "method": {"name": "lora", "rank": 2},
            "train": {"epochs": 1, "batch_size": 16, "lr": 0.01, "precision": "float32"},
        }
    )


def splits_of(recipe: Recipe) -> tuple[Task, Splits]:
    return make_splits(recipe, make_task(recipe), data_of(recipe))


def counts(rows: list[Row]) -> dict[str, int]:
    return dict(Counter(row.data["(task)"] for row in rows))


def test_each_task_is_worded_and_split_by_itself(folder: Path) -> None:
    task, splits = splits_of(recipe_of(folder, KIND, ZH))
    assert isinstance(task, Instruction)
    assert (task.prompt_field, task.completion_field, task.input_field) == ("(prompt)", "(answer)", None)
    assert {name: counts(rows) for name, rows in splits.rows.items()} == {
        "train": {"kind": 24, "翻译": 12},
        "validation": {"kind": 8, "翻译": 4},
        "test": {"kind": 8, "翻译": 4},
    }
    told = {row.data["(prompt)"]: row.data["(answer)"] for rows in splits.rows.values() for row in rows}
    assert told["Kind of: my card 3"] == "money"
    assert told["翻译：the card 7"] == "卡7"
    assert "Tasks of one epoch: kind 24 rows (67%), 翻译 12 rows (33%)." in splits.notes


def test_rates_and_temperature(folder: Path) -> None:
    rows = [Row({"(task)": "a"}, "a", i) for i in range(100)] + [Row({"(task)": "b"}, "b", i) for i in range(4)]

    def share(temperature: float, **rates: float) -> dict[str, int]:
        entries = [{"name": n, "train": n, "rate": rates.get(n, 1.0), "prompt": "{x}", "answer": "{y}"} for n in "ab"]
        found = sources_of(recipe_of(folder, *entries))
        return counts(mixed(rows, found, temperature, seed=0)[0])

    assert share(1) == {"a": 100, "b": 4}
    assert share(2) == {"a": 100, "b": 20}, "4 x sqrt(100 / 4)"
    assert share(1e9) == {"a": 100, "b": 100}
    assert share(1, a=0.5, b=3) == {"a": 50, "b": 12}
    assert share(2, b=0.5) == {"a": 100, "b": 10}
    found = sources_of(recipe_of(folder, *[{"name": n, "train": n, "prompt": "{x}", "answer": "{y}"} for n in "ab"]))
    chosen, note = mixed(rows, found, 2.0, seed=0)
    assert note == "Tasks of one epoch: a 100 rows (83%), b 20 rows (17%, of 4)."
    assert max(Counter(id(row) for row in chosen).values()) == 5, "each row as often as the others"


def test_what_a_rate_repeats_is_no_fault_of_the_data(folder: Path) -> None:
    task, splits = splits_of(recipe_of(folder, KIND, ZH | {"rate": 5}))
    assert counts(splits.rows["train"]) == {"kind": 24, "翻译": 60}
    assert quick_lint(task, splits.rows["train"], splits.ledger) == []


def test_rows_of_one_file_name_their_tasks(folder: Path) -> None:
    tasks = [{k: v for k, v in t.items() if k != "train"} for t in (KIND, ZH)]
    _, splits = splits_of(recipe_of(folder, *tasks, train=str(folder / "both.jsonl")))
    assert {name: counts(rows) for name, rows in splits.rows.items()} == {
        "train": {"kind": 24, "翻译": 12},
        "validation": {"kind": 8, "翻译": 4},
        "test": {"kind": 8, "翻译": 4},
    }


def test_words_of_scores_suit_all_tasks(folder: Path) -> None:
    kind, zh = ({k: t[k] for k in ("name", "train")} for t in (KIND, ZH))
    kind |= {"source": "kind: {text}", "target": "{label}"}
    task, _ = splits_of(
        recipe_of(folder, kind, zh | {"source": "zh: {en}", "target": "{zh}"}, task="sequence-to-sequence")
    )
    assert isinstance(task, SequenceToSequence)
    assert (task.source_field, task.target_field, task.words) == ("(source)", "(target)", "zh")


@pytest.fixture(scope="module")
def finished(folder: Path) -> Run:
    run(recipe_of(folder, KIND, ZH), folder / "run")
    return Run(folder / "run")


def test_each_task_is_scored_by_itself(finished: Run) -> None:
    assert list(finished.scores) == [
        "validation",
        "test",
        "validation: kind",
        "validation: 翻译",
        "test: kind",
        "test: 翻译",
    ]
    whole, parts = finished.scores["test"], [finished.scores[f"test: {name}"] for name in ("kind", "翻译")]
    low, high = sorted(part["loss"] for part in parts)
    assert low < whole["loss"] < high
    assert finished.intervals["test: kind"]["loss"][0] < finished.scores["test: kind"]["loss"]
    lines = [json.loads(line) for line in (finished.path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {line["split"] for line in lines if line.get("final")} == set(finished.scores)
    card = (finished.path / "README.md").read_text(encoding="utf-8")
    assert "instruction on kind+翻译, base" in card
    assert "| test: 翻译 | loss |" in card
    assert "test: 翻译" in (finished.path / "report.html").read_text(encoding="utf-8")
    assert "测试集: 翻译" in finished.report("zh").read_text(encoding="utf-8")
    data = json.loads((finished.path / "environment.json").read_text(encoding="utf-8"))["data"]
    assert set(data) == {"train: kind", "train: 翻译"}


def test_prediction_words_what_names_its_task(finished: Run) -> None:
    task = finished.model.task
    assert task is not None
    rows = [Row({"task": "kind", "text": "my card"}, "x", 1), Row({"(prompt)": "as it stands"}, "x", 2)]
    ready = task.ready(rows, answers=False)
    assert [row.data["(prompt)"] for row in ready] == ["Kind of: my card", "as it stands"]
    assert len(finished.predict("Kind of: my card", max_new_tokens=2)) == 1
    row = {"task": "翻译", "en": "the card 7", "zh": "卡7"}
    assert finished.evaluate([row]).values["loss"] > 0
    for wrong, message in (
        ({"text": "a"}, '<memory>, line 1: this row names no task; write one of kind, 翻译 into the field "task".'),
        (
            {"task": "knd", "text": "a"},
            """the field "task" names the task 'knd', which is not known. Did you mean "kind"?""",
        ),
        (
            {"task": "翻译", "text": "a", "zh": "b"},
            'task.prompt (翻译) asks for the field "en", which this row does not have.',
        ),
    ):
        with pytest.raises(InputError) as caught:
            finished.evaluate([wrong])
        assert message in str(caught.value)


def test_a_file_is_scored_task_by_task(
    finished: Run, folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Each part scores as its rows alone do; rows without a name are refused, whatever they look like."""
    rows = [json.loads(line) for line in (folder / "both.jsonl").read_text(encoding="utf-8").splitlines()]
    rows = rows[3:40:9] + rows[41:60:7]
    score = finished.evaluate(rows)
    assert list(score.parts) == ["kind", "翻译"]
    for name, part in score.parts.items():
        alone = finished.evaluate([row for row in rows if row["task"] == name])
        assert part.values == pytest.approx(alone.values, rel=1e-6)
        assert (part.rows, list(alone.parts)) == (alone.rows, [name])
        low, high = part.intervals["loss"]
        assert low <= part.values["loss"] <= high
    tokens = {name: part.predictions.columns["tokens"].sum() for name, part in score.parts.items()}
    mean = sum(score.parts[name].values["loss"] * count for name, count in tokens.items()) / sum(tokens.values())
    assert score.values["loss"] == pytest.approx(mean, rel=1e-9)
    words = {"(prompt)": "Kind of: my card 1", "(answer)": "money"}
    assert list(finished.evaluate([{**words, "task": "kind"}]).parts) == ["kind"]
    for wrong in (words, {k: v for k, v in rows[0].items() if k != "task"}):
        with pytest.raises(
            InputError, match=r'line 2: this row names no task; write one of kind, 翻译 into the field "task"'
        ):
            finished.evaluate([rows[0], wrong])
    file = tmp_path / "some.jsonl"
    file.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    evaluate(str(finished.path), data=str(file), as_json=True)
    printed = json.loads(capsys.readouterr().out)
    assert printed["tasks"]["翻译"]["scores"] == pytest.approx(score.parts["翻译"].values, rel=1e-6)
    evaluate(str(finished.path), data=str(file))
    shown = capsys.readouterr().out
    assert "some.jsonl: kind, 5 rows" in shown.replace("\n", "")
    assert "some.jsonl: 翻译, 3 rows" in shown.replace("\n", "")


@pytest.mark.parametrize(
    ("tasks", "data", "message"),
    [
        ([KIND, ZH | {"name": "kind"}], {}, 'data.tasks: two tasks are called "kind"'),
        ([KIND | {"rate": 0}], {}, "data.tasks, kind: rate: the value should be greater than 0, not '0'."),
        ([KIND | {"rate": -1}], {}, "rate: the value should be greater than 0"),
        ([KIND | {"name": "a|b"}], {}, "a name is a short text without line breaks and without the signs"),
        ([KIND | {"promt": "x"}], {}, 'data.tasks, kind: unknown key "promt". Did you mean "prompt"?'),
        ([KIND | {"prompt": "Kind of: {txt}"}], {}, 'line 1: task.prompt (kind) asks for the field "txt"'),
        ([KIND | {"prompt": "Kind"}], {}, "a template names at least one field in braces"),
        ([KIND | {"answer": None}], {}, "data.tasks, kind: answer is missing: a template such as"),
        ([KIND | {"source": "{text}"}], {}, "source is no template of the task instruction; it has prompt and answer"),
        ([KIND, ZH | {"train": None}], {}, "data.tasks, 翻译: train is missing: the file with its rows."),
        ([KIND, ZH | {"train": "nowhere.jsonl"}], {}, "no such file"),
        ([KIND, ZH], {"train": "x.jsonl"}, "data.train and data.tasks both name files"),
        ([KIND, ZH], {"text_field": "text"}, "data.text_field: the templates of data.tasks say where the texts stand"),
        (
            [KIND | {"test": "kind.jsonl"}, ZH],
            {"split": "none", "overlap": "warn"},
            "data.tasks, 翻译: it has no row in the test split, and kind has; name a file (test: ...)",
        ),
        ([KIND, ZH], {"split": "part"}, "no field"),
        ([KIND], {"temperature": 0.5}, "data.temperature: the value should be greater than or equal to 1"),
        ([], {"train": "kind.jsonl", "temperature": 2}, "data.temperature mixes several tasks (data.tasks)"),
    ],
)
def test_what_is_refused(folder: Path, tasks: list[dict[str, Any]], data: dict[str, Any], message: str) -> None:
    given = [{k: v for k, v in task.items() if v is not None} for task in tasks]
    with pytest.raises(InputError) as caught:
        splits_of(recipe_of(folder, *given, **data))
    assert message in str(caught.value)


def test_heads_of_their_own_cannot_be_mixed(folder: Path) -> None:
    with pytest.raises(InputError, match=r"the task classification answers with a head of its own.*docs/adapters\.md"):
        make_task(recipe_of(folder, KIND, ZH, task="classification"))
    with pytest.raises(InputError, match=r"task\.prompt: each task of data\.tasks has its own templates"):
        make_task(recipe_of(folder, KIND, task={"name": "instruction", "prompt": "{a}"}))  # type: ignore[arg-type]


def test_titles(folder: Path) -> None:
    assert data_title(recipe_of(folder, KIND, ZH)) == "kind+翻译"
    assert data_title(build({"task": "instruction", "data": {"train": "a.csv"}})) == "a.csv"
