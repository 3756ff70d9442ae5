"""The answers: confusion matrix, figures per label, coverage when unsure, and rows to read."""

from __future__ import annotations

from typing import Any

from microtune.run.html import Markup, el, section, table
from microtune.run.report.charts import points
from microtune.run.report.read import Example, Judged, Matrix, RunFiles
from microtune.run.report.style import SHADES
from microtune.run.report.words import Words


def answers(run: RunFiles, say: Words) -> Markup | None:
    """What fits the task, of the judged split."""
    judged = run.facts.judged
    if judged is None:
        return None
    split = run.record.scores.get(judged.split)
    details: dict[str, Any] = {} if split is None else split.details
    pieces = [
        _matrix(judged.confusion, say) if judged.confusion else None,
        _confusions(judged, say),
        _coverage(details.get("coverage"), say),
        _points(judged, details, say),
        *(_examples(judged, kind, say) for kind in ("worst", "best", "random")),
    ]
    there = [piece for piece in pieces if piece]
    return section(say("answers"), *there, name="answers") if there else None


def _matrix(found: Matrix, say: Words) -> Markup:
    heads = ["", *(str(i + 1) for i in range(len(found.labels)))]
    rows = []
    for i, (label, counts) in enumerate(zip(found.labels, found.matrix, strict=False)):
        total = sum(counts) or 1
        cells = [
            el("td", n or "·", class_=f"n h{round(SHADES * n / total)}{' right' if i == j else ''}")
            for j, n in enumerate(counts)
        ]
        rows.append(el("tr", el("th", f"{i + 1} {label}", scope="row"), *cells))
    top = el("tr", *(el("th", head, class_="n") for head in heads))
    body = el("table", el("thead", top), el("tbody", *rows), class_="matrix")
    return el("div", el("h3", say("answers_confusion")), el("div", body, class_="wide"))


def _confusions(judged: Judged, say: Words) -> Markup | None:
    if not judged.confusions:
        return None
    heads = [say("answers_label"), say("answers_taken"), say("answers_rows")]
    return el("div", el("h3", say("answers_confusions")), table(heads, judged.confusions, numbers=(2,)))


def _coverage(found: Any, say: Words) -> Markup | None:
    rows = [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []
    if not rows:
        return None
    heads = [say(f"answers_{key}") for key in ("confidence", "answered", "accuracy")]
    cells = [
        (f"{_number(row, 'min_confidence'):g}", f"{_number(row, 'answered'):.1%}", f"{_number(row, 'accuracy'):.4f}")
        for row in rows
    ]
    return el("div", el("h3", say("answers_coverage")), table(heads, cells, numbers=range(3)))


def _number(row: dict[str, Any], key: str) -> float:
    value = row.get(key)
    return float(value) if isinstance(value, (int, float)) else float("nan")


def _points(judged: Judged, details: dict[str, Any], say: Words) -> Markup | None:
    if not judged.points:
        return None
    across, up = say("answers_points_across"), say("answers_points_up")
    drawn = points(say("answers_points"), judged.points, across=across, up=up)
    trivial = details.get("always_the_mean")
    if not isinstance(trivial, dict):
        return drawn
    names = ", ".join(f"{name} {_number(trivial, name):.4g}" for name in ("rmse", "mae"))
    said = say("answers_trivial", answer=f"{_number(trivial, 'answer'):.4g}", names=names)
    return el("div", drawn, el("p", said))


def _examples(judged: Judged, kind: str, say: Words) -> Markup | None:
    found = judged.examples.get(kind)
    if not found:
        return None
    ranked = say.maybe(f"by.{judged.ranked_by}", judged.ranked_by)
    split = say.maybe(f"split.{judged.split}", judged.split)
    about = el("p", say("answers_ranked", name=ranked, split=split), class_="small") if kind == "worst" else None
    return el("div", el("h3", say(f"answers_{kind}")), about, *(_example(one, ranked, say) for one in found))


def _example(one: Example, ranked: str, say: Words) -> Markup:
    told = [(el("dt", name), el("dd", text)) for name, text in one.fields.items()]
    for name, value in (("answers_wanted", one.target), ("answers_said", one.answer)):
        if value is not None:
            told.append((el("dt", say(name), class_="own"), el("dd", value, class_="own")))
    facts = [f"{ranked} {one.badness:.4g}"]
    if one.confidence is not None:
        facts.append(f"{say('answers_sure')} {one.confidence:.2f}")
    if one.line is not None:
        facts.append(
            say(
                "answers_row" if one.row else "answers_place",
                path=one.path.replace("\\", "/").rsplit("/", 1)[-1],
                line=one.line,
            )
        )
    pairs = [piece for pair in told for piece in pair]
    return el("article", el("dl", *pairs), el("p", " · ".join(facts), class_="small"))
