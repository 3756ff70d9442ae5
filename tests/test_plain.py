"""YAML by libyaml and by PyYAML itself: the same values, the same refusals, the same text."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from microtune import plain
from microtune.recipe import build, to_yaml

pytestmark = pytest.mark.skipif(plain.CParser is None, reason="PyYAML was built without libyaml")

RECIPE = to_yaml(build({"task": "classification", "data": {"train": "卡片.csv"}, "method": "lora:2+bitfit"}))
OTHERS = [
    "a: 1\nb: [1, 2, {x: 3}]\nc: 'quo''te'\nd: \"e\\n\\u00e9\"\ne: |\n  as it\n   stands\nf: >-\n  fold\n  ed\n",
    "lr: 3e-4\nx: ~\ny: 退款 😀\nz: !!str 5\nday: 2024-01-02\n",
    "--- # c\na: &x 1\nb: *x\n...\n",
    "%YAML 1.1\n---\n{a: b, c}\n",
    "- - - a\n",
]
SIGNS = list(" \t\n\r:-?,[]{}#&*!|>'\"%@`0123abc.~<=+_\\/\ufeff\x85\u2028é退😀\x00\x07\ud800\x7f")
TEXTS = [
    "true",
    "null",
    "3e-4",
    "2024-01-02",
    "12:30",
    "a: b",
    "- x",
    "# c",
    "so long " * 20,
    "",
    "=",
    "x" * 150,
    "退款",
]


def spoilt(draw: random.Random) -> str:
    """A text in YAML, or a piece of one, with a few signs put in or taken out."""
    signs = list(draw.choice([RECIPE, *OTHERS]))
    if draw.random() < 0.8:
        start = draw.randrange(len(signs))
        signs = signs[start : start + draw.randrange(1, 120)]
    for _ in range(draw.randrange(4)):
        place = draw.randrange(len(signs) + 1)
        signs[place : place + draw.randrange(2)] = draw.choice(["", draw.choice(SIGNS)])
    return "".join(signs)


def outcome(read: Callable[[str], Any], text: str) -> str:
    try:
        return repr(read(text))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        return f"{type(error).__name__}: {plain.yaml_reason(error)}"


def test_values_and_refusals_are_the_same() -> None:
    draw = random.Random(1)
    for text in [RECIPE, *OTHERS, *(spoilt(draw) for _ in range(400))]:
        assert outcome(plain.parsed, text) == outcome(lambda text: yaml.load(text, Loader=plain._Loader), text), text


def test_what_is_nested_without_end_is_refused() -> None:
    with pytest.raises(RecursionError):
        plain.parsed("- " * 5000)


@pytest.mark.parametrize("text", ["a:\t1", "{a ? b}", "a: b\ufeff"])
def test_where_libyaml_is_milder(text: str) -> None:
    assert plain.TAKEN_OTHERWISE.search(text)


def values(draw: random.Random, depth: int = 0) -> Any:
    """Anything that a recipe may hold."""
    kind = draw.random() if depth < 4 else 1.0
    if kind < 0.25:
        keys = [*"abcd", "a key", *TEXTS]
        return {draw.choice(keys): values(draw, depth + 1) for _ in range(draw.randrange(6))}
    if kind < 0.4:
        return [values(draw, depth + 1) for _ in range(draw.randrange(5))]
    signs = "".join(draw.choice("abc  '\"#:?-,{[&*!%@") for _ in range(draw.choice([1, 5, 150])))
    return draw.choice([None, True, -(2**63), 0.1, 1e300, 1e-7, float("inf"), float("nan"), signs, draw.choice(TEXTS)])


def test_the_text_is_the_same() -> None:
    draw = random.Random(1)
    fast = 0
    for _ in range(150):
        value = {"a": values(draw), "b": values(draw)}
        fast += plain._even(value)
        expected = yaml.safe_dump(value, allow_unicode=True, sort_keys=False, width=100)
        assert plain.dumped(value, width=100) == expected
    assert 50 < fast < 150
    assert plain.dumped(yaml.safe_load(RECIPE), width=120) == RECIPE
