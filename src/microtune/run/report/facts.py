"""What a report needs and a run would otherwise forget: written once, at the end, as `report.json` in its folder.

Sizes and lengths of the splits, labels, what trains, and of the judged split what `outcomes` keeps. Bounded: counts,
a few hundred numbers and fifteen rows, whatever the size of the data.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from microtune.data.batches import item_sizes
from microtune.data.languages import languages_of
from microtune.data.sources import Row
from microtune.run.disk import write_json
from microtune.run.evaluate import Score
from microtune.run.load import Model
from microtune.run.prepare import Splits
from microtune.run.report.outcomes import judged
from microtune.run.report.read import FILE
from microtune.run.summary import Summary
from microtune.tasks.base import Encoded, Task
from microtune.tasks.classification import Classification

BARS = 24  # of the histogram of lengths
MOST_LABELS = 100
SAMPLE = 1000  # training rows whose language is looked at
CARD_BYTES = 1_000_000


def write_facts(
    folder: Path,
    task: Task,
    model: Model,
    summary: Summary,
    splits: Splits,
    encoded: Mapping[str, Encoded],
    scores: Mapping[str, Score],
) -> None:
    """`report.json`: facts about model, data and answers."""
    name = next((n for n in ("test", "validation") if n in scores), None)
    primary, greater = task.chosen_by()
    rows = splits.rows["train"]
    facts: dict[str, Any] = {
        "task": {"name": task.name, "primary": primary, "greater_is_better": greater},
        "model": {
            **asdict(summary),
            "license": license_of(model),
            "family": model.family,
            "base_kind": model.place.kind if model.place is not None else "",
        },
        "splits": {n: split_facts(task, part, splits.rows[n]) for n, part in encoded.items()},
        "steps": [asdict(report) for report in splits.steps],
        "languages": languages_of(text_in(row) for row in rows[:: max(1, len(rows) // SAMPLE)]),
    }
    if name is not None:
        facts["judged"] = {"split": name, **judged(task, scores[name].predictions, encoded[name], splits.rows[name])}
    write_json(folder / FILE, facts)


def score_record(task: Task, score: Score) -> dict[str, Any]:
    """What scores.json says of a split."""
    found = {"values": score.values, "intervals": {k: list(v) for k, v in score.intervals.items()}}
    details = task.details(score.predictions)
    return {**found, "details": details} if details else found


def split_facts(task: Task, encoded: Encoded, rows: Sequence[Row]) -> dict[str, Any]:
    """Rows, tokens, lengths and labels of one split."""
    report, sizes = encoded.report, [int(n) for n in item_sizes(encoded.items)]
    names = ("rows", "items", "tokens", "supervised", "truncated", "dropped", "longest")
    found: dict[str, Any] = {key: getattr(report, key) for key in names}
    found["lengths"] = histogram(sizes)
    if isinstance(task, Classification) and task.label_field is not None:
        counts = Counter(str(label) for row in rows for label in task.reader.labels(row))
        found["labels"] = dict(counts.most_common(MOST_LABELS))
    return found


def histogram(sizes: Sequence[int]) -> dict[str, list[int]]:
    """Counts of lengths in at most `BARS` bins of equal width; `starts` are their least lengths."""
    if not sizes:
        return {"starts": [], "counts": []}
    low, high = min(sizes), max(sizes)
    width = max(1, -(-(high - low + 1) // BARS))
    counts = Counter((size - low) // width for size in sizes)
    last = (high - low) // width
    return {"starts": [low + i * width for i in range(last + 1)], "counts": [counts[i] for i in range(last + 1)]}


def text_in(row: Row) -> str:
    """All texts of a row, of which the first thousand characters are looked at."""
    return " ".join(value for value in row.data.values() if isinstance(value, str))[:1000]


def license_of(model: Model) -> str:
    """The licence that the base's own card names; that of microtune for what it brings; else "unknown"."""
    if model.place is None:
        return "unknown"
    if model.place.kind == "embedded":
        return "apache-2.0"
    card = Path(model.place.path) / "README.md"
    try:
        with open(card, encoding="utf-8") as lines:
            text = lines.read(CARD_BYTES)
        head = text.split("---")[1] if text.startswith("---") else ""
        found = yaml.safe_load(head)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError, ValueError):
        return "unknown"
    name = found.get("license") if isinstance(found, dict) else None
    return name if isinstance(name, str) and 0 < len(name) <= 60 else "unknown"
