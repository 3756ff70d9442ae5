"""A folder of parallel files, `train.en.gz` beside `train.de.gz` and so on -> one pair of files for each split.

As a source of rows it is written {folder: FOLDER, source: en, target: de}, with the endings of the two sides.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from microtune.data.decode import refuse
from microtune.data.parallel import SIDES, checked_pair, inner_name
from microtune.data.splits import part_name


def pair_parts(source: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """`train`, `validation` and `test` pairs of {folder: FOLDER, source: ENDING, target: ENDING}.

    A part is told by the name before the ending: `train.en.gz`, `val.en`. Where two pairs say the same part neither is
    taken; without one training pair there is an InputError.
    """
    checked = checked_pair(source)
    folder = Path(checked["folder"])
    if not folder.is_dir():
        raise refuse(folder, None, "no such folder")
    one, other = (_by_stem(folder, checked[side]) for side in SIDES)
    found: dict[str, list[dict[str, str]]] = {}
    for stem in sorted(one.keys() & other.keys()):
        part = part_name(stem)
        if part is not None:
            found.setdefault(part, []).append({"source": one[stem], "target": other[stem]})
    pairs = {part: each[0] for part, each in found.items() if len(each) == 1}
    if "train" not in pairs:
        names = " and ".join(f"train.{checked[side].lstrip('.')}" for side in SIDES)
        raise refuse(folder, None, f"there is no pair of files {names} in this folder (each also with .gz or .xz)")
    return pairs


def _by_stem(folder: Path, ending: str) -> dict[str, str]:
    """Name before the ending -> file, for the files `<name>.<ending>` of a folder, packed or not."""
    wanted = "." + ending.lstrip(".")
    return {
        inner_name(path).name.removesuffix(wanted): str(path)
        for path in sorted(folder.iterdir())
        if path.is_file() and inner_name(path).name.endswith(wanted)
    }
