"""The guess is right on a made-up file of every form, whatever its fields are called."""

from __future__ import annotations

import pytest

from lint_files import FORMS, Maker, renamed
from microtune.data.languages import language
from microtune.data.shapes import sample_of, shape_of
from microtune.data.sources import Row, read_rows
from microtune.errors import InputError
from microtune.tasks.guess import Guess, guess


def guessed(name: str, *, hide: bool) -> tuple[Guess, list[str]]:
    rows, _ = FORMS[name]
    made = rows(Maker(1), 80)
    order = list(made[0])
    if hide:
        names: dict[str, str] = {}
        made = [renamed(row, names) for row in made]
        order = list(made[0])
    return guess(sample_of(read_rows(made))), order


@pytest.mark.parametrize("hide", [False, True], ids=["named", "renamed"])
@pytest.mark.parametrize("name", FORMS)
def test_every_form(name: str, hide: bool) -> None:
    found, _ = guessed(name, hide=hide)
    assert found.task == FORMS[name][1], found


@pytest.mark.parametrize("hide", [False, True], ids=["named", "renamed"])
@pytest.mark.parametrize(
    ("name", "roles"),
    [
        ("pairs", {"text": 1, "pair": 2, "label": 3}),
        ("alpaca", {"prompt": 0, "input": 1, "completion": 2}),
        ("completions", {"prompt": 0, "completion": 1}),
        ("summary", {"source": 0, "target": 1}),
        ("credited translation", {"source": 0, "target": 1}),
        ("chinese classes", {"label": 0, "text": 1}),
        ("numbers", {"text": 0, "score": 1}),
        ("lettered", {"question": 0, "options": [1, 2, 3], "answer": 4}),
        ("preferences", {"prompt": 0, "chosen": 1, "rejected": 2}),
        ("flat squad", {"context": 0, "question": 1, "answer": 2}),
        ("spans", {"text": 0, "spans": 1}),
    ],
)
def test_the_fields_play_their_roles(name: str, roles: dict[str, object], hide: bool) -> None:
    found, order = guessed(name, hide=hide)
    places = {
        r: [order.index(n) for n in v] if isinstance(v, list) else order.index(v) for r, v in found.fields.items()
    }
    assert places == roles


def test_a_sample_reaches_beyond_a_sorted_beginning() -> None:
    rows = [Row({"n": i}, "f", i) for i in range(4000)]
    found = [row.data["n"] for row in sample_of(rows)]
    assert found[:100] == list(range(100))
    assert len(found) <= 500
    assert found[-1] > 3900
    assert found == sorted(found)


def test_shapes() -> None:
    number = shape_of("x", ["1", "2", "2", ""])
    assert (number.kind, number.filled, number.distinct, number.whole) == ("number", 0.75, 2, True)
    assert number.repeated == pytest.approx(2 / 3)
    assert shape_of("x", ["1.0", "2"]).whole is False
    assert shape_of("x", [True, False]).kind == "flag"
    assert shape_of("x", [None, "", []]).kind == "empty"
    assert shape_of("split", ["train", "dev", "test"]).split


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Where is the nearest station of the city?", "en"),
        ("Der Mann ist nicht mit dem Zug gefahren", "de"),
        ("Le chat est sur la table et il dort", "fr"),
        ("今天天气很好 (OK)", "zh"),
        ("これは日本語の文章です", "ja"),
        ("Это русский текст", "ru"),
        ("Zrcx qwop", "latin"),
        ("12 34", ""),
    ],
)
def test_languages(text: str, name: str) -> None:
    assert language(text) == name


def test_a_file_without_text_is_refused() -> None:
    with pytest.raises(InputError, match="no field holds text"):
        guess(sample_of(read_rows([{"id": i} for i in range(20)])))


def test_a_named_pair_is_one_however_often_its_texts_come_back() -> None:
    texts = ["are you open on Saturday", "when do you close today", "renew my tablets please", "a refill of my pills"]
    pairs = [(a, b, 5 - 1.5 * abs(i - j)) for i, a in enumerate(texts) for j, b in enumerate(texts)] * 4
    values = [{"sentence1": a, "sentence2": b, "score": score} for a, b, score in pairs]
    found = guess(sample_of(read_rows(values)))
    assert (found.task, found.fields) == ("similarity", {"text": "sentence1", "pair": "sentence2", "score": "score"})
    labelled = [{"premise": v["sentence1"], "hypothesis": v["sentence2"], "label": str(v["score"] > 1)} for v in values]
    found = guess(sample_of(read_rows(labelled)))
    assert found.fields == {"text": "premise", "label": "label", "pair": "hypothesis"}


def test_few_answers_that_stand_in_their_passages_are_no_classes() -> None:
    places = ["Delaware", "Ontario", "Ireland", "New York"]
    values = [
        {
            "question": "Which law governs this contract?" if i % 5 else "Which law governs it?",
            "context": f"Clause {i} of the contract. It is governed by the laws of {places[i % 4]}, as agreed.",
            "answers": [places[i % 4]] if i % 7 else [],
        }
        for i in range(80)
    ]
    found = guess(sample_of(read_rows(values)))
    assert found.task == "question-answering"
    assert found.fields == {"question": "question", "context": "context", "answer": "answers"}
