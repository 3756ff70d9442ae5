"""A folder that holds its splits as files: train, validation and test by their names, whole or in numbered pieces.

`train.csv` beside `test.csv`; `train-00000-of-00002.parquet`, as hubs cut data sets; `train/a.jsonl` beside
`test/a.jsonl`. A folder that names splits in another way is refused: read as one, the official test would be learnt.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence
from pathlib import Path

from microtune.data.decode import refuse
from microtune.data.sources import files_of
from microtune.data.splits import part_name

_NUMBER = re.compile(r"[-_]?\d{1,6}(?:[-_]of[-_]\d{1,6})?$")  # of a piece, behind the name of its split


def folder_parts(folder: Path) -> dict[str, str]:
    """Split -> the file, pattern or folder with its rows; {} where no file is named after a split."""
    found: dict[str, list[Path]] = {}
    other: Path | None = None
    for path in files_of(folder):
        part = _part(path, folder)
        if part is None:
            other = other or path
        else:
            found.setdefault(part, []).append(path)
    held = next((paths[0] for part, paths in found.items() if part != "train"), None)
    if held is None:  # a training file among others is read with them
        return {} if other is not None or "train" not in found else {"train": _source(found["train"], folder, "train")}
    if other is not None:
        raise refuse(
            folder,
            None,
            f"{held.name} is named after a split and {other.name} is not, and they would be mixed; name "
            f"the files one by one (DATA, --validation, --test), or all of them by a pattern, such as {folder / '*'}",
        )
    if "train" not in found:
        what = f"{held.name} is not for training, and there is no file called train"
        raise refuse(folder, None, f"{what}; name the files one by one (DATA, --validation, --test)")
    return {part: _source(paths, folder, part) for part, paths in found.items()}


def _part(path: Path, folder: Path) -> str | None:
    """The split that a file is named after, or that its folder is."""
    stem = path.name.partition(".")[0]
    own = part_name(stem) or part_name(_NUMBER.sub("", stem))
    above = path.relative_to(folder).parts[:-1]
    return own or next((part for name in above if (part := part_name(name))), None)


def _source(paths: Sequence[Path], folder: Path, part: str) -> str:
    """One file, the pattern of numbered pieces, or the folder with nothing but these files."""
    if len(paths) == 1:
        return str(paths[0])
    place = Path(os.path.commonpath([path.parent for path in paths]))
    if place != folder and files_of(place) == sorted(paths):
        return str(place)
    numbered = all(part_name(path.name.partition(".")[0]) is None for path in paths)
    stem, dot, ending = paths[0].name.partition(".")
    pattern = os.path.join(
        glob.escape(str(place)), glob.escape(_NUMBER.sub("", stem)) + "*" + glob.escape(dot + ending)
    )
    if numbered and sorted(glob.glob(pattern)) == sorted(map(str, paths)):
        return pattern
    raise refuse(
        folder,
        None,
        f"{paths[0].name} and {paths[1].name} are both of the {part} split; keep one, or number them as pieces "
        f"({part}-1, {part}-2)",
    )
