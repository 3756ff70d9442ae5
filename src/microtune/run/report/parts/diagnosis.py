"""How the training went, what was decided on the way, and what the run noted for its reader."""

from __future__ import annotations

import math
from typing import Any

from microtune.run.html import Markup, el, folded, section, table
from microtune.run.report.read import RunFiles
from microtune.run.report.words import Words
from microtune.run.report.words.notes import in_chinese

DECISIONS = 20
EVIDENCE = (
    *("first_train_loss", "train_loss", "largest_train_loss", "validation_loss", "best_validation_loss", "best_step"),
    *("gap", "slope", "spikes", "median_grad_norm", "largest_grad_norm"),
)


def diagnosis(run: RunFiles, say: Words) -> Markup | None:
    """The sentence, its numbers, decisions and notes."""
    pieces = [_sentence(run, say), _evidence(run, say), _decisions(run, say), _notes(run, say)]
    there = [piece for piece in pieces if piece]
    return section(say("diagnosis"), *there, name="diagnosis") if there else None


def _sentence(run: RunFiles, say: Words) -> Markup | None:
    found = run.record.diagnosis
    return el("p", sentence(found, say), class_="verdict") if found.sentence else None


def sentence(found: Any, say: Words) -> str:
    """In Chinese made from the verdict and its numbers, where they are all there; else what the run said."""
    template = say.maybe(f"said.{found.verdict}", "")
    values = {key: f"{value:.4g}" for key, value in found.evidence.items() if math.isfinite(value)}
    try:
        return template.format(**{"step": found.step, **values}) or str(found.sentence)
    except KeyError:  # a run of another version has other numbers
        return str(found.sentence)


def _evidence(run: RunFiles, say: Words) -> Markup | None:
    found = run.record.diagnosis.evidence
    rows = [(say(f"evidence.{key}"), f"{found[key]:.4g}") for key in EVIDENCE if key in found]
    return folded(say("evidence"), table(["", ""], rows, numbers=(1,))) if rows else None


def _decisions(run: RunFiles, say: Words) -> Markup | None:
    texts = [decision.text for decision in run.record.decisions if decision.text]
    if not texts:
        return None
    items = [el("li", in_chinese(text) if say.lang == "zh" else text) for text in texts[:DECISIONS]]
    if len(texts) > DECISIONS:
        items.append(el("li", say("decisions_more", count=len(texts) - DECISIONS)))
    return el("div", el("h3", say("decisions")), el("ul", *items))


def _notes(run: RunFiles, say: Words) -> Markup | None:
    notes = run.record.notes
    if not notes:
        return None
    said = [in_chinese(note) if say.lang == "zh" else note for note in notes[:100]]
    about = say("notes_language") if any(map(str.__eq__, said, notes)) else ""
    items = [el("li", note) for note in said]
    return el("div", el("h3", say("notes")), el("p", about, class_="small") if about else None, el("ul", *items))
