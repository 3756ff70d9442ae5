"""Encodings that are recognised or refused, and which first lines are headers."""

from __future__ import annotations

from pathlib import Path

import pytest
from door_helpers import data, message, write

from microtune.cli.chinese import translated
from microtune.data.sources import iter_rows, read_rows
from microtune.data.tables import has_header

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
        "save the file as UTF-8 or name its encoding, such as --encoding gb18030 or --encoding cp1252."
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
    (["refund"], [[t] for t in LONG], False),
    (["height"], [["1.7"], ["1.8"]], True),
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


def test_a_stray_mark_does_not_swallow_rows(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", 'text\tlabel\n"Good morning\tpos\nfine\tneg\nbye"\tneg\nyes\tpos\n')
    said = (
        "a.tsv, line 2: a quotation mark opens a field here that closes 2 lines below, but each of these lines is a row"
    )
    assert message(path).startswith(said)
    assert "每一行本身就是一行数据" in translated(message(path))
    spread = write(tmp_path / "b.tsv", 'text\tlabel\n"Good\nmorning"\tpos\nyes\tpos\n')
    assert data(read_rows(spread))[0] == {"text": "Good\nmorning", "label": "pos"}
    commas = write(tmp_path / "c.csv", 'text,label\n"Hello, you\nand, bye",pos\nyes,pos\n')
    assert data(read_rows(commas))[0] == {"text": "Hello, you\nand, bye", "label": "pos"}
