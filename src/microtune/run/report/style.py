"""The style sheet of a report: one column on a phone, charts side by side on a desk, ink on paper, light on dark."""

from __future__ import annotations

SHADES = 9

_BASE = """
:root { color-scheme: light dark; --ink: #1c2430; --soft: #5b6675; --page: #ffffff; --card: #f4f6f9; --rule: #dfe4ea;
  --a: #1f6fb2; --b: #d9822b; --c: #2c8a57; --heat: 31, 111, 178; --good: #1d7a48; --warn: #a15c00; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ee; --soft: #9aa5b4; --page: #14181f; --card: #1d232c;
  --rule: #323b47; --a: #64a9e6; --b: #eda45c; --c: #5fc08b; --heat: 100, 169, 230; --good: #5fc08b;
  --warn: #eda45c; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); line-height: 1.5;
  font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "PingFang SC", "Microsoft YaHei",
  "Noto Sans CJK SC", "WenQuanYi Micro Hei", sans-serif; font-size: 16px; }
header, main, footer, nav { max-width: 1000px; margin: 0 auto; padding: 0 16px; }
header { padding-top: 24px; }
h1 { font-size: 1.6em; margin: 0 0 4px; overflow-wrap: anywhere; line-height: 1.25; }
h2 { font-size: 1.25em; margin: 0 0 12px; }
h3 { font-size: 1em; margin: 22px 0 8px; }
p { margin: 8px 0; }
.kicker { color: var(--soft); margin: 0; font-size: .85em; letter-spacing: .04em; }
.about, .small, .hint, footer { color: var(--soft); font-size: .875em; overflow-wrap: anywhere; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 10px; margin: 16px 0; }
.card { background: var(--card); border-radius: 8px; padding: 10px 14px; }
.card p { margin: 0; font-size: .85em; color: var(--soft); }
.card .big { font-size: 1.45em; color: var(--ink); font-weight: 600; line-height: 1.3; }
nav { font-size: .9em; padding-bottom: 8px; display: flex; flex-wrap: wrap; gap: 2px 14px; }
nav a { color: var(--a); white-space: nowrap; }
section { border-top: 1px solid var(--rule); padding: 20px 0 14px; }
.wide { overflow-x: auto; margin: 8px 0; }
table { border-collapse: collapse; font-size: .9em; }
th, td { text-align: left; padding: 4px 14px 4px 0; vertical-align: top; border-bottom: 1px solid var(--rule); }
thead th { color: var(--soft); font-weight: 600; }
td { overflow-wrap: break-word; min-width: 3.2em; }
td svg { display: block; margin-top: 2px; }
.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
th.n { white-space: normal; vertical-align: bottom; }
.hint { display: block; }
code, pre { font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: .9em; }
code { white-space: nowrap; }
pre { background: var(--card); padding: 12px; border-radius: 8px; overflow-x: auto; white-space: pre-wrap;
  overflow-wrap: anywhere; }
details { margin: 10px 0; }
summary { cursor: pointer; color: var(--a); }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 380px), 1fr)); gap: 6px 24px; }
figure { margin: 8px 0; max-width: 640px; }
figcaption { font-size: .9em; font-weight: 600; }
.legend { font-weight: 400; color: var(--soft); margin-left: 10px; white-space: nowrap; }
.key { display: inline-block; width: 14px; height: 3px; margin-right: 5px; vertical-align: middle; }
.chart { width: 100%; height: auto; display: block; }
.grid { stroke: var(--rule); stroke-width: 1; }
.tick { fill: var(--soft); font-size: 11px; }
.line { fill: none; stroke-width: 1.6; stroke-linejoin: round; }
.span { stroke-width: 3; stroke-linecap: round; }
.bar { fill: var(--a); opacity: .8; }
.faint { opacity: .55; }
.line.s0 { opacity: .75; }
.matrix th, .matrix td { padding: 3px 8px; }
.matrix tbody th { font-weight: 400; white-space: nowrap; position: sticky; left: 0; background: var(--page); }
.matrix .right { font-weight: 700; }
.matrix td { min-width: 2.2em; }
article { background: var(--card); border-radius: 8px; padding: 10px 14px; margin: 8px 0; break-inside: avoid; }
dl { display: grid; grid-template-columns: minmax(60px, max-content) 1fr; gap: 2px 14px; margin: 0; font-size: .92em; }
dt { color: var(--soft); max-width: 9em; overflow-wrap: anywhere; }
dd { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; }
dd.own { font-weight: 600; }
article p { margin: 6px 0 0; }
.verdict { background: var(--card); border-left: 4px solid var(--a); padding: 10px 14px; border-radius: 0 8px 8px 0; }
.mark.good { color: var(--good); }
.mark.warn { color: var(--warn); font-weight: 600; }
footer { border-top: 1px solid var(--rule); padding: 14px 16px 30px; }
@media (max-width: 520px) { body { font-size: 15px; } th, td { padding-right: 10px; } .card .big { font-size: 1.25em; }
  .mini { display: none; } dl { grid-template-columns: 1fr; } dt { margin-top: 4px; max-width: none; } }
@media print { :root { color-scheme: light; --ink: #000; --soft: #444; --page: #fff; --card: #f2f2f2; --rule: #ccc;
  --a: #1f6fb2; --b: #d9822b; --c: #2c8a57; --heat: 31, 111, 178; --good: #1d7a48; --warn: #a15c00; }
  body { font-size: 10.5pt; } nav { display: none; } .wide { overflow: visible; } h2, h3 { break-after: avoid; }
  figure, tr { break-inside: avoid; } header, main, footer { max-width: none; padding-left: 0; padding-right: 0; }
  details > :not(summary) { display: block; } }
"""


def style_sheet() -> str:
    """The sheet, with the colours of series and the shades of a confusion matrix."""
    colours = "".join(
        f".s{i}.line, .s{i}.span {{ stroke: var(--{c}); }} .s{i}.dot, .k{i} {{ fill: var(--{c}); }} "
        f".k{i} {{ background: var(--{c}); }}\n"
        for i, c in enumerate("abc")
    )
    shades = "".join(
        f".h{i} {{ background: rgba(var(--heat), {0.62 * i / SHADES:.2f}); }}\n" for i in range(1, SHADES + 1)
    )
    return _BASE + colours + shades
