"""The door through which data comes in: files, folders, globs, lists of dicts and data frames -> rows.

A row keeps the file and line where it stood, so that every later complaint can name them. What is read is hostile until
measured: each reader streams, and `Limits` bound rows, fields, characters, nesting and decompression. Formats are told
by the name of the file (or `format=`), never by looking for code in it.
"""

from __future__ import annotations

import glob
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import IO, Any

from microtune.data.columnar import characters, plain_value, read_parquet, read_xlsx
from microtune.data.conll import ENDINGS as CONLL
from microtune.data.conll import read_conll
from microtune.data.decode import (
    Bad,
    Budget,
    Packing,
    check_encoding,
    check_size,
    lines,
    over,
    pass_over,
    refuse,
    shown,
    texts,
    unpacked,
    whole_text,
)
from microtune.data.jsonrows import Numbered, read_json, read_jsonl
from microtune.data.parallel import is_pair, pair_rows
from microtune.data.tables import read_table
from microtune.data.unfold import unfolded
from microtune.errors import InputError, suggest
from microtune.recipe import Limits

MEMORY = "<memory>"
ENDINGS = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".xlsx": "xlsx",
    ".xlsm": "xlsx",
    ".parquet": "parquet",
    ".txt": "text",
    ".md": "text",
    **dict.fromkeys(CONLL, "conll"),
}
FORMATS = tuple(dict.fromkeys(ENDINGS.values()))
PACKINGS: dict[str, Packing] = {".gz": "gz", ".xz": "xz"}
# Beside data in a folder these are about the data, not rows of it.
_ABOUT = {"readme", "license", "licence", "notice", "changelog", "citation", "dataset_infos", "dataset_info"}


@dataclass(frozen=True, slots=True)
class Row:
    """A dict as it stands in the data, and where: `line` counts from 1, in memory as in a file or a sheet."""

    data: dict[str, Any]
    path: str
    line: int


@dataclass(frozen=True, slots=True)
class Reading:
    """How the files of one source are to be read; None means that the file decides."""

    encoding: str | None = None
    header: bool | None = None
    format: str | None = None
    whole: bool = False
    bad: Bad | None = None


def iter_rows(
    source: Any,
    *,
    encoding: str | None = None,
    header: bool | None = None,
    limits: Limits | None = None,
    format: str | None = None,
    whole: bool = False,
    bad: Bad | None = None,
) -> Iterator[Row]:
    """The rows of `source`, one after the other.

    source: a file, a glob, a folder (its readable files, sorted; hidden files and README, LICENSE and the like are left
    out), {source: FILE, target: FILE} (parallel.py), a list of dicts, or a pandas DataFrame. encoding, header and
    format override what is recognised; whole=True makes one row of each plain text file. Raises InputError and, beyond
    `limits`, LimitError; each names file and line. bad: takes the error of a single row, which is then passed over.
    """
    budget = Budget(limits or Limits())
    if encoding is not None:
        check_encoding(encoding)
    if format is not None and format not in FORMATS:
        raise InputError(f"Unknown format {shown(format)}. {suggest(format, FORMATS)}")
    if isinstance(source, (str, Path)):
        how = Reading(encoding, header, format, whole, bad)
        return _file_rows(files_of(source, format=format), how, budget)
    if is_pair(source):
        return (_checked_pair(*found, budget.limits) for found in pair_rows(source, budget, encoding))
    return _memory_rows(source, budget)


def read_rows(source: Any, **options: Any) -> list[Row]:
    """All rows of `source`; the options are those of `iter_rows`."""
    return list(iter_rows(source, **options))


