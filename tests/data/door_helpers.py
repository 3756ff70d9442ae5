"""What the tests of the data doors share: rows, writers for every format, and the message of a refusal."""

from __future__ import annotations

import gzip
import json
import lzma
from pathlib import Path
from typing import Any

import pytest

from microtune.data.sources import Row, read_rows
from microtune.errors import InputError

ROWS = [
    {"text": "my card was declined, twice", "label": "card"},
    {"text": '他说"你好",\n然后走了', "label": "zh"},
    {"text": "naïve café 🙂", "label": "other"},
]


def data(rows: list[Row]) -> list[dict[str, Any]]:
    return [row.data for row in rows]


def write(path: Path, content: str | bytes) -> Path:
    raw = content.encode() if isinstance(content, str) else content
    if path.suffix == ".gz":
        raw = gzip.compress(raw)
    if path.suffix == ".xz":
        raw = lzma.compress(raw)
    path.write_bytes(raw)
    return path


def message(source: Any, **options: Any) -> str:
    """What the door says, without the folder in front of the file's name."""
    with pytest.raises(InputError) as caught:
        read_rows(source, **options)
    text = str(caught.value)
    assert text.isprintable()
    folder = str(Path(source).parent) + "/" if isinstance(source, (str, Path)) else ""
    return text.replace(folder, "") if folder else text


def csv_of(rows: list[dict[str, str]], delimiter: str) -> str:
    import csv
    import io

    out = io.StringIO()
    writer = csv.DictWriter(out, rows[0].keys(), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def save(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Write `rows` in the format that the ending of `path` names."""
    kind = next(s for s in path.suffixes if s not in {".gz", ".xz"})
    if kind == ".jsonl":
        return write(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    if kind == ".json":
        return write(path, json.dumps(rows, indent=1))
    if kind in {".csv", ".tsv"}:
        return write(path, csv_of(rows, "," if kind == ".csv" else "\t"))
    plain = path.with_name("plain" + kind)
    if kind == ".xlsx":
        import openpyxl

        book = openpyxl.Workbook()
        book.active.append(list(rows[0]))
        for row in rows:
            book.active.append(list(row.values()))
        book.save(plain)
    else:
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(rows), plain)
    return write(path, plain.read_bytes())
