"""Spans of a text: places to the character, tags and schemes, strict scores, refusals, learning by heart."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_tasks import DECODER_SPEC, ENCODER_SPEC, make_model, make_tokenizer, make_training, rows_of, steps_of

from microtune.data.sources import Row, read_rows
from microtune.data.word_places import joined
from microtune.errors import InputError
from microtune.run.evaluate import evaluate_items, predict_items
from microtune.tasks.base import Prediction
from microtune.tasks.text_spans import Span, best_path, spans_from, tags_of, units_of
from microtune.tasks.token_labelling import TokenLabelling

TOKENIZER = make_tokenizer()
PLACES = ["shop", "capital", "parcel"]
TEXTS = [f"{a} the {place} has my card" for a in ("at", "in", "see") for place in PLACES]
ROWS = [
    {
        "text": text,
        "slots": [
            {"slot": "place", "start": text.index(p), "end": text.index(p) + len(p), "text": p}
            for p in PLACES
            if p in text
        ]
        + [{"slot": "thing", "start": len(text) - 4, "end": len(text), "text": "card"}],
    }
    for text in TEXTS
]


def prepared(values: list[dict[str, Any]] = ROWS, label: str | None = None, **options: Any) -> TokenLabelling:
    return TokenLabelling(**options).prepare({"train": rows_of(values)}, text_field=None, label_field=label)


@pytest.mark.parametrize(
    "text", ["my card", "我的卡在 shop 被拒绝了", "pay 🙂👍🏽 ¥300 at 7pm", "e\u0301te\u0301 was at the shop"]
)
def test_every_character_of_a_word_has_a_place(text: str) -> None:
    """Units cover every sign but blanks, in order; the pieces of an emoji in bytes all have its place."""
    ids, places, cut = TOKENIZER.encode_places(text, 96)
    assert ids == TOKENIZER.encode(text)
    assert not cut
    units = units_of(text, places)
    assert "".join(text[u.start : u.end] for u in units).replace(" ", "") == text.replace(" ", "")
    assert [u.first for u in units] == sorted({u.first for u in units})
    for unit in units:
        assert places[unit.first][0] <= unit.start
        assert places[unit.last][0] < unit.end
    tags, rough = tags_of(units, [Span(units[1].start, units[-1].end, "x")], ["x"])
    assert (tags, rough) == ([0, 1, *[2] * (len(units) - 2)], 0)
    found = spans_from(tags, np.array([u[:2] for u in units]), ["x"])
    assert found == [Span(units[1].start, units[-1].end, "x")]


def test_a_span_inside_a_token_is_widened_and_counted() -> None:
    text, places = "declined", [(0, 8)]
    assert tags_of(units_of(text, places), [Span(2, 5, "x")], ["x"]) == ([1], 1)
    joined_words = units_of("在商店", [(0, 1), (1, 3)])  # one token for two characters
    assert [(u.start, u.end) for u in joined_words] == [(0, 1), (1, 3)]
    assert tags_of(joined_words, [Span(1, 2, "x")], ["x"]) == ([0, 1], 1)
    assert tags_of(joined_words, [Span(1, 3, "x")], ["x"]) == ([0, 1], 0)


def test_the_best_path_is_the_best_of_all_in_order() -> None:
    generator = np.random.default_rng(0)
    for _ in range(20):
        scores = generator.normal(size=(4, 5))
        allowed = [
            path
            for path in itertools.product(range(5), repeat=4)
            if all(tag % 2 or not tag or last in (tag, tag - 1) for last, tag in zip((0, *path), path, strict=False))
        ]
        best = max(allowed, key=lambda path: sum(scores[i, tag] for i, tag in enumerate(path)))
        assert best_path(scores) == list(best)


def tagged(*tags: str, path: str = "data.conll") -> TokenLabelling:
    rows = [Row({"tokens": [f"w{i}" for i in range(len(tags))], "tags": list(tags)}, path, 10)]
    return TokenLabelling().prepare({"train": rows}, text_field=None, label_field=None)


@pytest.mark.parametrize(
    ("tags", "scheme", "spans"),
    [
        ("B-a I-a O B-b", "iob2", [(0, 5, "a"), (9, 11, "b")]),
        ("I-a I-a B-a O", "iob1", [(0, 5, "a"), (6, 8, "a")]),
        ("B-a E-a S-b O", "bioes", [(0, 5, "a"), (6, 8, "b")]),
        ("B-a M-a L-a U-b", "bioes", [(0, 8, "a"), (9, 11, "b")]),
        ("a a O b", "bare", [(0, 5, "a"), (9, 11, "b")]),
        ("B-a B-a O O", "iob2", [(0, 2, "a"), (3, 5, "a")]),
    ],
)
def test_schemes(tags: str, scheme: str, spans: list[Any]) -> None:
    task = tagged(*tags.split())
    assert task.scheme == scheme
    row = Row({"tokens": ["w0", "w1", "w2", "w3"], "tags": tags.split()}, "data.conll", 10)
    assert task.marked(row) == ("w0 w1 w2 w3", tuple(Span(*s) for s in spans))


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ("B-a O I-a O", r'data.conll, line 12: the tag "I-a" follows "O", which B-X, I-X does not allow'),
        ("B-a I-b O O", r'line 11: the tag "I-b" follows "B-a"'),
        ("B-a O S-b O", r'line 11: the tag "O" follows "B-a", which B-X, I-X, E-X, S-X does not allow'),
        ("S-a O O B-b", r"line 13: the sentence ends after"),
        ("B-a O b O", r'the tag "b" has no B- or I- before it'),
        ("O O O O", r"no training row has a span"),
    ],
)
def test_tags_in_an_unknown_order(tags: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        tagged(*tags.split())


@pytest.mark.parametrize(
    ("slots", "message"),
    [
        ([{"label": "a", "start": 0, "end": 3}, {"label": "b", "start": 2, "end": 4}], r"line 1: .* overlap"),
        ([{"label": "a", "start": 0, "end": 40}], "ends past the text, which has 10 characters"),
        ([{"label": "a", "start": 7, "end": 13, "text": "商店"}], "seem to count bytes"),
        ([{"label": "a", "start": 3, "end": 5, "text": "商"}], 'says "商", but there stands "商店"'),
        ([{"label": "a", "start": 3, "end": 3}], "whole numbers 0 <= start < end"),
        ([{"label": "a", "start": "3", "end": 5}], "whole numbers"),
        ([{"start": 3, "end": 5}], "has no label"),
        (["a"], "not {label, start, end}"),
        ("a", 'the field "slots" is "a"; a list of'),
    ],
)
def test_spans_that_are_wrong(slots: Any, message: str) -> None:
    good = {"text": "在商店", "slots": [[0, 1, "a"]]}
    with pytest.raises(InputError, match=message):
        prepared([{"text": "卡在 商店 shop", "slots": slots}, good][:: 1 if slots != "a" else -1], "slots")


def test_spans_beside_tokens_are_spans() -> None:
    task = prepared([{**row, "tokens": row["text"].split()} for row in ROWS])
    assert (task.tokens_field, task.text_field, task.label_field) == ("", "text", "slots")


def test_a_label_outside_the_declared_ones() -> None:
    with pytest.raises(InputError, match='the label "place" is not among the declared ones'):
        prepared(labels=("thing", "palace"))
    with pytest.raises(InputError, match=r'data\.jsonl, line 1: the model does not know the label "x"'):
        prepared().check_rows(rows_of([{"text": "a b", "slots": [[0, 1, "x"]]}]))


def test_columns_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.conll"
    path.write_text("-DOCSTART- -X- O\n\nEU NNP B-ORG\nrejects VBZ O\n\n北 N B-LOC\n京 N I-LOC\n", encoding="utf-8")
    rows = read_rows(path)
    assert [(row.line, row.data["tokens"], row.data["tags"]) for row in rows] == [
        (3, ["EU", "rejects"], ["B-ORG", "O"]),
        (6, ["北", "京"], ["B-LOC", "I-LOC"]),
    ]
    task = TokenLabelling().prepare({"train": rows}, text_field=None, label_field=None)
    assert [task.marked(row) for row in rows] == [
        ("EU rejects", (Span(0, 2, "ORG"),)),
        ("北京", (Span(0, 2, "LOC"),)),
    ]
    assert joined(["在", "Apple", "Store", "，", "买"])[0] == "在Apple Store，买"
    path.write_text("EU NNP B-ORG\nrejects O\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"a.conll, line 2: 2 columns, but 3 in line 1"):
        read_rows(path)
    path.write_text("EU\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"line 1: one column"):
        read_rows(path)


def entities(tags: list[str]) -> set[tuple[str, int, int]]:
    """What conlleval and seqeval take for entities, by their published rules: an I after another type begins one."""
    found, start = set(), 0
    for i, (before, tag) in enumerate(zip(["O", *tags], [*tags, "O"], strict=True)):
        ends = before != "O" and (tag[0] in "BO" or tag[2:] != before[2:])
        if ends:
            found.add((before[2:], start, i - 1))
        if tag != "O" and (before == "O" or ends):
            start = i
    return found


def test_scores_are_those_of_conlleval() -> None:
    generator = np.random.default_rng(1)
    names = ["O", "B-a", "I-a", "B-b", "I-b"]
    task = TokenLabelling(labels=("a", "b"), text_field="text", read_at="first")
    units = np.array([(2 * i, 2 * i + 1) for i in range(9)])
    hits = given = predicted = right = 0
    predictions = []
    for row in range(40):
        gold, answer = ([int(t) for t in generator.choice(5, size=9, p=[0.4, *[0.15] * 4])] for _ in range(2))
        answer = [g if generator.random() < 0.7 else a for g, a in zip(gold, answer, strict=True)]
        one, other = entities([names[t] for t in gold]), entities([names[t] for t in answer])
        hits, given, predicted = hits + len(one & other), given + len(one), predicted + len(other)
        right += sum(g == a for g, a in zip(gold, answer, strict=True))
        plain = [
            [{"label": s.label, "start": s.start, "end": s.end} for s in spans_from(tags, units, task.labels)]
            for tags in (answer, gold)
        ]
        numbers = {"loss": 9.0, "right": float(sum(map(int.__eq__, gold, answer))), "words": 9.0}
        predictions.append(Prediction(plain[0], 1.0, target=plain[1], numbers=numbers, row=row))
    values = task.metrics(predictions)
    assert values["precision"] == pytest.approx(hits / predicted, rel=1e-12)
    assert values["recall"] == pytest.approx(hits / given, rel=1e-12)
    assert values["f1"] == pytest.approx(2 * hits / (given + predicted), rel=1e-12)
    assert values["token_accuracy"] == pytest.approx(right / 360, rel=1e-12)
    weights = np.array([1.0] * 10 + [0.0] * 30)
    assert task.metrics(predictions, weights)["f1"] == pytest.approx(task.metrics(predictions[:10])["f1"])


@pytest.mark.parametrize("spec", [DECODER_SPEC, ENCODER_SPEC], ids=["decoder", "encoder"])
def test_spans_are_learnt_by_heart(spec: Any) -> None:
    task = prepared().fitted(spec)
    assert task.labels == ("place", "thing")
    assert task.read_at == ("last" if spec is DECODER_SPEC else "first")
    encoded = task.encode_all(rows_of(ROWS), TOKENIZER, 96, training=True)
    model = make_model(spec, task)
    before = evaluate_items(model, task, encoded, intervals=False).values["f1"]
    steps_of(make_training(model, task, encoded, lr=1e-2, epochs=30, batch_size=9))
    score = evaluate_items(model, task, encoded)
    assert before < 0.5
    assert score.values["f1"] == score.values["token_accuracy"] == 1.0
    full = sorted(predict_items(model, task.unlabelled(), _unlabelled(task)), key=lambda p: p.row)
    assert [p.answer for p in full] == [p.answer for p in score.predictions]
    assert full[0].answer[0] == {"label": "place", "start": 7, "end": 11, "text": "shop"}
    assert [row["support"] for row in task.details(score.predictions)["per_class"]] == [9.0, 9.0]


def _unlabelled(task: TokenLabelling) -> Any:
    rows = rows_of([{"text": row["text"]} for row in ROWS])
    return task.unlabelled().encode_all(rows, TOKENIZER, 96, training=False)