def files_of(source: str | Path, *, format: str | None = None) -> list[Path]:
    """The files behind a path, a folder or a glob, sorted; none at all is an error."""
    path = Path(source)
    try:
        if path.is_dir():
            found = [p for p in sorted(path.rglob("*")) if _is_data(p.relative_to(path)) and p.is_file()]
            if not found:
                raise refuse(path, None, f"no readable file in this folder; read are {_known_endings()}")
            return found
        if path.exists():
            if format is None:
                format_of(path)
            return [path]
        if glob.has_magic(str(source)):
            found = sorted(Path(p) for p in glob.glob(str(source), recursive=True) if Path(p).is_file())
            if not found:
                raise refuse(path, None, "no file matches this pattern")
            return found
    except (OSError, ValueError) as error:  # too long a name, a NUL in it, a folder that may not be read
        raise refuse(path, None, f"cannot be looked up ({str(error).splitlines()[0]})") from error
    raise _missing(path)


def format_of(path: Path) -> tuple[str, Packing]:
    """The format and the compression that the name of a file stands for."""
    packing = PACKINGS.get(path.suffix.lower(), "")
    inner = Path(path.stem).suffix.lower() if packing else path.suffix.lower()
    if inner in ENDINGS:
        return ENDINGS[inner], packing
    what = f"the ending {shown(inner)} is not known" if inner else "the name has no ending that tells the format"
    more = "save it as .xlsx or .csv" if inner == ".xls" else f"known are {_known_endings()}; or pass format="
    raise refuse(path, None, f"{what}; {more}")


def _known_endings() -> str:
    return f"{', '.join(ENDINGS)}, each also with .gz or .xz"


def _is_data(path: Path) -> bool:
    """Whether a file below a folder is data, by its name."""
    if any(part.startswith((".", "~$")) for part in path.parts):
        return False
    suffixes = [s.lower() for s in path.suffixes[-2:]]
    packed = bool(suffixes) and suffixes[-1] in PACKINGS
    ending = (suffixes[-2] if len(suffixes) > 1 else "") if packed else (suffixes[-1] if suffixes else "")
    return ending in ENDINGS and not is_about(path)


def is_about(path: Path) -> bool:
    """Whether a file says something about the data, as README does, by its name."""
    return path.name.split(".")[0].casefold() in _ABOUT


def _missing(path: Path) -> InputError:
    """The error for a file that is not there, with the nearest name in its folder."""
    folder = path.parent
    if not folder.is_dir():
        return refuse(path, None, f"no such file, and no such folder as {folder}")
    close = get_close_matches(path.name, sorted(p.name for p in folder.iterdir()), n=1, cutoff=0.6)
    return refuse(path, None, f'no such file; did you mean "{close[0]}"?' if close else "no such file")


def _file_rows(files: list[Path], how: Reading, budget: Budget) -> Iterator[Row]:
    for path in files:
        name, count = str(path), 0
        for line, element in _open(path, how, budget):
            for data in unfolded(element, path, line):
                budget.row(path, line)
                count += 1
                try:
                    _check_row(name, line, data, budget.limits)
                except InputError as error:
                    pass_over(error, how.bad)
                else:
                    yield Row(data, name, line)
        if not count and how.bad is None:
            raise refuse(path, None, "the file holds no rows")


def _open(path: Path, how: Reading, budget: Budget) -> Numbered:
    """The numbered dicts of one file, by its format."""
    if how.format is None:
        format, packing = format_of(path)
    else:
        format, packing = how.format, PACKINGS.get(path.suffix.lower(), "")
    if format in {"xlsx", "parquet"}:
        return _read_binary(path, format, packing, how, budget)
    open_text = partial(texts, path, packing, budget, how.encoding)
    if format == "jsonl":
        return read_jsonl(path, open_text(), budget.limits, how.bad)
    if format == "json":
        return read_json(path, open_text, budget.limits, how.bad)
    if format == "text":
        return _read_text(path, open_text(), budget.limits, whole=how.whole)
    numbered = lines(path, open_text(), budget.limits)
    if format == "conll":
        return read_conll(path, numbered)
    tabs = format == "tsv"
    return read_table(path, numbered, budget.limits, tabs=tabs, header=how.header, bad=how.bad)


def _read_binary(path: Path, format: str, packing: Packing, how: Reading, budget: Budget) -> Numbered:
    """XLSX and Parquet need a file to jump about in: compressed ones are unpacked to a temporary file first."""
    check_size(path, budget.limits)
    with _unpack(path, packing, budget.limits) if packing else _binary(path) as file:
        if format == "xlsx":
            yield from read_xlsx(path, file, budget, how.header)
        else:
            yield from read_parquet(path, file, budget)


