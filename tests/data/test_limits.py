"""Every limit and the bombs it stops, scaled down."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from door_helpers import ROWS, message, save, write

from microtune.data.sources import read_rows
from microtune.errors import LimitError
from microtune.recipe import Limits


def limited(path: Any, name: str, value: int, **options: Any) -> str:
    with pytest.raises(LimitError) as caught:
        read_rows(path, limits=Limits(**{name: value}), **options)
    text = str(caught.value)
    assert f"limits.{name} is {value:,}; if the data is right, raise limits.{name}=." in text
    return text


def test_limits(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '{"text": "abcdefghij", "b": [[1]]}\n' * 5)
    assert limited(path, "rows", 4).startswith(
        f"{path}, line 5: the source has more than 4 rows, and limits.rows is 4;"
    )
    assert "the file has 175 bytes" in limited(path, "file_bytes", 100)
    assert "decodes to more characters" in limited(path, "decoded_characters", 100)
    assert 'line 1: the field "text" has 10 characters' in limited(path, "field_characters", 9)
    assert "the row has 2 fields" in limited(path, "fields", 1)
    assert "line 1: the row is nested deeper than 2 levels" in limited(path, "depth", 2)
    limited([{"text": "abc"}], "field_characters", 2)
    limited([{"text": "abc"}] * 3, "rows", 2)
    wide = write(tmp_path / "a.csv", ",".join("abcdef") + "\n" + ",".join("123456") + "\n")
    assert "line 1: the line has 6 fields" in limited(wide, "fields", 5)
    # One field beyond the 131,072 characters at which the csv module stops by itself.
    long = write(tmp_path / "b.csv", f"text,label\n{'x' * 200_000},1\n")
    assert len(read_rows(long)[0].data["text"]) == 200_000
    limited(long, "field_characters", 150_000)
    unclosed = write(tmp_path / "c.csv", 'text,label\n"' + "x,1\n" * 10_000)
    assert "line 2: the record is too long (a quotation mark that is not closed?)" in limited(
        unclosed, "field_characters", 1000
    )
    limited(write(tmp_path / "d.txt", "x" * 1001), "field_characters", 1000)
    limited(tmp_path / "d.txt", "field_characters", 1000, whole=True)


@pytest.mark.parametrize("ending", [".jsonl", ".json"])
def test_nesting(tmp_path: Path, ending: str) -> None:
    deep = '{"a": ' + "[" * 100_000 + "]" * 100_000 + "}"
    path = write(tmp_path / f"a{ending}", deep if ending == ".jsonl" else f"[{deep}]")
    assert "nested deeper than 32 levels, and limits.depth is 32" in message(path)
    text = write(tmp_path / f"b{ending}", json.dumps({"a": "[" * 1000}) if ending == ".jsonl" else '[{"a": "[[[[["}]')
    assert read_rows(text, limits=Limits(depth=2))
    with pytest.raises(LimitError, match="nested deeper than Python can read"):
        read_rows(path, limits=Limits(depth=1_000_000))


def zeros(tmp_path: Path, size: int) -> bytes:
    import zlib

    engine = zlib.compressobj(wbits=31)
    parts = [engine.compress(b"0" * (1 << 20)) for _ in range(size >> 20)]
    return b"".join([*parts, engine.flush()])


def test_gzip_bomb(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(zeros(tmp_path, 200 << 20))
    assert "too long for one record" in limited(path, "field_characters", 1000)
    assert "decodes to more" in limited(path, "decoded_characters", 100_000)
    with pytest.raises(
        LimitError, match=r"compressed bytes unpack to more than 100,\d{3},\d{3}, and limits.expansion is 200"
    ):
        read_rows(path, limits=Limits(field_characters=1_000_000_000))


def test_workbook_bomb(tmp_path: Path) -> None:
    path = save(tmp_path / "a.xlsx", [{"text": f"{i} " + "x" * 30_000, "label": 1} for i in range(60)])
    assert "unpacks to more text" in limited(path, "decoded_characters", 1_000_000)
    limited(path, "rows", 10)
    limited(path, "field_characters", 20_000)
    big = tmp_path / "b.xlsx"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(big, "w", zipfile.ZIP_DEFLATED) as new:
        for part in old.infolist():
            new.writestr(part.filename, old.read(part))
        new.writestr("xl/extra.xml", b" " * (110 << 20))
    assert "compressed bytes unpack to more than" in limited(big, "expansion", 200)


def test_sheet_with_a_distant_row(tmp_path: Path) -> None:
    path = save(tmp_path / "a.xlsx", ROWS)
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(tmp_path / "b.xlsx", "w") as new:
        for part in old.infolist():
            new.writestr(part.filename, old.read(part).replace(b'<row r="4"', b'<row r="99999999999"'))
    assert "a sheet has at most 1,048,576 rows" in message(tmp_path / "b.xlsx")


def test_workbook_with_entities(tmp_path: Path) -> None:
    path = save(tmp_path / "a.xlsx", ROWS)
    entity = b'<!DOCTYPE a [<!ENTITY l "lol">]><worksheet'
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(tmp_path / "b.xlsx", "w") as new:
        for part in old.infolist():
            new.writestr(part.filename, old.read(part).replace(b"<worksheet", entity))
    assert message(tmp_path / "b.xlsx") == (
        "b.xlsx: the workbook holds a document type declaration; save it again, or as CSV."
    )


def test_many_values_in_one_row(tmp_path: Path) -> None:
    for name, content in {"a.jsonl": '{"a": [%s1]}', "b.json": '[{"a": [%s1]}]'}.items():
        for values in ("[],", "1,"):
            path = write(tmp_path / name, content % (values * 20_000))
            place = "row 1" if name == "b.json" else "line 1"  # all that the document holds stands on one line
            assert f"{place}: the row holds " in limited(path, "fields", 10)
    text = write(tmp_path / "c.jsonl", json.dumps({"a": ",[" * 20_000}))
    assert len(read_rows(text, limits=Limits(fields=10))) == 1


def test_parquet_bomb(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    text = pa.DictionaryArray.from_arrays(pa.array([0] * 200_000, pa.int32()), pa.array(["x" * 1000]))
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": text}), path, compression="zstd")
    assert path.stat().st_size < 40_000
    assert "compressed bytes unpack to more than 100" in limited(path, "expansion", 200)
    limited(path, "decoded_characters", 1_000_000)
    limited(path, "rows", 5000)


def test_importing_is_light() -> None:
    code = (
        "import sys, microtune.data.sources, microtune.data.splits, microtune.data.fields;"
        "print([m for m in ('torch', 'pyarrow', 'openpyxl', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
