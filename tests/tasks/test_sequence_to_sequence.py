"""Pairs of texts as items, refusals, scores from counts, and parallel files."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_tasks import make_tokenizer, rows_of

from microtune.data.sources import Row, read_rows
from microtune.data.text import Tokenizer
from microtune.errors import InputError
from microtune.tasks.base import EncodingReport
from microtune.tasks.sequence_to_sequence import SequenceToSequence
from microtune.tasks.text_scores import TextScores, split_words, words_of

ROW = Row({"en": "my card was declined", "de": "the shop"}, "data.jsonl", 7)
FIELDS: dict[str, Any] = {"source_field": "en", "target_field": "de"}
PAIR = SequenceToSequence(form="encoder-decoder", start=2, **FIELDS)
LINE = SequenceToSequence(form="decoder", mark="=", max_new_tokens=8, **FIELDS)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return make_tokenizer()


def test_an_encoder_reads_the_source_and_the_decoder_learns_the_target(tokenizer: Tokenizer) -> None:
    task = PAIR.model_copy(update={"prefix": "read: ", "first": 5})
    item = task.encode(ROW, 0, tokenizer, 64, EncodingReport())
    assert item is not None
    wanted = [5, *tokenizer.encode("the shop", special=False), tokenizer.id("eos")]
    assert list(item.targets) == wanted
    assert list(item.ids) == [2, *wanted[:-1]]
    assert list(item.readout) == list(range(len(wanted)))
    assert list(item.sources) == tokenizer.encode("read: my card was declined")
    assert item.extra == 8.0


def test_a_decoder_learns_only_what_follows_the_mark(tokenizer: Tokenizer) -> None:
    item = LINE.encode(ROW, 0, tokenizer, 64, EncodingReport())
    assert item is not None
    before = [
        tokenizer.id("bos"),
        *tokenizer.encode(ROW.data["en"], special=False),
        *tokenizer.encode("=", special=False),
    ]
    wanted = [*tokenizer.encode("the shop", special=False), tokenizer.id("eos")]
    assert list(item.ids) == [*before, *wanted[:-1]]
    assert list(item.targets) == wanted
    assert int(item.readout[0]) == len(before) - 1
    assert len(item.sources) == 0


def test_a_long_source_is_cut_and_a_long_target_drops_its_row(tokenizer: Tokenizer) -> None:
    """The room for the answer does not depend on the answer, so that generation reads what training read."""
    report = EncodingReport()
    long = Row({"en": "my card " * 40, "de": "the shop"}, "data.jsonl", 1)
    for task in (PAIR, LINE):
        item = task.encode(long, 3, tokenizer, 32, report)
        assert item is not None
        assert max(len(item.sources), len(item.ids)) <= 32
    assert (report.truncated, report.cut) == (2, [3, 3])
    _, opening, cut = LINE.question(long, tokenizer, 32)
    assert cut
    assert len(opening) == 32 - 8
    shifted = Row({"en": "my card", "de": "the shop " * 40}, "data.jsonl", 1)
    for task in (PAIR, LINE):
        assert task.encode(shifted, 4, tokenizer, 32, report) is None
    assert (report.dropped, report.left_out) == (2, [4, 4])
    with pytest.raises(InputError, match="leave no room for a source"):
        LINE.question(ROW, tokenizer, 4)


@pytest.mark.parametrize(
    ("values", "source", "target"),
    [
        ({"source": "a", "target": "b"}, "source", "target"),
        ({"id": "1", "document": "a", "summary": "b"}, "document", "summary"),
        ({"label": "1", "title": "b", "description": "a"}, "description", "title"),
        ({"sentence": "a", "question": "b"}, "sentence", "question"),
        ({"原文": "a", "译文": "b"}, "原文", "译文"),
    ],
)
def test_telling_names_are_found(values: dict[str, str], source: str, target: str) -> None:
    task = SequenceToSequence().prepare({"train": rows_of([values] * 3)}, text_field=None, label_field=None)
    assert (task.source_field, task.target_field) == (source, target)


def test_what_names_do_not_tell_is_asked_for() -> None:
    rows = rows_of([{"en": "a", "de": "b"}] * 3)
    with pytest.raises(InputError, match=r"no field looks like the source; the fields are .*--text-field"):
        SequenceToSequence().prepare({"train": rows}, text_field=None, label_field=None)
    with pytest.raises(InputError, match=r"no field looks like the target; .*--label-field"):
        SequenceToSequence().prepare({"train": rows}, text_field="en", label_field=None)
    with pytest.raises(InputError, match="cannot be both source and target"):
        SequenceToSequence().prepare({"train": rows}, text_field="en", label_field="en")
    empty = Row({"en": "a", "de": " "}, "data.jsonl", 9)
    with pytest.raises(InputError, match=r'data\.jsonl, line 9: the field "de" is empty'):
        PAIR.reference(empty)


def test_words_by_script() -> None:
    assert words_of(["für dich"]) == "13a"
    assert words_of(["今天天气很好", "ok"]) == "zh"
    assert words_of(["今日はいい天気ですね"]) == "char"
    assert split_words("GPT-4 读了 two_books, für") == ["gpt", "4", "读", "了", "two", "books", "für"]


def test_scores_from_counts_are_those_of_the_libraries() -> None:
    sacrebleu = pytest.importorskip("sacrebleu")
    scorer = pytest.importorskip("rouge_score.rouge_scorer").RougeScorer(["rouge1", "rouge2", "rougeL"])
    answers = ["the cat sat on the mat today", "a dog runs in the park", ""]
    references = ["The cat sat on a mat today.", "the dog runs fast in a park", "nothing at all"]
    made = TextScores("13a")
    columns = made.count(answers, references)
    found = made.scores(columns)
    assert found["bleu"] == pytest.approx(sacrebleu.corpus_bleu(answers, [references]).score, abs=1e-9)
    assert found["chrf"] == pytest.approx(sacrebleu.corpus_chrf(answers, [references]).score, abs=1e-9)
    theirs = [scorer.score(r, a)["rougeL"].fmeasure for a, r in zip(answers, references, strict=True)]
    assert found["rougeL"] == pytest.approx(np.mean(theirs), abs=1e-6)
    twice = made.scores(columns, np.array([2.0, 0.0, 1.0]))
    again = sacrebleu.corpus_bleu([answers[0]] * 2 + [""], [[references[0]] * 2 + [references[2]]])
    assert twice["bleu"] == pytest.approx(again.score, abs=1e-9)
    assert sum(column.nbytes for column in columns.values()) / 3 < 200
    chinese = TextScores("zh").count(["今天天气好"], ["今天天气很好"])
    zh = sacrebleu.corpus_bleu(["今天天气好"], [["今天天气很好"]], tokenize="zh")
    assert TextScores("zh").scores(chinese)["bleu"] == pytest.approx(zh.score, abs=1e-9)
    assert float(chinese["rouge"][0, 0]) == pytest.approx(2 * 5 / 11, abs=1e-6)


def test_scores_that_need_no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("microtune.tasks.text_scores._there", lambda name: False)
    made = TextScores("13a")
    columns = made.count(["a b c d a b c d", "x"], ["a b c d", "x"])
    found = made.scores(columns)
    assert found == {"length_ratio": 9 / 5, "repetition": 1 / 5, "exact_match": 0.5}
    notes = SequenceToSequence().notes()
    assert len(notes) == 2
    assert all('pip install "microtune[metrics]"' in note for note in notes)


def test_parallel_files(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "a.en.gz", "wt", encoding="utf-8") as out:
        out.write("one\ntwo\n\nfour\n")
    other = tmp_path / "a.de"
    other.write_text("eins\nzwei\n\nvier\n", encoding="utf-8")
    pair = {"source": str(tmp_path / "a.en.gz"), "target": str(other)}
    rows = read_rows(pair)
    assert [(row.line, row.data["source"], row.data["target"]) for row in rows] == [
        (1, "one", "eins"), (2, "two", "zwei"), (3, "", ""), (4, "four", "vier"),
    ]  # fmt: skip
    other.write_text("eins\nzwei\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"a\.en\.gz has 4 lines, but .*a\.de has 2;"):
        read_rows(pair)
    other.write_text("1\n2\n3\n4\n5\n6", encoding="utf-8")
    with pytest.raises(InputError, match=r"a\.en\.gz has 4 lines, but .*a\.de has 6;"):
        read_rows(pair)
    with pytest.raises(InputError, match="The source file has no target file beside it"):
        read_rows({"source": pair["source"]})
    with pytest.raises(InputError, match="no such file"):
        read_rows({**pair, "target": str(tmp_path / "none.de")})
    (tmp_path / "rows.csv").write_text("a,b\n", encoding="utf-8")
    with pytest.raises(InputError, match="parallel files are plain text"):
        read_rows({**pair, "target": str(tmp_path / "rows.csv")})


def test_bleu_of_texts_without_four_words_is_that_of_shorter_runs() -> None:
    """Of four it would be 0 beside an exact match of 1."""
    sacrebleu = pytest.importorskip("sacrebleu")
    made = TextScores("13a")
    right = made.scores(made.count(["AAPL 12", "TSLA"], ["AAPL 12", "TSLA"]))
    assert (right["exact_match"], right["bleu"]) == (1, pytest.approx(100, abs=1e-9))
    answers, references = ["AAPL 12", "TM 7"], ["AAPL 12", "TM 8"]
    theirs = sacrebleu.metrics.BLEU(effective_order=True).corpus_score(answers, [references]).score
    assert made.scores(made.count(answers, references))["bleu"] == pytest.approx(theirs, abs=1e-9)
    answers, references = ["AAPL 12 is up"], ["AAPL 12 is down"]  # four words: as everywhere
    theirs = sacrebleu.corpus_bleu(answers, [references]).score
    assert made.scores(made.count(answers, references))["bleu"] == pytest.approx(theirs, abs=1e-9)
