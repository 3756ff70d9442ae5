"""Answers in passages: forms, windows, places, the scores of SQuAD, no answer, learning by heart."""

from __future__ import annotations

import json
import re
import string
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_tasks import DECODER_SPEC, ENCODER_SPEC, make_model, make_tokenizer, make_training, rows_of, steps_of

from microtune.data.batches import collate
from microtune.data.sources import read_rows
from microtune.errors import InputError
from microtune.run.evaluate import evaluate_items, predict_items
from microtune.tasks.answer_scores import answer_scores, answer_words
from microtune.tasks.passages import Answer, answers_of, guesses, locate
from microtune.tasks.question_answering import QuestionAnswering, best_span

pytestmark = pytest.mark.usefixtures("quick")

TOKENIZER = make_tokenizer()
PASSAGE = "my card was declined at the shop and the parcel has not arrived yet"
ASKED = {"what was declined": "my card", "where": "the shop", "what has not arrived": "the parcel"}
ROWS = [
    {"question": q, "context": f"{PASSAGE} {i}", "answers": [{"text": a, "answer_start": PASSAGE.index(a)}]}
    for i in range(3)
    for q, a in ASKED.items()
]
NONE = [{"question": "who", "context": f"{PASSAGE} {i}", "answers": [], "is_impossible": True} for i in range(3)]


def prepared(values: list[dict[str, Any]] = ROWS, **options: Any) -> QuestionAnswering:
    return QuestionAnswering(**options).prepare({"train": rows_of(values)}, text_field=None, label_field=None)


def squad_file(tmp_path: Path) -> Path:
    paragraph = {"context": PASSAGE, "qas": [{k: v for k, v in row.items() if k != "context"} for row in ROWS[:3]]}
    path = tmp_path / "squad.json"
    path.write_text(json.dumps({"version": "1.1", "data": [{"title": "t", "paragraphs": [paragraph]}]}), "utf-8")
    return path


