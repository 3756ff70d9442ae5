"""Folders that hold their splits: files, numbered pieces, folders; and what would mix a test into training."""

from __future__ import annotations

from pathlib import Path

import pytest

from microtune.cli.chinese import translated
from microtune.data.sources import read_rows
from microtune.data.split_folders import folder_parts
from microtune.errors import InputError
from microtune.recipe import build
from microtune.run.given import hashes
from microtune.run.prepare import make_splits, make_task

ALL = ("train", "validation", "test")


def fill(folder: Path, *names: str) -> Path:
    """Each file with one row, whose text is the file's name."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f'{{"text": "{name}", "label": "a"}}\n', encoding="utf-8")
    return folder


def texts(source: str) -> list[str]:
    return [row.data["text"] for row in read_rows(source)]


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (["train.jsonl", "dev.jsonl", "test.jsonl", "README.md"], [1, 1, 1]),
        (["train-00000-of-00002.jsonl", "train-00001-of-00002.jsonl", "test-00000-of-00001.jsonl"], [2, 0, 1]),
        (["data [1]/train_1.jsonl", "data [1]/train_2.jsonl", "data [1]/val_1.jsonl"], [2, 1, 0]),
        (["train/a.jsonl", "train/b.jsonl", "test/a.jsonl"], [2, 0, 1]),
        (["训练集.jsonl", "测试集.jsonl"], [1, 0, 1]),
        (["a.jsonl", "b.jsonl"], [0, 0, 0]),
        (["train.jsonl", "more.jsonl"], [0, 0, 0]),
    ],
)
def test_layouts(names: list[str], wanted: list[int], tmp_path: Path) -> None:
    found = folder_parts(fill(tmp_path, *names))
    counts = dict(zip(ALL, wanted, strict=True))
    assert {part: len(texts(source)) for part, source in found.items()} == {k: v for k, v in counts.items() if v}
    assert len({text for source in found.values() for text in texts(source)}) == sum(counts.values())


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["train.jsonl", "test.jsonl", "more.jsonl"], "test.jsonl is named after a split and more.jsonl is not, and"),
        (["reviews.jsonl", "test.jsonl"], "test.jsonl is named after a split and reviews.jsonl is not, and they would"),
        (["validation.jsonl", "test.jsonl"], "is not for training, and there is no file called train; name the files"),
        (["train.jsonl", "train.csv", "test.jsonl"], "train.csv and train.jsonl are both of the train split; keep one"),
    ],
)
def test_a_test_is_not_mixed_into_training(names: list[str], said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        folder_parts(fill(tmp_path, *names))
    assert said in str(error.value)
    assert "named after" not in translated(str(error.value))
    assert "keep one" not in translated(str(error.value))


def test_pieces_of_a_hub_stay_in_their_splits(tmp_path: Path) -> None:
    names = [f"data/{part}-0000{i}-of-00002.jsonl" for part in ("train", "test") for i in range(2)]
    fill(tmp_path, *names)
    (tmp_path / names[0]).write_text('{"text": "b", "label": "b"}\n')
    recipe = build({"task": "classification", "data": {"train": str(tmp_path), "split": "none"}})
    splits = make_splits(recipe, make_task(recipe), {"train": str(tmp_path)})[1].rows
    assert {part: len(rows) for part, rows in splits.items()} == {"train": 2, "test": 2}


def test_a_folder_of_the_user_goes_before_an_embedded_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    embedded = hashes({"train": "tickets"})
    fill(tmp_path / "tickets", *(f"{i}.jsonl" for i in range(4)))
    (tmp_path / "tickets" / "0.jsonl").write_text('{"text": "b", "label": "b"}\n')
    before = hashes({"train": "tickets"})
    assert before != embedded
    (tmp_path / "tickets" / "0.jsonl").write_text('{"text": "c", "label": "b"}\n')
    assert hashes({"train": "tickets"}) != before
    recipe = build({"task": "classification", "data": {"train": "tickets", "split": {"validation": 0.3}}})
    splits = make_splits(recipe, make_task(recipe), {"train": "tickets"})[1].rows
    assert {part: len(rows) for part, rows in splits.items()} == {"train": 3, "validation": 1}
