"""The rows of a data set by part: made, without copies of test rows, with labels that training knows, capped."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from all_tasks.works import Parts, Rows, Work

PARTS = ("train", "validation", "test")


def read(folder: Path, work: Work) -> Parts:
    """Train, validation and test as lists of dicts."""
    from microtune.data.sources import Row
    from microtune.data.splits import remove_overlap

    if len(work.files) == 1:
        found = _parted(work.make(_rows(folder, work.files[0], work)))
    elif len(work.files) == 2:
        train, test = (work.make(_rows(folder, file, work)) for file in work.files)
        found = {"train": train[len(train) // 10 :], "validation": train[: len(train) // 10], "test": test}
    else:
        found = {p: work.make(_rows(folder, f, work)) for p, f in zip(PARTS, work.files, strict=True)}
    fields = work.key or (work.text,)
    test = [Row(row, "test", i) for i, row in enumerate(found["test"], 1)]
    parts: Parts = {}
    for part in PARTS:
        rows = [Row(row, part, i) for i, row in enumerate(found[part], 1)]
        if part != "test":
            rows = remove_overlap(rows, test, lambda row: "\n".join(str(row.data.get(name, "")) for name in fields))[0]
        parts[part] = [row.data for row in rows]
        cap = getattr(work, part)
        if cap is not None:
            random.Random(0).shuffle(parts[part])
            parts[part] = parts[part][:cap]
    known = work.kind == "classification" and work.label is not None
    return with_known_labels(parts, work.label or "") if known else parts


def _rows(folder: Path, file: str, work: Work) -> Rows:
    from microtune.data.sources import read_rows

    names = [one_file(folder, name) for name in file.split(" + ")]
    source: Any = names[0] if len(names) == 1 else {"source": str(names[0]), "target": str(names[1])}
    return [row.data for row in read_rows(source, header=work.header)]


def one_file(folder: Path, name: str) -> Path:
    """The one file of this name; `*` stands for any ending."""
    files = sorted(folder.glob(name))
    if len(files) != 1:
        raise SystemExit(f"{folder}: expected one file {name}, found {len(files)}.")
    return files[0]


def _parted(rows: Rows) -> Parts:
    """Three fifths, one fifth, one fifth, after a fixed shuffle."""
    rows = list(rows)
    random.Random(0).shuffle(rows)
    fifth = len(rows) // 5
    return {"train": rows[2 * fifth :], "validation": rows[:fifth], "test": rows[fifth : 2 * fifth]}


def with_known_labels(parts: Parts, label: str) -> Parts:
    """Without the rows with a label that no training row has: nobody could give it."""
    known = {name for row in parts["train"] for name in labels_in(row, label)}
    return {part: [r for r in rows if known.issuperset(labels_in(r, label))] for part, rows in parts.items()}


def labels_in(row: dict[str, Any], label: str) -> list[str]:
    """The labels of a row: one, or those of a list."""
    value = row[label]
    return [str(one) for one in value] if isinstance(value, list) else [str(value)]
