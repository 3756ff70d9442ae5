"""CSV and TSV -> rows, and the rule that decides whether a table begins with a header.

The rule serves CSV, TSV and XLSX alike. It compares the first line with the lines below it, as Python's csv.Sniffer
does, but knows what fields are called and what numbers and sentences look like, and it demands evidence: without any,
the first line is data, because a lost row is worse than a column called column_1.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from statistics import median

from microtune.data.decode import RECORD, Bad, over, pass_over, refuse, shown
from microtune.data.jsonrows import Numbered
from microtune.data.names import holds_common, is_common
from microtune.recipe import Limits

SAMPLE_LINES = 200
SAMPLE_CHARACTERS = 1_000_000

_NUMBER = re.compile(r"\s*[-+]?(\d[\d,_ ]*\.?\d*|\.\d+)([eE][-+]?\d+)?\s*%?\s*")
_MISSING = {"na", "n/a", "nan", "null", "none", "nil", "-", "--", "?", "true", "false"}
_SENTENCE = re.compile(r"[.!?。！？…;；，,]$|[。！？，；]|[.!?,;] |https?://|@\w")
_IDENTIFIER = re.compile(r"[A-Za-z_][\w.\-]*")


def has_header(first: list[str], body: list[list[str]]) -> bool:
    """Whether `first`, the first line of a table, names its columns, judged by the lines below it.

    A header cell is never a number, a placeholder, or a sentence. Beyond that, points are given: three for a cell that
    is a common name of a field (text, label, 类别), two where one of its words is (condition_label); two for a column
    of numbers or dates under a word; one for a column of long texts under a short cell; one for a column of few
    repeated values of which the cell is none; one where all cells are identifiers over a column of texts. A cell that
    comes back in its own column is data: minus three. Two points make a header.
    """
    cells = [cell.strip() for cell in first]
    named = [cell for cell in cells if cell]
    if not named or any(_is_data(cell) for cell in named):
        return False
    if len(named) < len(cells) - 1 and not any(is_common(cell) for cell in named):
        return False
    if len(cells) == 1 and not holds_common(cells[0]) and not _is_mostly_numbers([line[0] for line in body if line]):
        return False  # a short text above long ones, and nothing else to go by
    score = sum(_name_points(cell) for cell in named)
    columns = [[row[i].strip() for row in body if i < len(row) and row[i].strip()] for i in range(len(cells))]
    score += sum(_column_points(cell, column) for cell, column in zip(cells, columns, strict=True))
    wordy = any(column and median(len(value.split()) for value in column) >= 3 for column in columns)
    score += wordy and all(_IDENTIFIER.fullmatch(cell) for cell in named)
    return score >= 2


def is_number(cell: str) -> bool:
    """Whether a cell reads as a number, in the spellings of spreadsheets (1,000 and 12 % included)."""
    return bool(_NUMBER.fullmatch(cell))


def _is_data(cell: str) -> bool:
    """What no header cell looks like."""
    wide = sum(ord(c) >= 0x2E80 for c in cell)
    long = len(cell) > 64 or len(cell.split()) > 4 or wide > 12
    return is_number(cell) or cell.casefold() in _MISSING or long or bool(_SENTENCE.search(cell))


def _name_points(cell: str) -> int:
    if is_common(cell):
        return 3
    if not holds_common(cell):
        return 0
    return 1 if " " in cell else 2  # "good question" may also be a text


def _column_points(cell: str, column: list[str]) -> int:
    """What a column says about the cell above it."""
    if not column:
        return 0
    if cell and cell in column:
        return -3
    if cell and _is_mostly_numbers(column):
        return 2
    if not cell:
        return 1 if _is_mostly_numbers(column) else 0  # the nameless index column that pandas writes
    if median(map(len, column)) >= max(20, 3 * len(cell)):
        return 1
    distinct = len(set(column))
    return 1 if len(column) >= 6 and distinct <= len(column) // 2 and distinct <= 100 else 0


def _is_mostly_numbers(column: list[str]) -> bool:
    return sum(is_number(cell) or bool(re.match(r"\d{4}[-/.]\d", cell)) for cell in column) >= 0.9 * len(column)


def header_names(path: Path, line: int, cells: list[str]) -> list[str]:
    """The names of a header: stripped, nameless columns numbered, a repeated name refused."""
    names = [cell.strip() or f"column_{i}" for i, cell in enumerate(cells, 1)]
    for i, name in enumerate(names):
        if name in names[:i]:
            raise refuse(path, line, f"two columns are called {shown(name)}; rename one, or pass header=False")
    return names


def read_table(
    path: Path,
    numbered: Iterator[tuple[int, str]],
    limits: Limits,
    *,
    tabs: bool,
    header: bool | None,
    bad: Bad | None = None,
) -> Numbered:
    """CSV (or TSV with `tabs`) -> rows; the line of a row is the first of its record."""
    sample = _sample(numbered)
    if not sample:
        raise refuse(path, None, "the file holds no rows")
    delimiter = "\t" if tabs else _delimiter(sample[0][1])
    if header is None:
        cells = _sample_cells([text for _, text in sample], delimiter, quoted=not tabs)
        header = bool(cells) and has_header([cell.strip('"') for cell in cells[0]] if tabs else cells[0], cells[1:])
    source = _Lines(path, chain(sample, numbered), limits, delimiter)
    records = _plain_records(source) if tabs and not header else _quoted_records(source)
    first_line, first = next(records, (0, []))
    if not first:
        raise refuse(path, None, "the file holds no rows")
    if not header:
        names = [f"column_{i + 1}" for i in range(len(first))]
        yield from _named(path, chain([(first_line, first)], records), names, "", bad)
        return
    names = header_names(path, first_line, first)
    known = f"the header on line {first_line}"
    yield from _named(path, records, names, known, bad)


def _named(
    path: Path, records: Iterator[tuple[int, list[str]]], names: list[str], header: str, bad: Bad | None
) -> Numbered:
    empty = True
    for line, cells in records:
        empty = False
        if len(cells) != len(names):
            known = header or "the first line"
            advice = "quote a field that holds the separator, or leave missing fields empty"
            what = f"{len(cells)} fields where {known} has {len(names)}; {advice}"
            pass_over(refuse(path, line, what), bad)
            continue
        yield line, dict(zip(names, cells, strict=True))
    if empty:
        raise refuse(path, None, "the file has a header and no rows below it")


def _sample(numbered: Iterator[tuple[int, str]]) -> list[tuple[int, str]]:
    """The first lines that are not blank, enough to judge the table by, and not more than about a megabyte."""
    sample: list[tuple[int, str]] = []
    size = 0
    for line, text in numbered:
        if not sample and not text.strip():
            continue
        sample.append((line, text))
        size += len(text)
        if len(sample) >= SAMPLE_LINES or size >= SAMPLE_CHARACTERS:
            break
    return sample


def _delimiter(first: str) -> str:
    """The comma, unless the first line has none and does have a semicolon or a tab, as spreadsheets write them."""
    if "," in first:
        return ","
    return next((mark for mark in ";\t" if mark in first), ",")


def _sample_cells(texts: list[str], delimiter: str, *, quoted: bool) -> list[list[str]]:
    """The sample cut into cells without complaint; of a long one without the last record, which may be cut short."""
    if not quoted:
        return [text.split(delimiter) for text in texts if text.strip()]
    _lift_field_limit()
    try:
        rows = [row for row in csv.reader((text + "\n" for text in texts), delimiter=delimiter) if row]
    except csv.Error:
        return []
    return rows[:-1] if len(texts) >= SAMPLE_LINES else rows


def _lift_field_limit() -> None:
    """The csv module has one limit for the whole process, 131,072 characters; ours is checked in `_Lines` instead."""
    csv.field_size_limit(2**31 - 1)


class _Lines:
    """The lines of a table for csv.reader: knows the last line given out, and caps the size of one record."""

    def __init__(self, path: Path, numbered: Iterator[tuple[int, str]], limits: Limits, delimiter: str) -> None:
        self.path, self.limits, self.delimiter = path, limits, delimiter
        self.start: int | None = None
        self.fields: list[int] = []  # of each line of the record
        self.quoted = False  # whether the first line of all has a quotation mark, as where every text is quoted
        self.marked = False  # whether the record has one: `""` alone is a row with an empty text, and no blank line
        self._first = True
        self._numbered, self._size = numbered, 0

    def begin(self) -> None:
        """The next line is the first of a record."""
        self.start, self._size, self.fields, self.marked = None, 0, [], False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        number, text = next(self._numbered)
        if self.start is None:
            self.start = number
        self._size += len(text)
        if self._size > self.limits.field_characters * RECORD:
            what = "the record is too long (a quotation mark that is not closed?)"
            raise over(self.path, self.start, what, self.limits, "field_characters")
        fields = text.count(self.delimiter) + 1
        self.fields.append(fields)
        self.marked = self.marked or '"' in text
        self.quoted, self._first = self.marked if self._first else self.quoted, False
        if fields > self.limits.fields and '"' not in text:
            raise over(self.path, number, f"the line has {fields:,} fields", self.limits, "fields")
        return text + "\n"


def _plain_records(source: _Lines) -> Iterator[tuple[int, list[str]]]:
    for text in source:
        if text.strip():
            yield source.start or 0, text[:-1].split(source.delimiter)
        source.begin()


def _quoted_records(source: _Lines) -> Iterator[tuple[int, list[str]]]:
    _lift_field_limit()
    reader = csv.reader(source, delimiter=source.delimiter, strict=True)
    while True:
        source.begin()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise refuse(source.path, source.start, _quoting_problem(str(error), source.delimiter)) from error
        if len(cells) > 1 or source.marked or (cells and cells[0].strip()):
            _check_rows_inside(source, len(cells))
            yield source.start or 0, cells


def _check_rows_inside(source: _Lines, count: int) -> None:
    """Refuse a record of a table with tabs that swallowed others, where no mark stands around the names."""
    lines, loose = len(source.fields), source.delimiter == "\t" and not source.quoted
    if loose and count > 1 and lines > 1 and all(fields == count for fields in source.fields):
        raise refuse(
            source.path,
            source.start,
            f"a quotation mark opens a field here that closes {lines - 1} lines below, but each of these lines is a "
            "row; remove the marks, or double those that belong to a text",
        )


def _quoting_problem(reason: str, delimiter: str) -> str:
    """The csv module's reason in words that help."""
    if "unexpected end" in reason:
        return "a quotation mark opens a field here and the file ends before it is closed; close it, or double it"
    if "expected after" in reason:
        return 'there is text after the closing quotation mark of a field; write a quotation mark inside a field as ""'
    if "new-line" in reason:
        return "there is a carriage return inside an unquoted field; quote the field, or remove it"
    return f"the line cannot be read as a table ({reason})"
