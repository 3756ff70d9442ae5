"""Answers to many questions at once: token for token those of one question at a time, and without waste."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from itertools import takewhile
from typing import Any

import pytest
import torch
from test_load_seq2seq import SPEC as PAIR
from tiny_runs import SPEC as LLAMA
from torch import nn

from microtune.adapt.base import make_method
from microtune.nn.parameters import initialize
from microtune.nn.spec import ModelSpec, StackSpec
from microtune.nn.transformer import Transformer
from microtune.ragged import Ragged
from microtune.recipe import Choice
from microtune.run import batched
from microtune.run.batched import Question, generate_many
from microtune.run.decoding import Decoding
from microtune.run.generate import generate_ids

assert LLAMA.decoder is not None
assert PAIR.encoder is not None
assert PAIR.decoder is not None


def relative(spec: StackSpec) -> StackSpec:
    return replace(
        spec,
        positions="relative",
        norm="rms",
        placement="pre",
        final_norm=True,
        embedding_norm=False,
        max_positions=None,
        position_offset=0,
        relative_buckets=8,
        relative_max_distance=12,
        attention_scale=1.0,
    )


SPECS: dict[str, ModelSpec] = {
    "llama": LLAMA,
    "window": replace(LLAMA, decoder=replace(LLAMA.decoder, window=5, num_kv_heads=1)),
    "bart": PAIR,
    "t5": replace(PAIR, encoder=relative(PAIR.encoder), decoder=relative(PAIR.decoder)),
}


def model_of(spec: ModelSpec, std: float = 0.5) -> Transformer:
    torch.manual_seed(1)
    network = Transformer(spec)
    initialize(network, std, num_layers=2)
    if isinstance(network.head, nn.Module) and spec.head_bias:
        nn.init.normal_(network.head.out.bias)  # type: ignore[union-attr, operator, arg-type]
    return network.double().eval()


def questions_of(spec: ModelSpec, count: int = 12) -> list[Question]:
    """Questions of lengths from 1 to 9, in no order, some of them equally long."""
    generator = torch.Generator().manual_seed(2)
    rows = [torch.randint(60, 320, (1 + (7 * i) % 9,), generator=generator).tolist() for i in range(count)]
    return [Question(row) if spec.encoder is None else Question([2], row) for row in rows]


@torch.no_grad()
def alone(
    model: Transformer,
    question: Question,
    *,
    max_new_tokens: int,
    stop_ids: Sequence[int] = (),
    asked: Decoding | None = None,
) -> list[int]:
    """One answer by whole passes over all that is written, without a cache: the reference."""
    sources = Ragged.from_lists([question.sources]) if len(question.sources) else None
    limit, ids = model.spec.max_positions, list(question.ids)
    room = max_new_tokens if limit is None else min(max_new_tokens, limit - len(ids))
    for step in range(room):
        scores = model.head(model(Ragged.from_lists([ids]), sources=sources)[-1:])[0].float()
        forced = None if asked is None else asked.forced(step, room)
        if asked is not None:
            scores[asked.banned(ids)] = float("-inf")
        chosen = int(scores.argmax()) if forced is None else forced
        if chosen in stop_ids:
            break
        ids.append(chosen)
    return ids[len(question.ids) :]


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS.keys())
def test_one_answer_as_it_comes_is_that_of_whole_passes(spec: ModelSpec) -> None:
    model = model_of(spec)
    for question in questions_of(spec, 4):
        sources = question.sources if len(question.sources) else None
        found = list(generate_ids(model, question.ids, sources=sources, max_new_tokens=12, stop_ids=()))
        assert found == alone(model, question, max_new_tokens=12)


@cache
def whole_answers(spec: ModelSpec) -> list[list[int]]:
    """Twenty tokens for every question, with no way to stop."""
    return [alone(model_of(spec), question, max_new_tokens=20) for question in questions_of(spec)]


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS.keys())
@pytest.mark.parametrize("rows", [1, 5, 64])
def test_token_for_token_as_alone(spec: ModelSpec, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batched, "ROWS", rows)
    model, questions = model_of(spec), questions_of(spec)
    first = whole_answers(spec)
    stops = sorted({answer[5 + i % 9] for i, answer in enumerate(first)})[::2]  # rows end at different lengths
    wanted = [list(takewhile(lambda token: token not in stops, answer)) for answer in first]
    assert wanted[0] == alone(model, questions[0], max_new_tokens=20, stop_ids=stops)
    found = dict(generate_many(model, questions, max_new_tokens=20, stop_ids=stops))
    assert [found[i] for i in range(len(questions))] == wanted
    assert len({len(answer) for answer in wanted}) >= 4
    assert len({tuple(answer) for answer in wanted}) >= 4


def test_what_the_files_ask_of_the_decoder_holds_for_every_row() -> None:
    model, questions = model_of(PAIR), questions_of(PAIR)
    plain = dict(generate_many(model, questions, max_new_tokens=9, stop_ids=()))
    words = tuple({(ids[2],) for ids in plain.values()} | {tuple(ids[4:6]) for ids in plain.values()})
    asked = Decoding(start=2, first=77, last=78, stops=(), words=words)
    found = dict(generate_many(model, questions, max_new_tokens=9, stop_ids=(), asked=asked))
    assert [found[i] for i in range(12)] == [
        alone(model, q, max_new_tokens=9, stop_ids=(), asked=asked) for q in questions
    ]
    assert all(ids[0] == 77 and ids[-1] == 78 and len(ids) == 9 for ids in found.values())
    assert found != plain


def test_an_answer_ends_where_the_positions_do() -> None:
    limit = LLAMA.max_positions
    assert limit == 64
    model = model_of(LLAMA)
    questions = [Question([70] * size) for size in (3, 60, 63, 64)]
    found = dict(generate_many(model, questions, max_new_tokens=20, stop_ids=()))
    assert [len(found[i]) for i in range(4)] == [20, 4, 1, 0]
    assert list(generate_many(model, [], max_new_tokens=20, stop_ids=())) == []


@pytest.mark.parametrize("method", [{"name": "prompt", "tokens": 5}, {"name": "prefix", "tokens": 5}])
@pytest.mark.parametrize("name", ["llama", "bart"])
def test_virtual_tokens_take_their_room(name: str, method: dict[str, Any]) -> None:
    spec = SPECS[name]
    model, questions = model_of(spec), questions_of(spec)
    plain = dict(generate_many(model, questions, max_new_tokens=9, stop_ids=()))
    torch.manual_seed(0)
    for _, parameter in make_method(Choice(**method)).attach(model).parameters():
        torch.nn.init.normal_(parameter)
    found = dict(generate_many(model, questions, max_new_tokens=9, stop_ids=()))
    assert [found[i] for i in range(12)] == [alone(model, q, max_new_tokens=9, stop_ids=()) for q in questions]
    assert found != plain
    taken, limit = model.output_stack.virtual.count, spec.max_positions
    assert limit is not None
    full = [Question([70] * size, questions[0].sources) for size in (3, 57, 59, 64)]
    ends = dict(generate_many(model, full, max_new_tokens=20, stop_ids=()))
    assert [len(ends[i]) for i in range(4)] == [max(min(20, limit - taken - size), 0) for size in (3, 57, 59, 64)]


def test_rows_that_have_ended_are_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    model, questions = model_of(LLAMA), questions_of(LLAMA)
    first = dict(generate_many(model, questions, max_new_tokens=12, stop_ids=()))
    stops = {first[i][i % 6] for i in range(12)}
    computed: list[int] = []
    forward = Transformer.forward

    def counted(self: Transformer, inputs: Ragged, **more: Any) -> torch.Tensor:
        computed.append(len(inputs.values))
        return forward(self, inputs, **more)

    monkeypatch.setattr(Transformer, "forward", counted)
    found = dict(generate_many(model, questions, max_new_tokens=12, stop_ids=tuple(stops)))
    prompts = sum(len(q.ids) for q in questions)
    read = sum(len(ids) if len(ids) < 12 else 11 for ids in found.values())  # the last of twelve is not read again
    assert computed[0] == prompts
    assert sum(computed) == prompts + read
    assert len(computed) < len(questions) * 4


def test_a_small_cache_makes_small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    questions = questions_of(LLAMA)
    token = 8 * 2 * 16  # two blocks, keys and values of width 16
    monkeypatch.setattr(batched, "CACHE_BYTES", 3 * 29 * token)
    pieces = list(batched.batches_of(model_of(LLAMA), questions, dict.fromkeys(range(12), 20)))
    assert sorted(i for piece in pieces for i in piece) == list(range(12))
    assert [len(piece) for piece in pieces] == [3, 3, 3, 3]
    assert all(len(piece) * max(len(questions[i].ids) + 20 for i in piece) <= 3 * 29 for piece in pieces)
