"""The report of a run: one page, `report.html`, that anybody can open, keep, print and send.

It is written from the files in the run's folder alone, so it can be written again, in English or Chinese, long after
the run. What other files do not keep stands in `report.json` (facts.py). One file per part of the page under `parts/`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from microtune.run.disk import write_text
from microtune.run.report.page import page
from microtune.run.report.read import read_run

PAGE = "report.html"


def write_report(folder: str | Path, *, lang: str = "en", record: Mapping[str, Any] | None = None) -> Path:
    """Write `report.html` of a finished run; record: what scores.json is about to hold. The path of the page."""
    folder = Path(folder)
    text = page(read_run(folder, record), lang)
    write_text(folder / PAGE, text)
    return folder / PAGE
