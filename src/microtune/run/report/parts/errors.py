"""Where the errors are: by label, by length, by file and by fields that part the rows."""

from __future__ import annotations

from typing import Any

from microtune.run.html import Markup, el, folded, section, table
from microtune.run.report.charts import interval
from microtune.run.report.read import Group, RunFiles
from microtune.run.report.words import Words

LABELS = 30


def errors(run: RunFiles, say: Words) -> Markup | None:
    """One table per way to part the rows."""
    judged = run.facts.judged
    if judged is None:
        return None
    split = run.record.scores.get(judged.split)
    per_class = _per_class({} if split is None else split.details, say)
    groups = [_group(group, judged.measured, say) for group in judged.groups]
    if per_class is None and not groups:
        return None
    name = say.maybe(f"by.{judged.measured}", judged.measured)
    about = el("p", say("errors_about", name=name, split=say.maybe(f"split.{judged.split}", judged.split)))
    return section(say("errors"), about if groups else None, *groups, per_class, name="errors")


def _group(group: Group, measured: str, say: Words) -> Markup:
    titles = {"length": say("errors_length"), "file": say("errors_file")}
    title = titles.get(group.by) or say("errors_field", field=group.name)
    share = measured == "error_rate"
    rows = [
        (
            row.label.replace("\\", "/").rsplit("/", 1)[-1] if group.by == "file" else row.label,
            f"{row.rows:,}",
            f"{row.value:.1%}" if share else f"{row.value:.4g}",
            f"{row.low:.1%} – {row.high:.1%}" if share else f"{row.low:.4g} – {row.high:.4g}",
            interval(row.value, row.low, row.high) if share else "",
        )
        for row in group.rows
    ]
    heads = [say("errors_group"), say("answers_rows"), say.maybe(f"by.{measured}", measured)]
    heads += [say("scores_interval"), ""]
    return el("div", el("h3", title), table(heads, rows, numbers=(1, 2, 3)))


def _per_class(details: dict[str, Any], say: Words) -> Markup | None:
    found = details.get("per_class")
    rows = [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []
    if not rows:
        return None
    heads = [say("answers_label"), say("answers_precision"), say("answers_recall"), "F1", say("answers_rows")]
    cells = [
        (str(row.get("label", "")), *(_figure(row.get(key)) for key in ("precision", "recall", "f1")), _rows(row))
        for row in rows
    ]
    shown = table(heads, cells, numbers=range(1, 5))
    if len(cells) > LABELS:
        return folded(f"{say('errors_class')} ({len(cells)})", shown)
    return el("div", el("h3", say("errors_class")), shown)


def _figure(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, (int, float)) else "-"


def _rows(row: dict[str, Any]) -> str:
    value = row.get("support")
    return f"{value:,.0f}" if isinstance(value, (int, float)) else "-"
