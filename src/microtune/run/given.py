"""What a user names as data: a file, a folder in one of several layouts, rows in memory, an embedded data set."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from microtune.data.class_folders import class_rows, classes_in, document_rows, is_classes, parts_in
from microtune.data.decode import Bad
from microtune.data.pair_folders import pair_parts
from microtune.data.parallel import is_pair
from microtune.data.sources import Row, read_rows
from microtune.data.split_folders import folder_parts
from microtune.recipe import Recipe
from microtune.run.hashes import data_hash
from microtune.tasks.base import Task
from microtune.tasks.classification import Classification

DATASETS = ("tickets",)


def is_embedded(source: Any) -> bool:
    """Whether this names an embedded data set, and no file or folder of the user."""
    return isinstance(source, str) and source in DATASETS and not Path(source).exists()


def embedded_data(name: str) -> str:
    """The files of an embedded data set, as a glob."""
    return str(Path(str(resources.files("microtune") / "assets" / name)) / "*.jsonl")


def read(source: Any, recipe: Recipe) -> list[Row]:
    """Rows of a file, a folder, rows in memory or an embedded data set."""
    if is_embedded(source):
        source = embedded_data(source)
    if recipe.task.name == "classification" and is_classes(source):
        return list(class_rows(source, encoding=recipe.data.encoding, limits=recipe.limits))
    return read_rows(source, encoding=recipe.data.encoding, header=recipe.data.header, limits=recipe.limits)


def rows_for(task: Task | None, source: Any, bad: Bad | None = None) -> list[Row]:
    """Rows that a tuned model is asked about, or scored on: a folder of classes, or texts as it has learnt them.

    bad: takes the error of a row that cannot be read, which is then passed over.
    """
    if isinstance(task, Classification) and isinstance(source, (str, Path)) and not task.pair_field:
        text, label = task.text_field or "text", task.label_field or "label"
        if is_classes(source):
            return list(class_rows(source, names=(text, label), bad=bad))
        rows = document_rows(source, name=text, bad=bad) if task.whole else None
        return list(rows) if rows is not None else read_rows(source, whole=task.whole, bad=bad)
    return read_rows(source, bad=bad)


def hashes(data: Mapping[str, Any]) -> dict[str, str]:
    """Hash of every source of a run."""
    named = {k: embedded_data(v) if is_embedded(v) else v for k, v in data.items()}
    return {name: data_hash(source) for name, source in named.items() if source is not None}


def split_files(data: Mapping[str, Any], *, classes: bool = False) -> dict[str, Any]:
    """`train`, `validation` and `test` of a folder, by the names of its files; {} where none is named after a split.

    classes: they may be folders with a folder for each class.
    """
    source = data.get("train")
    if is_pair(source) and "folder" in source:
        parts = pair_parts(source)
        return {part: pair for part, pair in parts.items() if part == "train" or data.get(part) is None}
    if not isinstance(source, (str, Path)) or not Path(source).is_dir():
        return {}
    found = parts_in(source) if classes else {}
    if not found and not (classes and classes_in(source)):
        found = folder_parts(Path(source))
    return {part: path for part, path in found.items() if part == "train" or data.get(part) is None}
