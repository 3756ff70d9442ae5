"""Options of pretraining: scores on the way, the mean of checkpoints, separate documents, going on, the report."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tiny_runs import make_base, make_rows, picture, pretrain_recipe, run, tune_recipe

import microtune as mt
from microtune.data.store import RaggedStore
from microtune.data.text import train_bpe
from microtune.errors import InputError
from microtune.recipe import Recipe, Source, build
from microtune.run.averaging import Snapshots
from microtune.run.held_out import source_names
from microtune.run.session import Scored
from microtune.run.tokenizer_report import tokenizer_report
from microtune.run.train import Step

pytestmark = pytest.mark.usefixtures("quick")


class Stopped(Exception):  # noqa: N818 - an event
    """Raised in the middle of a run."""


def _changed(recipe: Recipe, **sections: dict[str, Any]) -> Recipe:
    values = recipe.model_dump()
    for name, fields in sections.items():
        values[name] |= fields
    return build(values)


def _scores(path: Path) -> list[dict[str, Any]]:
    lines = (json.loads(line) for line in (path / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line["kind"] == "score"]


def _two_sources(folder: Path, **train: Any) -> Recipe:
    recipe = pretrain_recipe(folder)
    (folder / "more.txt").write_text("\n".join(f"my number is {i} at the shop" for i in range(60)), encoding="utf-8")
    (folder / "more_held.txt").write_text("my number is 99 at the shop\nthe shop is 7", encoding="utf-8")
    sources = [
        {"path": "corpus.txt", "held_out": "held.txt", "name": "a", "language": "en"},
        {"path": "more.txt", "held_out": "more_held.txt", "name": "b", "language": "en", "epochs": 0.5},
    ]
    settings = {"epochs": 3, "batch_size": 16, "checkpoint_steps": 4, **train}
    return _changed(recipe, data={"sources": sources}, train=settings)


def _stop_at(step: int) -> Any:
    counted = itertools.count(1)

    def stop(event: object) -> None:
        if isinstance(event, Step) and next(counted) == step:
            raise Stopped

    return stop


def test_held_out_text_is_scored_every_so_many_tokens_by_source_and_language(tmp_path: Path) -> None:
    recipe = _two_sources(tmp_path, evaluate_tokens=600)  # a step has 16 x 16 tokens
    path = run(recipe, tmp_path / "a").path
    found = [line for line in _scores(path) if not line.get("final")]
    steps = sorted({line["step"] for line in found})
    last = max(json.loads(line).get("step", 0) for line in (path / "metrics.jsonl").read_text().splitlines())
    assert steps == [s for s in range(1, last + 1) if s * 256 // 600 > (s - 1) * 256 // 600]
    assert steps[:3] == [3, 5, 8]
    first = {line["split"]: line for line in found if line["step"] == 3}
    assert list(first) == ["a (en)", "b (en)", "all en"]
    assert first["a (en)"]["tokens"] == 768
    sizes = {
        "a (en)": len("".join((tmp_path / "held.txt").read_text().splitlines())),
        "b (en)": len("".join((tmp_path / "more_held.txt").read_text().splitlines())),
    }
    together = sum(first[name]["bits_per_byte"] * size for name, size in sizes.items()) / sum(sizes.values())
    assert first["all en"]["bits_per_byte"] == pytest.approx(together, rel=1e-6)
    final = json.loads((path / "scores.json").read_text(encoding="utf-8"))["scores"]
    assert list(final) == ["a (en)", "b (en)", "all en"]
    assert final["all en"]["intervals"]["bits_per_byte"][0] < final["all en"]["values"]["bits_per_byte"]
    plain = run(_changed(recipe, train={"evaluate_tokens": 0}), tmp_path / "b").path
    names = [p for p in ("model/model.safetensors",) if (path / p).read_bytes() != (plain / p).read_bytes()]
    assert not names  # looking changes nothing


def test_the_mean_of_checkpoints_is_the_mean_and_survives_a_kill(tmp_path: Path) -> None:
    weight = torch.nn.Parameter(torch.zeros(3))
    attachment = SimpleNamespace(parameters=lambda: [("w", weight)], replaced=())
    training: Any = SimpleNamespace(
        settings=SimpleNamespace(checkpoint_steps=2), attachment=attachment, total_steps=7, step=0
    )
    kept = Snapshots(tmp_path / "s", 3, training)
    for step in range(1, 8):
        with torch.no_grad():
            weight.fill_(step**2)
        training.step = step
        assert [event.step for event in kept.taken([Step(step, 0.0, 0.0, 0.0, 0.0, 0, 0, 0.0)])] == [step]
    assert len(kept) == 3
    assert kept.mean()["w"].tolist() == [(16 + 36 + 49) / 3] * 3

    recipe = _two_sources(tmp_path, average=3)
    whole = run(recipe, tmp_path / "a")
    (note,) = [note for note in whole.notes if "mean of the last 3 checkpoints" in note]
    with pytest.raises(Stopped):
        run(recipe, tmp_path / "b", event=_stop_at(9))
    again = run(recipe, tmp_path / "b")
    assert picture(again.path) == picture(whole.path)
    assert note in again.notes
    before = run(_changed(recipe, train={"average": 0}), tmp_path / "c").path
    last, mean = (
        json.loads((path / "scores.json").read_text(encoding="utf-8"))["scores"]["all en"]["values"]["loss"]
        for path in (before, whole.path)
    )
    assert mean <= last
    assert ("the mean is saved" in note) == (mean < last)


def test_a_mean_that_nobody_could_judge_is_refused(tmp_path: Path) -> None:
    recipe = pretrain_recipe(tmp_path)
    bare = _changed(recipe, data={"sources": [{"path": "corpus.txt"}]}, train={"average": 2})
    with pytest.raises(InputError, match=r"train\.average needs held-out text"):
        run(bare, tmp_path / "x")
    lora = _changed(recipe, train={"average": 2}).model_copy(update={"method": build({"task": "x"}).method})
    with pytest.raises(InputError, match=r"train\.average is for methods that train the model's own weights"):
        run(lora, tmp_path / "x")


@pytest.mark.parametrize("objective", ["causal"])
def test_separate_documents_train_and_resume(objective: str, tmp_path: Path) -> None:
    recipe = _changed(pretrain_recipe(tmp_path), data={"documents": "separate"}, train={"batch_size": 8, "epochs": 2})
    whole = run(recipe, tmp_path / "a")
    with pytest.raises(Stopped):
        run(recipe, tmp_path / "b", event=_stop_at(5))
    assert picture(run(recipe, tmp_path / "b").path) == picture(whole.path)


def _goes_on(base: Path, folder: Path, old: float, method: dict[str, Any]) -> tuple[mt.Run, list[float]]:
    """Two passes over the new text, with `old` passes over the text of before."""
    recipe = _two_sources(folder.parent, batch_size=8, epochs=2, lr=0.01)
    values = recipe.model_dump() | {"method": method, "model": {"source": str(base)}}
    values["data"]["sources"][0]["epochs"], values["data"]["sources"][1]["epochs"] = old, 3.0
    losses: list[float] = []
    on = mt.pretrain(values, out=folder, on_event=lambda e: losses.append(e.loss) if isinstance(e, Step) else None)
    return on, losses


def test_a_model_goes_on_and_forgets_less_with_a_share_of_what_it_learnt_before(tmp_path: Path) -> None:
    base = run(_changed(pretrain_recipe(tmp_path), train={"epochs": 6, "batch_size": 8}), tmp_path / "first").path
    base /= "model"
    alone, losses = _goes_on(base, tmp_path / "alone", 0.01, {"name": "full"})
    rehearsed, _ = _goes_on(base, tmp_path / "rehearsed", 1.0, {"name": "full"})
    assert losses[0] < 0.8 * math.log(320)  # not from nothing
    assert losses[-1] < 0.7 * losses[0]
    assert rehearsed.scores["a (en)"]["bits_per_byte"] < 0.8 * alone.scores["a (en)"]["bits_per_byte"]
    lora, _ = _goes_on(base, tmp_path / "lora", 0.2, {"name": "lora", "rank": 2})
    begun = mt.load(base)
    for done in (alone, lora):
        gone = mt.load(done.path / "model")
        assert gone.family == begun.family
        assert gone.text.digest == begun.text.digest
        assert gone.spec == begun.spec
        assert not torch.equal(
            gone.network.get_parameter("decoder.blocks.0.attention.q.weight"),
            begun.network.get_parameter("decoder.blocks.0.attention.q.weight"),
        )
    assert f"from {base} on" in (alone.path / "model" / "README.md").read_text(encoding="utf-8")


def test_what_cannot_go_on_is_refused(tmp_path: Path) -> None:
    recipe = pretrain_recipe(tmp_path)
    with pytest.raises(InputError, match=r"model\.spec is missing.*or name a model to go on from as model\.source"):
        run(_changed(recipe, model={"spec": None, "source": None}), tmp_path / "x")
    with pytest.raises(InputError, match=r"model\.tokenizer is for a new model; sprout keeps what it has"):
        run(_changed(recipe, model={"spec": None, "source": "sprout"}), tmp_path / "x")
    masked = _changed(recipe, model={"spec": None, "source": "sprout", "tokenizer": None}).model_dump()
    masked["task"] = {"name": "language-modelling", "objective": "masked"}
    with pytest.raises(InputError, match="masked, which needs an encoder alone; the network is another one"):
        run(build(masked), tmp_path / "x")


def test_a_tuned_run_and_what_belongs_to_tuning_are_refused(tmp_path: Path) -> None:
    base = make_base(tmp_path / "base")
    tuned = run(tune_recipe(base, make_rows(tmp_path / "rows.csv"), "lora", epochs=1), tmp_path / "tuned")
    recipe = pretrain_recipe(tmp_path)
    adapter = {"spec": None, "source": str(tuned.path), "tokenizer": None}
    with pytest.raises(InputError, match="a tuned run; go on from a base model, or from what export makes of it"):
        run(_changed(recipe, model=adapter), tmp_path / "x")
    for field, value in (("added_tokens", ["<x>"]), ("max_length", 32)):
        model = {"spec": None, "source": base, "tokenizer": None, field: value}
        with pytest.raises(InputError, match=rf"model\.{field} belongs to tuning"):
            run(_changed(recipe, model=model), tmp_path / "x")


def test_sources_that_would_be_called_alike_keep_their_scores(tmp_path: Path) -> None:
    named = [Source(path=path) for path in ("a/x.txt", "a/y.txt", "b/x.txt", "c/z.txt", "c/z.txt")]
    assert source_names(named) == ["a/x.txt", "a/y.txt", "b", "c/z.txt 1", "c/z.txt 2"]
    recipe = _two_sources(tmp_path, epochs=1)
    recipe = _changed(recipe, data={"sources": [{**s.model_dump(), "name": ""} for s in recipe.data.sources]})
    scores = json.loads((run(recipe, tmp_path / "a").path / "scores.json").read_text())["scores"]
    assert set(scores) == {"corpus (en)", "more (en)", "all en"}


def test_time_that_was_up_is_up_after_a_kill(tmp_path: Path) -> None:
    recipe = _two_sources(tmp_path, minutes=0.002, checkpoint_steps=1)
    folder = tmp_path / "a"
    steps: list[int] = []

    def stop(event: object) -> None:
        if isinstance(event, Step):
            steps.append(event.step)
        elif steps and isinstance(event, Scored):
            raise Stopped

    with pytest.raises(Stopped):
        run(recipe, folder, event=stop)
    made = len(steps)
    run(recipe, folder, event=lambda event: steps.append(event.step) if isinstance(event, Step) else None)
    assert len(steps) == made


def test_the_report_of_a_tokenizer_is_a_count(tmp_path: Path) -> None:
    tokenizer = train_bpe(["a"], 313)
    text = "cats sat 你好"
    ids = np.array([0, *tokenizer.encode(text, special=False), 1])
    store = RaggedStore.write(tmp_path / "s", [ids], dtype="uint16")
    recipe = build(
        {"task": "language-modelling", "data": {"sources": [{"path": "x", "name": "s", "language": "zh+en"}]}}
    )
    report = tokenizer_report(recipe, tokenizer, [store])
    (row,) = report["sources"].values()
    size = len(text.encode())
    assert row == report["languages"]["zh+en"]
    assert row == {"tokens": size, "tokens_per_word": size / 4, "bytes_per_token": 1.0, "coverage": 1.0}
    used = len(set(text.encode()))
    assert report["used"] == pytest.approx(used / 256)
    assert report["common"] == used


@pytest.mark.parametrize("kind", ["wordpiece", "unigram"])
def test_other_tokenizers_and_vectors_in_a_run(kind: str, tmp_path: Path) -> None:
    (tmp_path / "v.txt").write_text("number " + "0.1 " * 15 + "0.2\nshop " + "0.3 " * 15 + "0.1\n", encoding="utf-8")
    recipe = pretrain_recipe(tmp_path)
    model: dict[str, Any] = {"tokenizer": {"kind": kind, "vocab_size": 2000}}
    model |= {"vectors": str(tmp_path / "v.txt")} if kind == "wordpiece" else {}
    spec = {key: value for key, value in (recipe.model.spec or {}).items() if key != "vocab_size"}
    done = run(_changed(recipe, model={**model, "spec": spec}, train={"epochs": 4, "batch_size": 8}), tmp_path / "a")
    assert any("the text supports a vocabulary of" in note and "2,000 asked for" in note for note in done.notes)
    facts = json.loads((done.path / "scores.json").read_text(encoding="utf-8"))["facts"]["tokenizer"]
    assert facts["vocabulary"] == len(mt.load(done.path / "model").text)
    assert facts["languages"]["unknown"]["coverage"] == 1.0
    assert "tokens per word" in (done.path / "model" / "README.md").read_text(encoding="utf-8")
