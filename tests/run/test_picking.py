"""How a token is chosen: every distribution against a literal computation, and draws that nothing around them moves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from test_batched import LLAMA, PAIR, model_of, questions_of
from torch.testing import assert_close

from microtune.errors import InputError
from microtune.nn.spec import ModelSpec
from microtune.recipe import validated
from microtune.run import batched
from microtune.run.batched import generate_many
from microtune.run.beams import search_many
from microtune.run.generate import generate_ids
from microtune.run.picking import Terms, narrowed, penalized, pick
from microtune.tasks.writing import Writing

SHARES = torch.tensor([0.4, 0.05, 0.3, 0.15, 0.1], dtype=torch.float64)


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ({}, [0, 1, 2, 3, 4]),
        ({"top_k": 2}, [0, 2]),
        ({"top_k": 99}, [0, 1, 2, 3, 4]),
        ({"top_p": 0.69}, [0, 2]),  # 0.4 + 0.3
        ({"top_p": 0.71}, [0, 2, 3]),
        ({"top_p": 0.01}, [0]),
        ({"min_p": 0.24}, [0, 2, 3, 4]),  # of 0.4: 0.096
        ({"min_p": 0.26}, [0, 2, 3]),
        ({"min_p": 1.0}, [0]),
        ({"top_k": 3, "top_p": 0.5}, [0, 2]),  # of 0.85: 0.47, 0.82
        ({"top_k": 4, "min_p": 0.3}, [0, 2, 3]),
    ],
)
def test_what_is_left_of_a_distribution(options: dict[str, Any], left: list[int]) -> None:
    found = narrowed(SHARES.log(), Writing(temperature=1.0, **options))
    wanted = torch.zeros(5, dtype=torch.float64)
    wanted[left] = SHARES[left] / SHARES[left].sum()
    assert_close(found / found.sum(), wanted, atol=1e-12, rtol=0)


def test_temperature_divides_scores() -> None:
    found = narrowed(SHARES.log(), Writing(temperature=2.0))
    assert_close(found, SHARES.sqrt() / SHARES.sqrt().sum(), atol=1e-12, rtol=0)


def test_draws_follow_the_distribution() -> None:
    generator, options = torch.Generator().manual_seed(1), Writing(temperature=1.0, top_p=0.8)
    counts = torch.zeros(5)
    for _ in range(4000):
        counts[pick(SHARES.log(), options, generator)] += 1
    wanted = torch.tensor([0.4, 0, 0.3, 0.15, 0]) / 0.85
    assert_close(counts / 4000, wanted, atol=0.025, rtol=0)  # three standard deviations


def test_the_penalty_divides_positive_and_multiplies_negative_scores() -> None:
    scores = torch.tensor([2.0, -2.0, 1.0, -1.0], dtype=torch.float64)
    assert penalized(scores, [0, 1, 1, 0], 1.25).tolist() == [1.6, -2.5, 1.0, -1.0]
    assert scores.tolist() == [2.0, -2.0, 1.0, -1.0]
    assert penalized(scores, [0, 1], 1.0) is scores


@pytest.mark.parametrize("spec", [LLAMA, PAIR], ids=["decoder", "pair"])
def test_greedy_is_top_1_is_one_beam(spec: ModelSpec) -> None:
    model, questions = model_of(spec), questions_of(spec, 6)
    common: dict[str, Any] = {"max_new_tokens": 8, "stop_ids": ()}
    greedy = dict(generate_many(model, questions, **common))
    for options in ({"top_k": 1}, {"top_p": 1e-6}, {"min_p": 1.0}):
        drawn = generate_many(model, questions, terms=Terms(Writing(temperature=1.0, **options)), **common)
        assert dict(drawn) == greedy
    one = {i: found[0].ids for i, found in search_many(model, questions, terms=Terms(Writing()), **common)}
    assert one == greedy


def test_a_seed_repeats_and_the_batch_moves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model, questions = model_of(LLAMA, 0.2), questions_of(LLAMA, 9)
    common: dict[str, Any] = {"max_new_tokens": 8, "stop_ids": ()}

    def drawn(seed: int, which: slice = slice(None), number: int = 0) -> list[list[int]]:
        terms = Terms(Writing(temperature=1.0, seed=seed, repetition_penalty=1.1))
        asked = [replace(question, number=number) for question in questions[which]]
        found = dict(generate_many(model, asked, terms=terms, **common))
        return [found[i] for i in range(len(found))]

    first = drawn(3)
    assert drawn(3) == first
    assert all(a != b for a, b in zip(drawn(4), first, strict=True))
    assert all(a != b for a, b in zip(drawn(3, number=1), first, strict=True))
    assert [drawn(3, slice(i, i + 1))[0] for i in range(9)] == first
    assert drawn(3, slice(None, None, -1)) == first[::-1]
    monkeypatch.setattr(batched, "ROWS", 2)
    assert drawn(3) == first
    as_they_come = {"temperature": 1.0, "seed": 3, "repetition_penalty": 1.1}
    assert [list(generate_ids(model, q.ids, **common, **as_they_come)) for q in questions] == first


def test_a_penalty_ends_repetition() -> None:
    model, questions = model_of(LLAMA), questions_of(LLAMA, 6)
    common: dict[str, Any] = {"max_new_tokens": 20, "stop_ids": ()}
    terms = Terms(Writing(repetition_penalty=1e6))
    found = dict(generate_many(model, questions, terms=terms, **common))
    beams = dict(search_many(model, questions, terms=Terms(Writing(repetition_penalty=1e6, beams=2)), **common))
    for i, question in enumerate(questions):
        assert len({*question.ids, *found[i]}) == len(set(question.ids)) + 20
        assert len({*question.ids, *beams[i][0].ids}) == len(set(question.ids)) + 20
        assert list(generate_ids(model, question.ids, terms=terms, **common)) == found[i]
    plain = dict(generate_many(model, questions, **common))
    assert any(len(set(ids)) < 20 for ids in plain.values())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"beams": 0}, "beams: the value should be greater than or equal to 1, not '0'."),
        ({"top_p": 0}, "top_p: the value should be greater than 0, not '0'."),
        ({"top_p": 1.2}, "top_p: the value should be less than or equal to 1, not '1.2'."),
        ({"min_p": -0.1}, "min_p: the value should be greater than or equal to 0, not '-0.1'."),
        ({"min_p": 1.1}, "min_p: the value should be less than or equal to 1, not '1.1'."),
        ({"temperature": -1}, "temperature: the value should be greater than or equal to 0, not '-1'."),
        ({"temperature": float("nan")}, "temperature: the value should be a finite number, not 'nan'."),
        ({"repetition_penalty": 0}, "repetition_penalty: the value should be greater than 0, not '0'."),
        ({"beams": 2, "temperature": 1.0}, "beams search and a temperature draws: leave out one of the two"),
        ({"answers": 3}, "3 answers need as many beams, or a temperature"),
        ({"labels": ["a"], "regex": "a"}, "labels, regex and json_schema each say what an answer is: give one"),
        ({"labels": [""]}, "an empty text can be neither a stop nor a label"),
        ({"json_schema": "{"}, "a schema is JSON; this is not"),
        ({"json_schema": "3"}, "a schema is a JSON object"),
        ({"beam": 2}, 'unknown key "beam". Did you mean "beams"?'),
    ],
)
def test_values_that_cannot_be(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as caught:
        validated(Writing, options, "decoding")
    assert said in str(caught.value)
