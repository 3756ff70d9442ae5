"""Two texts as one input: found by name, joined as the model reads pairs, the longer one cut first."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tiny_tasks import (
    DECODER_SPEC,
    ENCODER_SPEC,
    SENTENCES,
    make_model,
    make_tokenizer,
    make_training,
    rows_of,
    steps_of,
)
from tokenizers import processors

from microtune.data.fields import find_pair
from microtune.data.text import Tokenizer
from microtune.errors import InputError
from microtune.run.evaluate import evaluate_items
from microtune.run.prepare import text_key
from microtune.tasks.base import EncodingReport
from microtune.tasks.classification import Classification

TOKENIZER = make_tokenizer()
ROWS = rows_of(
    [
        {"premise": first, "hypothesis": second, "label": "same" if i == j else "other"}
        for i, first in enumerate(SENTENCES[:4])
        for j, second in enumerate(SENTENCES[:4])
    ]
)


def prepared(spec: object = DECODER_SPEC) -> Classification:
    return Classification().prepare({"train": ROWS}, text_field=None, label_field=None).fitted(spec)  # type: ignore[arg-type]


def bert_like() -> Tokenizer:
    """A tokenizer with BERT's form of pairs: [CLS] a [SEP] b [SEP], types 0 and 1."""
    tokenizer = make_tokenizer()
    ids = {name: tokenizer.backend.token_to_id(name) for name in ("<|bos|>", "<|eos|>")}
    tokenizer.backend.post_processor = processors.TemplateProcessing(
        single="<|bos|> $A <|eos|>", pair="<|bos|> $A <|eos|> $B:1 <|eos|>:1", special_tokens=list(ids.items())
    )
    return tokenizer


def test_the_second_field_is_found_by_name() -> None:
    task = prepared()
    assert (task.text_field, task.pair_field, task.label_field) == ("premise", "hypothesis", "label")
    assert task.remarks({"train": ROWS})[0].startswith('Each row is a pair: "premise" and "hypothesis" are read')
    alone = Classification(pair_field="").prepare({"train": ROWS}, text_field=None, label_field=None)
    assert (alone.pair_field or None) is None
    assert find_pair(rows_of([{"句子1": "甲", "句子2": "乙"}]), exclude=["句子1"]) == "句子2"
    assert find_pair(rows_of([{"a": "x", "b": "y"}]), exclude=["a"]) is None
    holes = rows_of([{"text": "x", "text2": "y"}, {"text": "x", "text2": ""}])
    assert find_pair(holes, exclude=["text"]) is None


def test_fields_of_any_name_can_be_declared() -> None:
    rows = rows_of([{"f1": "a b", "f2": "c d", "f3": str(i % 2)} for i in range(4)])
    task = Classification(pair_field="f2").prepare({"train": rows}, text_field="f1", label_field="f3")
    assert (task.text_field, task.pair_field) == ("f1", "f2")
    with pytest.raises(InputError, match='there is no field "f4" for the pair'):
        Classification(pair_field="f4").prepare({"train": rows}, text_field="f1", label_field="f3")
    with pytest.raises(InputError, match='"f1" is the first text already'):
        Classification(pair_field="f1").prepare({"train": rows}, text_field="f1", label_field="f3")
    empty = rows_of([{"f1": "a b", "f2": "c d" if i else "", "f3": str(i % 2)} for i in range(4)])
    with pytest.raises(InputError, match=r'line 1: the field "f2" is empty'):
        task.encode(empty[0], 0, TOKENIZER, 32, EncodingReport())


def test_a_decoder_reads_a_separator_between() -> None:
    task = prepared()
    assert task.joined == "separator"
    item = task.encode(ROWS[1], 0, TOKENIZER, 96, EncodingReport())
    first, second = SENTENCES[0], SENTENCES[1]
    assert TOKENIZER.decode(list(item.ids)) == f"{first}\n{second}"
    assert list(item.ids) == [i for text in (first, "\n", second) for i in TOKENIZER.encode(text, special=False)]
    assert list(item.types) == []


