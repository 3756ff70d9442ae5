"""lint.html: the report as one page without network, script or foreign markup, readable on a phone and on paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from microtune.run.html import Markup, document
from microtune.run.html import escaped as _t
from microtune.run.lint.proposal import recipe_text
from microtune.run.lint.report import LintReport, Piece, Told, where, words

CLASSES = 30  # bars of a plot of classes
_STYLE = """
:root { color-scheme: light dark; --bar: #3b7dd8; --line: #8884; --error: #c22; --warning: #b60; --note: #567; }
body { font: 16px/1.5 system-ui, "Noto Sans CJK SC", "PingFang SC", "Microsoft YaHei", sans-serif; margin: 0 auto;
  max-width: 52rem; padding: 1rem; overflow-wrap: anywhere; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; border-bottom: 1px solid var(--line); }
.finding { border-left: 4px solid var(--note); padding: .2rem .8rem; margin: .8rem 0; break-inside: avoid; }
.error { border-color: var(--error); } .warning { border-color: var(--warning); }
.kind { font-size: .8rem; opacity: .75; } ul { margin: .2rem 0; padding-left: 1.2rem; font-size: .85rem; }
p { margin: .3rem 0; } pre { overflow-x: auto; background: #8881; padding: .8rem; font-size: .85rem; }
mark { background: #9d64; color: inherit; } svg { width: 100%; height: auto; } text { fill: currentColor; }
table { border-collapse: collapse; font-size: .85rem; width: 100%; } td, th { text-align: left; padding: .15rem .5rem
  .15rem 0; border-bottom: 1px solid var(--line); } .row { margin: .8rem 0; white-space: pre-wrap; }
.role { font-size: .75rem; opacity: .7; }
"""


def page(report: LintReport) -> str:
    """The whole page."""
    w = words(report.lang, "PAGE")
    title = f"{w['title']}: {report.source}"
    parts = [
        f"<h1>{_t(title)}</h1>",
        _head(report, w),
        f"<h2>{len(report.findings)} {_t(w['found'])}</h2>",
        *(_finding(report, told, w) for told in report.findings),
        "" if report.findings else f"<p>{_t(w['none'])}</p>",
        *(f"<p>{_t(remark)}</p>" for remark in report.remarks),
        *_plots(report.figures, w),
        f"<h2>{_t(w['rendered'])}</h2>",
        *(_row(pieces) for pieces in report.rendered),
        f"<h2>{_t(w['recipe'])}</h2>",
        f"<pre>{_t(recipe_text(report.recipe))}</pre>" if report.recipe else f"<p>{_t(w['no_recipe'])}</p>",
        _fields(report.figures.get("fields", {}), w),
    ]
    return document(report.lang, title, _STYLE, Markup("\n".join(part for part in parts if part)))


def _head(report: LintReport, w: Mapping[str, str]) -> str:
    others = f" ({_t(w['others'])} {_t(', '.join(report.others))})" if report.others else ""
    roles = "; ".join(f"{role}: {_names(names)}" for role, names in report.fields.items())
    tests = f", {report.test_rows:,} {_t(w['test_rows'])}" if report.test_rows else ""
    return (
        f"<p><strong>{_t(w['task'])}: {_t(report.task)}</strong>{others}<br>{_t(w['why'])}: {_t(report.why)}<br>"
        f"{_t(w['fields'])}: {_t(roles)}<br>{report.rows:,} {_t(w['rows'])}{tests}</p>"
    )


def _names(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _finding(report: LintReport, told: Told, w: Mapping[str, str]) -> str:
    places = "".join(f"<li>{_t(where(report, p))}: {_t(p.text)}</li>" for p in told.places)
    listed = f"<ul>{places}</ul>" if places else ""
    return (
        f'<div class="finding {told.severity}"><div class="kind">{_t(w[told.severity])} · {_t(told.kind)}</div>'
        f"<p>{_t(told.message)}</p><p>{_t(w['to_do'])}: {_t(told.advice)}</p>{listed}</div>"
    )


def _row(pieces: Sequence[Piece]) -> str:
    shown = []
    for piece in pieces:
        text = _t(piece.text)
        shown.append(
            f'<span class="role">{_t(piece.role)}</span> {f"<mark>{text}</mark>" if piece.supervised else text}'
        )
    return f'<div class="row">{"<br>".join(shown)}</div>'


def _fields(fields: Mapping[str, Any], w: Mapping[str, str]) -> str:
    if not fields:
        return ""
    heads = "".join(f"<th>{_t(w[name])}</th>" for name in ("field", "filled", "different", "characters"))
    lines = "".join(
        f"<tr><td>{_t(name)}</td><td>{f['filled']:,}</td><td>{f['different']:,}</td><td>{f['characters']:,}</td></tr>"
        for name, f in fields.items()
    )
    return f"<h2>{_t(w['fields'])}</h2><table><tr>{heads}</tr>{lines}</table>"


def _plots(figures: Mapping[str, Any], w: Mapping[str, str]) -> list[str]:
    plots = []
    unit = "tokens" if "read" in figures.get("tokens", {}) else "characters"
    for side in ("read", "learnt"):
        found = figures.get(unit, {}).get(side)
        if found:
            facts = f"{w['median']} {found['median']:,}, p99 {found['p99']:,}, {w['longest']} {found['longest']:,}"
            plots.append(f"<h2>{_t(w[side])}: {_t(w[unit])} ({_t(facts)})</h2>{_histogram(found['bars'])}")
    for name in ("classes", "languages", "fertility"):
        values = dict(list(figures.get(name, {}).items())[:CLASSES])
        if values:
            plots.append(f"<h2>{_t(w[name])}</h2>{_bars(values)}")
    return plots


def _histogram(bars: Sequence[Sequence[int]]) -> str:
    """Upright bars; the axis is labelled at both ends."""
    most = max((n for _, _, n in bars), default=1) or 1
    width = 600 / max(1, len(bars))
    shapes = "".join(
        f'<rect x="{i * width:.1f}" y="{120 - 110 * n / most:.1f}" width="{width * 0.9:.1f}" '
        f'height="{110 * n / most:.1f}" fill="var(--bar)"><title>{a}-{b - 1}: {n:,}</title></rect>'
        for i, (a, b, n) in enumerate(bars)
    )
    ends = f'<text x="0" y="136" font-size="12">{bars[0][0]:,}</text>' if bars else ""
    ends += f'<text x="600" y="136" font-size="12" text-anchor="end">{bars[-1][0]:,}+</text>' if bars else ""
    return f'<svg viewBox="0 0 600 140" role="img">{shapes}{ends}</svg>'


def _bars(values: Mapping[str, float]) -> str:
    """Lying bars with a name and a number each."""
    most = max(values.values(), default=1) or 1
    lines = []
    for i, (name, n) in enumerate(values.items()):
        y = 20 * i
        size = 320 * n / most
        lines.append(
            f'<text x="0" y="{y + 14}" font-size="12">{_t(name[:28])}</text>'
            f'<rect x="200" y="{y + 4}" width="{size:.1f}" height="12" fill="var(--bar)"></rect>'
            f'<text x="{206 + size:.1f}" y="{y + 14}" font-size="12">{n:,}</text>'
        )
    return f'<svg viewBox="0 0 600 {20 * len(values) + 4}" role="img">{"".join(lines)}</svg>'
