"""The model card of a run: README.md in its folder, written from what the run knows about itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from microtune.recipe import Recipe
from microtune.run.adjust import Decision
from microtune.run.card_header import header
from microtune.run.diagnosis import Diagnosis
from microtune.run.disk import write_text
from microtune.run.evaluate import Score
from microtune.run.mixture import data_title
from microtune.run.summary import Summary
from microtune.tasks.base import Task
from microtune.tasks.classification import Classification
from microtune.tasks.token_labelling import TokenLabelling
from microtune.version import __version__

LEARNT_FROM = {
    "causal": "one token after the other (causal language modelling)",
    "masked": "tokens hidden among the others (masked language modelling)",
    "span-denoising": "texts with spans cut out, which it writes down (span denoising)",
    "infilling": "texts with spans hidden, which it writes out whole (text infilling)",
}
NO_BITS = "The model sees both sides of what it guesses, so bits per byte are not defined for it."
DECISIONS = 20  # more of them than this are left to metrics.jsonl


@dataclass(frozen=True)
class Course:
    """How the training went: the diagnosis, and what was decided on the way."""

    diagnosis: Diagnosis
    decisions: list[Decision]


def _scores(scores: Mapping[str, Score]) -> list[str]:
    """A line of the table for every figure of every split."""
    lines = []
    for split, score in scores.items():
        for name, value in score.values.items():
            low, high = score.intervals.get(name, (float("nan"), float("nan")))
            lines.append(f"| {plain(split)} | {name} | {value:.4f} | {low:.4f} to {high:.4f} |")
    return lines


def write_card(
    folder: Path,
    recipe: Recipe,
    summary: Summary,
    scores: Mapping[str, Score],
    task: Task | None,
    notes: Sequence[str],
    course: Course,
    made: Sequence[Mapping[str, str]] = (),
    *,
    languages: Sequence[str] = (),
    license_name: str = "unknown",
) -> None:
    """Write `README.md` into the run's folder; `made`: the checks that it made, with their results."""
    top = header(folder.name, recipe, summary.base, scores, languages=languages, license_name=license_name)
    lines = [
        *top.splitlines(),
        "",
        f"# {plain(folder.name)}",
        "",
        f"{recipe.task.name} on {plain(data_title(recipe))}, base {plain(summary.base)}, method "
        f"{recipe.method.title}; made by microtune {__version__}.",
        "",
        f"{summary.trainable:,} of {summary.parameters:,} parameters were trained ({summary.share:.2%}).",
        "",
        "| split | metric | value | 95 % interval |",
        "|---|---|---|---|",
    ]
    lines += _scores(scores)
    if isinstance(task, (Classification, TokenLabelling)) and "test" in scores:
        lines += ["", "| label | precision | recall | F1 | rows |", "|---|---|---|---|---|"]
        for label, row in task.per_class(scores["test"].predictions).items():
            cells = f"{row['precision']:.3f} | {row['recall']:.3f} | {row['f1']:.3f} | {row['support']:.0f}"
            lines.append(f"| {plain(str(label))} | {cells} |")
    if isinstance(task, Classification) and "test" in scores:
        lines += _coverage(task, scores["test"])
    lines += _course(course)
    lines += _training(recipe)
    if notes:
        lines += ["", "What to know:", ""]
        lines += [f"- {plain(note)}" for note in notes]
    if made:
        passed, warned = ([c["name"] for c in made if c["result"] == result] for result in ("passed", "warned"))
        lines += ["", f"Checks that this run made of itself: {', '.join(passed)} passed"]
        lines[-1] += f"; {', '.join(warned)} warned (see above)." if warned else "."
    lines += _use(folder, task)
    lines += [f"Licence: {license_name} (that of the base model; the data may add conditions of its own).", ""]
    write_text(folder / "README.md", "\n".join(lines))


def _coverage(task: Classification, score: Score) -> list[str]:
    """Share of the rows that are answered with at least some confidence, and the accuracy of these answers."""
    rows = task.details(score.predictions).get("coverage", [])
    lines = ["", "| unsure below | answered | accuracy |", "|---|---|---|"] if rows else []
    return lines + [f"| {r['min_confidence']:g} | {r['answered']:.1%} | {r['accuracy']:.4f} |" for r in rows]


def _training(recipe: Recipe) -> list[str]:
    """The choices that somebody needs to repeat it, in words."""
    train = recipe.train
    rate = "the method's own" if train.lr is None else f"{train.lr:g}"
    said = (
        f"Trained for at most {train.epochs:g} epochs, {train.batch_size} rows per step, {train.optimizer}, learning "
        f"rate {rate}, schedule {train.schedule}, seed {recipe.seed}; kept: the {train.keep} weights. recipe.yaml "
        "repeats it, environment.json says with which versions, report.html shows curves, errors and examples."
    )
    return ["", "## Training", "", said]