def test_an_encoder_reads_its_own_form_with_token_types() -> None:
    tokenizer, task = bert_like(), prepared(ENCODER_SPEC)
    assert task.joined == "types"
    item = task.encode(ROWS[1], 0, tokenizer, 96, EncodingReport())
    assert (list(item.ids), list(item.types)) == tokenizer.encode_pair(SENTENCES[0], SENTENCES[1])
    assert set(item.types) == {0, 1}
    plain = prepared(replace(ENCODER_SPEC, token_types=0))
    assert plain.joined == "template"
    without = plain.encode(ROWS[1], 0, tokenizer, 96, EncodingReport())
    assert (list(without.ids), list(without.types)) == (list(item.ids), [])


@pytest.mark.parametrize("separator", [None, " / "])
def test_the_longer_text_is_cut_first(separator: str | None) -> None:
    tokenizer = bert_like()
    long, short = "my card was declined " * 6, "refund"
    count = len(tokenizer.encode(short, special=False))
    ids, types, cut = tokenizer.encode_two(long, short, 24, separator)
    assert cut
    assert len(ids) == len(types) == 24
    marks = 3 if separator is None else 2 + len(tokenizer.encode(separator, special=False))
    assert tokenizer.decode(ids).endswith(short)
    turned = tokenizer.encode_two(short, long, 24, separator)[0]
    assert tokenizer.decode(turned).startswith(short)
    assert tokenizer.encode(long, special=False)[: 24 - marks - count] == ids[1 : 25 - marks - count]
    both = tokenizer.encode_two(long, long, 23, None)
    assert [both[1].count(kind) for kind in (0, 1)] == [12, 11]  # 10 + 2 marks, 10 + 1 mark
    assert tokenizer.encode_two("a", "b", 24, separator)[2] is False


def test_cut_pairs_are_counted() -> None:
    task, report = prepared(), EncodingReport()
    task.encode(ROWS[0], 7, TOKENIZER, 12, report)
    assert (report.truncated, report.cut) == (1, [7])


def test_copies_are_pairs_that_agree_in_both() -> None:
    key = text_key(prepared())
    assert len({key(row) for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("spec", [DECODER_SPEC, ENCODER_SPEC], ids=["decoder", "encoder"])
@pytest.mark.parametrize("method", ["full", "head"])
def test_pairs_are_learnt(spec: object, method: str) -> None:
    """Whether two sentences are the same one: by heart with all weights; the head alone is not worse than one label."""
    tokenizer, task = bert_like(), prepared(spec)
    encoded = task.encode_all(ROWS, tokenizer, 96, training=True)
    model = make_model(replace(spec, initializer_range=0.1), task)  # type: ignore[type-var]
    steps_of(make_training(model, task, encoded, method=method, lr=3e-3, batch_size=8, epochs=60))
    accuracy = evaluate_items(model, task, encoded, intervals=False).values["accuracy"]
    assert accuracy == 1.0 if method == "full" else accuracy >= 0.75


def test_a_pair_run_predicts_pairs(tmp_path: Path) -> None:
    from microtune.run.predict import text_rows

    task = prepared()
    rows = text_rows(task, ["a", "b", "c", "d"])
    assert [row.data for row in rows] == [{"premise": "a", "hypothesis": "b"}, {"premise": "c", "hypothesis": "d"}]
    assert [row.data for row in text_rows(task, [("a", "b")])] == [{"premise": "a", "hypothesis": "b"}]
    for wrong in (["a"], [("a", "b"), "c"], [("a", "b", "c")]):
        with pytest.raises(InputError, match="reads pairs of texts"):
            text_rows(task, wrong)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="one text at a time"):
        text_rows(Classification(text_field="text", labels=("a", "b")), [("a", "b")])
