"""Charts as inline SVG: lines over steps, bars, intervals, points. No script, no colours of their own.

Colours come from the classes s0, s1, ... of the page's style sheet, so that dark screens and paper work. The picture is
drawn for 420 units of width and grows or shrinks with its place.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from microtune.run.html import Markup, el

WIDTH, HEIGHT = 420, 220
LEFT, RIGHT, TOP, BOTTOM = 48, 10, 10, 30
MOST = 300  # points of a line: more than a screen shows are averaged


@dataclass(frozen=True)
class Line:
    """A named series; `marked`: each point gets a dot."""

    name: str
    points: Sequence[tuple[float, float]]
    marked: bool = False


def lines(title: str, series: Sequence[Line], *, across: str) -> Markup:
    """Lines over a common horizontal axis, with a legend; "" where there is nothing to draw."""
    drawn = [Line(s.name, thinned(finite(s.points)), s.marked) for s in series if finite(s.points)]
    if not drawn:
        return Markup("")
    xs = [x for s in drawn for x, _ in s.points]
    ys = [y for s in drawn for _, y in s.points]
    plot = Plot((min(xs), max(xs)), padded(min(ys), max(ys)))
    shapes = [plot.axes(across)]
    for number, one in enumerate(drawn):
        places = [plot.place(x, y) for x, y in one.points]
        if len(places) > 1:
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
            shapes.append(el("polyline", points=path, class_=f"line s{number}"))
        if one.marked or len(places) == 1:
            shapes += [el("circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r="3", class_=f"dot s{number}") for x, y in places]
    keys = [el("span", el("span", "", class_=f"key k{i}"), s.name, class_="legend") for i, s in enumerate(drawn)]
    keys = keys if len(series) > 1 else []
    return el("figure", el("figcaption", title, " ", *keys), _svg(title, *shapes))


def points(title: str, found: Sequence[tuple[float, float]], *, across: str, up: str) -> Markup:
    """A cloud of points with the diagonal on which they should lie."""
    kept = finite(found)
    if not kept:
        return Markup("")
    values = [v for pair in kept for v in pair]
    span = padded(min(values), max(values))
    plot = Plot(span, span)
    (x1, y1), (x2, y2) = plot.place(span[0], span[0]), plot.place(span[1], span[1])
    diagonal = el("line", x1=f"{x1:.1f}", y1=f"{y1:.1f}", x2=f"{x2:.1f}", y2=f"{y2:.1f}", class_="grid")
    places = [plot.place(x, y) for x, y in kept]
    dots = [el("circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r="2.5", class_="dot s0 faint") for x, y in places]
    return el("figure", el("figcaption", f"{title} ({up})"), _svg(title, plot.axes(across), diagonal, *dots))


def bars(title: str, heights: Sequence[float], labels: Sequence[str], *, across: str) -> Markup:
    """Upright bars of counts; a few of the labels stand below."""
    if not heights or max(heights) <= 0:
        return Markup("")
    plot = Plot((0, len(heights)), (0.0, max(heights) * 1.05))
    shapes = [plot.axes(across, ticks=False)]
    each = max(1, math.ceil(len(heights) / 8))
    for i, height in enumerate(heights):
        (x1, y1), (x2, y2) = plot.place(i + 0.08, height), plot.place(i + 0.92, 0.0)
        box = {"x": f"{x1:.1f}", "y": f"{y1:.1f}", "width": f"{x2 - x1:.1f}", "height": f"{max(y2 - y1, 0):.1f}"}
        shapes.append(el("rect", **box, class_="bar"))
        if i % each == 0:
            middle = f"{(x1 + x2) / 2:.1f}"
            shapes.append(el("text", labels[i], x=middle, y=HEIGHT - BOTTOM + 13, class_="tick", text_anchor="middle"))
    return el("figure", el("figcaption", title), _svg(title, *shapes))


def interval(value: float, low: float, high: float) -> Markup:
    """A value between 0 and 1 with its interval, as wide as a cell of a table."""
    x, a, b = (4 + 132 * min(max(v, 0.0), 1.0) for v in (value, low, high))
    return el(
        "svg",
        el("line", x1="4", y1="9", x2="136", y2="9", class_="grid"),
        el("line", x1=f"{a:.1f}", y1="9", x2=f"{b:.1f}", y2="9", class_="span s0"),
        el("circle", cx=f"{x:.1f}", cy="9", r="4", class_="dot s0"),
        viewBox="0 0 140 18",
        width="140",
        height="18",
        class_="mini",
        aria_hidden="true",
    )


@dataclass(frozen=True)
class Plot:
    """Two ranges and the place of a value on the picture."""

    across: tuple[float, float]
    up: tuple[float, float]

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Where a value stands."""
        width = (self.across[1] - self.across[0]) or 1.0
        height = (self.up[1] - self.up[0]) or 1.0
        return (
            LEFT + (x - self.across[0]) / width * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - (y - self.up[0]) / height * (HEIGHT - TOP - BOTTOM),
        )

    def axes(self, name: str, *, ticks: bool = True) -> Markup:
        """Grid lines with their numbers, and what runs across."""
        found = []
        for value in ticks_of(*self.up):
            _, y = self.place(self.across[0], value)
            found.append(el("line", x1=LEFT, y1=f"{y:.1f}", x2=WIDTH - RIGHT, y2=f"{y:.1f}", class_="grid"))
            found.append(el("text", short(value), x=LEFT - 5, y=f"{y + 3.5:.1f}", class_="tick", text_anchor="end"))
        for value in ticks_of(*self.across) if ticks else []:
            x, _ = self.place(value, self.up[0])
            end = "end" if x > WIDTH - RIGHT - 12 else "middle"
            found.append(el("text", short(value), x=f"{x:.1f}", y=HEIGHT - BOTTOM + 13, class_="tick", text_anchor=end))
        middle = (LEFT + WIDTH - RIGHT) / 2
        found.append(el("text", name, x=middle, y=HEIGHT - 3, class_="tick", text_anchor="middle"))
        return Markup("".join(found))


