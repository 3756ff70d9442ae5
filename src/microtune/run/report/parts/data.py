"""The data: sizes, lengths, labels, what was done to the texts, and what the look at the data found."""

from __future__ import annotations

from typing import Any

from microtune.run.html import Markup, el, folded, section, table
from microtune.run.report.charts import bars
from microtune.run.report.read import RunFiles
from microtune.run.report.words import Words

LABELS = 30  # shown at once; more are folded away
FINDINGS = 100
MARKS = {"error": "warn", "warning": "warn"}
PAIR = 2  # a text before a step and after it


def data(run: RunFiles, say: Words) -> Markup | None:
    """Splits, lengths, labels, sources, steps, findings: those that there are."""
    pieces = [_splits(run, say), _removed(run, say), _lengths(run, say), _labels(run, say), _sources(run, say)]
    pieces += [_steps(run, say), _lint(run, say)]
    there = [piece for piece in pieces if piece]
    return section(say("data"), *there, name="data") if there else None


def _splits(run: RunFiles, say: Words) -> Markup | None:
    if not run.facts.splits:
        return None
    keys = ("split", "rows", "tokens", "supervised", "longest", "cut", "dropped")
    rows = [
        (
            say.maybe(f"split.{name}", name),
            *(f"{n:,}" for n in (s.rows, s.tokens, s.supervised, s.longest, s.truncated, s.dropped)),
        )
        for name, s in run.facts.splits.items()
    ]
    return table([say(f"data_{key}") for key in keys], rows, numbers=range(1, 7))


def _removed(run: RunFiles, say: Words) -> Markup | None:
    return el("p", say("data_removed", count=len(run.record.removed))) if run.record.removed else None


def _lengths(run: RunFiles, say: Words) -> Markup | None:
    train = run.facts.splits.get("train")
    if train is None or not train.lengths.counts or len(train.lengths.starts) != len(train.lengths.counts):
        return None
    labels = [str(start) for start in train.lengths.starts]
    return bars(say("data_lengths"), train.lengths.counts, labels, across=say("data_tokens_axis"))


def _labels(run: RunFiles, say: Words) -> Markup | None:
    splits = {name: split.labels for name, split in run.facts.splits.items() if split.labels}
    if not splits:
        return None
    labels = list(dict.fromkeys(label for counts in splits.values() for label in counts))
    heads = [say("data_label"), *(say.maybe(f"split.{name}", name) for name in splits)]
    rows = [(label, *(f"{counts.get(label, 0):,}" for counts in splits.values())) for label in labels]
    shown = table(heads, rows, numbers=range(1, len(heads)))
    if len(labels) > LABELS:
        return folded(f"{say('data_labels')} ({len(labels)})", shown)
    return el("div", el("h3", say("data_labels")), shown)


def _sources(run: RunFiles, say: Words) -> Markup | None:
    base = run.record.facts
    if base is None or not base.sources:
        return None
    heads = [say(f"data_{key}") for key in ("source", "language", "tokens", "passes")]
    return table(heads, [(s.name, s.language, f"{s.tokens:,}", f"{s.epochs:g}") for s in base.sources], numbers=(2, 3))


def _steps(run: RunFiles, say: Words) -> Markup | None:
    if not run.facts.steps:
        return None
    heads = [say(f"steps_{key}") for key in ("name", "touched", "dropped", "added", "characters")]
    rows = [(s.name, f"{s.touched:,}", f"{s.dropped:,}", f"{s.added:,}", f"{s.characters:,}") for s in run.facts.steps]
    pairs = [(s.name, *pair) for s in run.facts.steps for pair in s.examples if len(pair) == PAIR]
    heads_of_pairs = [say("steps_name"), say("steps_before"), say("steps_after")]
    shown = folded(say("steps_examples"), table(heads_of_pairs, pairs)) if pairs else None
    return el("div", el("h3", say("steps")), table(heads, rows, numbers=range(1, 5)), shown)


def _lint(run: RunFiles, say: Words) -> Markup | None:
    if run.lint is None:
        return None
    found = run.lint.get("findings")
    findings = [f for f in found if isinstance(f, dict)] if isinstance(found, list) else []
    if not findings:
        return el("div", el("h3", say("lint")), el("p", say("lint_none")))
    rows = []
    for finding in findings[:FINDINGS]:
        severity = str(finding.get("severity", ""))
        mark = el("span", say.maybe(f"severity.{severity}", severity), class_=f"mark {MARKS.get(severity, '')}")
        advice = el("span", str(finding.get("advice", ""))[:1000], class_="hint")
        rows.append((mark, el("span", _sentence(finding), advice), _first(finding, "count", "rows")))
    shown = table(["", say("lint_what"), say("lint_count")], rows, numbers=(2,))
    return el("div", el("h3", say("lint")), shown)


def _sentence(finding: dict[str, Any]) -> str:
    return str(_first(finding, "message", "sentence", "kind"))[:1000]


def _first(finding: dict[str, Any], *keys: str) -> Any:
    return next((finding[key] for key in keys if isinstance(finding.get(key), (str, int, float))), "")
