"""Bad input at the data doors, generated and never stored: each ends in rows or in one sentence.

For every door a valid file is mutated with knowledge of its structure (truncation, flipped bytes, quotes, nesting,
huge numbers, NUL, halves of surrogate pairs, strange ZIP members ...). Allowed outcomes are rows and a MicrotuneError
with one printable line, within ten seconds and without lasting memory. `-m slow` runs forty times as many examples.
"""

from __future__ import annotations

import datetime
import decimal
import gzip
import io
import json
import lzma
import os
import re
import warnings
import zipfile
from collections.abc import Callable, Iterator
from functools import cache, partial
from itertools import islice
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from microtune.data.fields import find_field, text_of
from microtune.data.sources import Row, iter_rows
from microtune.data.splits import split_rows
from microtune.errors import MicrotuneError
from microtune.recipe import Limits
from patience import within

SECONDS = 10
GROWTH = 400 << 20  # bytes of resident memory that a whole door may leave behind
SMALL = Limits(rows=50, fields=8, field_characters=2000, depth=6, decoded_characters=20_000, file_bytes=200_000)
TEXTS = st.text(max_size=200)  # which characters there are is found out once

ROWS = [
    {"text": f"问题 {i}: is \"this\" a text, or 'that'?\nsecond line é 🙂", "label": f"class {i % 3}", "n": i}
    for i in range(12)
]


# ------------------------------------------------------------------------------------------------- valid files


def table(delimiter: str) -> bytes:
    lines = [delimiter.join(ROWS[0])]
    lines += [delimiter.join('"' + str(v).replace('"', '""') + '"' for v in row.values()) for row in ROWS]
    return "\n".join(lines).encode()


@cache
def workbook() -> bytes:
    import openpyxl

    book, out = openpyxl.Workbook(), io.BytesIO()
    book.active.append(list(ROWS[0]))
    for row in ROWS:
        book.active.append([*row.values()])
    book.active.append([datetime.datetime(2024, 1, 2), True, "=1/0"])
    book.save(out)
    return out.getvalue()


SST = b"application/vnd.openxmlformats-officedocument.spreadsheetml.sharedStrings+xml"


@cache
def shared_workbook() -> bytes:
    """The same workbook with its texts in a shared table, as spreadsheet programs write it."""
    texts: list[bytes] = []

    def share(match: re.Match[bytes]) -> bytes:
        texts.append(match[1])
        return b't="s"><v>%d</v></c>' % (len(texts) - 1)

    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(workbook())) as old, zipfile.ZipFile(out, "w") as new:
        for part in old.infolist():
            raw = re.sub(rb't="inlineStr"><is><t[^>]*>([^<]*)</t></is></c>', share, old.read(part))
            override = b'<Override PartName="/xl/sharedStrings.xml" ContentType="' + SST + b'"/></Types>'
            new.writestr(part, raw.replace(b"</Types>", override))
        items = b"".join(b"<si><t>%s</t></si>" % text for text in texts)
        space = b"http://schemas.openxmlformats.org/spreadsheetml/2006/main"
        new.writestr("xl/sharedStrings.xml", b'<sst xmlns="%s">%s</sst>' % (space, items))
    return out.getvalue()


@cache
def parquets() -> tuple[bytes, ...]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rich = [
        {
            "text": row["text"],
            "tags": ["a", "b"],
            "turns": [{"role": "user", "n": i}],
            "when": datetime.datetime(2024, 1, 1 + i, tzinfo=datetime.UTC),
            "price": decimal.Decimal(f"{i}.25"),
            "raw": bytes([i]),
            "x": float("nan"),
        }
        for i, row in enumerate(ROWS)
    ]
    files = []
    for rows, options in (
        (ROWS, {}),
        (ROWS, {"compression": "none", "use_dictionary": False}),
        (ROWS * 50, {"compression": "zstd", "row_group_size": 100}),
        (rich, {"compression": "none"}),
    ):
        out = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows), out, **options)
        files.append(out.getvalue())
    return tuple(files)


