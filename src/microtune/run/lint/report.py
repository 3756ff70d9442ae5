"""The report of a lint: findings in words, and the record that lint.json and `--json` hold."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from microtune.data.lint import words_en, words_zh
from microtune.data.lint.base import RANK, Finding, Place, Severity
from microtune.errors import InputError, RowNumber
from microtune.run.disk import write_json, write_text

Language = Literal["en", "zh"]
_WORDS = {"en": words_en, "zh": words_zh}
LIKE_ANOTHER = (
    *("exact-copies", "contradictory-labels", "several-answers", "test-overlap"),
    *("near-copies", "near-test"),
)


@dataclass(frozen=True)
class Told:
    """A finding in words."""

    kind: str
    severity: Severity
    count: int
    of: int
    message: str
    advice: str
    places: list[Place]


@dataclass(frozen=True)
class Piece:
    """A part of a rendered row: its role, its text, and whether it is learnt."""

    role: str
    text: str
    supervised: bool


@dataclass(frozen=True)
class LintReport:
    """What is known about the data. figures: plain values for plots; recipe: values that `microtune tune` takes."""

    source: str
    task: str
    form: str
    fields: dict[str, Any]
    why: str
    others: tuple[str, ...]
    rows: int
    test_rows: int
    sampled: int
    findings: list[Told]
    figures: dict[str, Any]
    rendered: list[list[Piece]]
    recipe: dict[str, Any] | None
    remarks: list[str] = field(default_factory=list)
    lang: Language = "en"

    @property
    def strict_failure(self) -> bool:
        """Whether there is an error or a warning."""
        return any(told.severity != "note" for told in self.findings)

    def record(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        values = {key: value for key, value in asdict(self).items() if key != "lang"}
        return {**values, "others": list(self.others)}

    def save(self, folder: str | Path) -> None:
        """Write lint.json and lint.html, and recipe.yaml where there is a recipe."""
        from microtune.run.lint.page import page
        from microtune.run.lint.proposal import recipe_text

        folder = Path(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_json(folder / "lint.json", self.record())
            write_text(folder / "lint.html", page(self))
            if self.recipe is not None:
                write_text(folder / "recipe.yaml", recipe_text(self.recipe))
        except OSError as error:
            raise InputError(f"{folder}: the report cannot be written there ({error.strerror}).") from error


def words(lang: str, table: Literal["FINDINGS", "WHY", "PAGE"]) -> Mapping[str, Any]:
    """One table of words in a language."""
    if lang not in _WORDS:
        raise InputError(f'--lang: "{lang}" is not known; reports are written in en and zh.')
    found: Mapping[str, Any] = getattr(_WORDS[lang], table)
    return found


def where(report: LintReport, place: Place) -> str:
    """A place as a reader finds it: the file, by its name in the folder that was read, and the line or row."""
    path, source = Path(place.path), Path(report.source)
    name = path.relative_to(source).as_posix() if path != source and path.is_relative_to(source) else path.name
    counted = "row" if isinstance(place.line, RowNumber) else "line"
    comma = "，" if report.lang == "zh" else ", "
    return f"{name}{comma}{words(report.lang, 'PAGE')[counted].format(line=place.line)}"


def tell(findings: list[Finding], lang: str) -> list[Told]:
    """Findings in words, the gravest first."""
    table = words(lang, "FINDINGS")
    told = []
    for found in sorted(findings, key=lambda f: (RANK[f.severity], -f.count / max(1, f.of))):
        what, advice = table[found.kind]
        values = {"count": found.count, "of": found.of, **found.values}
        sentences = (what.format(**values), advice.format(**values))
        places = [replace(place, text=_like(found.kind, place.text, lang)) for place in found.places]
        told.append(Told(found.kind, found.severity, found.count, found.of, *sentences, places))
    return told


def _like(kind: str, text: str, lang: str) -> str:
    """The text of a row, where another one like it is named before: in the language of the report."""
    for english, said in _WORDS[lang].PLACES if kind in LIKE_ANOTHER else ():
        text = re.sub(english, said, text)
    return text
