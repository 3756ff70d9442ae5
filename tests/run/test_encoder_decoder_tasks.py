"""Tasks on encoder-decoders, of T5's kind and of BART's: against the formula, and from a file to a loaded run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny_pairs import make_pair_base
from tiny_runs import run
from torch import Tensor
from torch.testing import assert_close

import microtune
from microtune.data.batches import collate
from microtune.data.sources import Row
from microtune.errors import InputError
from microtune.ragged import Ragged
from microtune.recipe import build
from microtune.run.answers import settled
from microtune.run.encoders import encoder_alone
from microtune.run.load import Model, load
from microtune.run.reference import log_probabilities
from microtune.tasks.base import EncodingReport, Task
from microtune.tasks.multiple_choice import MultipleChoice
from microtune.tasks.preference import Preference

pytestmark = pytest.mark.usefixtures("quick")

KINDS = ("t5", "bart")
LONG = 40


@pytest.fixture(scope="module", params=KINDS)
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A random encoder-decoder of two blocks on each side."""
    return make_pair_base(tmp_path_factory.mktemp("base") / request.param, request.param)


def rows_of(task: str, count: int = 30) -> list[dict[str, Any]]:
    """Rows of a task, no two alike."""
    words = ["one", "two", "three", "four", "five", "six"]
    found: list[dict[str, Any]] = []
    for i in range(count):
        a, b = words[i % 6], words[(i + 1 + i // 6) % 6]
        text = f"{i} {a} then {b}"
        found.append(
            {
                "classification": {"text": text, "label": "odd" if i % 2 else "even"},
                "regression": {"text": text, "score": i / 10},
                "token-labelling": {
                    "text": text,
                    "spans": [{"start": len(str(i)) + 1, "end": len(str(i)) + 1 + len(a), "label": "FIRST"}],
                },
                "question-answering": {
                    "question": f"what follows {a}",
                    "context": text,
                    "answers": {"text": [b], "answer_start": [len(text) - len(b)]},
                },
                "similarity": {"query": text, "passage": f"{b} after {a} {i}"},
                "multiple-choice": {"question": text, "choices": [a, f"{b} {i}", "none"], "answer": i % 2},
                "dpo": {"prompt": text, "chosen": b, "rejected": f"no {a}"},
                "kto": {"prompt": text, "completion": b if i % 2 else f"no {a}", "label": bool(i % 2)},
            }[task]
        )
    return found


def recipe(base: str, folder: Path, task: str, method: str, options: dict[str, Any] | None = None) -> Any:
    """Two epochs of two steps."""
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows_of(task)), encoding="utf-8")
    name = "preference" if task in ("dpo", "kto") else task
    return build(
        {
            "task": {"name": name, **(options or {})},
            "model": {"source": base},
            "data": {"train": str(file), "split": {"validation": 0.2, "test": 0.2}},
            "method": method,
            "train": {"epochs": 2, "batch_size": 10, "lr": 0.01, "precision": "float32"},
        }
    )


READERS = ("classification", "regression", "token-labelling", "question-answering", "similarity")


@pytest.mark.parametrize(
    ("task", "method"),
    [
        *((task, "lora:2") for task in READERS),
        ("token-labelling", "head"),
        ("question-answering", "top:1"),
        ("similarity", "full"),
        *((task, "lora:2") for task in ("multiple-choice", "dpo", "kto")),
        ("multiple-choice", "top:1"),
        ("dpo", "full"),
    ],
)
def test_from_a_file_to_a_loaded_run(base: str, tmp_path: Path, task: str, method: str) -> None:
    """The loaded run gives the scores of training, and an answer to a row; readers keep no decoder."""
    folder = run(recipe(base, tmp_path, task, method), tmp_path / "run")
    done = microtune.Run(folder.path)
    again = done.evaluate(tmp_path / "rows.jsonl")
    assert np.isfinite(again.values["loss"] if hasattr(again, "values") else again["loss"])
    network = load(str(folder.path)).network
    assert (network.decoder is None) == (task in READERS)
    assert np.isfinite(done.scores["test"]["loss"])
    assert not (folder.path / "model" / "adapter").exists() or task not in READERS  # no class of transformers reads so
    if method == "lora:2" and task in READERS:
        with pytest.raises(InputError, match=r"reads with the encoder alone, .* load it alone"):
            microtune.load_adapters(base, {"it": folder.path})


def task_of(model: Model, task: Task, rows: list[Row]) -> Task:
    prepared = task.prepare({"train": rows}, text_field=None, label_field=None)
    return settled(prepared.fitted(model.spec), model)


def likelihood(model: Model, source: str, answer: str) -> Tensor:
    """log p of each token of an answer, from whole logits of one pass over it alone."""
    text, start = model.text, model.config["decoder_start_token_id"]
    target = [*text.encode(answer, special=False), text.stop_ids[0]]
    opening = [start, *([bos] if (bos := text.id("bos")) in text.encode("a")[:1] and bos != start else [])]
    ids = [*opening, *target[:-1]]
    hidden = model.network(Ragged.from_lists([ids]), sources=Ragged.from_lists([text.encode(source)]))
    logs = model.network.head(hidden)[len(opening) - 1 :].log_softmax(-1)
    return logs[torch.arange(len(target)), torch.tensor(target)]


