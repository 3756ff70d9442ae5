"""The verbs of the Python API: `tune`, `compare`, `pretrain`, and the `Run` they return.

The command line calls the same functions with the same recipe; `on_event` is how it shows what happens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from microtune import recipe as recipes
from microtune.data.objects import read_object
from microtune.data.parallel import is_pair
from microtune.errors import MicrotuneError, RunError
from microtune.recipe import Recipe, validated
from microtune.run import auto, digest
from microtune.run import predict as prediction
from microtune.run import pretrain as pretraining
from microtune.run import tune as tuning
from microtune.run.classic import check_classic, pretrain_classic
from microtune.run.compare import Comparison, Question, compare_recipe
from microtune.run.evaluate import Score
from microtune.run.folder import RunFolder, default_name, scores_of
from microtune.run.given import hashes, rows_for
from microtune.run.guesses import step_hashes
from microtune.run.hub.revisions import pin
from microtune.run.known_rows import learnt_from, one_split
from microtune.run.load import Model, load
from microtune.run.mixture import data_title
from microtune.run.pages import write_pages
from microtune.run.session import stoppable
from microtune.run.sharing import Sharing
from microtune.run.track import Trackers
from microtune.run.unused import check_pretraining, check_tuning
from microtune.run.vectors import vectors_hash
from microtune.tasks.base import Prediction


class SplitRecord(BaseModel):
    """One split in scores.json."""

    values: dict[str, float]
    intervals: dict[str, tuple[float, float]] = {}


class CheckRecord(BaseModel):
    """One check in scores.json."""

    name: str
    result: Literal["passed", "warned"]


class DiagnosisRecord(BaseModel):
    """How the training went, in scores.json of a tuned model."""

    verdict: str = ""
    sentence: str = ""
    step: int | None = None
    evidence: dict[str, float] = {}


class ScoresRecord(BaseModel):
    """What is read of scores.json; it holds more."""

    scores: dict[str, SplitRecord]
    notes: list[str] = []
    checks: list[CheckRecord] = []
    diagnosis: DiagnosisRecord = DiagnosisRecord()


class Run:
    """A finished run: its scores, and its model on demand."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        file = scores_of(self.path)
        record = validated(ScoresRecord, read_object(file, error=RunError), str(file))
        self.scores: dict[str, dict[str, float]] = {k: v.values for k, v in record.scores.items()}
        self.intervals: dict[str, dict[str, tuple[float, float]]] = {k: v.intervals for k, v in record.scores.items()}
        self.notes: list[str] = record.notes
        self.checks: dict[str, str] = {check.name: check.result for check in record.checks}
        self.diagnosis = record.diagnosis

    @cached_property
    def model(self) -> Model:
        """The tuned model."""
        return load(self.path)

    def predict(
        self,
        texts: str | Sequence[str | tuple[str, str]],
        *,
        min_confidence: float = 0.0,
        max_new_tokens: int | None = None,
        decoding: dict[str, Any] | None = None,
    ) -> list[Prediction]:
        """One Prediction (answer, confidence, scores) per text, or per pair of texts of a model that reads pairs.

        decoding: how a model that writes does so (docs/decoding.md); default: as the run's recipe says.
        """
        rows = prediction.text_rows(prediction.task_of(self.model), [texts] if isinstance(texts, str) else texts)
        options = {"min_confidence": min_confidence, "max_new_tokens": max_new_tokens, "decoding": decoding}
        return list(prediction.predict(self.model, rows, **options))  # type: ignore[arg-type]

    def evaluate(self, data: Any) -> Score:
        """Score the model on a file, a folder or rows in memory."""
        given = one_split(data)
        score = prediction.evaluate(self.model, rows_for(self.model.task, given))
        return replace(score, notes=[*score.notes, *learnt_from(self.model.place, given)])

    def report(self, lang: str = "en") -> Path:
        """Write report.html and the card again, in English ("en") or Chinese ("zh"); the path of the report."""
        return write_pages(self.path, lang)[0]

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}, scores={self.scores})"


