"""XLSX and Parquet -> rows: the two formats that only a library can read, each behind its own checks against bombs.

Neither format's own declaration of its size can be trusted (a Parquet file of 5 MB that declares 5 MB may hold 50 GB),
so what comes out is counted while it comes. Whatever the libraries raise becomes one sentence.
"""

from __future__ import annotations

import datetime
import decimal
import math
import zipfile
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any

from microtune.data.decode import Budget, check_expansion, over, refuse, shown
from microtune.data.jsonrows import Numbered
from microtune.data.tables import SAMPLE_LINES, has_header, header_names
from microtune.errors import InputError
from microtune.recipe import Limits

BATCH_ROWS = 1024
NESTED_BATCH_ROWS = 64  # lists are decoded in full, so a batch of them must stay small
SHEET_ROWS = 1_048_576  # what a sheet can hold; the library fills gaps up to any row number with empty rows
PARTS = 5000  # files inside a workbook
HEAD_BYTES = 4096  # where a document type declaration stands, if there is one
HELD_BYTES = 400_000_000  # unpacked size of workbook parts that openpyxl holds in memory as a whole


def plain_value(value: Any) -> Any:
    """A cell as text, number, truth value, list or dict: dates in ISO form, missing numbers as None."""
    if value is None or isinstance(value, (str, bool, int, bytes)):
        return value
    if isinstance(value, float):
        return None if math.isnan(value) else value
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, dict):
        return {key: plain_value(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_value(inner) for inner in value]
    if isinstance(value, decimal.Decimal):
        return float(value)
    return plain_value(value.item()) if hasattr(value, "item") else str(value)


def _broken(path: Path, kind: str, error: Exception) -> InputError:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:150]
    return refuse(path, None, f"cannot be read as {kind} ({type(error).__name__}: {reason}); write the file again")


def read_xlsx(path: Path, file: IO[bytes], budget: Budget, header: bool | None) -> Numbered:
    """The one sheet that holds anything; the line of a row is its number in the sheet."""
    try:
        import openpyxl
    except ImportError as error:
        what = 'reading XLSX needs openpyxl; pip install "microtune[excel]", or save the sheet as CSV'
        raise refuse(path, None, what) from error
    _check_archive(path, file, budget.limits)
    try:
        book = openpyxl.load_workbook(file, read_only=True, data_only=True, keep_links=False)
        sheets = list(book.worksheets)
    except Exception as error:
        raise _broken(path, "an XLSX workbook", error) from error
    filled: list[tuple[str, Iterator[tuple[int, list[Any]]]]] = []
    for sheet in sheets:
        rows = _sheet_rows(path, sheet, budget)
        first = next(rows, None)
        if first is not None:
            filled.append((sheet.title, chain([first], rows)))
    if len(filled) > 1:
        names = ", ".join(shown(title) for title, _ in filled[:5])
        raise refuse(
            path, None, f"{len(filled)} sheets hold rows ({names}); save the one that is meant as its own file"
        )
    if not filled:
        raise refuse(path, None, "the workbook holds no rows")
    yield from _sheet_table(path, filled[0][1], header)


def _check_archive(path: Path, file: IO[bytes], limits: Limits) -> None:
    """Sizes and beginnings of the archive's parts. Python's zipfile never unpacks more of a part than it declares."""
    try:
        archive = zipfile.ZipFile(file)
        parts = archive.infolist()
        heads = [archive.open(part).read(HEAD_BYTES) for part in parts[:PARTS] if not part.is_dir()]
    except Exception as error:
        raise _broken(path, "an XLSX workbook", error) from error
    if len(parts) > PARTS:
        raise refuse(path, None, f"the workbook has {len(parts):,} parts; save the sheet as CSV")
    if any(b"<!DOCTYPE" in head.replace(b"\0", b"") for head in heads):
        # Entities are how XML reads other files or swells; no spreadsheet program writes them.
        raise refuse(path, None, "the workbook holds a document type declaration; save it again, or as CSV")
    packed = file.seek(0, 2)
    check_expansion(path, packed, sum(part.file_size for part in parts), limits)
    held = sum(part.file_size for part in parts if "worksheets/" not in part.filename)
    if held > HELD_BYTES or sum(part.file_size for part in parts) > limits.decoded_characters:
        what = "the workbook unpacks to more text than can be held in memory; save the sheet as CSV"
        raise over(path, None, what, limits, "decoded_characters")
    file.seek(0)