def finite(found: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points that are numbers."""
    return [(x, y) for x, y in found if math.isfinite(x) and math.isfinite(y)]


def thinned(found: Sequence[tuple[float, float]], most: int = MOST) -> list[tuple[float, float]]:
    """At most `most` points: means of neighbours; the first and the last stay."""
    if len(found) <= most:
        return list(found)
    size = math.ceil((len(found) - 2) / (most - 2))
    inner = [found[i : i + size] for i in range(1, len(found) - 1, size)]
    means = [(math.fsum(x for x, _ in g) / len(g), math.fsum(y for _, y in g) / len(g)) for g in inner]
    return [found[0], *means, found[-1]]


def padded(low: float, high: float) -> tuple[float, float]:
    """A range with a little room, and of some height even where all values are equal."""
    room = (high - low) * 0.05 or abs(high) * 0.1 or 1.0
    return (max(0.0, low - room) if low >= 0 else low - room, high + room)


def ticks_of(low: float, high: float) -> list[float]:
    """Three to six round numbers inside a range."""
    span = high - low
    if not math.isfinite(span) or span <= 0:
        return [low]
    raw = span / 5
    unit = 10.0 ** math.floor(math.log10(raw))
    step = next(unit * m for m in (1, 2, 5, 10) if unit * m >= raw)
    first = math.ceil(low / step - 1e-9)
    return [n * step for n in range(first, math.floor(high / step + 1e-9) + 1)][:12]


def short(value: float) -> str:
    """A number for an axis."""
    if value and (abs(value) < 1e-3 or abs(value) >= 1e6):
        return f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")
    return f"{value:.6g}"


def _svg(title: str, *shapes: Markup) -> Markup:
    return el("svg", el("title", title), *shapes, viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", class_="chart")
