"""Each measurement finds what was planted, and nothing in clean rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from lint_files import Maker, clean_rows
from microtune.data.lint import words_en, words_zh
from microtune.data.lint.base import Finding, Measurement, Seen
from microtune.data.lint.classes import Classes
from microtune.data.lint.cues import Cues
from microtune.data.lint.doubts import LabelDoubts
from microtune.data.lint.duplicates import Duplicates
from microtune.data.lint.encoding import Encoding
from microtune.data.lint.lengths import Histogram, Lengths
from microtune.data.lint.mix import Languages
from microtune.data.lint.near import NearDuplicates, compared
from microtune.data.lint.personal import PersonalData, masked, personal
from microtune.data.lint.reading import Reader
from microtune.data.lint.sample import Sample
from microtune.data.minhash import grams, jaccard, signature
from microtune.data.personal import is_address, is_card, is_identity, is_public
from microtune.data.sources import Row, read_rows


def seen(rows: list[dict[str, Any]], *, test: bool = False) -> list[Seen]:
    reader = Reader("classification", {"text": "text", "label": "label"})
    return [reader.see(row, i, test=test) for i, row in enumerate(read_rows(rows))]


def found(measure: Measurement, rows: Sequence[Seen]) -> dict[str, Finding]:
    for row in rows:
        measure.add(row)
    return {finding.kind: finding for finding in measure.findings()}


def test_copies_contradictions_and_leaks() -> None:
    rows = clean_rows(100)
    rows[40] = dict(rows[2])
    rows[41] = {"text": f"  {rows[4]['text'].upper()} ", "label": rows[4]["label"]}
    rows[50] = {"text": rows[3]["text"], "label": "money"}
    copies = Duplicates("classification")
    for row in seen([rows[7], clean_rows(3, seed=9)[0]], test=True):
        copies.add(row)
    kinds = found(copies, seen(rows))
    assert {k: f.count for k, f in kinds.items()} == {"exact-copies": 2, "contradictory-labels": 1, "test-overlap": 1}
    assert [p.line for p in kinds["exact-copies"].places] == [41, 42]
    assert kinds["test-overlap"].places[0].line == 8
    assert kinds["test-overlap"].values == {"test": 2, "leaked": 1}


def near(rows: list[Seen]) -> dict[str, Finding]:
    measure = NearDuplicates(rows)
    assert list(measure.measure()) == [0]
    return {finding.kind: finding for finding in measure.findings()}


def test_near_copies() -> None:
    rows = clean_rows(120)
    rows[60]["text"] = rows[10]["text"] + " indeed"
    rows[61]["text"] = rows[20]["text"].replace(" with ", " and with ")
    kinds = near(seen(rows))
    assert [p.line for p in kinds["near-copies"].places] == [61, 62]
    tests = seen([{"text": rows[5]["text"] + " too", "label": "money"}], test=True)
    kinds = near([*seen(rows), *tests])
    assert kinds["near-test"].count == 1


def test_near_pairs_are_those_of_a_full_comparison() -> None:
    """On 150 texts, half of them edits of others, the bands miss no pair of 80 % overlap."""
    make = Maker(3)
    texts = [make.sentence(3) for _ in range(75)]
    texts += [text.replace("the", "a", i % 5) for i, text in enumerate(texts)]
    sets = [grams(text) for text in texts]
    true = {
        later
        for later in range(len(texts))
        if texts[later] not in texts[:later] and any(jaccard(sets[i], sets[later]) >= 0.8 for i in range(later))
    }
    assert len(true) > 20
    assert {later for _, later, share in compared(texts) if share >= 0.8} == true


def test_a_signature_estimates_the_overlap() -> None:
    assert signature(grams("the same text")) == signature(grams("the same text"))
    assert jaccard(np.array([1, 2, 3], np.uint64), np.array([2, 3, 4], np.uint64)) == 0.5


def test_classes() -> None:
    rows = [{"text": "x", "label": "a"}] * 90 + [{"text": "x", "label": "A "}] * 12 + [{"text": "x", "label": "b"}] * 3
    kinds = found(Classes(), seen(rows))
    assert kinds["rare-classes"].values["names"] == "b (3)"
    assert kinds["class-imbalance"].values == {"label": "a", "share": 0.857, "times": 30.0}
    assert kinds["label-spelling"].count == 12
    assert found(Classes(), seen(rows[:5])).keys() == {"one-class", "rare-classes"}


def test_a_cue() -> None:
    rows = clean_rows(400)
    for row in rows:
        if row["label"] == "travel":
            row["text"] += " zzz"
    cues = Cues(seen(rows))
    assert [(word, label) for word, label, *_ in cues.found] == [("zzz", "travel")]
    assert not Cues(seen(clean_rows(400))).findings()


def test_doubtful_labels() -> None:
    pytest.importorskip("sklearn")
    rows = clean_rows(600)
    planted = [11, 50, 133, 200, 305, 411, 520]
    for i in planted:
        rows[i]["label"] = {"money": "travel", "travel": "money"}[rows[i]["label"]]
    finding = LabelDoubts(seen(rows)).findings()[0]
    assert finding.count == len(planted)
    assert {p.line - 1 for p in finding.places} <= set(planted)
    doubts = LabelDoubts(seen(clean_rows(600)))
    assert not doubts.findings()
    assert doubts.accuracy > 0.98
    make = Maker(4)
    chance = LabelDoubts(seen([{"text": make.sentence(), "label": "ab"[make.random.randrange(2)]} for _ in range(300)]))
    assert chance.skipped == "weak"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("the caf\ufffd is open", "replacement"),
        ("the cafÃ© is open", "mojibake"),
        ("it â€™s late", "mojibake"),
        ("文件锟斤拷打不开", "mojibake"),
        ("a bell \x07 rings", "control"),
        ("a \u200bhidden word", "invisible"),
        ("Tom &amp; Ann<br/>went", "markup"),
    ],
)
def test_damage(text: str, kind: str) -> None:
    assert set(found(Encoding(), seen([{"text": text, "label": "a"}]))) == {kind}


def test_honest_text_is_not_damaged() -> None:
    texts = ["Ça va, Zoë? São Paulo; naïve Ångström", "价格 < 100 & 质量好；", "if a < b and c > d: x;", "Über Ä Ö; ÃO"]
    assert not found(Encoding(), seen([{"text": text, "label": "a"} for text in texts]))


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("write to ann.b@example.org now", "email"),
        ("我的手机是13812345678，请联系", "phone"),
        ("call +44 20 7946 0958 or", "phone"),
        ("身份证11010519491231002X已登记", "identity-number"),
        ("card 4111 1111 1111 1111 was", "bank-card"),
        ("or 3782 822463 10005, valid", "bank-card"),
        ("it came from 8.8.4.4.", "ip-address"),
        ("ends 4111111111111111.", "bank-card"),
        ("see https://a.example/x?token=abcd1234efgh", "secret-url"),
    ],
)
def test_personal_data(text: str, kind: str) -> None:
    assert {k for k, _ in personal(text)} == {kind}


@pytest.mark.parametrize(
    "text",
    [
        "order 4111111111111112 and 11010519491231002 and 110105194912310021",
        "version 10.0.0.1 and 1.2.3.4567, pi is 3.14159265358979",
        "the numbers 41 11 11 11 11 11 11 11 and 40 50 60 70 80 90 95 10",
        "in 1998-2004 about 13,812,345,678 people; a@b, 12-34",
        "https://a.example/page?id=5",
    ],
)
def test_numbers_that_are_nobodys(text: str) -> None:
    assert list(personal(text)) == []


def test_checksums() -> None:
    assert is_identity("11010519491231002X")
    assert not is_identity("110105194912310021")
    assert is_card("4111111111111111")
    assert not is_card("1111111111111111")
    assert is_address("8.8.4.4")
    assert not is_address("08.8.4.4")
    assert [is_public(a) for a in ("8.8.4.4", "2a00:1450::1", "10.0.0.1", "fe80::1")] == [True, True, False, False]
    assert masked("phone", "13812345678") == "1*********8"


def test_languages() -> None:
    rows = clean_rows(200)
    for i in (3, 40, 90, 150):
        rows[i]["text"] = Maker(i).chinese(40)
    rows[7]["text"] = "|-- 12.5 -- 33.1 --|" * 3
    kinds = {f.kind: f for f in Languages(seen(rows)).findings()}
    assert kinds["language-mix"].count == 4
    assert [p.line for p in kinds["few-letters"].places] == [8]


def test_lengths() -> None:
    rows = clean_rows(300)
    rows[100]["text"] = Maker(1).sentence(200)
    rows[101]["text"] = "ok"
    kinds = found(Lengths(), seen(rows))
    assert [(kinds[k].count, kinds[k].places[0].line) for k in ("very-long", "very-short")] == [(1, 101), (1, 102)]
    histogram = Histogram()
    for value in (*range(100), 123_456):
        histogram.add(value)
    assert (histogram.quantile(0.5), histogram.above(99), histogram.below(10)) == (50, 1, 10)
    assert histogram.record()["longest"] == 123_000
    assert sum(n for *_, n in histogram.record()["bars"]) == 101


def test_a_clean_file_has_no_findings() -> None:
    rows = seen(clean_rows())
    measures: list[Measurement] = [Duplicates("classification"), Classes(), Encoding(), PersonalData(), Lengths()]
    for measure in measures:
        assert not found(measure, rows), measure
    for sampled in (Languages(rows), Cues(rows)):
        assert not sampled.findings()
    assert all(share < 0.8 for _, _, share in compared([row.text for row in rows]))


def test_a_sample_is_bounded_and_spread() -> None:
    sample = Sample(50)
    for row in seen([{"text": "x" * 5000, "label": "a"}] * 1000):
        sample.add(row)
    numbers = [row.number for row in sample.rows]
    assert len(numbers) == len(set(numbers)) == 50
    assert numbers == sorted(numbers)
    assert numbers[-1] > 500
    assert {len(row.text) for row in sample.rows} == {2000}
    assert not sample.whole


def test_both_languages_have_all_words() -> None:
    for table in ("FINDINGS", "WHY", "PAGE"):
        one, other = getattr(words_en, table), getattr(words_zh, table)
        assert one.keys() == other.keys()
    for kind, sentences in words_en.FINDINGS.items():
        for english, chinese in zip(sentences, words_zh.FINDINGS[kind], strict=True):
            assert places(english) == places(chinese), kind


def places(text: str) -> set[str]:
    """The names in braces."""
    import string

    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_what_a_finding_shows_of_a_url_is_not_its_secret() -> None:
    assert (
        masked("secret-url", "https://bob:s3cret@api.example.com/v1?token=abc123")
        == "https://***@api.example.com/v1***"
    )


def test_a_row_counts_once_for_text_and_target() -> None:
    rows = [Seen(Row({}, "a", 1), 0, "an \ufffd", "and \ufffd")]
    assert [(f.kind, f.count, f.of) for f in found(Encoding(), rows).values()] == [("replacement", 1, 1)]