def _sheet_rows(path: Path, sheet: Any, budget: Budget) -> Iterator[tuple[int, list[Any]]]:
    """The rows of a sheet that are not blank, trailing empty cells cut off."""
    limits = budget.limits
    try:
        sheet.reset_dimensions()  # the declared size pads rows, or cuts them off, when it is wrong
        rows = iter(sheet.iter_rows(values_only=True))
    except Exception as error:
        raise _broken(path, "an XLSX workbook", error) from error
    number = 0
    while True:
        try:
            cells = next(rows, None)
        except Exception as error:
            raise _broken(path, "an XLSX workbook", error) from error
        if cells is None:
            return
        number += 1
        if number > SHEET_ROWS:
            raise refuse(path, number, f"a sheet has at most {SHEET_ROWS:,} rows; write the file again")
        values = [plain_value(cell) for cell in cells]
        while values and (values[-1] is None or values[-1] == ""):
            values.pop()
        if len(values) > limits.fields:
            raise over(path, number, f"the row has {len(values):,} fields", limits, "fields")
        budget.read(path, number, sum(len(value) for value in values if isinstance(value, str)))
        if values:
            yield number, values


def _sheet_table(path: Path, rows: Iterator[tuple[int, list[Any]]], header: bool | None) -> Numbered:
    """Cells under names; cells that the sheet leaves out are None, and cells beyond the names are refused."""
    sample = list(islice(rows, SAMPLE_LINES))
    if header is None:
        texts = [["" if cell is None else str(cell) for cell in cells] for _, cells in sample]
        header = has_header(texts[0], texts[1:])
    width = max(len(cells) for _, cells in sample)
    names = [f"column_{i + 1}" for i in range(width)]
    if header:
        line, first = sample.pop(0)
        names = header_names(path, line, ["" if cell is None else str(cell) for cell in first])
        if not sample:
            raise refuse(path, None, "the sheet has a header and no rows below it")
    for line, cells in chain(sample, rows):
        if len(cells) > len(names):
            known = "the header has" if header else "the first rows have"
            raise refuse(path, line, f"{len(cells)} fields where {known} {len(names)}; give each column a name")
        yield line, dict(zip(names, cells + [None] * (len(names) - len(cells)), strict=True))


def read_parquet(path: Path, file: IO[bytes], budget: Budget) -> Numbered:
    """Rows batch by batch; the line of a row is its number plus one, as if a header stood above it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    packed = file.seek(0, 2)
    file.seek(0)
    try:
        schema = pq.ParquetFile(file).schema_arrow
        texts = [name for name, kind in zip(schema.names, schema.types, strict=True) if _is_text(pa, kind)]
        file.seek(0)
        # As dictionaries, equal texts stay one object: the usual Parquet bomb repeats one long text.
        reader = pq.ParquetFile(file, read_dictionary=texts)
        rows = NESTED_BATCH_ROWS if any(pa.types.is_nested(kind) for kind in schema.types) else BATCH_ROWS
        batches = reader.iter_batches(batch_size=rows, use_threads=False)
    except Exception as error:
        raise _broken(path, "a Parquet file", error) from error
    if len(schema.names) > budget.limits.fields:
        raise over(path, None, f"the file has {len(schema.names):,} columns", budget.limits, "fields")
    header_names(path, 1, list(schema.names))
    line, total = 1, 0
    for batch in _guarded(path, batches):
        columns = []
        for name in range(batch.num_columns):
            values, size = _column(path, batch.column(name))
            total += size
            budget.read(path, line + 1, size)
            check_expansion(path, packed, total, budget.limits)
            columns.append(values)
        for cells in zip(*columns, strict=True):
            line += 1
            yield line, dict(zip(schema.names, cells, strict=True))
    if line == 1:
        raise refuse(path, None, "the file holds no rows")


def _is_text(pa: Any, kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_dictionary(kind))


def _guarded(path: Path, batches: Iterable[Any]) -> Iterator[Any]:
    """The batches of a reader, with its errors as ours."""
    source = iter(batches)
    while True:
        try:
            batch = next(source, None)
        except Exception as error:
            raise _broken(path, "a Parquet file", error) from error
        if batch is None:
            return
        yield batch


def _column(path: Path, column: Any) -> tuple[list[Any], int]:
    """The values of one column of a batch, and about how many characters they hold."""
    try:
        if hasattr(column, "dictionary"):
            indices = column.indices.to_pylist()
            table = {i: plain_value(column.dictionary[i].as_py()) for i in set(indices) if i is not None}
            values = [None if i is None else table[i] for i in indices]
        else:
            values = [plain_value(value) for value in column.to_pylist()]
    except Exception as error:
        raise _broken(path, "a Parquet file", error) from error
    return values, sum(map(characters, values))


def characters(value: Any) -> int:
    """How many characters (or bytes) a value holds, nested ones included."""
    if isinstance(value, (str, bytes)):
        return len(value)
    if isinstance(value, dict):
        return sum(len(str(key)) + characters(inner) for key, inner in value.items())
    if isinstance(value, list):
        return sum(map(characters, value)) + len(value)
    return 1
