"""The files of a run as a report reads them: checked, since a folder may come from anywhere.

A missing file is an absent part of the page; a damaged one is refused with a sentence. Older runs have no
`report.json`: their page shows what the other files hold.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from microtune.data.objects import read_object
from microtune.errors import InputError, RunError
from microtune.recipe import load as load_recipe
from microtune.run.adjust import decided
from microtune.run.folder import read_metrics, scores_of

FILE = "report.json"


class Part(BaseModel):
    """Base of what is read: more keys may stand in a file than are known here."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class SplitScores(Part):
    """A split in scores.json."""

    values: dict[str, float | None]
    intervals: dict[str, tuple[float, float]] = {}
    details: dict[str, Any] = {}


class Check(Part):
    """A check in scores.json."""

    name: str
    result: str


class Diagnosis(Part):
    """The diagnosis in scores.json."""

    verdict: str = ""
    sentence: str = ""
    step: int | None = None
    evidence: dict[str, float] = {}


class Decision(Part):
    """A decision in scores.json."""

    step: int = 0
    rule: str = ""
    acted: bool = False
    reason: str = ""
    changes: list[str] = []

    @property
    def text(self) -> str:
        """One line for people, as it was said during training."""
        return decided(self.step, self.rule, self.reason, self.changes, acted=self.acted)


class CorpusSource(Part):
    """A source of a pretrained base in scores.json."""

    name: str
    language: str = ""
    tokens: int = 0
    epochs: float = 1.0
    share: float = 1.0


class BaseFacts(Part):
    """Facts of a pretrained base in scores.json; about: what a model before the Transformer is, in a sentence."""

    about: str = ""
    parameters: int = 0
    tokens: int = 0
    sources: list[CorpusSource] = []


class Record(Part):
    """scores.json."""

    scores: dict[str, SplitScores]
    notes: list[str] = []
    removed: list[dict[str, Any]] = []
    checks: list[Check] = []
    diagnosis: Diagnosis = Diagnosis()
    decisions: list[Decision] = []
    facts: BaseFacts | None = None


class Lengths(Part):
    """A histogram."""

    starts: list[int] = []
    counts: list[int] = []


class SplitFacts(Part):
    """A split in report.json."""

    rows: int = 0
    items: int = 0
    tokens: int = 0
    supervised: int = 0
    truncated: int = 0
    dropped: int = 0
    longest: int = 0
    lengths: Lengths = Lengths()
    labels: dict[str, int] = {}


class NetworkLine(Part):
    """A part of the network in report.json."""

    part: str
    kind: str
    parameters: int
    trainable: int


class Network(Part):
    """The model in report.json."""

    base: str = ""
    parameters: int = 0
    trainable: int = 0
    lines: list[NetworkLine] = []
    license: str = "unknown"
    family: str = ""
    base_kind: str = ""

    @property
    def is_new(self) -> bool:
        """Whether it had no base, but began from nothing."""
        return self.base.startswith("a new ")


class Example(Part):
    """A row that is shown."""

    path: str = ""
    line: int | None = None
    row: bool = False  # whether `line` is the number of the row
    badness: float = 0.0
    fields: dict[str, str] = {}
    answer: str | None = None
    target: str | None = None
    confidence: float | None = None


class GroupRow(Part):
    """A mean over a group of rows."""

    label: str
    rows: int
    value: float
    low: float
    high: float


class Group(Part):
    """Rows parted by something."""

    by: str
    name: str = ""
    rows: list[GroupRow]


class Matrix(Part):
    """A confusion matrix."""

    labels: list[str]
    matrix: list[list[int]]


class Judged(Part):
    """The judged split in report.json."""

    split: str
    ranked_by: str = ""
    measured: str = ""
    examples: dict[str, list[Example]] = {}
    groups: list[Group] = []
    points: list[tuple[float, float]] = []
    confusion: Matrix | None = None
    confusions: list[tuple[str, str, int]] = []


class TaskFacts(Part):
    """The task in report.json."""

    name: str = ""
    primary: str = ""
    greater_is_better: bool = True


class StepCounts(Part):
    """A step of the preparation in report.json."""

    name: str
    touched: int = 0
    dropped: int = 0
    added: int = 0
    characters: int = 0
    examples: list[list[str]] = []
    place: str = ""


class Facts(Part):
    """report.json."""

    task: TaskFacts = TaskFacts()
    model: Network = Network()
    splits: dict[str, SplitFacts] = {}
    languages: list[str] = []
    judged: Judged | None = None
    steps: list[StepCounts] = []


@dataclass(frozen=True)
class RunFiles:
    """Everything that a page is made of."""

    name: str
    recipe: dict[str, Any]
    environment: dict[str, Any]
    metrics: list[dict[str, Any]]
    record: Record
    facts: Facts
    lint: dict[str, Any] | None

    @property
    def steps(self) -> list[dict[str, Any]]:
        """The lines of training steps."""
        return [line for line in self.metrics if line.get("kind") == "step" and isinstance(line.get("step"), int)]

    @property
    def looks(self) -> list[dict[str, Any]]:
        """The lines of the looks at validation during training."""
        return [
            line
            for line in self.metrics
            if line.get("kind") == "score" and line.get("split") == "validation" and not line.get("final")
        ]


def read_run(folder: Path, record: Mapping[str, Any] | None = None) -> RunFiles:
    """The files of a finished run; record: what scores.json is about to hold, where it is not written yet."""
    scores = folder / "scores.json"
    if record is None:
        record = read_object(scores_of(folder), error=RunError)
    facts, lint, environment = (read_there(folder / name) for name in (FILE, "lint.json", "environment.json"))
    metrics = folder / "metrics.jsonl"
    try:
        recipe = load_recipe(folder / "recipe.yaml") if (folder / "recipe.yaml").is_file() else {}
    except InputError as error:
        raise RunError(str(error)) from error
    return RunFiles(
        folder.resolve().name,
        recipe,
        environment or {},
        read_metrics(metrics) if metrics.is_file() else [],
        checked(Record, record, scores),
        checked(Facts, facts or {}, folder / FILE),
        lint,
    )


def read_there(path: Path) -> dict[str, Any] | None:
    """A JSON object, or None where there is no such file."""
    return read_object(path, error=RunError) if path.is_file() else None


Kind = TypeVar("Kind", bound=Part)


def checked(kind: type[Kind], values: Mapping[str, Any], path: Path) -> Kind:
    """Values as typed parts; what cannot be read so is refused with its place."""
    try:
        return kind.model_validate(json.loads(json.dumps(values)))  # tuples and the like, as the file will have them
    except (ValidationError, TypeError, ValueError) as error:
        place = error.errors()[0]["loc"] if isinstance(error, ValidationError) else ()
        where = ".".join(map(str, place)) or "its values"
        raise RunError(f"{path}: cannot be read ({where}); was it written by another program?") from error
