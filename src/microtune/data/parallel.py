"""Parallel text: two files of equally many lines, of which line i of one belongs to line i of the other.

The form in which corpora for translation come (Koehn, 2005): `train.en.gz` beside `train.de.gz`. A source of rows is
then a mapping, {source: FILE, target: FILE}; pair_folders.py finds the files of a folder.
Blank lines count, for only the number of a line says what it belongs to.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any, TypeGuard

from microtune.data.decode import Budget, Packing, lines, refuse, shown, texts
from microtune.errors import InputError

SIDES = ("source", "target")
PACKED: dict[str, Packing] = {".gz": "gz", ".xz": "xz"}
OTHER = (".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".xlsx", ".xlsm", ".parquet")  # hold rows, not lines


def is_pair(source: Any) -> TypeGuard[Mapping[str, Any]]:
    """Whether a source of rows is a mapping that names files instead of a list of rows."""
    return isinstance(source, Mapping)


def pair_files(source: Mapping[str, Any]) -> tuple[Path, Path]:
    """The two files of {source: FILE, target: FILE}; anything else is an InputError."""
    checked = checked_pair(source)
    if "folder" in checked:
        raise InputError("A folder of parallel files is training data; name the two files themselves here.")
    found = (Path(checked["source"]), Path(checked["target"]))
    for path in found:
        if not path.is_file():
            raise refuse(path, None, "a folder, not a file" if path.is_dir() else "no such file")
        if inner_name(path).suffix.lower() in OTHER:
            raise refuse(path, None, "parallel files are plain text, one line each; give a file with rows as DATA")
    return found


def pair_rows(
    source: Mapping[str, Any], budget: Budget, encoding: str | None = None
) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """(source file, line, {source, target}) of each pair of lines; unequal numbers of lines are an InputError."""
    one, other = pair_files(source)
    sides = [
        lines(path, texts(path, _packing(path), budget, encoding), budget.limits, record=1) for path in (one, other)
    ]
    number, missing = 0, [0, 0]
    for left, right in zip_longest(*sides):
        if left is None or right is None:
            missing[0 if left is None else 1] += 1
            continue
        if any(missing):
            continue
        number = left[0]
        budget.row(one, number)
        yield str(one), number, {"source": left[1], "target": right[1]}
    if any(missing):
        counts = [number + missing[1], number + missing[0]]
        raise InputError(
            f"{one} has {counts[0]:,} lines, but {other} has {counts[1]:,}; line i of one must belong to line i of the "
            "other, so the files need equally many."
        )
    if not number:
        raise refuse(one, None, "the file holds no rows")


def checked_pair(source: Mapping[str, Any]) -> dict[str, str]:
    """The mapping with paths as texts; an unknown key or a missing side is an InputError."""
    known = ("folder", *SIDES)
    for key, value in source.items():
        if key not in known or not isinstance(value, (str, Path)):
            raise InputError(
                f"Data of two files is written {{source: FILE, target: FILE}}, each a path; {shown(key)} does not fit."
            )
    for side in SIDES:
        if side not in source:
            other = SIDES[side == "source"]
            raise InputError(f"The {other} file has no {side} file beside it; give both, with --source and --target.")
    return {key: str(value) for key, value in source.items()}


def _packing(path: Path) -> Packing:
    return PACKED.get(path.suffix.lower(), "")


def inner_name(path: Path) -> Path:
    """The name without the ending of the compression."""
    return path.with_suffix("") if _packing(path) else path
