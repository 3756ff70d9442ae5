"""The checks that the run made of itself, with what each looks for."""

from __future__ import annotations

from microtune.run.checks import checks as registry
from microtune.run.html import Markup, el, section, table
from microtune.run.report.read import RunFiles
from microtune.run.report.words import Words
from microtune.run.report.words.checks_zh import CHECKS


def checks(run: RunFiles, say: Words) -> Markup | None:
    """Name, result, what it looks for."""
    made = run.record.checks
    if not made:
        return None
    rows = [
        (
            el("code", check.name),
            el("span", say.maybe(f"result.{check.result}", check.result), class_=f"mark {_class(check.result)}"),
            _about(check.name, say),
        )
        for check in made
    ]
    heads = [say(f"checks_{key}") for key in ("name", "result", "looks")]
    return section(say("checks"), el("p", say("checks_about")), table(heads, rows), name="checks")


def _class(result: str) -> str:
    return "good" if result == "passed" else "warn"


def _about(name: str, say: Words) -> str:
    english = registry[name].about if name in registry else ""
    return CHECKS.get(name, english) if say.lang == "zh" else english
