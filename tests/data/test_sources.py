"""The data doors: every format, folders and names, and what is refused, with the exact messages."""

from __future__ import annotations

import gzip
import json
import lzma
import sys
from pathlib import Path

import pytest
from door_helpers import ROWS, data, message, save, write

from microtune.data.sources import files_of, iter_rows, read_rows
from microtune.errors import InputError

LINES = {
    ".jsonl": [1, 2, 3],
    ".json": [2, 6, 10],
    ".csv": [2, 3, 5],
    ".tsv": [2, 3, 5],
    ".xlsx": [2, 3, 4],
    ".parquet": [2, 3, 4],
}


@pytest.mark.parametrize("kind", LINES)
@pytest.mark.parametrize("packing", ["", ".gz", ".xz"])
def test_round_trip_with_lines(tmp_path: Path, kind: str, packing: str) -> None:
    path = save(tmp_path / f"rows{kind}{packing}", ROWS)
    rows = read_rows(path)
    assert data(rows) == ROWS
    assert [row.line for row in rows] == LINES[kind]
    assert {row.path for row in rows} == {str(path)}


def test_text_lines_and_whole(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "one\r\n\r\n  \r\ntwo \u2028 2\r\n")
    assert [(row.data["text"], row.line) for row in iter_rows(path)] == [("one", 1), ("two \u2028 2", 4)]
    whole = read_rows(path, whole=True)
    assert [(row.data["text"], row.line) for row in whole] == [("one\r\n\r\n  \r\ntwo \u2028 2\r\n", 1)]


def test_old_mac_line_ends(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "text,label\rgood,1\rbad,0\r")
    assert [(r.line, r.data["label"]) for r in iter_rows(path)] == [(2, "1"), (3, "0")]


def test_types_of_workbook_and_parquet(tmp_path: Path) -> None:
    import datetime

    rows = [
        {"text": "a long text that stands here", "label": 1, "score": 0.5, "when": datetime.datetime(2024, 1, 2, 3, 4)},
        {"text": "another text that stands here", "label": 0, "score": None, "when": None},
    ]
    expected = [{**rows[0], "when": "2024-01-02T03:04:00"}, rows[1]]
    assert data(read_rows(save(tmp_path / "a.xlsx", rows))) == expected
    assert data(read_rows(save(tmp_path / "a.parquet", rows))) == expected
    nested = [{"messages": [{"role": "user", "content": "hi"}], "n": float("nan")}]
    assert data(read_rows(save(tmp_path / "b.parquet", nested))) == [{**nested[0], "n": None}]


def test_json_shapes(tmp_path: Path) -> None:
    rows = [{"text": "a"}, {"text": "b"}]
    for name, document in {
        "data": {"version": "1 ]", "data": rows, "extra": [1, 2]},
        "only": {"version": [], "rows": rows} | {"version": "x"},
        "empty": {"a": {"b": [{}]}, "rows": rows},
    }.items():
        assert data(read_rows(write(tmp_path / f"{name}.json", json.dumps(document)))) == rows
    keyed = write(tmp_path / "k.json", '{"7": {"text": "a"},\n "8": {"text": "b", "id": 3}}')
    assert data(read_rows(keyed)) == [{"id": "7", "text": "a"}, {"key": "8", "text": "b", "id": 3}]
    assert [row.line for row in iter_rows(keyed)] == [1, 2]
    lines = write(tmp_path / "l.json", '{"text": "a"}\n{"text": "b"}\n')
    assert data(read_rows(lines)) == rows


def test_memory_and_frame() -> None:
    import pandas as pd

    assert [(row.path, row.line) for row in iter_rows(ROWS)] == [("<memory>", 1), ("<memory>", 2), ("<memory>", 3)]
    frame = pd.DataFrame({"text": ["a", "b"], "label": [1, 2], "score": [0.5, float("nan")]})
    assert data(read_rows(frame)) == [
        {"text": "a", "label": 1, "score": 0.5},
        {"text": "b", "label": 2, "score": None},
    ]
    assert message([{"text": "a"}, "b"]) == (
        '<memory>, line 2: a row is a str, not a dict such as {"text": "...", "label": "..."}.'
    )
    assert message([]) == "<memory>: the list or data frame holds no rows."
    with pytest.raises(InputError, match="not a int"):
        read_rows(3)


