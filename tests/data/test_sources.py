"""The data doors: every format, encoding, header and limit, with the exact messages."""

from __future__ import annotations

import gzip
import json
import lzma
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from microtune.data.sources import Row, files_of, iter_rows, read_rows
from microtune.data.tables import has_header
from microtune.errors import InputError, LimitError
from microtune.recipe import Limits

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


# ------------------------------------------------------------------------------------------------- every format


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


# ------------------------------------------------------------------------------------------------- what is refused


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
        ('["a"]', 'x.json, line 1: a row is a string, not an object such as {"text": "...", "label": "..."}.'),
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
        ".txt, .md, each also with .gz or .xz; or pass format=."
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


# ------------------------------------------------------------------------------------------------- encodings

CHINESE = "text,label\n我的银行卡被拒绝了怎么办，请帮我看一下,投诉\n今天的天气很好我们去公园走走吧,闲聊\n"


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "gb18030", "gbk"]
)
def test_encodings_recognised(tmp_path: Path, encoding: str) -> None:
    path = write(tmp_path / "a.csv", CHINESE.encode(encoding))
    rows = read_rows(path)
    assert list(rows[0].data) == ["text", "label"]
    assert [row.data["label"] for row in rows] == ["投诉", "闲聊"]


def test_encoding_decided_late(tmp_path: Path) -> None:
    """The first character beyond ASCII stands after a chunk of ASCII, and a chunk's end cuts it in two."""
    head = "x" * 99 + "\n"
    for shift in range(3):
        text = head * 3000 + "y" * (2**18 - 300000 % 2**18 - 1 + shift) + "的中国人民\n"
        path = write(tmp_path / "a.txt", text.encode("gb18030"))
        assert read_rows(path)[-1].data["text"].endswith("y的中国人民")


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("text\ncafé\n".encode("latin-1"), "line 2: byte 8 (0xe9) is not valid UTF-8"),
        ("text\nПривет, как твои дела сегодня вечером\n".encode("cp1251"), "line 2: byte 5 (0xcf) is not valid UTF-8"),
        ("text\nПривет как твои дела сегодня вечером\n".encode("koi8-r"), "line 2: byte 5 (0xf0) is not valid UTF-8"),
        ("text\n안녕하세요 오늘 날씨가 좋네요 산책하러 갑시다\n".encode("euc-kr"), "line 2: byte 5 (0xbe)"),
        ("text\nこんにちは今日は天気がいいですね\n".encode("shift-jis"), "line 2: byte 5 (0x82)"),
        ("中文的\n".encode() + b"a\xff\n", "line 2: byte 11 (0xff)"),
        ("text\n的中".encode()[:-1], "line 2: byte 8 (0xe4)"),
    ],
)
def test_encodings_refused(tmp_path: Path, raw: bytes, expected: str) -> None:
    text = message(write(tmp_path / "a.csv", raw))
    assert text.startswith("a.csv, " + expected)
    assert text.endswith(
        'save the file as UTF-8 or name its encoding, such as encoding="gb18030" or encoding="latin-1".'
    )


def test_encoding_given(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "text\ncafé\n".encode("latin-1"))
    assert data(read_rows(path, encoding="latin-1")) == [{"text": "café"}]
    assert message(path, encoding="uft-9") == (
        'Unknown encoding "uft-9"; common ones are "utf-8", "utf-16", "gb18030" and "latin-1".'
    )
    assert "is not an encoding of text" in message(path, encoding="base64")
    lone = write(tmp_path / "b.txt", b"ok\n+2AA-\n")
    assert message(lone, encoding="utf-7").startswith("b.txt, line 2: there is half of a surrogate pair")


# ------------------------------------------------------------------------------------------------- headers

