"""The model card of a run: README.md in its folder, made like its report from the files of the run alone.

In English; `pages.py` says it again in Chinese, line by line. An export takes parts of it along (run/export/card.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from microtune.errors import MicrotuneError
from microtune.recipe import Recipe, build
from microtune.run.card import plain
from microtune.run.card_header import header
from microtune.run.disk import write_text
from microtune.run.mixture import data_title
from microtune.run.report.read import RunFiles, SplitScores, read_run
from microtune.version import __version__

NAME = "README.md"
DECISIONS = 20  # more of them than this are left to metrics.jsonl
SOURCE_OF_SCORES = "The scores hold for data of the same source"


def write_card(folder: Path, record: Mapping[str, Any] | None = None) -> None:
    """Write the card of a run that was tuned; record: what scores.json is about to hold."""
    text = card(read_run(folder, record), folder.as_posix())
    if text is not None:
        write_text(folder / NAME, text)


def card(run: RunFiles, path: str) -> str | None:
    """The card as text, or None where the run's files do not say enough; path: by which the run can be opened."""
    recipe = recipe_of(run)
    if recipe is None:
        return None
    lines = [*header(run.name, run, recipe).splitlines(), "", f"# {plain(run.name)}", ""]
    lines += [made_of(run, recipe, plain(data_title(recipe)), plain(run.facts.model.base)), "", trained(run), ""]
    lines += [*figures(run), *data(run), *course(run), "", "## Training", "", training(recipe) + " " + elsewhere()]
    lines += known(run)
    lines += ["", "## Use", "", "```python", "import microtune as mt", f'run = mt.Run("{plain(path)}")']
    lines += ['run.predict(["a text"])', "```", ""]
    lines += [f"{any_text(recipe)} {SOURCE_OF_SCORES}; look at the examples in report.html before relying on them.", ""]
    return "\n".join([*lines, licence(run), ""])


def recipe_of(run: RunFiles) -> Recipe | None:
    """The recipe of a run that was tuned; None where another version wrote it, or where report.json is missing."""
    if not run.facts.model.parameters or run.record.facts is not None:
        return None
    try:
        return build(run.recipe)
    except MicrotuneError:
        return None


def made_of(run: RunFiles, recipe: Recipe, source: str, base: str) -> str:
    """What was tuned, on what, from what."""
    version = run.environment.get("microtune", __version__)
    begun = f"from nothing ({plain(run.facts.model.family)})" if run.facts.model.is_new else f"base {base}"
    return (
        f"{recipe.task.name} on {source}, {begun}, method {recipe.method.title}; made by microtune "
        f"{plain(str(version))}."
    )


def trained(run: RunFiles) -> str:
    """How much of the model trained."""
    model = run.facts.model
    share = model.trainable / model.parameters
    return f"{model.trainable:,} of {model.parameters:,} parameters were trained ({share:.2%})."


def figures(run: RunFiles) -> list[str]:
    """The scores of all splits; of test also those of every label, and of the answers that are sure."""
    lines = ["| split | metric | value | 95 % interval |", "|---|---|---|---|"]
    for split, score in run.record.scores.items():
        lines += [f"| {plain(split)} | {name} | {_value(score, name)} |" for name in score.values]
    details = run.record.scores["test"].details if "test" in run.record.scores else {}
    if rows := _objects(details.get("per_class")):
        lines += ["", "| label | precision | recall | F1 | rows |", "|---|---|---|---|---|"]
        for row in rows:
            shares = " | ".join(f"{row[key]:.3f}" for key in ("precision", "recall", "f1"))
            lines.append(f"| {plain(str(row['label']))} | {shares} | {row['support']:.0f} |")
    if rows := _objects(details.get("coverage")):
        lines += ["", "| unsure below | answered | accuracy |", "|---|---|---|"]
        lines += [f"| {r['min_confidence']:g} | {r['answered']:.1%} | {r['accuracy']:.4f} |" for r in rows]
    return lines


def _value(score: SplitScores, name: str) -> str:
    value, (low, high) = score.values[name], score.intervals.get(name, (None, None))
    interval = "-" if low is None else f"{low:.4f} to {high:.4f}"
    return f"{'-' if value is None else f'{value:.4f}'} | {interval}"


def _objects(value: Any) -> list[Any]:
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def data(run: RunFiles) -> list[str]:
    """Rows and tokens of every split, and the languages of the texts."""
    splits = run.facts.splits
    if not splits:
        return []
    lines = ["", "## Data", "", "| split | rows | tokens | learnt or scored | longest | cut | left out |"]
    lines.append("|---|---|---|---|---|---|---|")
    for name, s in splits.items():
        counts = (s.rows, s.tokens, s.supervised, s.longest, s.truncated, s.dropped)
        lines.append(f"| {plain(name)} | {' | '.join(f'{count:,}' for count in counts)} |")
    if run.facts.languages:
        lines += ["", f"Languages, by frequency: {', '.join(map(plain, run.facts.languages))}."]
    return lines


def course(run: RunFiles) -> list[str]:
    """The diagnosis and the decisions."""
    found = run.record.decisions
    lines = (
        ["", f"How the training went: {plain(run.record.diagnosis.sentence)}"] if run.record.diagnosis.sentence else []
    )
    if found:
        lines += ["", *(f"- {plain(decision.text)}" for decision in found[:DECISIONS])]
    if len(found) > DECISIONS:
        lines.append(f"- and {len(found) - DECISIONS} more in metrics.jsonl")
    return lines


def training(recipe: Recipe) -> str:
    """The choices that somebody needs to repeat it, in words."""
    train = recipe.train
    rate = "the method's own" if train.lr is None else f"{train.lr:g}"
    epochs = f"{train.epochs:g} epoch{'' if train.epochs == 1 else 's'}"
    return (
        f"Trained for at most {epochs}, {train.batch_size} rows per step, {train.optimizer}, learning "
        f"rate {rate}, schedule {train.schedule}, seed {recipe.seed}; kept: the {train.keep} weights."
    )


def elsewhere() -> str:
    """What stands in the other files of the run."""
    return (
        "recipe.yaml repeats it, environment.json says with which versions, report.html shows curves, errors and "
        "examples."
    )


def known(run: RunFiles) -> list[str]:
    """The notes, and the checks that the run made of itself."""
    lines = ["", "What to know:", "", *(f"- {plain(note)}" for note in run.record.notes)] if run.record.notes else []
    if made := run.record.checks:
        passed, warned = ([check.name for check in made if check.result == result] for result in ("passed", "warned"))
        lines += ["", f"Checks that this run made of itself: {', '.join(passed)} passed"]
        lines[-1] += f"; {', '.join(warned)} warned (see above)." if warned else "."
    return lines


def any_text(recipe: Recipe) -> str:
    """That the model always has an answer."""
    kind = "a label" if recipe.task.name == "classification" else "an answer"
    return f"The model gives {kind} to every text, also to texts unlike those it has learnt from."


def licence(run: RunFiles) -> str:
    """Under which conditions the base stands."""
    if run.facts.model.is_new:
        return "Licence: not chosen; the model has no base, and the data may have conditions of their own."
    name = plain(run.facts.model.license)
    return f"Licence: {name} (that of the base model; the data may add conditions of its own)."
