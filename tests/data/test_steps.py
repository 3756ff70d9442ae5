"""Steps that prepare rows: what each does, to the character and to the row."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from microtune.data.personal import is_card, is_identity
from microtune.data.sentences import sentences_of
from microtune.data.sources import Row
from microtune.data.steps import RowStep, StepReport, TextStep, make_step, prepared_rows, run_steps, steps
from microtune.data.steps.base import View
from microtune.errors import InputError


def rows_of(*texts: str, label: Sequence[str] = (), path: str = "a.csv") -> list[Row]:
    labels = label or ["x"] * len(texts)
    return [Row({"text": t, "label": n}, path, i + 2) for i, (t, n) in enumerate(zip(texts, labels, strict=True))]


def change(text: str, name: str, **options: Any) -> str:
    step = make_step({"name": name, **options})
    assert isinstance(step, TextStep)
    once = step.change(text)
    assert step.change(once) == once, "a second time changes nothing"
    return once


def choose(rows: Sequence[Row], name: str, **options: Any) -> list[Row]:
    step = make_step({"name": name, **options})
    assert isinstance(step, RowStep)
    return step.choose(rows, View(("text",), lambda row: row.data["label"], random.Random(0)))


@pytest.mark.parametrize(
    ("name", "options", "before", "after"),
    [
        ("unicode", {}, "ＡＢＣ１２３ ﬁ①", "ABC123 fi1"),
        ("unicode", {"form": "NFC"}, "e\u0301Ａ", "éＡ"),
        ("whitespace", {}, " a \t b\u3000c\u200b \r\n\n\n\nd ", "a b c\n\nd"),
        ("whitespace", {"lines": False}, "a\n\n b", "a b"),
        ("lowercase", {}, "ÄB", "äb"),
        ("html", {}, "<p>a &lt; b</p><script>x()</script><p>c<br>d<!-- e --></p>", "a < b\nc\nd"),
        ("html", {}, "3 < 4 & 5", "3 < 4 & 5"),
        (
            "markdown",
            {},
            "# Title\n\n**bold** and [words](http://x.y) `code`\n\n- one\n- two",
            "Title\nbold and words code\none\ntwo",
        ),
        ("stopwords", {}, "The card of my bank is not good", "card bank good"),
        ("sentences", {}, "Dr. Li came. He said: no! Why? 3.5 is it.", "Dr. Li came.\nHe said: no!\nWhy?\n3.5 is it."),
        ("sentences", {}, "你好。他走了！“真的？”是。", "你好。\n他走了！\n“真的？”\n是。"),
        ("mask", {}, "mail a.b+c@mail.example.com now", "mail [EMAIL] now"),
        ("mask", {}, "请发到wang@x.cn，电话13812345678或+86 138-1234-5678", "请发到[EMAIL]，电话[PHONE]或[PHONE]"),
        ("mask", {}, "id 11010519491231002X, no 110105194912310021", "id [ID], no 110105194912310021"),
        ("mask", {}, "card 4111 1111 1111 1111, order 4111 1111 1111 1112", "card [CARD], order 4111 1111 1111 1112"),
        (
            "mask",
            {},
            "from 192.168.3.4 or 2001:db8::1 at 12:30:45, v1.2.3.4.5",
            "from [IP] or [IP] at 12:30:45, v1.2.3.4.5",
        ),
        ("mask", {}, "see https://x.y/a?token=abc and https://x.y/a?page=2", "see [URL] and https://x.y/a?page=2"),
        ("mask", {}, "ftp? https://me:pw@x.y/ (555) 123-4567 in 2024", "ftp? [URL] [PHONE] in 2024"),
        ("mask", {"kinds": ["phone"]}, "a@b.cn 13812345678", "a@b.cn [PHONE]"),
        ("mask", {}, "at 192.168.3.4:8080, Tel.13812345678. 100 200 3000", "at [IP]:8080, Tel.[PHONE]. 100 200 3000"),
        ("mask", {}, "card 3056 930902 5904 or 3782 822463 10005", "card [CARD] or [CARD]"),
        (
            "mask",
            {},
            "https://x.y/?author=li&keyword=bank&code=12 stays",
            "https://x.y/?author=li&keyword=bank&code=12 stays",
        ),
    ],
)
def test_texts(name: str, options: dict[str, Any], before: str, after: str) -> None:
    assert change(before, name, **options) == after


def test_chinese_by_packages() -> None:
    pytest.importorskip("opencc")
    assert change("軟體與網絡", "chinese") == "软体与网络"
    pytest.importorskip("jieba")
    assert change("我的卡被银行拒绝了", "stopwords", language="zh") == "卡银行拒绝"


def test_check_digits() -> None:
    assert is_identity("11010519491231002x")
    assert not is_identity("110105194913310021"), "there is no month 13"
    assert is_card("4111111111111111")
    assert not is_card("4111111111111117")


def test_sentences_end_where_they_end() -> None:
    assert sentences_of('He said "Stop." Then he left…') == ['He said "Stop."', "Then he left…"]
    assert sentences_of("  \n ") == []


def test_rows_that_are_left_out() -> None:
    rows = rows_of("a", "hello there", "x" * 50)
    assert choose(rows, "length", least=2, most=20) == [rows[1]]
    rows = rows_of("the card is not in my bag", "我的卡丢了，请帮帮我", "xyzzy", "これは日本語です")
    assert choose(rows, "language", keep=["zh"]) == [rows[1], rows[2]]
    assert choose(rows, "language", keep=["zh"], unknown="drop") == [rows[1]]
    german = rows_of("Der Mann ist nicht mit dem Zug gefahren", "Where is the nearest station of the city?")
    assert choose(german, "language") == [german[1]]
    assert choose(german, "language", keep=["de"]) == [german[0]]
    rows = rows_of("Card  lost", "card ｌost", "card lost", label=["a", "a", "b"])
    assert choose(rows, "duplicates") == [rows[0], rows[2]]
    assert choose(rows, "duplicates", by="text") == [rows[0]]


def test_near_copies() -> None:
    base = "the parcel that I ordered last week has still not arrived at my house in the city"
    rng = random.Random(0)
    others = ["".join(rng.choice("abcdefghij ") for _ in range(80)) for _ in range(200)]
    near = [base.replace("week", f"week{i}") for i in range(20)]
    rows = rows_of(base, *others, *near, base.replace("parcel", "letter"))
    kept = choose(rows, "near-duplicates")
    assert kept == [rows[0], *rows[1:201], *(row for row in kept[201:])]
    assert len(kept) == 202, "twenty copies are gone; one word of five letters less alike stays"


def test_balance() -> None:
    rows = rows_of(*"abcdef", label=["n"] * 4 + ["y", "z"])
    over = choose(rows, "balance")
    assert Counter(row.data["label"] for row in over) == {"n": 4, "y": 4, "z": 4}
    assert Counter(row.data["label"] for row in choose(rows, "balance", most=2)) == {"n": 4, "y": 2, "z": 2}
    under = choose(rows, "balance", how="under")
    assert Counter(row.data["label"] for row in under) == {"n": 1, "y": 1, "z": 1}
    assert [row.line for row in over] == sorted(row.line for row in over), "in the order of the file"


def test_mix() -> None:
    rows = rows_of(*"abcd", path="x/big.csv") + rows_of(*"ef", path="x/small.csv")
    mixed = choose(rows, "mix", rates={"big*": 0.5, "small.csv": 2})
    assert Counter(row.path for row in mixed) == {"x/big.csv": 2, "x/small.csv": 4}
    with pytest.raises(InputError, match=r'no row is of the source "other"; there are big\.csv, small\.csv'):
        choose(rows, "mix", rates={"other": 1})
    with pytest.raises(InputError, match="a rate is a number from 0 to 100, not -1"):
        choose(rows, "mix", rates={"big*": -1})


def test_augment() -> None:
    rows = rows_of("one two three four five six", "我的卡丢了", "ab")
    for how in ("swap", "drop"):
        made = choose(rows, "augment", how=how, rate=0.3, copies=2)
        assert made[:3] == rows
        assert 3 < len(made) <= 7
        for row in made[3:]:
            first = rows[row.line - 2].data["text"]
            assert row.data["text"] != first
            assert Counter(row.data["text"].replace(" ", "")) <= Counter(first.replace(" ", ""))
    assert choose(rows, "augment") == choose(rows, "augment"), "the same each time"


def test_a_pipeline_counts_and_shows() -> None:
    parts = {"train": rows_of("<b>A</b>", "a", "c"), "test": rows_of("<i>A</i>", "c")}
    found = [make_step({"name": name}) for name in ("html", "lowercase", "duplicates")]
    rows, reports = run_steps(found, parts, ["text"], label=lambda row: row.data["label"])
    assert [row.data["text"] for row in rows["train"]] == ["a", "c"]
    assert [row.data["text"] for row in rows["test"]] == ["a", "c"], "no row of the test is left out"
    assert [(r.touched, r.dropped, r.characters, r.rows) for r in reports] == [
        (2, 0, 14, 5),
        (2, 0, 0, 5),
        (0, 1, 0, 3),
    ]
    assert reports[0].examples[0] == ["<b>A</b>", "A"]
    assert reports[0].sentence() == (
        'Step html: 2 of 5 rows changed, 14 characters removed. First (a.csv, line 2): "<b>A</b>" became "A".'
    )
    assert reports[2].sentence() == "Step duplicates: 1 dropped."
    again = prepared_rows([step.model_dump() for step in found], rows_of("<b>A</b>", "a"), ["text"])
    assert [row.data["text"] for row in again] == ["a", "a"], "prediction changes texts and leaves out none"
    assert parts["train"][0].data["text"] == "<b>A</b>", "rows themselves stay"


def test_messages_are_changed_too() -> None:
    row = Row({"messages": [{"role": "user", "content": "ＡＢ"}, {"role": "assistant", "content": "Ｃ"}]}, "m", 1)
    rows, reports = run_steps([make_step({"name": "unicode"})], {"train": [row]}, ["messages"])
    assert [m["content"] for m in rows["train"][0].data["messages"]] == ["AB", "C"]
    assert [m["role"] for m in rows["train"][0].data["messages"]] == ["user", "assistant"]
    assert reports[0].touched == 1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "htlm"}, 'Unknown step "htlm". Did you mean "html"?'),
        ({"name": "unicode", "form": "NFX"}, "data.steps, unicode: form: "),
        ({"name": "length", "fewest": 1}, 'data.steps, length: unknown key "fewest".'),
        (
            {"name": "unicode", "fields": ["body"]},
            'data.steps, unicode: no row has the field "body"; there are text, label.',
        ),
        ({"name": "length", "least": 90}, "The step length leaves no row of the training split."),
        ({"name": "html"}, 'a.csv, line 3: the step html leaves nothing of the field "text"; remove the row.'),
    ],
)
def test_what_cannot_be_done(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        run_steps([make_step(values)], {"train": rows_of("a", "<br>")}, ["text"])
    assert message in str(caught.value)


def test_every_step_says_what_it_is() -> None:
    for name, step in steps.items():
        assert (step.__doc__ or "").strip().endswith("."), name
        assert step.model_fields["name"].default == name
    assert StepReport("x", rows=3).sentence() == "Step x: 0 of 3 rows changed."