LONG = ["it was a long and winding road", "nobody knew what to say about that", "the sun rose over the quiet town"]
HEADERS = [
    (["text", "label"], [[t, "1"] for t in LONG], True),
    (["sentence", "label"], [[t, "pos"] for t in LONG], True),
    (["文本", "标签"], [[t, "好"] for t in LONG], True),
    (["内容", "类别"], [["今天天气", "闲聊"], ["我要退款", "投诉"]], True),
    (["", "sent_more", "sent_less"], [["0", t, t] for t in LONG], True),
    (["condition_label", "medical_abstract"], [["4", t] for t in LONG], True),
    (["ID", "section_header", "dialogue"], [["1", "CC", t] for t in LONG], True),
    (["question", "coarse", "fine"], [[t, "NUM", "NUM:dist"] for t in LONG], True),
    (["phrase_x", "kind"], [[t, "A"] for t in LONG * 3], True),
    (["height", "weight"], [["1.7", "60"], ["1.8", "80"]], True),
    (["name", "born"], [["Ann", "2001-02-03"], ["Bob", "1999/1/2"]], True),
    (["Review Text", "Rating"], [[t, "5"] for t in LONG], True),
    (["utterance"], [[t] for t in LONG], True),
    (["one long string of cliches", "0"], [[t, "1"] for t in LONG], False),
    (
        ["gj04", "1", "", "The sailors rode the breeze clear of the rocks."],
        [["gj04", "0", "*", t] for t in LONG],
        False,
    ),
    (["Where are they now?", "他们在哪里？"], [[t, "你好"] for t in LONG], False),
    (["巴勒斯坦明年1月24日举行总统与议会选举", "6"], [["奥巴马回答网友提问", "6"]], False),
    (["ham", "Go until jurong point, crazy.."], [["ham", LONG[0]], ["spam", LONG[1]]], False),
    (["hi", "greeting"], [[LONG[0], "other"], ["hello", "greeting"], [LONG[1], "other"]], False),
    (["book a flight to rome", "BookFlight"], [[t, "BookFlight"] for t in LONG], False),
    (["你好", "问候"], [["再见", "告别"], ["早上好", "问候"]], False),
    (["title", "text"], [["title", "a"], ["title", "text"]], False),
    (["good film", "positive"], [["bad film", "negative"], ["great film", "positive"]], False),
    (["hello there", "NA"], [["good day", "1"], ["good night", "2"]], False),
    (["2019", "2020"], [["1", "2"]], False),
    (["hello"], [["hello"], ["bye"]], False),
    (["a", "b"], [], False),
    (["text", "label"], [], True),
]


@pytest.mark.parametrize(("first", "body", "expected"), HEADERS)
def test_header_rule(first: list[str], body: list[list[str]], expected: bool) -> None:
    assert has_header(first, body) is expected


def test_header_forced_and_columns_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", 'a "quoted start\t1\n"so\t0\n')
    assert data(read_rows(path)) == [
        {"column_1": 'a "quoted start', "column_2": "1"},
        {"column_1": '"so', "column_2": "0"},
    ]
    words = write(tmp_path / "b.csv", "alpha,beta\ngamma,delta\n")
    assert data(read_rows(words)) == [
        {"column_1": "alpha", "column_2": "beta"},
        {"column_1": "gamma", "column_2": "delta"},
    ]
    assert data(read_rows(words, header=True)) == [{"alpha": "gamma", "beta": "delta"}]
    named = write(tmp_path / "c.csv", "text,label\na,b\n")
    assert data(read_rows(named, header=False))[0] == {"column_1": "text", "column_2": "label"}
    quoted = write(tmp_path / "d.tsv", '"text"\t"label"\n"a\tb\nc"\t"1"\nd\t0\n')
    assert [(r.line, r.data) for r in iter_rows(quoted)] == [
        (2, {"text": "a\tb\nc", "label": "1"}),
        (4, {"text": "d", "label": "0"}),
    ]
    semicolon = write(tmp_path / "e.csv", "text;label\na, b;1\n")
    assert data(read_rows(semicolon)) == [{"text": "a, b", "label": "1"}]


# ------------------------------------------------------------------------------------------------- limits


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
            assert "line 1: the row holds " in limited(path, "fields", 10)
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
