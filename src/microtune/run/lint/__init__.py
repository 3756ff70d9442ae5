"""`lint`: what the data is for and what is wrong with it, before anything is trained.

One pass over the rows with measurements that keep little (data/lint); what cannot be streamed reads a sample of
`sample.SAMPLED` rows, which the report says, or all rows with `full`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from microtune.data.class_folders import class_rows, is_classes
from microtune.data.lint.base import Finding, Measured, Measurement, Place, Seen
from microtune.data.lint.classes import Classes
from microtune.data.lint.cues import Cues
from microtune.data.lint.doubts import LabelDoubts
from microtune.data.lint.duplicates import Duplicates
from microtune.data.lint.encoding import Encoding
from microtune.data.lint.fields import OPTIONAL, Fields
from microtune.data.lint.lengths import Lengths
from microtune.data.lint.mix import Languages
from microtune.data.lint.near import NearDuplicates
from microtune.data.lint.personal import PersonalData
from microtune.data.lint.reading import Reader
from microtune.data.lint.sample import SAMPLED, Sample
from microtune.data.lint.tokens import Tokens
from microtune.data.parallel import is_pair
from microtune.data.shapes import flat, sample_of
from microtune.data.sources import MEMORY, Row, files_of, iter_rows
from microtune.errors import InputError
from microtune.run.given import embedded_data, is_embedded, split_files
from microtune.run.lint.proposal import propose, recipe_for, rendered, unread_in
from microtune.run.lint.report import Language, LintReport, tell, words
from microtune.run.load import load
from microtune.run.session import Stage
from microtune.tasks.evidence import Guess
from microtune.tasks.labels import guess_form

SAID = 2000  # rows between two words about how far it is


def lint(  # noqa: PLR0913 - one keyword per thing a user may say
    data: Any,
    *,
    test: Any = None,
    task: str | dict[str, Any] | None = None,
    model: str | None = "sprout",
    text_field: str | None = None,
    label_field: str | None = None,
    encoding: str | None = None,
    header: bool | None = None,
    full: bool = False,
    lang: Language = "en",
    on_event: Callable[[Any], None] | None = None,
) -> LintReport:
    """Guess what `data` is for and measure what is wrong with it; nothing is trained or written.

    data: a file, a folder, a glob, {source, target} files, a list of dicts or a DataFrame. test: rows whose copies are
    looked for in `data`. task, text_field, label_field: instead of the guess. model: whose tokenizer counts tokens;
    None: nobody's. full: near-copies, label errors and the like in all rows instead of a sample. on_event is called
    with every Stage. Raises InputError where the first row cannot be read; a later one becomes a finding.
    """
    words(lang, "PAGE")
    ask = _Question(data, test, model, {"encoding": encoding, "header": header}, full, _named_task(task))
    rows, seen_first = ask.start()
    found = propose(data, seen_first, task=task, text_field=text_field, label_field=label_field)
    tell_about = on_event or (lambda event: None)
    measured = _Measured(found, seen_first, full)
    for event in chain(measured.stream(ask, rows), measured.sampled(ask)):
        tell_about(event)
    recipe, stops = recipe_for(found, data, model or "sprout", seen_first, ask.how, test)
    if stops and not any(f.kind in ("empty-field", "one-class") for f in measured.findings):
        measured.findings.append(Finding("recipe-stops", "error", 1, 1, [], {"message": stops}))
    return LintReport(
        source=_name(data),
        task=found.task,
        form=found.form,
        fields=found.fields,
        why=str(words(lang, "WHY")[found.why]),
        others=found.others,
        rows=measured.rows,
        test_rows=measured.test_rows,
        sampled=len(measured.sample.rows),
        findings=tell(measured.findings, lang),
        figures=measured.figures,
        rendered=rendered(found, seen_first),
        recipe=recipe,
        remarks=_remarks(measured, lang, unread_in(found, seen_first)),
        lang=lang,
    )


def _named_task(task: str | dict[str, Any] | None) -> str:
    """The task that the user names; "" where it is guessed."""
    return task.partition(":")[0] if isinstance(task, str) else str((task or {}).get("name", ""))


def _name(data: Any) -> str:
    """What a source is called in a report."""
    if is_pair(data):
        return " + ".join(str(part) for part in data.values())
    return str(data) if isinstance(data, (str, Path)) else MEMORY


class _Question:
    """What is asked, and how it is read."""

    def __init__(self, data: Any, test: Any, model: str | None, how: dict[str, Any], full: bool, task: str) -> None:
        named = is_embedded(data)
        self.classes = task in ("", "classification")
        parts = {} if named else split_files({"train": data, "test": test}, classes=self.classes)
        self.data = embedded_data(data) if named else parts.get("train", data)
        self.test = parts.get("test", test)
        self.model, self.how, self.full = model, how, full
        self.stopped: InputError | None = None
        self.expected = 0  # rows, roughly: for a progress bar

    def start(self) -> tuple[Iterator[Row], list[Row]]:
        """All rows, and a sample of the first of them for the guess."""
        sample = sample_of(self._open(self.data))
        self.expected = 0 if self._in_classes(self.data) else _expected(self.data, sample)
        return self._open(self.data), sample

    def _open(self, source: Any) -> Iterator[Row]:
        """Rows up to the first that cannot be read; the very first must."""
        rows = self._rows(source)
        yield next(rows)
        while True:
            try:
                row = next(rows, None)
            except InputError as error:
                self.stopped = error
                return
            if row is None:
                return
            yield row

    def test_rows(self) -> Iterator[Row]:
        """The rows of the test file."""
        return iter(()) if self.test is None else self._rows(self.test)

    def _in_classes(self, source: Any) -> bool:
        return self.classes and is_classes(source)

    def _rows(self, source: Any) -> Iterator[Row]:
        if self._in_classes(source):
            return class_rows(source, encoding=self.how["encoding"])
        return iter_rows(source, **self.how)


def _expected(data: Any, sample: Sequence[Row]) -> int:
    """About how many rows a source has, by the size of its files and that of the rows of a sample; 0: unknown."""
    if isinstance(data, (list, tuple)):
        return len(data)
    paths = [data["source"]] if is_pair(data) else files_of(data) if isinstance(data, (str, Path)) else []
    one = "source" if is_pair(data) else None
    size = sum(Path(p).stat().st_size * (3 if Path(p).suffix in (".gz", ".xz") else 1) for p in paths)
    read = sum(len(flat(row.data[one] if one else row.data).encode("utf-8", "replace")) for row in sample)
    return size * len(sample) // max(1, read)


class _Measured:
    """The measurements of one lint, and what they found."""

    def __init__(self, found: Guess, first: Sequence[Row], full: bool) -> None:
        self.task = found.task
        label = found.fields.get("label") if found.task == "classification" else None
        form, sign = guess_form(first, label) if isinstance(label, str) else ("single", "")
        self.many = form == "multi"
        self.reader = Reader(found.task, found.fields, sign)
        self.sample = Sample(None if full else SAMPLED)
        self.tests = Sample(None if full else SAMPLED)
        self.rows = self.test_rows = 0
        self.findings: list[Finding] = []
        self.figures: dict[str, Any] = {}
        self.skipped = ""

    def stream(self, ask: _Question, rows: Iterator[Row]) -> Iterator[Stage]:
        """One pass over the test rows, then over all others."""
        copies = Duplicates(self.task)
        for number, row in enumerate(ask.test_rows()):
            seen = self.reader.see(row, number, test=True)
            copies.add(seen)
            self.tests.add(seen)
            self.test_rows += 1
        outliers = self.task not in ("language-modelling", "question-answering")
        optional = (*OPTIONAL, "label") if self.many else OPTIONAL  # a row may have none of several labels
        measures: list[Measurement] = [
            Fields(self.reader.roles, optional),
            Lengths(outliers=outliers),
            copies,
            Classes(),
        ]
        measures += [Encoding(), PersonalData(), self.sample]
        for number, row in enumerate(rows):
            seen = self.reader.see(row, number)
            for measure in measures:
                measure.add(seen)
            self.rows += 1
            if number % SAID == 0:
                yield Stage("reading rows", number, max(number + SAID, ask.expected))
        self._collect(measures)
        if ask.stopped is not None:
            values = {"message": str(ask.stopped)}
            self.findings.append(Finding("unreadable", "error", self.rows, self.rows, [], values))

    def sampled(self, ask: _Question) -> Iterator[Stage]:
        """What reads the sample."""
        rows = self.sample.rows
        if self.task != "language-modelling" or not _are_lines(rows):
            every = [*rows, *self.tests.rows]
            near = NearDuplicates(every)
            yield from (Stage("near-copies", done, len(every)) for done in near.measure())
            self._collect([near])
        yield Stage("languages", 0, 1)
        languages = Languages(rows)
        self._collect([languages])
        if any(seen.labels for seen in rows):
            yield Stage("labels", 0, 1)
            doubts = LabelDoubts(rows)
            self.skipped = doubts.skipped
            self._collect([Cues(rows), doubts])
        if ask.model is not None:
            yield Stage("loading the model", 0, 1)
            model = load(ask.model)
            limit = model.max_length or model.spec.max_positions or 4096
            tokens = Tokens(rows, self.task, model.text, limit, ask.model)
            for done in tokens.measure(languages.found):
                yield Stage("counting tokens", done, len(rows))
            self._collect([tokens])

    def _collect(self, measures: Sequence[Measured]) -> None:
        for measure in measures:
            self.findings += measure.findings()
            self.figures |= measure.figures()


def _are_lines(rows: Sequence[Seen]) -> bool:
    """Whether rows are lines of a text, of which near-copies mean nothing."""
    return sum(len(seen.text) for seen in rows) < 200 * len(rows)


def _remarks(measured: _Measured, lang: Language, unread: Sequence[str]) -> list[str]:
    table = words(lang, "PAGE")
    said = [str(table["unread"]).format(names=", ".join(f'"{name}"' for name in unread))] if unread else []
    if not measured.sample.whole:
        said.append(str(table["sampled"]).format(count=len(measured.sample.rows), of=measured.rows))
    if measured.skipped in ("sklearn", "weak"):
        said.append(str(table[f"skipped_{measured.skipped}"]))
    return said


__all__ = ["LintReport", "Place", "lint"]
