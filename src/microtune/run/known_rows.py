"""Rows that are scored though a run has learnt from them: a figure on them says nothing about new texts.

What a run was made with stands in its environment.json as hashes, by which the same file is known again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeGuard

from microtune import recipe as recipes
from microtune.data.objects import read_object
from microtune.errors import InputError, MicrotuneError, RunError
from microtune.run.given import split_files
from microtune.run.hashes import data_hash
from microtune.run.sources import Place


def one_split(source: Any) -> Any:
    """What is to be scored, as it came; InputError for a folder of train, validation and test files."""
    parts = split_files({"train": source}) if isinstance(source, (str, Path)) else {}
    others = [str(path) for part, path in parts.items() if part != "train"]
    if others:
        raise InputError(
            f"{source}: holds training rows ({Path(parts['train']).name}) beside others, and they would be scored "
            f"together; name the file to score, such as {others[-1]}."
        )
    return source


def learnt_from(place: Place | None, source: Any) -> list[str]:
    """A note where `source` is what the run in `place` has learnt from, or was chosen by."""
    if place is None or place.kind != "run" or not isinstance(source, (str, Path)):
        return []
    names = _known(place.path, source)
    if "train" in names:
        return [
            "These rows are the file that the model was trained with: what it has learnt is among them, so the figures "
            "say nothing about new rows."
        ]
    if "validation" in names:
        return [
            "These rows are the file by which the weights were chosen, so the figures are a little too good for new "
            "rows."
        ]
    return []


def _known(run: Path, source: str | Path) -> set[str]:
    """The parts of the run's data that `source` is, by its hash, or by its place in the folder that was its data."""
    try:
        hashes = read_object(run / "environment.json", error=RunError).get("data")
        data = recipes.load(run / "recipe.yaml").get("data")
    except MicrotuneError:  # of an older version, or made by `combine`
        return set()
    found = data_hash(source)
    names = {name.partition(":")[0] for name, value in hashes.items() if value == found} if _filled(hashes) else set()
    train = data.get("train") if _filled(data) else None
    try:
        parts = split_files({"train": train}) if isinstance(train, str) else {}
    except InputError:  # it holds other files now
        parts = {}
    return names | {part for part, path in parts.items() if Path(path).resolve() == Path(source).resolve()}


def _filled(value: Any) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)
