"""Rows become splits: by file name, by field, by fraction, and without copies of test rows in the training data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from microtune import recipe as recipes
from microtune.errors import CheckError, InputError
from microtune.recipe import override, parse_short
from microtune.run.prepare import Splits, make_splits, make_task
from microtune.run.report.words.notes import in_chinese


def _split(data: dict[str, Any], **section: Any) -> Splits:
    recipe = recipes.build({"task": "classification", "data": {**section, "train": "x"}})
    return make_splits(recipe, make_task(recipe), data)[1]


def _rows(texts: str, label: str = "ab") -> list[dict[str, str]]:
    return [{"text": f"{t} text number {t}", "label": label[i % 2]} for i, t in enumerate(texts)]


def _write(path: Path, rows: list[dict[str, str]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def test_files_of_a_folder_are_its_splits(tmp_path: Path) -> None:
    _write(tmp_path / "train.jsonl", _rows("abcdef"))
    _write(tmp_path / "dev.jsonl", _rows("gh"))
    _write(tmp_path / "test.jsonl", _rows("ijkl"))
    sizes = {name: len(rows) for name, rows in _split({"train": str(tmp_path)}).rows.items()}
    assert sizes == {"train": 6, "validation": 2, "test": 4}


def test_fractions_are_cut_only_for_splits_that_are_not_given() -> None:
    letters = "abcdefghijklmnopqrst"
    sizes = {name: len(rows) for name, rows in _split({"train": _rows(letters)}).rows.items()}
    assert sizes == {"train": 16, "validation": 2, "test": 2}
    given = _split({"train": _rows(letters), "test": _rows("uvwx")}).rows
    assert {name: len(rows) for name, rows in given.items()} == {"train": 18, "validation": 2, "test": 4}
    assert set(_split({"train": _rows(letters)}, split="none").rows) == {"train"}


def test_a_field_can_say_the_split() -> None:
    rows = [{**row, "part": ("train", "train", "val", "Test")[i // 2 % 4]} for i, row in enumerate(_rows("abcdefgh"))]
    sizes = {name: len(part) for name, part in _split({"train": rows}, split="part").rows.items()}
    assert sizes == {"train": 4, "validation": 2, "test": 2}


def test_test_rows_leave_the_training_split_and_are_counted() -> None:
    test = _rows("wxyz")
    train = [*_rows("abcdef"), {"text": test[0]["text"].upper() + " ", "label": "a"}]
    data = {"train": train, "test": test, "validation": _rows("gh")}
    splits = _split(data)
    assert len(splits.rows["train"]) == 6
    assert len(splits.removed) == 1
    assert splits.removed[0].line == 7
    note = "[test-in-train] 1 rows of the test split were removed from the train split. First: <memory>, line 7."
    assert splits.notes == [note]
    assert len(_split(data, overlap="warn").rows["train"]) == 7
    with pytest.raises(CheckError, match="<memory>, line 7"):
        _split(data, overlap="error")


def test_a_test_split_that_is_mostly_copied_stops_the_run() -> None:
    test = _rows("wxyz")
    with pytest.raises(CheckError, match="the scores would mean nothing"):
        _split({"train": _rows("abcd") + test[:3], "test": test, "validation": _rows("gh")})


def test_short_forms_and_overrides_of_a_recipe() -> None:
    assert parse_short("lora:8") == {"name": "lora", "size": 8}
    with pytest.raises(InputError, match='"top:two" is not a short form'):
        parse_short("top:two")
    values = override({"task": "classification", "method": "lora:8", "epochs": 2}, ["train.lr=3e-4", "data.split=none"])
    recipe = recipes.build(values)
    assert recipe.train.lr == 3e-4
    assert recipe.train.epochs == 2
    assert recipe.method.options == {"size": 8}
    assert recipe.data.split == "none"
    assert recipes.build(recipes.yaml.safe_load(recipes.to_yaml(recipe))) == recipe
    with pytest.raises(InputError, match='"trainlr" is not an override'):
        override({}, ["trainlr"])


def test_validation_that_stands_in_training_is_said_where_it_gives_the_scores() -> None:
    rows = _rows("abcdef")
    data = {"train": rows, "validation": [*_rows("gh"), {**rows[0], "text": rows[0]["text"].upper()}]}
    note = (
        "[test-in-train] 1 of 3 rows of the validation split stand in the train split too, and there is no test split: "
        "the scores are better than those of new rows. First: <memory>, line 3."
    )
    assert _split(data, split="none").notes == [note]
    assert in_chinese(note).startswith("[test-in-train] 验证集的 3 行中有 1 行也在训练集中")
    assert not [n for n in _split({**data, "test": _rows("ij")}, split="none").notes if "no test split" in n]