def test_folder_and_glob(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("b.jsonl", "a.jsonl", "sub/c.jsonl", ".hidden.jsonl"):
        write(tmp_path / name, json.dumps({"text": name}))
    write(tmp_path / "README.md", "about the data")
    write(tmp_path / "weights.bin", b"\0\1")
    assert [row.data["text"] for row in iter_rows(tmp_path)] == ["a.jsonl", "b.jsonl", "sub/c.jsonl"]
    assert [row.data["text"] for row in iter_rows(str(tmp_path / "?.jsonl"))] == ["a.jsonl", "b.jsonl"]
    assert [p.name for p in files_of(str(tmp_path / "**/c.*"))] == ["c.jsonl"]
    assert message(tmp_path / "z*.jsonl") == "z*.jsonl: no file matches this pattern."
    (tmp_path / "none").mkdir()
    assert message(tmp_path / "none").startswith("none: no readable file in this folder; read are .jsonl,")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('{"a": 1}\n{"a": }\n', "x.jsonl, line 2: column 7: broken JSON (expecting value)."),
        ('{"a": 1}\n{"a": 1', "x.jsonl, line 2: column 8: broken JSON (expecting ',' delimiter)."),
        ('{"a": 1} {"a": 2}', "x.jsonl, line 1: column 10: broken JSON (extra data)."),
        ('\n\n"text"', 'x.jsonl, line 3: a row is a string, not an object such as {"text": "...", "label": "..."}.'),
        ('{"a": 1, "a": 2}', 'x.jsonl, line 1: the key "a" stands twice in one object; keep one of them.'),
        ('{"a": NaN}', "x.jsonl, line 1: NaN is not JSON; use null for a missing number."),
        ('{"a": -Infinity}', "x.jsonl, line 1: -Infinity is not JSON; use null for a missing number."),
        (
            '{"a": 1e999}',
            "x.jsonl, line 1: the number 1e999 is too large; write it as a string if it is not a quantity.",
        ),
        ('{"a": ' + "9" * 5000 + "}", "x.jsonl, line 1: a number has 5,000 digits; write it as a string."),
        (
            '{"a": "\\ud83d"}',
            "x.jsonl, line 1: an escape such as \\ud83d is half of a surrogate pair, "
            "which is not a character; remove it.",
        ),
        ('{"a": "b\\u0000"}', 'x.jsonl, line 1: there is a NUL character in the field "a"; remove it.'),
        (
            '{"a": 1}\n{"a": "b\0"}',
            "x.jsonl, line 2: there is a NUL byte in the text; remove it, or name the encoding if it is not UTF-8.",
        ),
        (
            "[1]",
            'x.jsonl, line 1: a row is a list, not an object such as {"text": "...", "label": "..."}; '
            "if the whole file is one list, give it the ending .json.",
        ),
        (" \n\n", "x.jsonl: the file holds no rows."),
        ("", "x.jsonl: the file is empty."),
    ],
)
def test_broken_jsonl(tmp_path: Path, content: str, expected: str) -> None:
    assert message(write(tmp_path / "x.jsonl", content)) == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            '[{"a": 1},\n {"a": 2',
            "x.json, line 2: column 2: broken JSON (the file ends inside a list or object that begins here).",
        ),
        ('[{"a": 1}\n {"a": 2}]', "x.json, line 2: column 2: broken JSON (expecting , or ])."),
        ('[{"a": 1},\n {"a" 2}]', "x.json, line 2: column 7: broken JSON (expecting ':' delimiter)."),
        ('[{"a": 1},]', "x.json, line 1: column 11: broken JSON (expecting a value)."),
        ('[{"a": 1}] x', "x.json, line 1: column 12: broken JSON (there is more after the end of the list or object)."),
        ('[{"a": 1}', "x.json, line 1: column 10: broken JSON (the file ends before ])."),
        ('["a"]', 'x.json, row 1: a row is a string, not an object such as {"text": "...", "label": "..."}.'),
        (
            '{"a": [{}], "b": [{}]}',
            'x.json: the object holds several lists ("a", "b"); keep one, or call the one with rows data.',
        ),
        ('{"a": 1}', "x.json: the file is one object without a list of rows; write a list of objects."),
        ('{"a": {}, "a": {}}', 'x.json, line 1: the key "a" stands twice in one object; keep one of them.'),
        ("12", "x.json, line 1: the file is not a list of objects; expected [ at its beginning."),
        ("[]", "x.json: the file holds no rows."),
        ("  ", "x.json: the file holds only blanks."),
    ],
)
def test_broken_json(tmp_path: Path, content: str, expected: str) -> None:
    assert message(write(tmp_path / "x.json", content)) == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            "text,label\na,1\nb,c,2\n",
            "x.csv, line 3: 3 fields where the header on line 1 has 2; "
            "quote a field that holds the separator, or leave missing fields empty.",
        ),
        (
            'text,label\n"a\nb",1\nb\n',
            "x.csv, line 4: 1 fields where the header on line 1 has 2; "
            "quote a field that holds the separator, or leave missing fields empty.",
        ),
        (
            "1,2\n3\n",
            "x.csv, line 2: 1 fields where the first line has 2; "
            "quote a field that holds the separator, or leave missing fields empty.",
        ),
        ("text,label,text\na,b,c\n", 'x.csv, line 1: two columns are called "text"; rename one, or pass header=False.'),
        (
            'text,label\n"a,1\nb,2\n',
            "x.csv, line 2: a quotation mark opens a field here and the file ends before it is closed; "
            "close it, or double it.",
        ),
        (
            'text,label\n"a" b,1\n',
            "x.csv, line 2: there is text after the closing quotation mark of a field; "
            'write a quotation mark inside a field as "".',
        ),
        (
            "text,label\na\rb,1\n",
            "x.csv, line 2: there is a carriage return inside an unquoted field; quote the field, or remove it.",
        ),
        ("text,label\n", "x.csv: the file has a header and no rows below it."),
        ("\n  \n", "x.csv: the file holds no rows."),
    ],
)
def test_broken_csv(tmp_path: Path, content: str, expected: str) -> None:
    assert message(write(tmp_path / "x.csv", content)) == expected