def _unpack(path: Path, packing: Packing, limits: Limits) -> IO[bytes]:
    """A temporary file with the unpacked bytes; it vanishes when it is closed."""
    space, size = tempfile.TemporaryFile(), 0  # noqa: SIM115 - the caller closes it
    try:
        for chunk in unpacked(path, packing, limits):
            size += len(chunk)
            if size > limits.file_bytes:
                raise over(path, None, "the file unpacks to more bytes", limits, "file_bytes")
            space.write(chunk)
    except BaseException:
        space.close()
        raise
    return space


def _binary(path: Path) -> IO[bytes]:
    try:
        return path.open("rb")
    except OSError as error:
        raise refuse(path, None, f"cannot be opened ({error.strerror})") from error


def _read_text(path: Path, chunks: Iterator[str], limits: Limits, *, whole: bool) -> Numbered:
    """{"text": line} for each line that is not blank, or for the whole file."""
    if not whole:
        for line, text in lines(path, chunks, limits, record=1):
            if text and not text.isspace():
                yield line, {"text": text}
        return
    text = whole_text(path, chunks, limits)
    if text.strip():
        yield 1, {"text": text}


def _checked_pair(path: str, line: int, data: dict[str, Any], limits: Limits) -> Row:
    _check_row(path, line, data, limits)
    return Row(data, path, line)


def _memory_rows(source: Any, budget: Budget) -> Iterator[Row]:
    """The rows of a list of dicts or of a pandas DataFrame, which is recognised without importing pandas."""
    if type(source).__module__.partition(".")[0] == "pandas" and hasattr(source, "itertuples"):
        names = [str(name) for name in source.columns]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise refuse(MEMORY, None, f"two columns of the data frame are called {shown(twice[0])}; rename one")
        records: Iterator[Any] = (
            {name: _frame_value(cell) for name, cell in zip(names, cells, strict=True)}
            for cells in source.itertuples(index=False, name=None)
        )
    elif isinstance(source, (list, tuple)):
        records = iter(source)
    else:
        kind = type(source).__name__
        raise InputError(f"A source is a path, a folder, a glob, a list of dicts or a data frame, not a {kind}.")
    if not len(source):
        raise refuse(MEMORY, None, "the list or data frame holds no rows")
    return _checked_records(records, budget)


def _checked_records(records: Iterator[Any], budget: Budget) -> Iterator[Row]:
    for line, record in enumerate(records, 1):
        if not isinstance(record, dict) or not all(isinstance(key, str) for key in record):
            kind = "a dict with keys that are not text" if isinstance(record, dict) else f"a {type(record).__name__}"
            raise refuse(MEMORY, line, f'a row is {kind}, not a dict such as {{"text": "...", "label": "..."}}')
        for data in unfolded(record, MEMORY, line):
            budget.row(MEMORY, line)
            _check_row(MEMORY, line, data, budget.limits)
            yield Row(data, MEMORY, line)


def _frame_value(cell: Any) -> Any:
    """A cell of a data frame; pandas has three values that mean "missing"."""
    return None if type(cell).__name__ in {"NAType", "NaTType"} else plain_value(cell)


def _check_row(path: str, line: int, data: dict[str, Any], limits: Limits) -> None:
    """The limits of one row, and no NUL in its texts."""
    if len(data) > limits.fields:
        raise over(path, line, f"the row has {len(data):,} fields", limits, "fields")
    for name, value in data.items():
        size = len(value) if isinstance(value, str) else 0
        if isinstance(value, (dict, list, bytes)):
            size = characters(value)
        if size > limits.field_characters:
            what = f"the field {shown(name)} has {size:,} characters"
            raise over(path, line, what, limits, "field_characters")
        if isinstance(value, str) and "\0" in value:
            raise refuse(path, line, f"there is a NUL character in the field {shown(name)}; remove it")
