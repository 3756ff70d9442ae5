"""The page: parts one below the other, a policy that lets nothing in, one style sheet.

Nothing is loaded from anywhere, and no script runs: the policy allows the one style sheet of the page, known by its
hash, and nothing else. So a text that got past the escaping could still do nothing.
"""

from __future__ import annotations

import base64
import hashlib

from microtune.run.report.html import Markup, el
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
    body = el(
        "body",
        head(run, say),
        el("nav", *links, aria_label=say("parts")),
        el("main", *there.values()),
        el("footer", say("made_by", version=__version__)),
    )
    language = {"zh": "zh-CN"}.get(lang, lang)
    top = _head(f"{run.name} – {say('title')}")
    return f"<!doctype html>\n{el('html', top, body, lang=language)}\n"


def _head(title: str) -> Markup:
    sheet = style_sheet()
    digest = base64.b64encode(hashlib.sha256(sheet.encode("utf-8")).digest()).decode("ascii")
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    return el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content=policy),
        el("meta", name_="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name_="referrer", content="no-referrer"),
        el("title", title),
        el("style", Markup(sheet)),
    )
