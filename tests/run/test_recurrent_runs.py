"""Recurrent networks through the verbs: from scratch, saved, loaded, tuned lightly, exported; a language model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_recurrent import recipe, reversed_rows

from microtune import recipe as recipes
from microtune.errors import InputError, RunError
from microtune.run.attention import attention_of, draw
from microtune.run.batched import Question, generate_many
from microtune.run.beams import search_many
from microtune.run.export import export
from microtune.run.load import load
from microtune.run.picking import Terms
from microtune.run.verbs import Run, pretrain, tune_recipe
from microtune.tasks.sequence_to_sequence import SequenceToSequence
from microtune.tasks.writing import Writing

pytestmark = pytest.mark.usefixtures("quick")

IDS, TARGETS = [[60, 61, 62], [63, 64]], [[0, 62, 61], [0, 64]]


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("rnn")
    values = recipe(reversed_rows(folder / "rows.jsonl"))
    return tune_recipe(recipes.build({**values, "out": str(folder / "run")}))


def test_turning_letters_round_is_learnt(learnt: Run) -> None:
    assert learnt.scores["test"]["exact_match"] >= 0.95
    assert learnt.predict(["abcd"])[0].answer == "dcba"
    assert learnt.model.generate("abcd") == "dcba"  # one row at a time, the same answer


def test_attention_looks_backwards(learnt: Run) -> None:
    """The word is written from its last letter on: the largest weights stand on the other diagonal."""
    found = attention_of(learnt.model, "abcd")
    assert found.sources == ["a", "b", "c", "d"]
    assert found.written == ["d", "c", "b", "a", "<|eos|>"]
    assert found.weights.shape == (5, 4)
    assert torch.allclose(found.weights.sum(1), torch.ones(5))
    centre = found.weights[:4] @ torch.arange(4.0)
    assert bool((centre[:-1] > centre[1:]).all())


def test_one_beam_is_greedy_and_more_find_what_is_as_probable(learnt: Run) -> None:
    model, start = learnt.model, 0
    assert isinstance(model.task, SequenceToSequence)
    for text in ("abcd", "hgf", "ecab"):
        question = Question([start], model.prompt_ids(text))
        common: dict[str, Any] = {"max_new_tokens": 8, "stop_ids": model.text.stop_ids}
        greedy = dict(generate_many(model.network, [question], **common))[0]
        one, several = (
            next(search_many(model.network, [question], terms=Terms(Writing(beams=k, answers=k)), **common))[1]
            for k in (1, 4)
        )
        assert one[0].ids == greedy
        assert several[0].score >= one[0].score - 1e-6
        assert [a.score for a in several] == sorted((a.score for a in several), reverse=True)
        logp = model.logits([question.sources], [[start, *greedy]])[0].log_softmax(-1)
        total = sum(float(logp[t, i]) for t, i in enumerate([*greedy, model.text.stop_ids[0]]))
        assert abs(one[0].score - total / (len(greedy) + 1)) < 1e-5


def test_beams_over_several_texts_find_what_each_alone_does(learnt: Run) -> None:
    """States and the encoder laid out follow the beams, also when a text has ended before the others."""
    model = learnt.model
    questions = [Question([0], model.prompt_ids(text)) for text in ("a", "abcd", "hgfe", "ec")]
    options: dict[str, Any] = {"max_new_tokens": 8, "stop_ids": model.text.stop_ids}
    options["terms"] = Terms(Writing(beams=3, answers=3))
    together = dict(search_many(model.network, questions, **options))
    for index, question in enumerate(questions):
        alone = next(search_many(model.network, [question], **options))[1]
        assert [f.ids for f in together[index]] == [f.ids for f in alone]
        assert [f.score for f in together[index]] == pytest.approx([f.score for f in alone], abs=1e-5)


def test_the_picture_is_a_png(learnt: Run, tmp_path: Path) -> None:
    draw(attention_of(learnt.model, "abc", "cba"), tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    with pytest.raises(RunError, match="cannot be written"):
        draw(attention_of(learnt.model, "abc"), tmp_path / "none" / "a.png")
    with pytest.raises(InputError, match="attention: additive or dot"):
        attention_of(load("sprout"), "abc")


def test_a_light_tuning_moves_what_it_says_and_reloads(learnt: Run, tmp_path: Path) -> None:
    base = export(learnt.path, format="own", out=tmp_path / "base").path
    whole = learnt.model
    assert all(
        torch.equal(a, b) for a, b in zip(whole.logits(IDS, TARGETS), load(base).logits(IDS, TARGETS), strict=True)
    )
    data = reversed_rows(tmp_path / "more.jsonl", 60)
    for method in ("head", "top:1"):
        values = recipe(data, epochs=2, lr=0.001) | {"model": str(base), "method": method}
        run = tune_recipe(recipes.build({**values, "out": str(tmp_path / method[:3])}))  # reload is checked by the run
        before, after = (dict(m.network.named_parameters()) for m in (whole, run.model))
        moved = {n for n in before if not torch.equal(before[n], after[n])}
        with pytest.raises(InputError, match="tuned by full, head, top, not by lora"):
            tune_recipe(recipes.build({**values, "method": "lora", "out": str(tmp_path / "no")}))
        ours = ("head.",) if method == "head" else ("decoder.blocks.0.",)
        assert moved
        assert all(name.startswith(ours) for name in moved)


def test_a_language_model(tmp_path: Path) -> None:
    lines = [f"the {w} has not arrived in account {i}" for i in range(60) for w in ("card", "transfer")]
    (tmp_path / "corpus.txt").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "held.txt").write_text("\n".join(lines[:5]), encoding="utf-8")
    values: dict[str, Any] = {
        "task": "language-modelling",
        "model": {
            "family": "seq2seq-rnn",
            "spec": {"decoder": {"num_layers": 1, "hidden_size": 32}},
            "tokenizer": {"vocab_size": 330},
        },
        "data": {
            "folder": str(tmp_path),
            "block_size": 32,
            "sources": [{"path": "corpus.txt", "held_out": "held.txt", "name": "tiny"}],
        },
        "method": "full",
        "train": {"epochs": 4, "batch_size": 8, "lr": 0.01, "precision": "float32"},
    }
    run = pretrain(values, out=tmp_path / "run")
    assert run.scores["tiny"]["bits_per_byte"] < 3.0  # 8 without a model
    model = load(tmp_path / "run" / "model")
    assert model.family == "seq2seq-rnn"
    assert len(model.generate("the card", max_new_tokens=5)) > 0
    config = json.loads((tmp_path / "run" / "model" / "config.json").read_text(encoding="utf-8"))
    assert config["spec"]["decoder"]["cell"] == "lstm"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model": {"source": "sprout"}}, "source: null"),
        ({"model": {"family": "seq2seq-rn"}}, 'Unknown family "seq2seq-rn"'),
        ({"method": "lora"}, "take method: full, not lora"),
        ({"model": {"spec": {"decoder": {"num_layers": 1, "hidden_size": 8, "cell": "rnn"}}}}, "cell: unknown value"),
    ],
)
def test_refusals(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    values = recipe(reversed_rows(tmp_path / "rows.jsonl", 40))
    model = {**values["model"], **change.get("model", {})}
    asked = {**values, **change, "model": model, "out": str(tmp_path / "run")}
    with pytest.raises(InputError, match=said):
        tune_recipe(recipes.build(asked))
    assert not (tmp_path / "run").exists()