def tune(
    data: Any,
    *,
    task: str | dict[str, Any],
    model: str | dict[str, Any] = "sprout",
    method: str | dict[str, Any] | list[str | dict[str, Any]] = "lora",
    epochs: float | None = None,
    train: dict[str, Any] | None = None,
    validation: Any = None,
    test: Any = None,
    split: dict[str, float] | str | None = None,
    text_field: str | None = None,
    label_field: str | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    overwrite: bool = False,
    on_event: Callable[[Any], None] | None = None,
) -> Run:
    """Adapt a model to a task on your data, evaluate it, save it; an unfinished run with the same recipe resumes.

    data: a file, a glob, a folder, a list of dicts or a DataFrame. out: the run's folder (default:
    runs/<data>-<task>-<method>-<hash>). on_event is called with every Stage, Prepared, Step, Scored,
    Warned and Evaluated.
    """
    rows = {"train": data, "validation": validation, "test": test, "split": split}
    rows |= {"text_field": text_field, "label_field": label_field}
    values = _values(rows, train, epochs=epochs, out=out) | {"task": task, "model": model, "method": method}
    return tune_recipe(recipes.build(values | {"seed": seed}, where="tune"), overwrite=overwrite, on_event=on_event)


def _values(
    rows: dict[str, Any], train: dict[str, Any] | None, *, out: str | Path | None, **more: Any
) -> dict[str, Any]:
    """Recipe values of the sections data and train (with `more` in it), and the folder; what is None is not said."""
    rows = {name: str(value) if isinstance(value, Path) else value for name, value in rows.items()}
    said: dict[str, Any] = {"data": {name: value for name, value in rows.items() if value is not None}}
    said["train"] = (train or {}) | {name: value for name, value in more.items() if value is not None}
    return said if out is None else {**said, "out": str(out)}


def tune_recipe(
    recipe: Recipe,
    *,
    overwrite: bool = False,
    on_event: Callable[[Any], None] | None = None,
    sharing: Sharing | None = None,
) -> Run:
    """`tune` with a ready recipe. sharing: states of frozen trunks that other runs have left, or will find."""
    check_tuning(recipe)
    recipe, data = tuning.without_memory(recipe)
    if sharing is not None:
        sharing.forget_rows()
    if recipe.method.name == auto.NAME:
        auto.options_of(recipe)
    name = stem_of(recipe.data.train) if recipe.data.train != "<memory>" else "memory"
    name = data_title(recipe) if recipe.data.tasks else name
    folder = RunFolder(recipe.out or Path("runs") / default_name(recipe, name or "data"))
    pinned, revisions = pin(recipe, folder.path, fresh=overwrite and folder.finished)
    data_hashes = hashes(data) | base_hash(pinned) | step_hashes(recipe)
    created = not folder.path.exists()
    trackers = Trackers(recipe.train.track, folder.notes)
    folder.open(recipe, data_hashes, overwrite=overwrite, revisions=revisions)
    trackers.start(folder.path, recipe)
    if recipe.method.name == auto.NAME:
        events = auto.tune(pinned, folder, data, data_hashes)
    else:
        events = tuning.tune(pinned, folder, data, sharing=sharing)
    return _drain(folder, events, trackers, on_event, created)