def test_names_of_files(tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", "{}")
    assert message(tmp_path / "trian.jsonl") == 'trian.jsonl: no such file; did you mean "train.jsonl"?'
    assert message(tmp_path / "other.csv") == "other.csv: no such file."
    assert message(write(tmp_path / "a.doc", "x")) == (
        'a.doc: the ending ".doc" is not known; known are .jsonl, .ndjson, .json, .csv, .tsv, .xlsx, .xlsm, .parquet, '
        ".txt, .md, .conll, .bio, .iob, .bioes, each also with .gz or .xz; or pass format=."
    )
    assert message(write(tmp_path / "a.xls", "x")) == 'a.xls: the ending ".xls" is not known; save it as .xlsx or .csv.'
    assert message(tmp_path / "a.csv", format="cvs").startswith('Unknown format "cvs". Did you mean "csv"?')
    assert data(read_rows(write(tmp_path / "val.en", "a\nb\n"), format="text")) == [{"text": "a"}, {"text": "b"}]
    assert "x\\ny" in message(tmp_path / "x\ny.jsonl")
    assert message(str(tmp_path / "a\0b.csv")) == "a\\x00b.csv: no such file."


def test_wrong_content(tmp_path: Path) -> None:
    workbook = save(tmp_path / "a.xlsx", ROWS).read_bytes()
    assert message(write(tmp_path / "b.csv", workbook)) == (
        "b.csv: the file is a ZIP archive (an XLSX workbook?), not text; give it the ending of what it is."
    )
    twice = write(tmp_path / "c.csv.gz", gzip.compress(b"text\na\n"))
    assert message(twice) == (
        "c.csv.gz: the file is gzip-compressed inside its compression, not text; give it the ending of what it is."
    )
    assert "cannot be read as an XLSX workbook (BadZipFile:" in message(write(tmp_path / "d.xlsx", "text,label\n"))
    assert "cannot be read as a Parquet file (ArrowInvalid:" in message(write(tmp_path / "d.parquet", "text,label\n"))
    (tmp_path / "e.jsonl.gz").write_bytes(gzip.compress(b'{"a": 1}\n' * 100)[:-12])
    assert message(tmp_path / "e.jsonl.gz") == "e.jsonl.gz: cannot be read as gzip (the file ends in the middle)."
    (tmp_path / "f.jsonl.xz").write_bytes(b"this is not xz")
    assert message(tmp_path / "f.jsonl.xz").startswith("f.jsonl.xz: cannot be read as xz (Input format not supported")


def test_several_members(tmp_path: Path) -> None:
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"one\n") + gzip.compress(b"two\n") + b"\0" * 100)
    (tmp_path / "a.txt.xz").write_bytes(lzma.compress(b"one\n") + b"\0" * 8 + lzma.compress(b"two\n"))
    for ending in ("gz", "xz"):
        assert [row.data["text"] for row in iter_rows(tmp_path / f"a.txt.{ending}")] == ["one", "two"]


@pytest.mark.parametrize("ending", ["gz", "xz"])
def test_large_members(ending: str, tmp_path: Path) -> None:
    """Members that unpack to several chunks, as parallel compressors write them, cut in the middle of a character."""
    text = "".join(f"{number * number % 7919} 的文\n" for number in range(90_000))
    raw = text.encode()
    pack = gzip.compress if ending == "gz" else lzma.compress
    (tmp_path / f"a.txt.{ending}").write_bytes(
        b"".join(pack(raw[i : i + 700_000]) for i in range(0, len(raw), 700_000))
    )
    rows = iter_rows(tmp_path / f"a.txt.{ending}")
    assert [row.data["text"] for row in rows] == text.splitlines()


def test_workbook_shapes(tmp_path: Path) -> None:
    import openpyxl

    book = openpyxl.Workbook()
    sheet = book.active
    for row in (["text", "label", None], [], ["a good film", "pos", ""], ["a bad film"]):
        sheet.append(row)
    book.create_sheet("empty")
    book.save(tmp_path / "a.xlsx")
    rows = read_rows(tmp_path / "a.xlsx")
    assert [(row.line, row.data) for row in rows] == [
        (3, {"text": "a good film", "label": "pos"}),
        (4, {"text": "a bad film", "label": None}),
    ]
    book.create_sheet("test").append(["text", "label"])
    book.save(tmp_path / "b.xlsx")
    assert message(tmp_path / "b.xlsx") == (
        'b.xlsx: 2 sheets hold rows ("Sheet", "test"); save the one that is meant as its own file.'
    )


def test_without_openpyxl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "a.xlsx", ROWS)
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    assert message(path) == (
        'a.xlsx: reading XLSX needs openpyxl; pip install "microtune[excel]", or save the sheet as CSV.'
    )
