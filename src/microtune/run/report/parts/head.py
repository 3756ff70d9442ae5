"""The head of a report: what a reader wants to know in five seconds."""

from __future__ import annotations

from microtune.run.html import Markup, el
from microtune.run.report.cost import cost_of, duration
from microtune.run.report.read import RunFiles
from microtune.run.report.words import Words


def head(run: RunFiles, say: Words) -> Markup:
    """Name, one line about the run, and four figures."""
    recipe = run.recipe
    task, method = (_name(recipe.get(key)) for key in ("task", "method"))
    values = {"task": task, "method": method, "base": run.facts.model.base or "-", "data": _data(recipe)}
    values["family"] = run.facts.model.family
    kind = "subtitle_new" if run.facts.model.is_new else "subtitle"
    line = say(kind, **values) if run.record.facts is None else say("subtitle_base")
    cards = [card for card in (_score(run, say), _verdict(run, say), _trained(run, say), _time(run, say)) if card]
    return el(
        "header",
        el("p", say("title"), class_="kicker"),
        el("h1", run.name),
        el("p", line, class_="about"),
        el("div", *cards, class_="cards"),
    )


def _name(choice: object) -> str:
    if not isinstance(choice, dict):
        return str(choice or "-")
    parts = choice.get("parts")
    if isinstance(parts, list):
        return "+".join(_name(part) for part in parts)
    return str(choice.get("name", "-"))


def _data(recipe: dict[str, object]) -> str:
    data = recipe.get("data")
    return str(data.get("train") or "-") if isinstance(data, dict) else "-"


def _card(label: str, value: str, below: str) -> Markup:
    return el("div", el("p", label), el("p", value, class_="big"), el("p", below), class_="card")


def _score(run: RunFiles, say: Words) -> Markup | None:
    name = run.facts.task.primary or "loss"
    for split in ("test", "validation", *run.record.scores):
        found = run.record.scores.get(split)
        value = None if found is None else found.values.get(name)
        if found is not None and value is not None:
            low, high = found.intervals.get(name, (None, None))
            below = "" if low is None else say("head_interval", low=f"{low:.4f}", high=f"{high:.4f}")
            label = say("head_score", metric=name, split=say.maybe(f"split.{split}", split))
            return _card(label, f"{value:.4f}", below)
    return None


def _verdict(run: RunFiles, say: Words) -> Markup | None:
    verdict = run.record.diagnosis.verdict
    if not verdict:
        return None
    return _card(say("head_verdict"), say.maybe(f"verdict.{verdict}", verdict), "")


def _trained(run: RunFiles, say: Words) -> Markup | None:
    model = run.facts.model
    if not model.parameters:
        return None
    below = say("head_trained_of", parameters=f"{model.parameters:,}")
    return _card(say("head_trained"), f"{model.trainable / model.parameters:.2%}", below)


def _time(run: RunFiles, say: Words) -> Markup | None:
    cost = cost_of(run)
    if cost is None:
        return None
    return _card(say("head_time"), duration(cost.training), say("head_steps", steps=f"{cost.steps:,}"))
