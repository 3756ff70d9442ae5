"""The learning curve as a picture: score over training examples per label, one line and one band for every method.

Colours are those of Okabe and Ito (2008), which people with any colour vision tell apart; markers differ too, and every
line is named where it ends. matplotlib is imported here alone (extra `plot`).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from microtune.run.compare.results import Line, Results, by_size

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D31")
MARKERS = "osD^vPX*"
CHINESE = (  # fonts that have Chinese letters, on the systems that people use; the first one found is taken
    "Noto Sans CJK SC",
    "Source Han Sans SC",
    "PingFang SC",
    "Hiragino Sans GB",
    "Microsoft YaHei",
    "SimHei",
    "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei",
    "Arial Unicode MS",
)
GAP = 0.045  # of the height, between the names of two lines


def draw(results: Results, path: Path) -> Path:
    """Write the picture; ModuleNotFoundError without matplotlib."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"font.sans-serif": _fonts(), "font.size": 11, "axes.unicode_minus": False}):
        figure = Figure(figsize=(9, 5.4), dpi=150, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        curves = by_size(results)
        sizes = sorted({size for lines in curves.values() for size in lines})
        ends = {}
        for number, (method, lines) in enumerate(sorted(curves.items())):
            ends[method] = _curve(axes, method, lines, number)
        _dress(axes, results, sizes)
        _name(axes, {method: end for method, end in ends.items() if end is not None})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a letter that no font has was replaced before
            figure.savefig(path)
    return path


def _curve(axes: Any, method: str, lines: Mapping[int, Line], number: int) -> tuple[int, float, str] | None:
    known = [(size, line) for size, line in sorted(lines.items()) if line.score is not None]
    if not known:
        return None
    colour = COLOURS[number % len(COLOURS)]
    x, y = [size for size, _ in known], [line.score for _, line in known]
    axes.plot(x, y, color=colour, marker=MARKERS[number % len(MARKERS)], markersize=6, linewidth=1.8, label=method)
    banded = [(size, line.low, line.high) for size, line in known if line.low is not None]
    if banded:
        axes.fill_between(*zip(*banded, strict=True), color=colour, alpha=0.11, linewidth=0)
    return x[-1], float(y[-1] or 0.0), colour


def _dress(axes: Any, results: Results, sizes: list[int]) -> None:
    """Title, axes and grid in plain words."""
    from matplotlib.ticker import NullFormatter, NullLocator

    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    split = "test split" if any(line.split == "test" for line in results.lines) else "validation split"
    better = "higher" if results.greater_is_better else "lower"
    each = "training examples per label" if results.task == "classification" else "training examples"
    axes.set_xlabel(each)
    axes.set_ylabel(f"{results.metric} on the {split} ({better} is better)")
    title = _shown(f"{Path(results.data).name}, base {Path(results.model).name}: what more examples bring")
    axes.set_title(title, loc="left", fontsize=13)
    seeds = f"mean of {len(results.seeds)} seeds; " if len(results.seeds) > 1 else ""
    axes.text(0, -0.155, f"{seeds}bands: 95 % interval over test rows", transform=axes.transAxes, color="#555555")
    axes.grid(axis="y", color="#DDDDDD", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.04)


def _name(axes: Any, ends: Mapping[str, tuple[int, float, str]]) -> None:
    """The name of every line beside its end, in its colour."""
    low, high = axes.get_ylim()
    order = sorted(ends.items(), key=lambda pair: pair[1][1])
    heights = apart([y for _, (_, y, _) in order], GAP * (high - low), high)
    for (method, (x, _, colour)), height in zip(order, heights, strict=True):
        axes.annotate(
            _shown(method), (x, height), xytext=(9, 0), textcoords="offset points", va="center", color=colour,
            fontweight="bold", annotation_clip=False,
        )  # fmt: skip


def apart(heights: Sequence[float], gap: float, top: float) -> list[float]:
    """Ascending heights moved until each is `gap` above the one before and none above `top`."""
    found: list[float] = []
    for height in heights:
        found.append(max(height, found[-1] + gap) if found else height)
    for place in reversed(range(len(found))):
        found[place] = min(found[place], top)
        top = found[place] - gap
    return found


def _fonts() -> list[str]:
    from matplotlib import font_manager

    there = {font.name for font in font_manager.fontManager.ttflist}
    return [*(name for name in CHINESE if name in there), "DejaVu Sans"]


def _shown(text: str) -> str:
    """Text in which letters that no font of this machine has are left out (`…`) rather than drawn as boxes."""
    from matplotlib import font_manager
    from matplotlib.ft2font import FT2Font

    paths = [font_manager.findfont(name) for name in _fonts()]
    known = {code for path in paths for code in FT2Font(path).get_charmap()}
    parts = ["".join(part) if there else "…" for there, part in groupby(text, lambda c: ord(c) in known)]
    return "".join(parts).replace("$", r"\$")
