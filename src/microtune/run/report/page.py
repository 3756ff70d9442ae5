"""The report of a run: its parts one below the other, in one page (run/html.py)."""

from __future__ import annotations

from microtune.run.html import document, el
from microtune.run.report.parts.answers import answers
from microtune.run.report.parts.checks import checks
from microtune.run.report.parts.cost import cost
from microtune.run.report.parts.curves import curves
from microtune.run.report.parts.data import data
from microtune.run.report.parts.diagnosis import diagnosis
from microtune.run.report.parts.errors import errors
from microtune.run.report.parts.head import head
from microtune.run.report.parts.model import model
from microtune.run.report.parts.recipe import recipe
from microtune.run.report.parts.scores import scores
from microtune.run.report.read import RunFiles
from microtune.run.report.style import style_sheet
from microtune.run.report.words import Words
from microtune.version import __version__

PARTS = {
    "scores": scores,
    "diagnosis": diagnosis,
    "curves": curves,
    "answers": answers,
    "errors": errors,
    "data": data,
    "model": model,
    "recipe": recipe,
    "cost": cost,
    "checks": checks,
}


def page(run: RunFiles, lang: str) -> str:
    """The whole report of a run as HTML."""
    say = Words(lang)
    found = {name: part(run, say) for name, part in PARTS.items()}
    there = {name: part for name, part in found.items() if part is not None}
    links = [el("a", say(name), href=f"#{name}") for name in there]
    return document(
        lang,
        f"{run.name} – {say('title')}",
        style_sheet(),
        head(run, say),
        el("nav", *links, aria_label=say("parts")),
        el("main", *there.values()),
        el("footer", say("made_by", version=__version__)),
    )