def _use(folder: Path, task: Task | None) -> list[str]:
    """How to load the model, and what it is not for."""
    path = plain(folder.as_posix())
    lines = ["", "## Use", "", "```python", "import microtune as mt", f'run = mt.Run("{path}")']
    lines += ['run.predict(["a text"])', "```", ""]
    kind = "a label" if isinstance(task, Classification) else "an answer"
    lines += [
        f"The model gives {kind} to every text, also to texts unlike those it has learnt from. The scores hold for "
        "data of the same source; look at the examples in report.html before relying on them.",
        "",
    ]
    return lines


def _course(course: Course) -> list[str]:
    """The diagnosis and the decisions."""
    lines = ["", f"How the training went: {plain(course.diagnosis.sentence)}"]
    found = course.decisions
    if found:
        lines += ["", *(f"- {plain(decision.text)}" for decision in found[:DECISIONS])]
    if len(found) > DECISIONS:
        lines.append(f"- and {len(found) - DECISIONS} more in metrics.jsonl")
    return lines


def write_base_card(path: Path, recipe: Recipe, scores: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """The card of a pretrained base: data, tokens seen, time, bits per byte on held-out text."""
    hours = facts["seconds"] / 3600
    lines = [
        f"A base model of {facts['parameters']:,} parameters, pretrained by microtune {__version__}",
        f"{_beginning(recipe)}:",
        f"{facts['tokens']:,} tokens in {facts['steps']:,} steps, {hours:.1f} hours. Learnt from",
        f"{LEARNT_FROM[recipe.task.options.get('objective', 'causal')]}, never tuned to follow instructions.",
        "",
        "| source | language | tokens | passes planned | share |",
        "|---|---|---|---|---|",
    ]
    mix = sum(s["tokens"] * s["epochs"] for s in facts["sources"])
    lines += [
        f"| {plain(s['name'])} | {s['language']} | {s['tokens']:,} | {s['epochs']:g} | "
        f"{s['tokens'] * s['epochs'] / max(mix, 1):.1%} |"
        for s in facts["sources"]
    ]
    planned = mix * recipe.train.epochs
    share = min(facts["tokens"] / planned, 1.0) if planned else 0.0
    lines += ["", f"Of the passes planned, {share:.0%} of the tokens were seen, drawn from all sources alike.", ""]
    lines += held_out_table(scores)
    lines += _tokenizer(facts["tokenizer"]) if "tokenizer" in facts else []
    write_text(path, "\n".join([*lines, ""]))


def _beginning(recipe: Recipe) -> str:
    """What the training began with."""
    if recipe.model.spec is None:
        return f"from {plain(str(recipe.model.source))} on"
    return "from nothing" if recipe.model.vectors is None else f"from the vectors {plain(recipe.model.vectors)}"


def _tokenizer(report: Mapping[str, Any]) -> list[str]:
    """How well the tokenizer fits the text, by language."""
    lines = [
        "",
        f"The tokenizer has {report['vocabulary']:,} entries; {report['used']:.1%} of them occur in the text, and "
        f"{report['common']:,} make up 99 % of it.",
        "",
        "| language | tokens per word | bytes per token | known |",
        "|---|---|---|---|",
    ]
    for name, row in report["languages"].items():
        known = f"{row['coverage']:.2%}"
        lines.append(f"| {plain(name)} | {row['tokens_per_word']:.2f} | {row['bytes_per_token']:.2f} | {known} |")
    return lines


def held_out_table(scores: Mapping[str, Any]) -> list[str]:
    """Bits per byte, or what stands for them where an objective hides tokens: the loss and the share guessed right."""
    names = ("bits_per_byte", "perplexity")
    if any(names[0] not in score["values"] for score in scores.values()):
        names = ("loss", next((n for s in scores.values() for n in s["values"] if n.endswith("_accuracy")), "loss"))
    words = {"bits_per_byte": "bits per byte", "perplexity": "perplexity per token"}
    first, second = (words.get(name, name.replace("_", " ")) for name in names)
    lines = [f"| held-out text | {first} | 95 % interval | {second} |", "|---|---|---|---|"]
    for name, score in scores.items():
        low, high = score["intervals"].get(names[0], (float("nan"), float("nan")))
        value, other = (score["values"][n] for n in names)
        shown = f"{other:.1f}" if names[1] == "perplexity" else f"{other:.3f}"
        lines.append(f"| {plain(name)} | {value:.3f} | {low:.3f} to {high:.3f} | {shown} |")
    return lines if names[0] == "bits_per_byte" else [*lines, "", f"{NO_BITS} What is hidden never changes."]


def plain(text: str) -> str:
    """Text of users in Markdown: no table bars, no HTML, no line breaks."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|").replace("`", "'")
    return " ".join(escaped.split())
