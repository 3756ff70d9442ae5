"""Options that did more, or less, than they said: one share of the split, the sign between labels, no validation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from microtune import recipe as recipes
from microtune.cli.chinese import translated
from microtune.errors import InputError
from microtune.run.folder import RunFolder, read_metrics
from microtune.run.prepare import make_splits, make_task
from microtune.run.report.words.notes import in_chinese
from microtune.tasks.classification import Classification

LABELS = ("a/b", "b/c", "a", "c")


def split_of(*assignments: str, **values: Any) -> Any:
    return recipes.build(recipes.override({"task": "classification", **values}, assignments)).data.split


def test_one_share_of_the_split_leaves_the_other() -> None:
    assert split_of("data.split.test=0.3") == {"validation": 0.1, "test": 0.3}
    assert split_of("data.split.validation=0.2", "data.split.test=0.3") == {"validation": 0.2, "test": 0.3}
    assert split_of("data.split={test: 0.3}") == {"test": 0.3}
    assert split_of("data.split.test=0.3", data={"split": {"test": 0.2}}) == {"test": 0.3}
    assert split_of() == {"validation": 0.1, "test": 0.1}
    with pytest.raises(InputError, match="split holds a value, not keys"):
        split_of("data.split.test=0.3", data={"split": "none"})


def prepared(count: int = 12, labels: tuple[str, ...] = LABELS, data: dict[str, Any] | None = None, **task: Any) -> Any:
    rows = [{"text": f"text number {i}", "label": labels[i % len(labels)]} for i in range(count)]
    values = {"task": {"name": "classification", **task}, "data": {"split": "none", **(data or {})}}
    recipe = recipes.build(values)
    return make_splits(recipe, make_task(recipe), {"train": rows})


def test_a_sign_that_is_named_joins_labels() -> None:
    task, _ = prepared(sign="/")
    assert isinstance(task, Classification)
    assert (task.form, task.sign, task.labels) == ("multi", "/", ("a", "b", "c"))
    assert prepared()[0].labels == tuple(sorted(LABELS))
    assert prepared(labels=("a|b/c", "b/c|a", "a", "b/c"), sign="/")[0].labels == ("a", "a|b", "b", "c", "c|a")


@pytest.mark.parametrize(("name", "value"), [("sign", "/"), ("threshold", 0.3)])
def test_what_only_several_labels_have(name: str, value: Any) -> None:
    with pytest.raises(InputError) as error:
        prepared(form="single", **{name: value})
    said = f"task.{name} is of several labels a row, and rows have one; leave it out."
    assert str(error.value) == said
    assert "leave" not in translated(said)


def test_nothing_to_choose_by_is_said() -> None:
    note = "There is no validation split, so task.choose has nothing to go by: the weights are those of the last step."
    assert prepared(choose="macro_f1")[1].notes == [note]
    assert in_chinese(note) == "没有验证集，task.choose 无从依据：权重是最后一步的。"
    assert prepared()[1].notes == []
    assert not [
        n for n in prepared(choose="loss", data={"split": {"validation": 0.3}})[1].notes if "no validation" in n
    ]


def test_a_label_with_a_line_separator_keeps_its_metrics(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.write_metric("score", {"split": "validation", "step": 4, "f1:a\u2028b": 0.5})
    assert [line["f1:a\u2028b"] for line in read_metrics(tmp_path / "metrics.jsonl")] == [0.5]
    folder.rewind_metrics(4)
    assert len(read_metrics(tmp_path / "metrics.jsonl")) == 1
