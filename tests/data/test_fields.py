"""Which field is found for which role, and what is said when none or several are."""

from __future__ import annotations

from typing import Any

import pytest

from microtune.data.fields import find_field, text_of
from microtune.data.sources import Row
from microtune.errors import InputError


def rows(*records: dict[str, Any]) -> list[Row]:
    return [Row(record, "d.csv", line) for line, record in enumerate(records, 2)]


def named(*fields: str) -> list[Row]:
    return rows(dict.fromkeys(fields, "x"))


@pytest.mark.parametrize(
    ("fields", "role", "expected"),
    [
        (["label", "text"], "text", "text"),
        (["article", "label", "text"], "text", "text"),
        (["review", "label"], "text", "review"),
        (["", "split", "topic", "label", "TEXT"], "text", "TEXT"),
        (["", "split", "topic", "label", "TEXT"], "label", "label"),
        (["text", "intent", "slots"], "label", "intent"),
        (["text", "category"], "label", "category"),
        (["clause", "type"], "label", "type"),
        (["text", "topics"], "label", "topics"),
        (["clause", "type", "label"], "label", "label"),
        (["question", "coarse", "fine"], "text", "question"),
        (["condition_label", "medical_abstract"], "text", "medical_abstract"),
        (["condition_label", "medical_abstract"], "label", "condition_label"),
        (["label_gold", "target_ident"], "label", "label_gold"),
        (["Review Text", "Star Rating"], "text", "Review Text"),
        (["Review Text", "Star Rating"], "label", "Star Rating"),
        (["内容", "类别"], "text", "内容"),
        (["内容", "类别"], "label", "类别"),
        (["标题", "正文", "标签"], "text", "正文"),
        (["sentence1", "sentence2", "label"], "text", "sentence1"),
        (["sentence1", "sentence2", "label"], "pair", "sentence2"),
        (["premise", "hypothesis"], "pair", "hypothesis"),
        (["instruction", "input", "output"], "prompt", "instruction"),
        (["instruction", "input", "output"], "input", "input"),
        (["instruction", "input", "output"], "completion", "output"),
        (["question", "answer"], "prompt", "question"),
        (["question", "answer"], "completion", "answer"),
        (["prompt", "chosen", "rejected"], "rejected", "rejected"),
        (["conversations", "tools"], "messages", "conversations"),
        (["指令", "输出"], "completion", "输出"),
        (["source", "target"], "target", "target"),
        (["words", "ner-tags"], "tags", "ner-tags"),
    ],
)
def test_by_name(fields: list[str], role: str, expected: str) -> None:
    assert find_field(named(*fields), role, None) == expected


def test_headerless_structure() -> None:
    table = rows(*({"column_1": str(i % 2), "column_2": f"a text of some length {i}"} for i in range(20)))
    assert find_field(table, "text") == "column_2"
    assert find_field(table, "label", exclude=["column_2"]) == "column_1"
    # Sorted by class: the first thousand rows alone would show one class only.
    long = rows(*({"column_1": f"some text {i}", "column_2": str(i // 2000)} for i in range(4000)))
    assert find_field(long, "label", exclude=["column_1"]) == "column_2"


def refusal(*args: Any, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        find_field(*args, **options)
    return str(caught.value)


def test_refusals() -> None:
    table = named("sentence", "review", "mark")
    assert refusal(table, "text") == (
        'd.csv: several fields could be the text ("sentence", "review"); name it with --text-field.'
    )
    assert refusal(table, "label") == (
        'd.csv: no field looks like the label; the fields are "sentence", "review", "mark"; name it with --label-field.'
    )
    assert refusal(table, "text", "Sentense") == (
        'd.csv: there is no field "Sentense" for the text; '
        'did you mean "sentence"? It has "sentence", "review", "mark".'
    )
    assert refusal(table, "text", "zzz").endswith('for the text; it has "sentence", "review", "mark".')
    assert refusal(named("text"), "label", exclude=["text"]) == (
        "d.csv: no field looks like the label; all fields are taken; name it with --label-field."
    )
    two = rows(*({"column_1": f"{i} is a long text", "column_2": f"{i} is another one"} for i in range(9)))
    assert refusal(two, "text").startswith('d.csv: several fields could be the text ("column_1", "column_2");')
    assert refusal(two, "label", exclude=["column_1"]).startswith("d.csv: no field looks like the label;")
    assert refusal([], "text") == "There are no rows to find the text field in."
    assert refusal(table, "txt").startswith('Unknown role "txt". Did you mean "text"?')
    assert "\\x1b" in refusal(named("te\x1bxt"), "label")


def test_wanted() -> None:
    assert find_field(named("a", "b"), "text", "b") == "b"
    sparse = rows({"a": 1}, {"b": 2})
    assert find_field(sparse, "text", "b") == "b"


def test_text_of() -> None:
    table = rows({"t": " a text ", "n": 3, "f": 0.5, "e": "", "w": " \u3000\n", "z": None, "l": ["a"], "b": True})
    row = table[0]
    assert (text_of(row, "t"), text_of(row, "n"), text_of(row, "f")) == (" a text ", "3", "0.5")
    for field in "ewz":
        with pytest.raises(InputError) as caught:
            text_of(row, field)
        assert str(caught.value) == f'd.csv, line 2: the field "{field}" is empty; fill it in, or remove the row.'
    for field, what in {"l": "a list", "b": "true or false"}.items():
        with pytest.raises(InputError) as caught:
            text_of(row, field)
        assert str(caught.value) == f'd.csv, line 2: the field "{field}" is {what}, not text.'
    with pytest.raises(InputError) as caught:
        text_of(Row({"a": 1}, "d.csv", 7), "text")
    assert str(caught.value) == 'd.csv, line 7: the field "text" is missing; the row has "a".'
