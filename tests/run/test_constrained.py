"""Answers that keep to a set of labels, an expression or a schema, whatever a random model would like to write."""

from __future__ import annotations

import json
import re
import sys
from typing import Any

import pytest

from microtune.errors import InputError
from microtune.run.answers import written, written_best
from microtune.run.batched import Question
from microtune.run.load import Model, load
from microtune.run.pieces import whole_characters
from microtune.tasks.writing import Writing
from tiny_model import TEXTS, make_model

LABELS = ("card", "card payment", "transfer", "退款", "my account")
SCHEMA = {
    "type": "object",
    "properties": {"name": {"enum": ["a", "退"]}, "size": {"type": "integer", "minimum": 0, "maximum": 99}},
    "required": ["name", "size"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load(str(make_model(tmp_path_factory.mktemp("base") / "llama")), dtype="float64")


def answers(model: Model, longest: int = 30, **options: Any) -> list[str]:
    texts = [*TEXTS, "a", "card", "账户", "the shop", "x y z"]
    questions = [Question(model.prompt_ids(text)) for text in texts]
    found = dict(written_best(model, questions, max_new_tokens=longest, options=Writing(**options)))
    return [text for i in range(len(texts)) for text, _ in found[i]]


WAYS: list[dict[str, Any]] = [{}, {"beams": 3, "answers": 2}, {"temperature": 1.5, "answers": 5}]


@pytest.mark.parametrize("way", WAYS, ids=["greedy", "beams", "drawn"])
def test_an_answer_is_one_of_the_labels(model: Model, way: dict[str, Any]) -> None:
    found = answers(model, labels=LABELS, **way)
    assert set(found) <= set(LABELS)
    assert len(found) == 8 * way.get("answers", 1)
    if "temperature" in way:
        assert set(found) == set(LABELS)
    else:
        assert "".join(model.generate("card", labels=LABELS)) in LABELS


def test_every_label_can_be_the_best(model: Model) -> None:
    found = written_best(
        model, [Question(model.prompt_ids("a"))], max_new_tokens=30, options=Writing(labels=LABELS, beams=9, answers=5)
    )
    assert sorted(text for text, _ in next(iter(found))[1]) == sorted(LABELS)


@pytest.mark.parametrize("way", WAYS, ids=["greedy", "beams", "drawn"])
@pytest.mark.parametrize(
    "regex", ["[0-9]{2,4}", "(my|the) (card|shop)!?", "[退款]{3}", "[0-9]{4}-[0-9][0-9]-[0-9][0-9]"]
)
def test_an_answer_matches_the_expression(model: Model, regex: str, way: dict[str, Any]) -> None:
    pytest.importorskip("llguidance")
    found = answers(model, regex=regex, **way)
    assert [text for text in found if not re.fullmatch(regex, text)] == []


@pytest.mark.parametrize("way", WAYS, ids=["greedy", "beams", "drawn"])
def test_an_answer_fits_the_schema(model: Model, way: dict[str, Any]) -> None:
    pytest.importorskip("llguidance")
    for text in answers(model, longest=45, json_schema=SCHEMA, **way):
        value = json.loads(text)
        assert list(value) == ["name", "size"]
        assert value["name"] in ("a", "退")
        assert type(value["size"]) is int
        assert 0 <= value["size"] <= 99


@pytest.mark.parametrize("regex", [r"[^\s\S]", "a(", "[b-a]"])
def test_an_expression_that_matches_nothing_or_is_none(model: Model, regex: str) -> None:
    pytest.importorskip("llguidance")
    with pytest.raises(InputError, match=r"^decoding\.regex: .*\.$"):
        answers(model, regex=regex)


def test_a_schema_that_is_none(model: Model) -> None:
    pytest.importorskip("llguidance")
    with pytest.raises(InputError, match=r"^decoding\.json_schema: .*\.$"):
        answers(model, json_schema={"type": "colour"})


def test_the_missing_package_is_named(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llguidance", None)
    with pytest.raises(InputError, match=r'pip install "microtune\[constrain\]"'):
        answers(model, regex="a")


@pytest.mark.parametrize("way", [{}, {"beams": 3}, {"temperature": 1.0}], ids=["greedy", "beams", "drawn"])
@pytest.mark.parametrize("stop", ["was", " dec", "退", "!"])
def test_an_answer_ends_before_a_stop_text(model: Model, way: dict[str, Any], stop: str) -> None:
    text = "my card was declined 退款!"
    cut = text[: text.index(stop)]
    bound: dict[str, Any] = {"labels": (text,), "stops": ("no such text", stop), **way}
    assert model.generate("my card", max_new_tokens=40, **bound) == cut
    found = written(model, [Question([70, 71])], max_new_tokens=40, options=Writing(**bound))
    assert dict(found) == {0: cut}


def test_pieces_join_to_the_whole_text(model: Model) -> None:
    text = "the 退款还没有到账, my card was declined 🙂 at the 商店"
    ids = model.text.encode(text, special=False)
    pieces = list(whole_characters(ids, model.text))
    assert "".join(pieces) == text
    assert len(pieces) > 8
    for stop in ("declined", "到账, my", "🙂 at", "商店", "t"):
        found = list(whole_characters(ids, model.text, (stop, "no such text")))
        assert "".join(found) == text[: text.index(stop)]
        assert "" not in found


def test_a_stream_reads_no_further_than_asked(model: Model) -> None:
    ids = model.text.encode("my card was declined", special=False)
    read: list[int] = []

    def counted() -> Any:
        for i in ids:
            read.append(i)
            yield i

    next(whole_characters(counted(), model.text))
    assert len(read) == 1


def test_time_per_token_does_not_grow(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[int] = []
    decode = type(model.text).decode
    monkeypatch.setattr(
        type(model.text), "decode", lambda self, ids, **more: decoded.append(len(ids)) or decode(self, ids, **more)
    )
    ids = model.text.encode("my card was declined at the shop " * 20, special=False)
    assert "".join(whole_characters(ids, model.text)).startswith("my card")
    assert len(ids) > 100
    assert max(decoded) <= 4


def test_bad_options_of_generate(model: Model) -> None:
    with pytest.raises(InputError, match="beams search and a temperature draws"):
        model.generate("a", beams=2, temperature=1.0)
    with pytest.raises(InputError, match="gives one answer"):
        model.generate("a", beams=2, answers=2)