@pytest.mark.parametrize("per", ["token", "option"])
def test_options_are_scored_by_what_the_decoder_would_write(base: str, per: str) -> None:
    """Loss and gradient equal the softmax over likelihoods, option by option."""
    model = load(base, dtype="float64")
    rows = [Row(data, "f", i) for i, data in enumerate(rows_of("multiple-choice", 4), 1)]
    task = task_of(model, MultipleChoice(per=per), rows)  # type: ignore[arg-type]
    report = EncodingReport()
    items = [task.encode(row, i, model.text, LONG, report) for i, row in enumerate(rows)]
    model.network.eval()
    batch = collate(items)  # type: ignore[arg-type]
    hidden = model.network(batch.inputs, readout=batch.readout, sources=batch.sources)
    loss, weight = task.loss(model.network.head, hidden, batch)
    loss.backward()  # type: ignore[no-untyped-call]
    found = {n: p.grad.clone() for n, p in model.network.named_parameters() if p.grad is not None}
    model.network.zero_grad()
    wanted = torch.zeros((), dtype=torch.float64)
    for row in rows:
        logs = [likelihood(model, row.data["question"], option) for option in row.data["choices"]]
        scores = torch.stack([part.mean() if per == "token" else part.sum() for part in logs])
        wanted = wanted - scores.log_softmax(0)[row.data["answer"]]
    wanted.backward()  # type: ignore[no-untyped-call]
    assert weight == 4
    assert_close(loss, wanted, atol=1e-6, rtol=0)
    for name, parameter in model.network.named_parameters():
        if parameter.grad is not None:
            assert_close(found[name], parameter.grad, atol=1e-6, rtol=0)
    assert found.keys() == {n for n, p in model.network.named_parameters() if p.grad is not None}


def test_answers_of_a_preference_are_targets_of_the_decoder(base: str) -> None:
    """The references are those of passes over one answer alone."""
    model = load(base, dtype="float64")
    rows = [Row(data, "f", i) for i, data in enumerate(rows_of("dpo", 4), 1)]
    task = task_of(model, Preference(), rows)
    encoded = task.encode_all(rows, model.text, LONG, training=True)
    with torch.no_grad():
        found = log_probabilities(model.network, encoded.items)
        model.network.eval()
        for row, logs in zip(rows, found, strict=True):
            wanted = torch.cat(
                [likelihood(model, row.data["prompt"], row.data[name]) for name in ("chosen", "rejected")]
            )
            assert_close(torch.from_numpy(logs), wanted.float(), atol=1e-5, rtol=0)


def test_the_encoder_alone_says_what_it_says_in_the_whole_model(base: str) -> None:
    whole = load(base, dtype="float64")
    alone = encoder_alone(whole)
    ids = Ragged.from_lists([whole.text.encode("one two"), whole.text.encode("three")])
    with torch.no_grad():
        assert_close(alone.network(ids), whole.network.encode(ids), atol=0, rtol=0)
        assert_close(alone.embed(["one two"]), whole.embed(["one two"]), atol=0, rtol=0)
    assert alone.network.tokens is whole.network.tokens
    assert alone.parameters < whole.parameters


def test_tags_are_read_from_the_encoder(base: str, tmp_path: Path) -> None:
    """Scores of a tuned run equal a linear map of the encoder's states at unit size, word by word."""
    folder = run(recipe(base, tmp_path, "token-labelling", "head"), tmp_path / "run")
    model, whole = load(str(folder.path), dtype="float64"), load(base, dtype="float64")
    row = Row(rows_of("token-labelling")[3], "f", 1)
    assert model.task is not None
    item = model.task.encode(row, 0, model.text, LONG, EncodingReport())
    batch = collate([item])  # type: ignore[list-item]
    with torch.no_grad():
        scores = model.network.head(model.network(batch.inputs, readout=batch.readout), batch.counts)
        states = whole.network.encode(batch.inputs)[batch.readout]
        states = F.normalize(states, dim=-1) * states.shape[-1] ** 0.5
        out = model.network.head.out
        assert_close(scores, states @ out.weight.T + out.bias, atol=1e-6, rtol=0)  # type: ignore[operator,union-attr]


def test_a_conversation_is_refused_with_what_to_do_instead(base: str, tmp_path: Path) -> None:
    chosen, rejected = ({"role": "assistant", "content": text} for text in ("two", "no"))
    asked = [[{"role": "user", "content": f"one {i}"}] for i in range(40)]
    data = [{"messages": turns, "chosen": [chosen], "rejected": [rejected]} for turns in asked]
    made = recipe(base, tmp_path, "dpo", "lora:2")
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in data), encoding="utf-8")
    with pytest.raises(InputError, match=r"reads a prompt and writes an answer, no conversation: give both as texts"):
        run(made, tmp_path / "run")
