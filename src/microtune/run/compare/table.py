"""Results as rows of short texts, for the terminal and for compare.md."""

from __future__ import annotations

from microtune.run.compare.budget import in_time
from microtune.run.compare.results import Line, Results, by_size
from microtune.run.memory import in_words

SHORT = ("method", "score", "95 % interval", "on", "trains", "time", "stored", "forgetting")
HEADS = ("method", "score", "95 % interval", "on", "trains", "time", "memory", "stored", "forgetting", "")


def rows(results: Results) -> list[list[str]]:
    """One row for every line, under HEADS."""
    return [_row(line) for line in results.lines]


def short_rows(results: Results) -> list[list[str]]:
    """The same under SHORT, narrow enough for a terminal; the rest stands in compare.md."""
    return [
        [
            _name(line),
            "-" if line.score is None else number(line.score),
            interval(line).replace(" to ", "-"),
            {"validation": "valid."}.get(line.split or "-", line.split or "-"),
            "-" if line.trainable is None else f"{line.share:.2%}",
            "-" if line.seconds is None else in_time(line.seconds),
            "-" if line.stored is None else in_words(line.stored),
            _change(line),
        ]
        for line in results.lines
    ]


def endings(results: Results) -> list[tuple[str, ...]]:
    """How the runs ended that did not train to the end: the line, its state and, where there is one, the reason."""
    ended = [(_name(line), line.state, line.reason) for line in results.lines if line.state != "finished"]
    return [tuple(part for part in parts if part) for parts in ended]


def _name(line: Line) -> str:
    return line.method if line.examples is None else f"{line.method}, {line.examples}"


def _state(line: Line) -> str:
    if line.state == "finished":
        return ""
    return f"{line.state}: {line.reason}" if line.reason else line.state


def _change(line: Line) -> str:
    found = line.forgetting
    if found is None:
        return "-"
    unit = "" if found["kind"] == "drift" else " bits"
    return f"{found['after'] - found['before']:+.2f}{unit}"


def _row(line: Line) -> list[str]:
    return [
        _name(line),
        "-" if line.score is None else number(line.score),
        interval(line),
        line.split or "-",
        "-" if line.trainable is None else f"{line.trainable:,} ({line.share:.2%})",
        "-" if line.seconds is None else in_time(line.seconds),
        "-" if line.peak is None else in_words(line.peak),
        "-" if line.stored is None else in_words(line.stored),
        _forgotten(line),
        _state(line),
    ]


def number(value: float) -> str:
    """0.91234 -> `0.912`; 23.456 -> `23.46`."""
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.4g}"


def interval(line: Line) -> str:
    """`0.900 to 0.920`, with the deviation between seeds."""
    if line.low is None or line.high is None:
        return "-"
    spread = f", ± {line.spread:.3f}" if line.spread is not None else ""
    return f"{number(line.low)} to {number(line.high)}{spread}"


def _forgotten(line: Line) -> str:
    found = line.forgetting
    if found is None:
        return "-"
    if found["kind"] == "drift":
        return f"drift {found['after']:.3f}"
    return f"{found['before']:.2f} -> {found['after']:.2f} bits/byte"


def curve_rows(results: Results) -> tuple[list[str], list[list[str]]]:
    """Heads and rows of the learning curve: methods down, examples per label across."""
    found = by_size(results)
    sizes = sorted({size for lines in found.values() for size in lines})
    body = []
    for method, lines in found.items():
        cells = []
        for size in sizes:
            line = lines.get(size)
            known = line is not None and line.score is not None
            cells.append(f"{number(line.score)} ({interval(line)})" if known else "-")  # type: ignore[union-attr, arg-type]
        body.append([method, *cells])
    return ["method", *(str(size) for size in sizes)], body


def markdown(results: Results, picture: str | None) -> str:
    """compare.md."""
    better = "higher" if results.greater_is_better else "lower"
    lines = [
        f"# {results.task} on {_safe(results.data)}: methods compared",
        "",
        f"Base {_safe(results.model)}; {results.metric} ({better} is better); seeds "
        f"{', '.join(map(str, results.seeds))}; {in_time(results.spent)} of {in_time(results.budget)} used.",
        "",
    ]
    if results.recommendation is not None:
        lines += [f"**Recommended:** {_safe(results.recommendation['reason'])}", ""]
    if by_size(results):
        heads, body = curve_rows(results)
        lines += [f"By training examples per label ({results.metric}, 95 % interval):", "", *_table(heads, body), ""]
        lines += [f"![learning curve]({picture})", ""] if picture else []
    lines += [*_table([*HEADS[:-1], "how it ended"], rows(results)), ""]
    lines += [
        "A score on test is of a run that trained to the end; test was read once, after all choices were made. A score "
        "on validation is of a run that was stopped, and cannot be compared with the others. Time is that of the run "
        "alone; stored is what a method adds beside the base.",
        "",
    ]
    lines += [f"- {_safe(note)}" for note in results.notes]
    runs = [line.runs[0] for line in results.lines if line.runs and line.stored]
    if runs:
        lines += [
            "",
            "Each run can be used as it is:",
            "",
            "```",
            f'microtune predict <this folder>/{runs[0]} "text"',
            "```",
        ]
    return "\n".join([*lines, ""])


def _table(heads: list[str], body: list[list[str]]) -> list[str]:
    return [_joined(heads), _joined(["---"] * len(heads)), *(_joined([_safe(cell) for cell in row]) for row in body)]


def _joined(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _safe(text: str) -> str:
    """Text of users in Markdown: no table bars, no HTML, no line breaks."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|").replace("`", "'")
    return " ".join(escaped.split())