def compare(
    data: Any,
    *,
    task: str | dict[str, Any],
    methods: Sequence[str | dict[str, Any] | list[Any]],
    model: str | dict[str, Any] = "sprout",
    budget: str = "10m",
    memory: str | None = None,
    seeds: int = 1,
    curve: Sequence[int] = (),
    general: str | Path | None = None,
    epochs: float | None = None,
    train: dict[str, Any] | None = None,
    validation: Any = None,
    test: Any = None,
    split: dict[str, float] | str | None = None,
    text_field: str | None = None,
    label_field: str | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    overwrite: bool = False,
    on_event: Callable[[Any], None] | None = None,
) -> Comparison:
    """Train several methods on the same split within a time budget, and say which one pays; resumes when unfinished.

    budget: time for everything, such as 90s, 10m, 1h. memory: of each run, such as 4GB. curve: numbers of training
    examples per label, for a learning curve in place of one comparison. general: a file of texts that have nothing to
    do with the task, by which forgetting is measured (default: 500 embedded ones). The rest is as for `tune`.
    """
    rows = {"train": data, "validation": validation, "test": test, "split": split}
    rows |= {"text_field": text_field, "label_field": label_field}
    values = _values(rows, train, epochs=epochs, memory=memory, out=out) | {"task": task, "model": model, "seed": seed}
    question = Question(tuple(methods), budget, seeds, tuple(curve), general=None if general is None else str(general))
    return compare_recipe(recipes.build(values, where="compare"), question, overwrite=overwrite, on_event=on_event)


def stem_of(data: Any) -> str:
    """The name that a run takes from its data."""
    path = data.get("folder", data.get("source", "")) if is_pair(data) else data
    return Path(str(path)).name.partition(".")[0]


def base_hash(recipe: Recipe) -> dict[str, str]:
    """Hash of the base's files, by which a run notices that its base has changed."""
    if recipe.model.vectors is not None:
        return vectors_hash(recipe)
    return digest.base_hash(recipe.model.source, weights=recipe.model.weights != "random")


def pretrain(
    recipe: str | Path | dict[str, Any],
    *overrides: str,
    out: str | Path | None = None,
    overwrite: bool = False,
    on_event: Callable[[Any], None] | None = None,
) -> Run:
    """Train a base model from text, as a recipe says; the result is `<run>/model` in Hugging Face form."""
    values = recipe if isinstance(recipe, dict) else recipes.load(recipe)
    values = recipes.override(values, overrides)
    if out is not None:
        values["out"] = str(out)
    checked = recipes.build(values, where=str(recipe) if not isinstance(recipe, dict) else "recipe")
    first = checked.data.sources[0].path if checked.data.sources else "recipe"
    name = stem_of(first) if isinstance(recipe, dict) else Path(recipe).stem
    name = name if checked.model.classic is None else f"{name}-{checked.model.classic.name}"
    check_pretraining(checked)
    check_classic(checked)
    folder = RunFolder(checked.out or Path("runs") / default_name(checked, name))
    pinned = checked
    revisions: dict[str, str] = {}
    begun: dict[str, str] = {}
    if checked.model.spec is None and checked.model.classic is None and checked.data.sources:  # it goes on from a model
        pinned, revisions = pin(checked, folder.path, fresh=overwrite and folder.finished)
        begun = base_hash(pinned)
    created = not folder.path.exists()
    trackers = Trackers(checked.train.track, folder.notes)
    folder.open(checked, pretraining.source_hashes(checked) | begun, overwrite=overwrite, revisions=revisions)
    trackers.start(folder.path, checked)
    learn = pretraining.pretrain if checked.model.classic is None else pretrain_classic
    return _drain(folder, learn(pinned, folder), trackers, on_event, created)


def _drain(
    folder: RunFolder, events: Any, trackers: Trackers, on_event: Callable[[Any], None] | None, created: bool
) -> Run:
    """Run a generator of events to its end; a run that never reached training leaves no folder behind."""
    try:
        with stoppable():
            for event in events:
                trackers.read(event)
                if on_event is not None:
                    on_event(event)
    except MicrotuneError:
        folder.close()
        if created:
            folder.discard_if_untrained()
        raise
    finally:
        trackers.close()
        folder.close()
    run = Run(folder.path)
    run.notes += [note for note in folder.notes if note not in run.notes]  # noted after the scores were written
    return run
