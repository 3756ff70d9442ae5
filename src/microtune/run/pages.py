"""Every page that a run or a comparison keeps, written again from its files in the language that is asked for.

The report is made anew. Of the card and of the page of a comparison, lines that somebody has added stay where they are.
The card of a pretrained base is sealed with the files of its model: its Chinese stands beside it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from microtune.data.objects import read_object
from microtune.errors import RunError
from microtune.run.classic.base import classic_card
from microtune.run.disk import write_text
from microtune.run.report import write_report
from microtune.run.report.card import NAME, card
from microtune.run.report.pages import diagnosis_in_both, in_language, page_in_chinese
from microtune.run.report.read import RunFiles, read_run
from microtune.version import __version__

SEALED = "README.zh-CN.md"
COMPARED, RESULTS, CURVE = "compare.md", "compare.json", "curve.png"
PATH = re.compile(r'^(?:run = mt\.Run|model = mt\.load)\("(.*)"\)$', re.MULTILINE)


def write_pages(folder: str | Path, lang: str = "en") -> list[Path]:
    """Write the pages of a finished run, or of a comparison and its runs, in "en" or "zh"; the paths of all."""
    folder = Path(folder)
    if (folder / RESULTS).is_file():
        runs = sorted(page.parent for page in folder.glob("runs/*/scores.json"))
        return [_compared(folder, lang), *(page for run in runs for page in write_pages(run, lang))]
    present = _text(folder / NAME)
    written = [write_report(folder, lang=lang)]  # refuses what is no run, and a language that there is not
    run = read_run(folder)
    if run.record.facts is None or run.record.facts.about:
        written += _card(folder, run, present, lang)
    sealed = folder / "model" / NAME
    if lang == "zh" and sealed.is_file():
        write_text(folder / "model" / SEALED, page_in_chinese(sealed.read_text(encoding="utf-8")))
        written.append(folder / "model" / SEALED)
    return written


def _card(folder: Path, run: RunFiles, present: str | None, lang: str) -> Iterator[Path]:
    """The card of a run that was tuned, or of a classic model; present: what stands there."""
    path = PATH.search(present or "")
    english = _english(run, path[1] if path else folder.as_posix())
    text = in_language(lang, present, english, diagnosis_in_both(run))
    if text:
        write_text(folder / NAME, text)
        yield folder / NAME


def _english(run: RunFiles, path: str) -> str | None:
    facts = run.record.facts
    if facts is None:
        return card(run, path)
    sources = [source.model_dump() for source in facts.sources]
    scores = {name: score.model_dump() for name, score in run.record.scores.items()}
    version = run.environment.get("microtune", __version__)
    about = f"{facts.about}; made by microtune {version}."
    return classic_card(run.name, path, about, sources, scores, run.record.notes)


def _compared(folder: Path, lang: str) -> Path:
    """The page of a comparison."""
    from microtune.run.compare.results import Results
    from microtune.run.compare.table import markdown
    from microtune.run.report.words import Words

    Words(lang)
    values: Mapping[str, Any] = read_object(folder / RESULTS, error=RunError)
    try:
        results = TypeAdapter(Results).validate_python(values)
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"])) or "its values"
        raise RunError(f"{folder / RESULTS}: cannot be read ({where}); was it written by another program?") from error
    english = markdown(results, CURVE if (folder / CURVE).is_file() else None)
    write_text(folder / COMPARED, in_language(lang, _text(folder / COMPARED), english))
    return folder / COMPARED


def _text(path: Path) -> str | None:
    """What stands in a page, or None where there is none."""
    if not path.is_file():
        return None
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise RunError(f"{path}: is not UTF-8 text; move it away, and give the command again.") from error


__all__ = ["write_pages"]
