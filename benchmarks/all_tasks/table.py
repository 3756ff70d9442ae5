"""What has been measured: kept in a JSON file, row by row, and shown as Markdown."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

from all_tasks.works import Run, Work

HEADER = "| task | data | language | rows | what | trains | test score (95 % interval) | seconds | peak MB |"
VERSIONS = ("torch", "tokenizers", "scikit-learn", "sacrebleu", "rouge-score")
DIGITS = {"rmse": 3, "bleu": 1, "chrf": 1, "margin": 3}


def digest(work: Work, what: str, run: Run | None) -> str:
    """What decides a row: a row that was measured otherwise is measured again."""
    facts = [work.kind, work.files, work.text, work.label, work.train, work.validation, work.test, work.max_length]
    facts += [
        sorted(work.options.items()),
        what,
        None if run is None else [run.model, run.epochs, sorted(run.train.items())],
    ]
    if run is not None and (run.settings or run.seed):
        facts += [list(run.settings), run.seed]
    return hashlib.sha256(json.dumps(facts, default=str).encode()).hexdigest()[:12]


def load(path: Path | None) -> dict[str, Any]:
    """The rows so far by name."""
    if path is None or not path.is_file():
        return {}
    return dict(json.loads(path.read_text(encoding="utf-8")))


def save(path: Path | None, results: dict[str, Any]) -> None:
    """All rows so far; a stop while it writes leaves the file of before."""
    if path is None:
        return
    half = path.with_name(path.name + ".part")
    half.write_text(json.dumps(results, indent=1, ensure_ascii=False), encoding="utf-8")
    os.replace(half, path)


def line(work: Work, model: str, what: str, result: dict[str, Any]) -> str:
    """A row of the table."""
    name = f"{Path(model).name} {what}" if model else what
    if "values" not in result:
        return f"| {work.kind} | {work.name} | {work.language} | - | {name} | - | {result['state']} | - | - |"
    share = f"{result['share']:.2%}" if result.get("share") else "-"
    cells = (work.kind, work.name, work.language, result["rows"], name, share, "; ".join(scores(work, result)))
    return f"| {' | '.join(cells)} | {result['seconds']:.0f} | {result['peak']:.0f} |"


def scores(work: Work, result: dict[str, Any]) -> Iterable[str]:
    """Each score with its interval."""
    for name in work.scores:
        if name not in result["values"]:
            continue
        digits = DIGITS.get(name, 3)
        interval = result["intervals"].get(name)
        reach = "" if interval is None else f" ({interval[0]:.{digits}f} to {interval[1]:.{digits}f})"
        yield f"{name.replace('_', ' ')} {result['values'][name]:.{digits}f}{reach}"


def environment() -> str:
    """Date is the caller's; versions and machine as far as they tell."""
    found = []
    for name in VERSIONS:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    threads = os.environ.get("OMP_NUM_THREADS", "all")
    return f"Python {platform.python_version()}, {', '.join(found)}; {platform.machine()}, {threads} thread(s)"