def test_forms(tmp_path: Path) -> None:
    rows = read_rows(squad_file(tmp_path))
    assert [row.data["question"] for row in rows] == list(ASKED)
    assert all(row.data["context"] is rows[0].data["context"] and row.data["title"] == "t" for row in rows)
    task = QuestionAnswering().prepare({"train": rows}, text_field=None, label_field=None)
    assert (task.question_field, task.context_field, task.label_field) == ("question", "context", "answers")
    for value in (
        "my card",
        ["my card"],
        {"text": "my card", "answer_start": 0},
        {"text": ["my card"], "answer_start": [0]},
        [{"text": " my card ", "answer_start": -1}],
    ):
        row = rows_of([{"question": "q", "context": PASSAGE, "answer": value}])[0]
        assert [a.text for a in answers_of(row, "answer")] == ["my card"]
    for value in ([], "", None, {"text": [], "answer_start": []}):
        assert answers_of(rows_of([{"answer": value}])[0], "answer") == []


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"answers": [{"text": 3}]}, r'line 1: the answer of the question "what was declined" is .*3.*, not a text'),
        ({"answers": [{"text": "a", "answer_start": "x"}]}, 'begins at "x", not at a whole number'),
        ({"answers": {"text": ["a", "b"], "answer_start": [1]}}, "2 answers, but 1 places"),
        ({"question": " "}, 'the field "question" is empty'),
        ({"context": None}, 'the field "context" is empty'),
    ],
)
def test_rows_that_are_wrong(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        prepared([ROWS[0] | values, ROWS[1]])
    with pytest.raises(InputError, match="no training row has an answer"):
        prepared(NONE)
    with pytest.raises(InputError, match=r'has no field "answers"; an empty list says: no answer'):
        prepared().check_rows(rows_of([{"question": "q", "context": "c"}]))
    with pytest.raises(InputError, match="give two texts for each"):
        prepared().text_rows(["only a question"])


def test_the_place_of_an_answer() -> None:
    text = "a shop, a 🙂 shop, 商店 a shop"
    assert locate(text, Answer("shop", 2)) == (2, 6)
    assert locate(text, Answer("shop", None)) == (2, 6)
    assert locate(text, Answer("shop", 11)) == (12, 16)  # one off, as offsets in UTF-16 are behind an emoji
    assert locate(text, Answer("店", 3)) == (19, 20)
    assert locate(text, Answer("card", 3)) is None


def test_answers_that_do_not_stand_in_the_passage() -> None:
    wrong = [{"question": f"q{i}", "context": PASSAGE, "answers": [f"nowhere {i}"]} for i in range(7)]
    task = prepared().fitted(ENCODER_SPEC)
    encoded = task.encode_all(rows_of([*wrong, *ROWS]), TOKENIZER, 96, training=True)
    assert {item.row for item in encoded.items} == set(range(7, 16))  # type: ignore[attr-defined]
    note = encoded.report.remarks[-1]
    assert note.startswith("7 of 16 answers do not stand in their passage and were left out. First: data.jsonl, line 1")
    assert 'the question "q4": "nowhere 4"' in note
    assert '"nowhere 5"' not in note
    scored = task.encode_all(rows_of([*wrong, *ROWS]), TOKENIZER, 96, training=False)
    assert len({item.row for item in scored.items}) == 16  # type: ignore[attr-defined]


@pytest.mark.parametrize("spec", [DECODER_SPEC, ENCODER_SPEC], ids=["decoder", "encoder"])
def test_windows_hold_the_whole_passage(spec: Any) -> None:
    """Every token of a long passage stands in some window, with its place; the answer is a target where it stands."""
    context = "我的卡 🙂 " + " ".join(f"word{i}" for i in range(40)) + " shop"
    row = {"question": "where", "context": context, "answers": [{"text": "shop", "answer_start": len(context) - 4}]}
    task = prepared([row, *ROWS], overlap=8).fitted(spec)
    encoded = task.encode_all(rows_of([row]), TOKENIZER, 48, training=True)
    items = list(encoded.items)  # type: ignore[call-overload]
    whole = TOKENIZER.encode(context, special=False, behind=spec is DECODER_SPEC)
    ids, covered = [], 0
    for number, item in enumerate(items):
        passage = item.readout[:-1] if spec is DECODER_SPEC else item.readout[1:]
        own = [item.ids[i] for i in passage]
        assert len(own) == len(item.extra.places)
        ids += own if number == 0 else own[8:]
        covered = max(covered, item.extra.places[-1][1])
        assert len(item.ids) <= 48
    assert ids == whole
    assert covered == len(context)
    assert "1 of 1 passages are longer than 48 tokens" in encoded.report.remarks[0]
    none = [0 if spec is ENCODER_SPEC else len(item.readout) - 1 for item in items]
    assert [list(item.targets) == [n, n] for item, n in zip(items, none, strict=True)] == [True] * (len(items) - 1) + [
        False
    ]
    last = items[-1]
    start, end = (last.extra.places[t - (spec is ENCODER_SPEC)] for t in last.targets)
    assert context[start[0] : end[1]].strip() == "shop"


def squad_f1(prediction: str, gold: str) -> tuple[float, float]:
    """The formula of the published evaluation script, word for word."""

    def normalize(s: str) -> str:
        s = "".join(ch for ch in s.lower() if ch not in set(string.punctuation))
        return " ".join(re.sub(r"\b(a|an|the)\b", " ", s).split())

    one, other = normalize(prediction).split(), normalize(gold).split()
    same = sum((Counter(one) & Counter(other)).values())
    exact = float(normalize(prediction) == normalize(gold))
    if not one or not other:
        return exact, float(one == other)
    if not same:
        return exact, 0.0
    precision, recall = same / len(one), same / len(other)
    return exact, 2 * precision * recall / (precision + recall)


def test_scores_are_those_of_squad() -> None:
    texts = [
        "The Shop",
        "a shop!",
        "shop, the",
        "an old shop - the",
        "",
        "the",
        "30,000",
        "30 000",
        "U.S. shop's",
        "é–x",
    ]
    for one in texts:
        for other in texts:
            assert answer_scores(one, [other], "en") == pytest.approx(squad_f1(one, other), abs=1e-12)
    assert answer_scores("shop", ["card", "the shop", "old shop"], "en") == (1.0, 1.0)
    assert (answer_scores("", [], "en"), answer_scores("shop", [], "en")) == ((1.0, 1.0), (0.0, 0.0))
    assert answer_words("《萨克森花园》, Ogród Saski。", "zh") == [*"萨克森花园", "ogród", "saski"]
    assert answer_scores("萨克森", ["萨克森花园。"], "zh") == (0.0, pytest.approx(0.75))


def test_guesses_are_the_passage_and_its_sentences() -> None:
    assert guesses("Mr. Li paid.\nHe left.")[1:4] == ["Mr. Li paid.", "He left.", ""], "as data/sentences.py parts them"
    assert guesses(" \n ") == [" \n ", *[""] * 6]
    assert guesses("It is 3.5 km. 是的！No") == ["It is 3.5 km. 是的！No", "It is 3.5 km.", "是的！", "No", "", "", ""]


def test_the_best_span() -> None:
    generator = np.random.default_rng(0)
    for _ in range(20):
        starts, ends = generator.normal(size=(2, 9))
        wanted = max((starts[i] + ends[j], i, j) for i in range(9) for j in range(i, min(9, i + 3)))
        assert best_span(starts, ends, 3) == (wanted[1], wanted[2], pytest.approx(wanted[0]))


def test_the_loss_is_the_cross_entropy_of_beginning_and_end() -> None:
    task = prepared().fitted(ENCODER_SPEC)
    encoded = task.encode_all(rows_of(ROWS), TOKENIZER, 96, training=True)
    batch = collate(list(encoded.items))  # type: ignore[call-overload]
    model = make_model(ENCODER_SPEC, task, torch.float64).eval()
    with torch.no_grad():
        hidden = model(batch.inputs, readout=batch.readout, types=batch.types)
        total, weight = task.loss(model.head, hidden, batch)
        scores = model.head(hidden, batch.counts).split(batch.counts.tolist())
        columns = task.measure(model.head, hidden, batch)
    wanted = [
        -sum(float(s[:, k].log_softmax(0)[int(item.targets[k])]) for k in (0, 1)) / 2
        for s, item in zip(scores, batch.items, strict=True)
    ]
    assert (float(total), weight) == (pytest.approx(sum(wanted), rel=1e-12), 9)
    assert columns["loss"].tolist() == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("spec", [DECODER_SPEC, ENCODER_SPEC], ids=["decoder", "encoder"])
def test_answers_are_learnt_by_heart(spec: Any) -> None:
    """Also that a question has none, with a threshold from the tallies; the windows of a question are one answer."""
    rows = rows_of([*ROWS, *NONE])
    task = QuestionAnswering(overlap=10).prepare({"train": rows}, text_field=None, label_field=None).fitted(spec)
    assert task.unanswerable
    encoded = task.encode_all(rows, TOKENIZER, 30, training=True)
    assert len(encoded.items) > len(rows)
    model = make_model(spec, task)
    steps_of(make_training(model, task, encoded, lr=5e-3, epochs=60, batch_size=12))
    score = evaluate_items(model, task, encoded, settle=True)
    assert score.values["f1"] == score.values["exact_match"] == score.values["no_answer_accuracy"] == 1.0
    task = task.model_copy(update=score.settled)
    again = evaluate_items(model, task, task.encode_all(rows, TOKENIZER, 30, training=False))
    assert again.values["f1"] == again.values["answered_f1"] == 1.0
    assert again.intervals["f1"] == (1.0, 1.0)
    details = task.details(again.predictions)
    whole = sum(squad_f1(row["context"], row["answers"][0]["text"])[1] for row in ROWS) / 12
    assert details["whole_passage_f1"] == details["best_sentence_f1"] == pytest.approx(whole, rel=1e-6)
    blind = task.unlabelled()
    found = predict_items(model, blind, blind.encode_all(rows, TOKENIZER, 30, training=False))
    answers = blind.together(list(found))
    assert [p.answer for p in answers] == [*list(ASKED.values()) * 3, "", "", ""]
    assert [p.row for p in answers] == list(range(12))
    start, end = int(answers[1].numbers["start"]), int(answers[1].numbers["end"])
    assert PASSAGE[start:end] == "the shop"


def test_the_threshold_is_the_best_one() -> None:
    task = prepared([*ROWS, *NONE])
    generator = np.random.default_rng(0)
    tallies = {
        "row": np.repeat(np.arange(30), 2),
        "margin": generator.normal(size=60),
        "exact": np.zeros(60),
        "f1": generator.random(60),
        "answerable": np.repeat(generator.integers(2, size=30), 2).astype(float),
    }
    found = task.settled_metrics(tallies)["f1"]
    best = 0.0
    for threshold in [-9.0, *tallies["margin"]]:
        total = 0.0
        for row in range(30):
            pair = [2 * row, 2 * row + 1]
            i = max(pair, key=lambda k: tallies["margin"][k])
            there = tallies["answerable"][i] > 0
            total += tallies["f1"][i] * there if tallies["margin"][i] > threshold else float(not there)
        best = max(best, total / 30)
    assert found == pytest.approx(best, rel=1e-12)
