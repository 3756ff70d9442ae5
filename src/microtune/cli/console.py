"""What the terminal shows: progress to stderr, results to stdout, text of users never as markup.

Everything that comes from data, models or file names passes through `plain`, which makes control characters visible.
rich is imported when something is printed: it takes longer to load than `--help` takes to answer.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from microtune.cli.language import asked_for, said, word

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID
    from rich.table import Table
    from rich.text import Text


class Output:
    """stdout or stderr as a rich console without markup, made when it is first used."""

    def __init__(self, *, stderr: bool = False) -> None:
        self._stderr = stderr

    @cached_property
    def console(self) -> Console:
        """The console itself."""
        from rich.console import Console

        return Console(stderr=self._stderr, markup=False, highlight=False, emoji=False)

    def print(self, *things: Any, **options: Any) -> None:
        """`Console.print`."""
        self.console.print(*things, **options)


out = Output()
err = Output(stderr=True)
SPLITS = ("train", "validation", "test")
MATRIX_LABELS = 15  # a wider confusion matrix does not fit a terminal; then its largest cells are listed


def plain(value: Any) -> str:
    """Text with control, bidirectional and other invisible characters written out as escapes."""
    hidden = ("Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp")
    keep = "\u200d\ufe0f"  # joiners inside emoji
    return "".join(
        c if c in keep or unicodedata.category(c) not in hidden else c.encode("unicode_escape").decode("ascii")
        for c in str(value)
    )


def cell(value: Any, style: str = "") -> Text:
    """One table cell, or one line."""
    from rich.text import Text

    return Text(plain(value), style=style)


def lines(text: str) -> Text:
    """A cell of several lines."""
    from rich.text import Text

    return Text("\n").join(cell(line) for line in text.split("\n"))


def table(title: str, columns: Mapping[str, str]) -> Table:
    """An empty table; `columns` maps headings to "left" or "right"."""
    from rich.table import Table
    from rich.text import Text

    heading = Text(title, no_wrap=True, overflow="ignore")  # not folded to the width of a narrow table
    made = Table(title=heading, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for name, side in columns.items():
        # folded: a Chinese sentence is one word to rich, which would cut it where it does not fit
        made.add_column(Text(word(name)), justify=side, overflow="fold")  # type: ignore[arg-type]
    return made


class EventPrinter:
    """Reads the events of a run and shows them: stages, a summary, a progress bar, scores."""

    def __init__(self, *, quiet: bool = False, silent: bool = False) -> None:
        self.quiet = quiet or silent
        self.silent = silent
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TextColumn("{task.completed}/{task.total}"),
            TextColumn("{task.fields[facts]}"),
            TimeRemainingColumn(),
            console=err.console,
            transient=True,
            disable=self.quiet or not err.console.is_terminal,  # a bar in a file is noise
        )
        self._task: TaskID | None = None
        self._stage_name = ""
        self._rate = 0.0
        self.told: set[str] = set()  # notes that were shown before training: they need not stand there twice

    def __enter__(self) -> EventPrinter:
        if not self.quiet:
            self._bar.start()
        return self

    def __exit__(self, *details: object) -> None:
        self._bar.stop()

    def __call__(self, event: Any) -> None:
        """Show one event."""
        from microtune.run.adjust import Decision
        from microtune.run.checks import Warned
        from microtune.run.diagnosis import Diagnosis
        from microtune.run.session import Scored, Stage
        from microtune.run.train import Step
        from microtune.run.tune import Evaluated, Prepared

        if isinstance(event, Evaluated) and not self.silent:
            show_score(event.split, event.score, event.task)
        elif isinstance(event, Diagnosis) and not self.silent:
            out.print(cell(said("diagnosis: {sentence}", sentence=_diagnosed(event))), soft_wrap=True)
        elif self.quiet:
            return
        elif isinstance(event, Stage):
            self._stage(event.name, event.done, event.total)
        elif isinstance(event, Step):
            self._step(event)
        elif isinstance(event, Prepared):
            show_summary(event)
            self.told.update(event.notes)
        elif isinstance(event, Warned):
            show_note(event.note)
            self.told.add(event.note)
        elif isinstance(event, Decision):
            show_note(event.text, "  ", "  ")
        elif isinstance(event, Scored):
            facts = "  ".join(f"{name} {value:.4g}" for name, value in event.values.items())
            line = said("  step {step}: {split} {facts}", step=event.step, split=word(event.split), facts=facts)
            err.print(cell(line + (word("  (best so far)") if event.best else "")))

    def line(self, text: str) -> None:
        """A line that stays above the progress bar."""
        err.print(cell(text))

    def _stage(self, name: str, done: int, total: int) -> None:
        if self._task is not None and self._stage_name != name:
            self._bar.remove_task(self._task)
            self._task = None
        if self._task is None:
            self._stage_name = name
            self._task = self._bar.add_task(_stage_in_words(name), total=total or None, facts="")
            self._rate = 0.0
        self._bar.update(self._task, completed=done, total=total or None)

    def _step(self, step: Any) -> None:
        speed = step.tokens / max(step.seconds, 1e-9)
        self._rate = speed if not self._rate else 0.9 * self._rate + 0.1 * speed
        if self._task is not None:
            facts = said("loss {loss}  {rate} tokens/s", loss=f"{step.loss:.4f}", rate=f"{self._rate:,.0f}")
            self._bar.update(self._task, completed=step.step, facts=facts)


def _stage_in_words(name: str) -> str:
    if not asked_for():
        return name
    from microtune.cli.chinese.stages import stage

    return stage(name)


def again(note: str) -> str:
    """A note, or a reason that is a refusal, in Chinese where that is asked for; what is not known stays."""
    if not asked_for():
        return note
    from microtune.run.report.words.notes import in_chinese

    told = in_chinese(note)
    if told != note:
        return told
    from microtune.cli.chinese import translated

    return translated(note)


def show_note(note: str, begin: str = "note: ", chinese: str = "说明：") -> None:
    """What a reader should know, in Chinese where that is asked for."""
    line = f"{chinese if asked_for() else begin}{again(note)}"
    err.print(cell(line, "yellow"), soft_wrap=True)


def show_summary(prepared: Any) -> None:
    """Rows, notes, and what trains."""
    sizes = prepared.sizes.items()
    rows = word(", ").join(said("{count} {split}", count=f"{count:,}", split=word(name)) for name, count in sizes)
    labels = said("; {count} labels", count=len(prepared.labels)) if prepared.labels else ""
    err.print(cell(said("rows: {rows}", rows=rows) + labels))
    if prepared.fields:  # which column is read is what is most often taken for granted, and wrong
        names = "; ".join(f"{role} = {name}" for role, name in prepared.fields.items())
        err.print(cell(said("fields: {fields}", fields=names)), soft_wrap=True)
    for note in prepared.notes:
        show_note(note)
    summary = prepared.summary
    shown = table("", {"part": "left", "kind": "left", "parameters": "right", "trains": "right"})
    for line in summary.lines:
        moving = f"{line.trainable:,}" if line.trainable else word("frozen")
        shown.add_row(
            cell(line.part),
            cell(word(line.kind)),
            f"{line.parameters:,}",
            cell(moving, "green" if line.trainable else "dim"),
        )
    shown.add_row(
        cell(word("together"), "bold"), "", f"{summary.parameters:,}", f"{summary.trainable:,} ({summary.share:.2%})"
    )
    err.print(shown)


def _diagnosed(event: Any) -> str:
    from microtune.run.report.parts.diagnosis import sentence
    from microtune.run.report.words import Words

    return sentence(event, Words("zh")) if asked_for() else str(event.sentence)


def show_score(split: str, score: Any, task: Any) -> None:
    """Metrics with intervals; for classification per-class figures and a confusion matrix of the test split."""
    from microtune.tasks.classification import Classification
    from microtune.tasks.token_labelling import TokenLabelling

    form = "{split} split, {rows} rows" if split in SPLITS else "{file}, {rows} rows"
    title = said(form, split=word(split), file=split, rows=f"{score.rows:,}")
    shown = table(title, {"metric": "left", "value": "right", "95 % interval": "right"})
    for name, value in score.values.items():
        low, high = score.intervals.get(name, (float("nan"), float("nan")))
        shown.add_row(cell(name), f"{value:.4f}", said("{low} to {high}", low=f"{low:.4f}", high=f"{high:.4f}"))
    out.print(shown)
    if written := written_answers(score):
        out.print(cell(written), soft_wrap=True)
    if isinstance(task, (Classification, TokenLabelling)) and split != "validation":
        out.print(_per_class(task, score))
    if isinstance(task, Classification) and split != "validation" and task.form != "multi":
        out.print(_confusion(task, score))
        out.print(_coverage(task, score))


def written_answers(score: Any) -> str:
    """Of how many rows the scores of written answers are, where they are not of all."""
    there = score.predictions.columns.get("written")
    if there is None or there.all():
        return ""
    form = "Answers were written to {written} of {rows} rows (task.generate_rows)."
    return said(form, written=f"{there.sum():,}", rows=f"{len(there):,}")


def _coverage(task: Any, score: Any) -> Table:
    shown = table(word("when unsure"), {"--min-confidence": "right", "answered": "right", "accuracy": "right"})
    for row in task.details(score.predictions)["coverage"]:
        shown.add_row(f"{row['min_confidence']:g}", f"{row['answered']:.1%}", f"{row['accuracy']:.4f}")
    return shown


def _per_class(task: Any, score: Any) -> Table:
    heads = {"label": "left", "precision": "right", "recall": "right", "F1": "right", "rows": "right"}
    shown = table(word("per class"), heads)
    for label, row in task.per_class(score.predictions).items():
        numbers = [f"{row[key]:.3f}" for key in ("precision", "recall", "f1")]
        shown.add_row(cell(label), *numbers, f"{row['support']:.0f}")
    return shown


def _confusion(task: Any, score: Any) -> Table:
    matrix = task.confusion(score.predictions)
    labels = list(task.labels)
    if len(labels) > MATRIX_LABELS:
        shown = table(word("largest confusions"), {"label": "left", "taken for": "left", "rows": "right"})
        pairs = [(int(matrix[i, j]), i, j) for i in range(len(labels)) for j in range(len(labels)) if i != j]
        for count, i, j in sorted(pairs, reverse=True)[:10]:
            if count:
                shown.add_row(cell(labels[i]), cell(labels[j]), str(count))
        return shown
    heads = {"confusion": "left", **{str(i + 1): "right" for i in range(len(labels))}}
    shown = table(word("confusion (rows: label, columns: prediction)"), heads)
    for i, label in enumerate(labels):
        cells = [cell(str(n) if n else "·", "bold" if i == j else "" if n else "dim") for j, n in enumerate(matrix[i])]
        shown.add_row(cell(f"{i + 1:>2} {label}"), *cells)
    return shown