VALID: dict[str, Callable[[], tuple[bytes, ...]]] = {
    ".jsonl": lambda: ("\n".join(json.dumps(row) for row in ROWS).encode(),),
    ".json": lambda: (
        json.dumps(ROWS, ensure_ascii=False).encode(),
        json.dumps({"version": 1.5, "data": ROWS}, indent=1).encode(),
        json.dumps({str(i): row for i, row in enumerate(ROWS)}).encode(),
    ),
    ".csv": lambda: (table(","), table(";"), "一句话,1\n另一句话,0\n".encode("gb18030") * 5),
    ".tsv": lambda: (table("\t"), b'some "words" here\t1\nand others\t0\n' * 6),
    ".txt": lambda: ("\n".join(row["text"] for row in ROWS).encode(), "我们的文字\n".encode("utf-16")),
    ".xlsx": lambda: (workbook(), shared_workbook()),
    ".parquet": parquets,
}


# ------------------------------------------------------------------------------------------------- mutations

NASTY = [
    *(b"\0", b"\xff", b"\xfe\xff", b"\xff\xfe", b"\xef\xbb\xbf", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80"),
    *(b'"', b'""', b'"""', b"'", b"\\", b"\\u", b"\\ud800", b"\\u0000", b"\\x1b", b"\x1b[31m", b"\x1b]8;;file:///\x07"),
    *(
        b"[",
        b"]",
        b"{",
        b"}",
        b"[" * 50,
        b'{"a":' * 50,
        b"[" * 20_000,
        b'{"a":[' * 5000,
        b":",
        b",",
        b",,,,",
        b"," * 3000,
    ),
    *(b"\n", b"\r", b"\r\n", b"\n\n\n", b"\t", b"\t\t\t", b"\x0b\x0c\x1c\x85", "\u2028\u2029\u202e\ufeff".encode()),
    *(
        b"NaN",
        b"-Infinity",
        b"1e999",
        b"-1e-999",
        b"9" * 5000,
        b"0x10",
        b"01",
        b"null",
        b"true",
        b"--",
        b"=cmd|' /C calc'!A0",
    ),
    *(
        b"PK\x03\x04",
        b"PAR1",
        b"\x1f\x8b",
        b"\xfd7zXZ\x00",
        b"%PDF-",
        "锟斤拷".encode("gb18030"),
        "é".encode("latin-1"),
    ),
    *(b'{"text": 1, "text": 2}\n', b'[{"a": 1}]\n', b'"a string"\n', b"x" * 70_000, b'<!ENTITY a "b">', b"&a;" * 100),
]


@st.composite
def mutated(draw: st.DrawFn, raw: bytes) -> bytes:
    """`raw` after one to four changes."""
    for _ in range(draw(st.integers(1, 4))):
        # Not bounded by the length: workbooks hold the time, and hypothesis wants equal draws in every run. Multiplied,
        # because it prefers small numbers and would mostly break headers.
        at, length = draw(st.integers(0, 1 << 20)) * 2654435761 % max(1, len(raw)), draw(st.integers(1, 40))
        change = draw(st.sampled_from(["cut", "drop", "flip", "insert", "replace", "repeat", "tail"]))
        if change == "cut":
            raw = raw[:at]
        elif change == "drop":
            raw = raw[:at] + raw[at + length :]
        elif change == "flip":
            raw = raw[:at] + bytes([draw(st.integers(0, 255))]) + raw[at + 1 :]
        elif change == "insert":
            raw = raw[:at] + draw(st.sampled_from(NASTY)) + raw[at:]
        elif change == "replace":
            raw = raw[:at] + draw(st.sampled_from(NASTY)) + raw[at + length :]
        elif change == "repeat":
            raw = raw[:at] + raw[at : at + length] * draw(st.sampled_from([2, 50, 3000])) + raw[at + length :]
        else:
            raw = raw + draw(st.binary(max_size=30))
    return raw


XML = [
    (b'r="A2"', b'r="XFD2"'),
    (b'r="A2"', b'r="ZZZZZZ2"'),
    (b'r="A2"', b'r="A0"'),
    (b'r="A2"', b'r="\xff"'),
    (b'<row r="3"', b'<row r="1048577"'),
    (b'<row r="3"', b'<row r="-5"'),
    (b'<row r="3"', b'<row r="9999999999999999999"'),
    (b'<row r="3"', b'<row r="x"'),
    (b'ref="A1:', b'ref="A1:XFD1048576" x="'),
    (b"<v>1</v>", b"<v>99999999</v>"),
    (b"<v>1</v>", b"<v>-1</v>"),
    (b"<v>1</v>", b"<v>1e400</v>"),
    (b"<v>1</v>", b"<v>" + b"9" * 6000 + b"</v>"),
    (b"<v>1</v>", b"<v>&#0;</v>"),
    (b"<v>1</v>", b"<v>&boom;</v>"),
    (b't="s"', b't="d"'),
    (b't="s"', b't="e"'),
    (b't="s"', b't="inlineStr"'),
    (b"<?xml", b'<!DOCTYPE a [<!ENTITY b "cccccccccc">]><?xml'),
    (b"<worksheet", b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><worksheet'),
    (b"<worksheet", b"<chartsheet"),
    (b"sheetData", b"sheetDat"),
    (b"xl/worksheets/sheet1.xml", b"../../../etc/passwd"),
    (b"/xl/worksheets/sheet1.xml", b"/xl/worksheets/none.xml"),
    (b"s=", b's="99999" x='),
    (b"<t>", b"<t>" + b"x" * 100_000),
    (b"<sst", b"<sst><si/><si><r/></si>"),
    (b"UTF-8", b"UTF-16"),
    (b"encoding", b"encodin"),
]
NAMES = [
    "../../evil.xml",
    "/abs.xml",
    "C:\\x.xml",
    "x" * 5000,
    "a\x00b.xml",
    "CON",
    "\u202exml",
    "xl/workbook.xml",
    "/",
]


@st.composite
def odd_archive(draw: st.DrawFn) -> bytes:
    """A workbook whose parts are changed, renamed, doubled or dropped inside a sound ZIP archive."""
    with zipfile.ZipFile(io.BytesIO(draw(st.sampled_from([workbook(), shared_workbook()])))) as old:
        parts = [(part.filename, old.read(part)) for part in old.infolist()]
    for _ in range(draw(st.integers(1, 3))):
        i = draw(st.integers(0, len(parts) - 1))
        name, raw = parts[i]
        change = draw(st.sampled_from(["xml", "xml", "xml", "bytes", "rename", "double", "drop", "empty", "swap"]))
        if change == "xml":
            old_text, new_text = draw(st.sampled_from(XML))
            parts = [(n, r.replace(old_text, new_text, draw(st.sampled_from([1, -1])))) for n, r in parts]
        elif change == "bytes":
            parts[i] = (name, draw(mutated(raw)))
        elif change == "rename":
            parts[i] = (draw(st.sampled_from(NAMES)), raw)
        elif change == "double":
            parts.append((name, raw[: len(raw) // 2]))
        elif change == "drop" and len(parts) > 1:
            del parts[i]
        elif change == "empty":
            parts[i] = (name, b"")
        else:
            j = draw(st.integers(0, len(parts) - 1))
            parts[i], parts[j] = (name, parts[j][1]), (parts[j][0], raw)
    out = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(out, "w", draw(st.sampled_from([0, 8]))) as new:
        warnings.simplefilter("ignore")  # zipfile warns about doubled names
        for name, raw in parts:
            new.writestr(name, raw)
    return out.getvalue()


@st.composite
def bad_file(draw: st.DrawFn, ending: str) -> bytes:
    """What might stand in a file of this ending: mostly nearly right, sometimes another format or noise."""
    kind = draw(st.sampled_from(["mutated"] * 7 + ["valid", "other", "noise", "text"]))
    if kind == "valid":  # good content may still meet bad options, small limits or broken compression
        return draw(st.sampled_from(VALID[ending]()))
    if kind == "other":
        return draw(st.sampled_from([raw for make in VALID.values() for raw in make()]))
    if kind == "noise":
        return draw(st.binary(max_size=300))
    if kind == "text":
        encoding = draw(st.sampled_from(["utf-8", "utf-16", "utf-32-le", "gb18030", "utf-7"]))
        return draw(TEXTS).encode(encoding, "replace")
    if ending == ".xlsx" and draw(st.booleans()):
        return draw(odd_archive())
    return draw(mutated(draw(st.sampled_from(VALID[ending]()))))


def packed(raw: bytes, packing: str) -> bytes:
    return {"": bytes, ".gz": partial(gzip.compress, mtime=0), ".xz": lzma.compress}[packing](raw)


# ------------------------------------------------------------------------------------------------- the check


def one_line(error: MicrotuneError) -> None:
    """A message that a terminal and a log can show as it is."""
    message = str(error)
    assert message.isprintable(), message
    assert 10 < len(message) < 1000, message


def check(path: Path, raw: bytes, limits: Limits, options: dict[str, Any]) -> str:
    """Write, read and judge one file; returns the kind of outcome."""
    path.write_bytes(raw)
    with within(SECONDS):
        try:
            rows = list(islice(iter_rows(path, limits=limits, **options), 20_000))
            assert rows
            assert all(isinstance(row, Row) and isinstance(row.data, dict) and row.line >= 1 for row in rows)
            assert all(isinstance(name, str) for row in rows for name in row.data)
            field = find_field(rows, "text")
            texts = [text_of(row, field) for row in rows]
            assert all(text.encode() for text in texts)
            split_rows(rows, split={"test": 0.5}, seed=0)
        except MicrotuneError as error:
            one_line(error)
            return "refused"
    return "rows"


def test_valid_files_are_read(tmp_path: Path) -> None:
    """The files that are mutated below are good ones, so that a refusal is the mutation's doing."""
    for ending, make in VALID.items():
        for i, raw in enumerate(make()):
            path = tmp_path / f"{i}{ending}"
            path.write_bytes(raw)
            assert list(iter_rows(path))
    assert [r.data for r in iter_rows(tmp_path / "0.xlsx")] == [r.data for r in iter_rows(tmp_path / "1.xlsx")]


@pytest.fixture
def bounded_memory() -> Iterator[None]:
    process = psutil.Process(os.getpid())
    parquets(), shared_workbook()
    before = process.memory_info().rss
    yield
    assert process.memory_info().rss - before < GROWTH


def attack(folder: Path, endings: str, examples: int) -> None:
    """`examples` bad files with these endings."""
    ending = "." + endings.split(".")[1]
    packing = "".join("." + part for part in endings.split(".")[2:])
    outcomes = {"rows": 0, "refused": 0}

    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def run(data: st.DataObject) -> None:
        raw = packed(data.draw(bad_file(ending)), packing)
        if packing and data.draw(st.integers(0, 3)) == 3:
            raw = data.draw(mutated(raw))
        limits = data.draw(st.sampled_from([Limits(), SMALL]))
        options = data.draw(st.sampled_from([{}, {}, {}, {"header": True}, {"encoding": "gbk"}, {"whole": True}]))
        outcomes[check(folder / f"bad{endings}", raw, limits, options)] += 1

    run()
    assert outcomes["refused"] > examples / 10
    assert outcomes["rows"] > 0


DOORS = [*VALID, ".jsonl.gz", ".csv.xz", ".txt.gz", ".txt.xz", ".parquet.gz", ".xlsx.xz"]


@pytest.mark.parametrize("endings", DOORS)
@pytest.mark.usefixtures("bounded_memory")
def test_bad_files(tmp_path: Path, endings: str) -> None:
    attack(tmp_path, endings, 130)


@pytest.mark.slow
@pytest.mark.parametrize("endings", DOORS)
@pytest.mark.usefixtures("bounded_memory")
def test_many_bad_files(tmp_path: Path, endings: str) -> None:
    attack(tmp_path, endings, 5000)
