"""Where sentences end, in English and Chinese, and rows made of them."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest

from microtune.data.sentences import INSIDE, sentence_places, sentences_of
from microtune.data.sources import Row
from microtune.data.steps import RowStep, make_step, run_steps
from microtune.data.steps.base import View
from microtune.data.steps.sentence_rows import SentenceRows
from microtune.errors import InputError


@pytest.mark.parametrize(
    "sentences",
    [
        ["Dr. Li met Mr. Smith.", "They talked."],
        ["It costs 3.50 dollars, or 1,000.25 in all.", "See Fig. 3 and No. 5.", "Done."],
        ["J. R. R. Tolkien wrote it.", "W. E. B. Du Bois did not."],
        ["He lives in the U.S. Army base.", "She left the U.S.", "Then she came back at 5 p.m. on Monday."],
        ["We sell pens, ink, etc. in town.", "They sell pens, ink, etc.", "The shop is open."],
        ["Use e.g. a card, i.e. plastic.", "Visit example.com or v1.2.3.", "Bye!"],
        ['He said "Stop! Go home." and left.', '"Why?" she asked.', "Nobody knew (see p. 4. It is there.) today."],
        ["1. First point.", "2. Second point.", "A. Third."],
        ["Really?!", "Yes... but how?", "Wait...", "What?", "Yahoo! is one word."],
        ["Was it you?", "No.", "Then who?", "Vitamin C. helps.", "I have no. 5 here."],
        ["i know dr. li, e.g. from the u.s. army.", "he is here.", "really?", "ok."],
        ["Great!", ":) Thanks.", "混合 text.", "中文。", "English here.", "完"],
    ],
)
def test_english(sentences: list[str]) -> None:
    assert sentences_of(" ".join(sentences)) == sentences


@pytest.mark.parametrize(
    "sentences",
    [
        ["你好。", "他走了！", "真的吗？！", "是……也许吧。"],
        ["他说：“今天很好。明天见。”", "然后走了。", "“再见！”她喊道。", "「真的？」", "是（对。没错。）吗？"],
        ["价格是3.5元。", "请看example.com。", "电话：010-12345678。"],
        ["你好!", "我是小王.", "你呢?", "还行."],
        ["他说。", '"你好。再见。"', "她走了。"],
        ["甲方（以下称“甲”）应付款。", "第3.2条。", "如有争议，协商解决；不成的，起诉。"],
    ],
)
def test_chinese(sentences: list[str]) -> None:
    assert sentences_of("".join(sentences)) == sentences


def test_lines_end_sentences_and_places_are_those_of_the_text() -> None:
    text = "  A title\n\nOne two. Three\nfour.  "
    assert [text[a:b] for a, b in sentence_places(text)] == ["A title", "One two.", "Three", "four."]
    assert sentences_of("\n \n") == []
    long = "(" + "It is. " * (INSIDE // 7 + 1) + ")"
    assert len(sentences_of(long)) > 1, "brackets that never seem to close keep nothing together"


@pytest.mark.parametrize("piece", ['"', "(", "“", "a. b. ", "Mr. ", "A. ", "...", "。”", "!\n", " "])
def test_a_hostile_text_takes_no_time(piece: str) -> None:
    start = time.process_time()
    sentences_of(piece * (200_000 // len(piece)))
    assert time.process_time() - start < 5


def parts(text: str, **options: Any) -> list[str]:
    return SentenceRows(**options).pieces(text)


def test_pieces_of_several_sentences() -> None:
    text = "One is. Two  are. Three were. A fourth one that is long. Five."
    assert parts(text) == ["One is.", "Two  are.", "Three were.", "A fourth one that is long.", "Five."]
    assert parts(text, sentences=2) == ["One is. Two  are.", "Three were. A fourth one that is long.", "Five."]
    assert parts(text, most=20) == ["One is. Two  are.", "Three were.", "A fourth one that is long.", "Five."]
    assert parts(text, most=1000) == [text]
    assert parts(text, most=1000, sentences=4) == [text[:-6], "Five."]
    assert parts("一。二！三？四", sentences=3) == ["一。二！三？", "四"]


def test_rows_keep_their_label_and_place() -> None:
    rows = [
        Row({"text": "One. Two.", "label": "a"}, "f.csv", 2),
        Row({"text": "Alone.", "label": "b"}, "f.csv", 3),
        Row({"text": "你好。再见。谢谢！", "label": "c"}, "f.csv", 4),
        Row({"text": None, "label": "d"}, "f.csv", 5),
    ]
    step = make_step({"name": "sentence-rows"})
    found, reports = run_steps(
        [step], {"train": rows, "test": rows[:1]}, ["text"], label=lambda r: r.data["label"], task="classification"
    )
    assert [(r.data["text"], r.data["label"], r.line) for r in found["train"]] == [
        ("One.", "a", 2),
        ("Two.", "a", 2),
        ("Alone.", "b", 3),
        ("你好。", "c", 4),
        ("再见。", "c", 4),
        ("谢谢！", "c", 4),
        (None, "d", 5),
    ]
    assert found["test"] == rows[:1], "a test stays as it is"
    assert (reports[0].touched, reports[0].dropped, reports[0].added, reports[0].rows) == (2, 0, 3, 4)
    assert reports[0].sentence() == (
        'Step sentence-rows: 2 of 4 rows changed, 3 added. First (f.csv, line 2): "One. Two." became "One. ↵ Two.".'
    )


@pytest.mark.parametrize(
    ("task", "fields", "message"),
    [
        ("sequence-to-sequence", ("source",), "not for the task sequence-to-sequence: a target belongs to the whole"),
        ("question-answering", ("context",), "its answers stand at places in the whole passage"),
        (
            "some-task",
            ("text",),
            "its answer belongs to the whole row; it is for language-modelling and classification",
        ),
        ("classification", ("a", "b"), 'the task reads "a" and "b", which belong together; leave the step out'),
    ],
)
def test_where_it_makes_no_sense(task: str, fields: tuple[str, ...], message: str) -> None:
    step = make_step({"name": "sentence-rows"})
    assert isinstance(step, RowStep)
    with pytest.raises(InputError) as caught:
        step.choose([], View(fields, None, random.Random(0), task))
    assert message in str(caught.value)
