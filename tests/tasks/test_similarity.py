"""Texts that belong together: forms, the joint loss and its cached gradients, ranks, scores, refusals."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
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
from torch.testing import assert_close

from microtune.data.batches import collate
from microtune.data.tables import has_header
from microtune.errors import InputError
from microtune.run.evaluate import evaluate_items, predict_items
from microtune.run.trunk import TrunkCache
from microtune.tasks.ranks import rank
from microtune.tasks.similarity import Similarity

pytestmark = pytest.mark.usefixtures("quick")

TOKENIZER = make_tokenizer()
PAIRS = [
    {"question": f"{s.split()[-1]} {i}?", "answer": f"{s} {i}"} for i, s in enumerate([*SENTENCES, *SENTENCES[:2]])
]
TRIPLETS = [
    {"query": row["question"], "positive": row["answer"], "negative": PAIRS[i - 1]["answer"]}
    for i, row in enumerate(PAIRS)
]
SCORED = [
    {"sentence1": s, "sentence2": SENTENCES[(i + k) % 6], "score": 5 - k}
    for i, s in enumerate(SENTENCES)
    for k in (0, 3)
]


def prepared(values: list[dict[str, Any]], label: str | None = None, **options: Any) -> Similarity:
    return Similarity(**options).prepare({"train": rows_of(values)}, text_field=None, label_field=label)


@pytest.mark.parametrize(
    ("rows", "fields", "form"),
    [
        (PAIRS, ("question", "answer", "", ""), "ranked"),
        (TRIPLETS, ("query", "positive", "negative", ""), "ranked"),
        (SCORED, ("sentence1", "sentence2", "", "score"), "scored"),
        ([{"问题": "a", "段落": "b"}, {"问题": "c", "段落": "d"}], ("问题", "段落", "", ""), "ranked"),
        (
            [{"question": str(i), "context": f"c{i}", "answer": "x"} for i in (1, 2)],
            ("question", "context", "", ""),
            "ranked",
        ),
    ],
)
def test_forms(rows: Any, fields: Any, form: str) -> None:
    task = prepared(rows)
    assert (task.text_field, task.pair_field, task.negative_field, task.label_field, task.form) == (*fields, form)
    assert task.chosen_by() == (("spearman" if form == "scored" else "mrr"), True)
    assert task.coupled == (form == "ranked")


def test_what_cannot_be_learnt() -> None:
    with pytest.raises(InputError, match=r'data\.jsonl, line 1: the field "answer" is empty'):
        prepared([PAIRS[0] | {"answer": " "}, *PAIRS])
    with pytest.raises(InputError, match=r'line 2: the number in "score" is'):
        prepared([SCORED[0], SCORED[1] | {"score": "high"}])
    labelled = [row | {"label": "a"} for row in PAIRS]
    assert prepared(labelled).form == "ranked"
    assert prepared(SCORED, label_field="").form == "ranked"
    with pytest.raises(InputError, match="all rows have the score 5"):
        prepared(SCORED[::2])
    with pytest.raises(InputError, match="all rows have the same text in 'answer'"):
        prepared([row | {"answer": "same"} for row in PAIRS])
    with pytest.raises(InputError, match="of this data there is no spearman; take mrr"):
        prepared(PAIRS, choose="spearman")
    with pytest.raises(InputError, match="give them two by two"):
        prepared(PAIRS).text_rows(["one"])


def embedded(model: Any, texts: list[str]) -> torch.Tensor:
    rows = []
    for text in texts:
        ids = TOKENIZER.encode(text)
        batch = collate([_plain(ids)])
        rows.append(model(batch.inputs, readout=batch.readout).mean(0))
    x = torch.stack(rows)
    x = x + x @ model.head.out.weight.T * x.shape[-1] ** -0.5
    return F.normalize(x, dim=-1)


def _plain(ids: list[int]) -> Any:
    from microtune.data.batches import Item

    return Item(ids, range(len(ids)))


def with_weights(task: Similarity, spec: Any) -> Any:
    model = make_model(spec, task, torch.float64).eval()
    torch.nn.init.normal_(model.head.out.weight, 0.0, 0.3)
    return model


def test_the_joint_loss_is_that_of_the_formula() -> None:
    """A passage that is right too is no wrong one: same text, or same query."""
    rows = [*TRIPLETS, {**TRIPLETS[0], "query": "other"}, {**TRIPLETS[1], "positive": "other"}]
    task = prepared(rows)
    encoded = task.encode_all(rows_of(rows), TOKENIZER, 96, training=True)
    model = with_weights(task, ENCODER_SPEC)
    batch = collate(list(encoded.items))  # type: ignore[call-overload]
    with torch.no_grad():
        loss, weight = task.loss(model.head, model(batch.inputs, readout=batch.readout), batch)
        queries = embedded(model, [row["query"] for row in rows])
        passages = [row["positive"] for row in rows] + [row["negative"] for row in rows]
        scores = (queries @ embedded(model, passages).T) / 0.05
    total = 0.0
    for i, row in enumerate(rows):
        right = {other["positive"] for other in rows if other["query"] == row["query"]} | {row["positive"]}
        wrong = [float(scores[i, k]) for k, text in enumerate(passages) if not _is_right(rows, i, k, text, right)]
        total += float(np.logaddexp.reduce([*wrong, float(scores[i, i])])) - float(scores[i, i])
    assert weight == 10
    assert float(loss) == pytest.approx(total, rel=1e-10)


def _is_right(rows: list[dict[str, str]], i: int, k: int, text: str, right: set[str]) -> bool:
    own = k == i
    same_query = k < len(rows) and rows[k]["query"] == rows[i]["query"]
    return own or same_query or text == rows[i]["positive"]


@pytest.mark.parametrize("rows", [PAIRS, TRIPLETS], ids=["pairs", "triplets"])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_pieces_give_the_gradients_of_the_whole_batch(rows: Any, dropout: float) -> None:
    """Cached gradients are those of one large batch; with dropout those of the same masks in the same pieces."""
    from dataclasses import replace

    spec = replace(ENCODER_SPEC, encoder=replace(ENCODER_SPEC.encoder, dropout=dropout))  # type: ignore[type-var]
    task = prepared(rows)
    encoded = task.encode_all(rows_of(rows), TOKENIZER, 96, training=True)
    found = []
    for pieces in ([list(range(8))], [[0, 1, 2], [3, 4], [5, 6, 7]]):
        model = make_model(spec, task, torch.float64)
        training = make_training(model, task, encoded, batch_size=8)
        model.train(dropout > 0)
        torch.manual_seed(5)
        if dropout and len(pieces) > 1:
            found = [_by_hand(training, pieces)]
            torch.manual_seed(5)
        loss = training.optimize(pieces)[0] if not dropout else _coupled(training, pieces)
        found.append((loss, [p.grad.clone() for p in model.parameters() if p.grad is not None]))
    (one, grads), (other, again) = found[-2:]
    assert one == pytest.approx(other, rel=1e-12)
    for a, b in zip(grads, again, strict=True):
        assert_close(a, b, rtol=1e-9, atol=1e-12)


def _coupled(training: Any, pieces: list[list[int]]) -> float:
    from microtune.run.coupled import joint_gradients

    training.optimizers.zero_grad()
    return joint_gradients(training, pieces, 8)[0]


def _by_hand(training: Any, pieces: list[list[int]]) -> Any:
    """The graphs of all pieces kept at once."""
    training.optimizers.zero_grad()
    task, model = training.task, training.model
    parts = []
    for piece in pieces:
        batch = training.collate(piece)
        parts.append(task.vectors(model.head, training.hidden(batch, piece), batch))
    loss = task.joint_loss(torch.cat(parts), [training.items[i] for piece in pieces for i in piece]) / 8
    loss.backward()
    return float(loss.detach()), [p.grad.clone() for p in model.parameters() if p.grad is not None]


def test_ranks_are_those_of_a_plain_search() -> None:
    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(30, 3, 8))
    vectors = (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float16)
    keys = np.stack([np.arange(30), 100 + np.arange(30), 200 + np.arange(30)], 1)
    keys[3, 0] = keys[2, 0]  # one query with two right passages
    vectors[3, 0] = vectors[2, 0]
    keys[5, 1] = keys[4, 1]  # two queries with the same right passage
    vectors[5, 1] = vectors[4, 1]
    found = rank(vectors, keys, 0.05)
    assert found.candidates == 59
    wide = vectors.astype(np.float32)
    candidates = {int(k): v for part in (1, 2) for k, v in zip(keys[:, part], wide[:, part], strict=True)}
    for i in range(30):
        right = {int(k) for k, q in zip(keys[:, 1], keys[:, 0], strict=True) if q == keys[i, 0]}
        own = float(wide[i, 0] @ wide[i, 1])
        others = [float(wide[i, 0] @ v) for k, v in candidates.items() if k not in right]
        assert found.ranks[i] == 1 + sum(o > own + 1e-6 for o in others)
        loss = np.logaddexp.reduce(np.array([own, *others]) / 0.05) - own / 0.05
        assert found.losses[i] == pytest.approx(loss, rel=1e-5, abs=1e-5)
        assert found.above[i] == (own > float(wide[i, 0] @ wide[i, 2]))


@pytest.mark.parametrize("spec", [DECODER_SPEC, ENCODER_SPEC], ids=["decoder", "encoder"])
@pytest.mark.parametrize("rows", [PAIRS, TRIPLETS], ids=["pairs", "triplets"])
def test_passages_are_learnt_by_heart(spec: Any, rows: Any) -> None:
    task = prepared(rows).fitted(spec)
    encoded = task.encode_all(rows_of(rows), TOKENIZER, 96, training=True)
    model = make_model(spec, task)
    steps_of(make_training(model, task, encoded, lr=5e-3, epochs=40, batch_size=8, micro_tokens=60))
    score = evaluate_items(model, task, encoded)
    assert score.values["recall@1"] == score.values["mrr"] == 1.0
    assert score.values.get("triplet_accuracy", 1.0) == 1.0
    assert score.intervals["mrr"] == (1.0, 1.0)
    blind = task.unlabelled()
    full = sorted(
        predict_items(model, blind, blind.encode_all(rows_of(rows), TOKENIZER, 96, training=False)), key=lambda p: p.row
    )
    assert [p.answer for p in full] == pytest.approx([p.answer for p in score.predictions], abs=1e-5)


def test_scores_are_learnt_by_heart() -> None:
    task = prepared(SCORED).fitted(ENCODER_SPEC)
    assert (task.low, task.high) == (2.0, 5.0)
    encoded = task.encode_all(rows_of(SCORED), TOKENIZER, 96, training=True)
    model = make_model(ENCODER_SPEC, task)
    steps_of(make_training(model, task, encoded, lr=5e-3, epochs=60, batch_size=12))
    score = evaluate_items(model, task, encoded)
    assert score.values["loss"] < 0.01
    assert score.values["pearson"] > 0.99
    assert [p.target for p in score.predictions] == pytest.approx([row["score"] for row in SCORED])
    assert score.predictions[0].answer == pytest.approx(5.0, abs=0.4)
    assert not math.isnan(score.values["spearman"])


def test_a_cached_trunk_gives_the_same_vectors(tmp_path: Any) -> None:
    """Where the head alone trains, the mean of each text is stored: of each sequence, not of each item."""
    task = prepared(TRIPLETS)
    encoded = task.encode_all(rows_of(TRIPLETS), TOKENIZER, 96, training=True)
    model = make_model(ENCODER_SPEC, task)
    training = make_training(model, task, encoded, method="head")
    cache = TrunkCache(model, encoded.items, tmp_path / "cache.bin", "float32", 10**9)
    assert cache.pooled
    list(cache.fill())
    live = training.task.vectors(
        model.head, training.hidden(training.collate([1, 4]), [1, 4]), training.collate([1, 4])
    )
    training.trunk = cache
    batch = training.collate([1, 4])
    assert_close(training.task.vectors(model.head, training.hidden(batch, [1, 4]), batch), live, rtol=1e-5, atol=1e-6)
    cache.close()


def test_names_of_roles_that_are_labels_too_make_no_header() -> None:
    body = [["a dull film", "negative"], ["a fine film", "positive"], ["so so", "neutral"]]
    assert not has_header(["the positive side of it", "positive"], body)
    assert has_header(["question", "answer"], body)
