"""Beam search: its scores are the model's own, wide enough it finds the best answer there is, and width 1 is greedy."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import pytest
import torch
from test_batched import LLAMA, PAIR, SPECS, model_of, questions_of

from microtune.adapt.base import make_method
from microtune.nn.spec import ModelSpec
from microtune.nn.transformer import Transformer
from microtune.ragged import Ragged
from microtune.recipe import Choice
from microtune.run import batched
from microtune.run.batched import Question, generate_many
from microtune.run.beams import Found, search_many
from microtune.run.decoding import Decoding
from microtune.run.picking import Terms
from microtune.tasks.writing import Writing


def searched(model: Transformer, questions: list[Question], beams: int, **more: Any) -> list[list[Found]]:
    names = ("length_penalty", "answers", "repetition_penalty")
    options = Writing(beams=beams, **{key: more.pop(key) for key in names if key in more})
    given = {"max_new_tokens": 12, "stop_ids": (), **more}
    found = dict(search_many(model, questions, terms=Terms(options), **given))
    return [found[i] for i in range(len(questions))]


def log_probability(model: Transformer, question: Question, new: list[int]) -> float:
    """Of these new ids, by one plain pass without a cache."""
    ids = [*question.ids, *new]
    sources = Ragged.from_lists([question.sources]) if len(question.sources) else None
    with torch.inference_mode():
        logp = torch.log_softmax(model.head(model(Ragged.from_lists([ids]), sources=sources)), -1)
    first = len(question.ids) - 1
    return float(logp[torch.arange(first, len(ids) - 1), torch.tensor(new)].sum())


@pytest.mark.parametrize("name", SPECS)
def test_one_beam_is_greedy_and_scores_are_sums_of_log_probabilities(name: str) -> None:
    model, questions = model_of(SPECS[name]), questions_of(SPECS[name], 6)
    stop = dict(generate_many(model, questions, max_new_tokens=6, stop_ids=()))[0][3]
    greedy = dict(generate_many(model, questions, max_new_tokens=12, stop_ids=[stop]))
    assert [f[0].ids for f in searched(model, questions, 1, stop_ids=[stop])] == [greedy[i] for i in range(6)]
    for question, answers in zip(
        questions, searched(model, questions, 4, stop_ids=[stop], answers=4, length_penalty=0.7), strict=True
    ):
        assert len(answers) == 4
        assert [f.score for f in answers] == sorted((f.score for f in answers), reverse=True)
        assert len({tuple(f.ids) for f in answers}) == 4
        for f in answers:
            new = f.ids if len(f.ids) == 12 else [*f.ids, stop]
            assert f.logp == pytest.approx(log_probability(model, question, new), abs=1e-9)
            assert f.score == pytest.approx(f.logp / len(new) ** 0.7, abs=1e-9)


@pytest.mark.parametrize("spec", [LLAMA, PAIR], ids=["decoder", "pair"])
@pytest.mark.parametrize("penalty", [0.0, 1.0, 2.0])
def test_full_width_finds_the_best_of_all_answers(spec: ModelSpec, penalty: float) -> None:
    small = replace(spec, vocab_size=4)
    model, stop, longest = model_of(small, 1.0), 3, 4
    question = Question([1, 2], ()) if spec.encoder is None else Question([2], [0, 1, 1])
    every = [[*head, stop] for size in range(longest) for head in product(range(3), repeat=size)]
    every += [list(ids) for ids in product(range(3), repeat=longest)]
    scores = [(log_probability(model, question, new) / len(new) ** penalty, new) for new in every]
    scores.sort(reverse=True)
    found = searched(
        model, [question], 256, answers=5, stop_ids=[stop], max_new_tokens=longest, length_penalty=penalty
    )[0]
    assert [f.ids for f in found] == [[i for i in new if i != stop] for _, new in scores[:5]]
    assert [f.score for f in found] == pytest.approx([score for score, _ in scores[:5]], abs=1e-9)


def test_more_beams_find_more_probable_answers() -> None:
    # Greedy's own beginning may drop out of the beam, so no single answer is bound to gain; together they do.
    model, questions = model_of(LLAMA, 0.3), questions_of(LLAMA, 24)
    sums = {k: [f[0].logp for f in searched(model, questions, k, length_penalty=0.0)] for k in (1, 4, 12)}
    assert sum(sums[1]) < sum(sums[4]) < sum(sums[12])
    assert sum(wide >= greedy - 1e-9 for wide, greedy in zip(sums[12], sums[1], strict=True)) >= 22


@pytest.mark.parametrize("name", ["window", "bart", "t5"])
def test_the_batch_changes_no_answer(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, questions = model_of(SPECS[name]), questions_of(SPECS[name], 7)
    stop = dict(generate_many(model, questions, max_new_tokens=6, stop_ids=()))[1][2]
    together = searched(model, questions, 3, stop_ids=[stop])
    alone = [searched(model, [q], 3, stop_ids=[stop])[0] for q in questions]
    assert [f[0].ids for f in together] == [f[0].ids for f in alone]
    assert [f[0].score for f in together] == pytest.approx([f[0].score for f in alone], abs=1e-9)
    monkeypatch.setattr(batched, "ROWS", 2)
    assert [f[0].ids for f in searched(model, questions, 3, stop_ids=[stop])] == [f[0].ids for f in alone]


def test_virtual_tokens_forced_and_banned_ids_and_the_end_of_positions() -> None:
    model, questions = model_of(PAIR), questions_of(PAIR, 4)
    torch.manual_seed(0)
    for _, parameter in make_method(Choice(name="prefix", tokens=3)).attach(model).parameters():
        torch.nn.init.normal_(parameter)
    plain = dict(generate_many(model, questions, max_new_tokens=9, stop_ids=()))
    words = tuple((ids[2],) for ids in plain.values())
    asked = Decoding(start=2, first=77, last=78, words=words)
    one = dict(generate_many(model, questions, max_new_tokens=9, stop_ids=(), asked=asked))
    found = searched(model, questions, 1, max_new_tokens=9, asked=asked)
    assert [f[0].ids for f in found] == [one[i] for i in range(4)]
    for f in searched(model, questions, 3, max_new_tokens=9, asked=asked):
        assert f[0].ids[0] == 77
        assert f[0].ids[-1] == 78
        assert not {i for word in words for i in word} & set(f[0].ids)
    llama = model_of(LLAMA)
    ends = searched(llama, [Question([70] * size) for size in (3, 60, 64)], 2)
    assert [len(f[0].ids) for f in ends] == [12, 4, 0]


def test_a_token_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model, questions = model_of(LLAMA), questions_of(LLAMA, 5)
    read: list[int] = []
    forward = Transformer.forward

    def counted(self: Transformer, inputs: Ragged, **more: Any) -> torch.Tensor:
        read.append(len(inputs.values))
        return forward(self, inputs, **more)

    monkeypatch.setattr(Transformer, "forward", counted)
    searched(model, questions, 3, max_new_tokens=6)
    assert read == [sum(len(q.ids) for q in questions), 15, 15, 15, 15, 15]
