"""An n-gram model under the verbs of all models: pretrain, load, evaluate, predict, generate; and what is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
import torch

import microtune as mt
from microtune.data.text import CORE_TOKENS, Tokenizer
from microtune.errors import InputError, RunError
from microtune.recipe import build
from microtune.run.classic.ngram import NGramModel
from microtune.run.foresee import plan
from microtune.run.held_out import HeldOut
from microtune.tasks.language_modelling import LanguageModelling

pytestmark = pytest.mark.usefixtures("quick")

CORPUS = [f"my card number {i} was declined at the shop {i % 7} 你好{i % 5}" for i in range(300)]
HELD = [f"my card {i} was declined at the bank 你好" for i in range(20)]


def make_recipe(folder: Path, classic: Any = "ngram:4", **model: Any) -> dict[str, Any]:
    (folder / "c.txt").write_text("\n".join(CORPUS), encoding="utf-8")
    (folder / "h.txt").write_text("\n".join(HELD), encoding="utf-8")
    source = {"path": "c.txt", "held_out": "h.txt", "name": "tiny", "language": "en"}
    return {
        "task": "language-modelling",
        "model": {"classic": classic, "tokenizer": {"vocab_size": 400}, **model},
        "data": {"folder": str(folder), "sources": [source]},
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> mt.Run:
    folder = tmp_path_factory.mktemp("ngram")
    return mt.pretrain(make_recipe(folder), out=folder / "run")


def test_the_run_folder_is_that_of_every_run(run: mt.Run) -> None:
    names = {p.name for p in run.path.iterdir()}
    assert names >= {"recipe.yaml", "environment.json", "metrics.jsonl", "model", "scores.json", "README.md"}
    assert "cache" not in names
    lines = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["order"] for line in lines if line["kind"] == "order"] == [1, 2, 3, 4]
    assert [line["split"] for line in lines if line["kind"] == "score"] == ["tiny (en)"]
    assert run.checks == {"reload": "passed"}
    card = (run.path / "README.md").read_text(encoding="utf-8")
    assert "order 4" in card
    assert f"{run.scores['tiny (en)']['bits_per_byte']:.3f}" in card


def test_scores_are_the_probabilities_of_the_table(run: mt.Run) -> None:
    model = run.model
    assert isinstance(model, NGramModel)
    assert model.parameters == sum(model.table.sizes)
    bits = tokens = 0.0
    for text in HELD:
        ids = model.text.encode(text, special=False)
        context = [model.table.start]
        for i in [*ids, model.text.id("eos")]:
            assert i is not None
            bits -= math.log2(model.table.distribution(context)[i])
            context.append(i)
        tokens += len(ids) + 1
    values = run.scores["tiny (en)"]
    assert values["bits_per_byte"] == pytest.approx(bits / sum(len(t.encode()) for t in HELD), rel=1e-9)
    assert values["perplexity"] == pytest.approx(2 ** (bits / tokens), rel=1e-9)
    assert model.bits_per_byte(HELD) == pytest.approx(values["bits_per_byte"], rel=1e-12)
    assert set(values) == {"loss", "perplexity", "bits_per_byte"}
    again = run.evaluate([{"text": text} for text in HELD])
    assert again.values == pytest.approx(values)


def test_logits_generate_and_predict(run: mt.Run) -> None:
    model = run.model
    ids = model.text.encode("my card", special=False)
    bos = model.text.id("bos")
    found = model.logits([ids, [bos, *ids]])
    assert [tuple(part.shape) for part in found] == [(len(ids), len(model.text)), (len(ids) + 1, len(model.text))]
    assert torch.equal(found[0], found[1][1:])
    assert torch.logsumexp(found[0], -1).numpy() == pytest.approx(np.zeros(len(ids)), abs=1e-12)
    text = model.generate("my card", max_new_tokens=12)
    assert "was declined at" in text
    assert "".join(model.generate("my card", max_new_tokens=12, stream=True)) == text
    drawn = [model.generate("my", max_new_tokens=8, temperature=1.0, seed=seed) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert run.predict("my card", max_new_tokens=12)[0].answer == text


def test_characters_back_off_to_bytes(tmp_path: Path) -> None:
    run = mt.pretrain(make_recipe(tmp_path, {"name": "ngram", "order": 6, "unit": "characters"}), out=tmp_path / "run")
    model = run.model
    text = "my ж card 😀"
    assert model.text.decode(model.text.encode(text, special=False)) == text
    assert isinstance(model, NGramModel)
    assert 2 < model.bits_per_byte([text]) < 12  # nothing is unknown, and nothing costs nothing
    assert run.scores["tiny (en)"]["bits_per_byte"] < 3


def test_a_tokenizer_of_a_base_and_a_share_of_a_source(tmp_path: Path) -> None:
    recipe = make_recipe(tmp_path, "ngram:2", tokenizer="sprout")
    recipe["data"]["sources"][0]["epochs"] = 0.5
    run = mt.pretrain(recipe, out=tmp_path / "run")
    model = run.model
    assert model.text.digest == mt.load("sprout").text.digest
    assert isinstance(model, NGramModel)
    text = [[model.table.start, *model.text.encode(line, special=False), 1] for line in CORPUS]
    assert model.table.tokens == pytest.approx(sum(map(len, text)) / 2, rel=0.01)


def test_what_an_ngram_model_cannot_do_is_refused(run: mt.Run, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="an n-gram model has no network, so it cannot be tuned"):
        mt.tune(
            [{"text": f"a {i}", "label": "bc"[i % 2]} for i in range(20)],
            task="classification",
            model=str(run.path),
            out=tmp_path / "tuned",
        )
    with pytest.raises(InputError, match="an n-gram model has no network"):
        mt.export(run.path, format="hf", out=tmp_path / "out")
    with pytest.raises(InputError, match="an n-gram model has no vectors"):
        run.model.embed(["a"])
    with pytest.raises(InputError, match=r"holds an id outside 0\.\."):
        run.model.logits([[10**6]])
    assert not (tmp_path / "tuned").exists()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"classic": "ngram:0"}, r"model\.classic: order: .*greater than or equal to 1"),
        ({"classic": "ngram:9"}, r"model\.classic: order: .*less than or equal to 8"),
        ({"classic": "engram"}, r'Unknown classic model "engram"\. Did you mean "ngram"'),
        ({"classic": {"name": "ngram", "orders": 3}}, r'unknown key "orders"\. Did you mean "order"'),
        (
            {"classic": {"name": "ngram", "unit": "characters"}, "tokenizer": "sprout"},
            "unit: characters makes one of its",
        ),
        ({"spec": {"decoder": {}}}, r"model\.spec and model\.classic exclude each other"),
        ({"tokenizer": "nowhere"}, r"nowhere: there is no"),
        ({"classic": {"name": "ngram", "unit": "characters"}, "tokenizer": {"vocab_size": 100}}, "alone take 258 ids"),
    ],
)
def test_wrong_recipes_leave_nothing_behind(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    recipe = make_recipe(tmp_path)
    recipe["model"] |= changes
    with pytest.raises(InputError, match=sentence):
        mt.pretrain(recipe, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_tokenizer_that_does_not_know_everything_is_refused(tmp_path: Path) -> None:
    backend = tokenizers.Tokenizer(tokenizers.models.WordLevel({"[UNK]": 0, "my": 1, "card": 2}, unk_token="[UNK]"))
    backend.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    Tokenizer(backend, {"unk": "[UNK]"}).save(tmp_path / "words")
    with pytest.raises(InputError, match=r"words: this tokenizer has no id for some characters; take one that falls"):
        mt.pretrain(make_recipe(tmp_path, tokenizer=str(tmp_path / "words")), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_wrong_texts(tmp_path: Path) -> None:
    recipe = make_recipe(tmp_path, "ngram:5", tokenizer="sprout")
    (tmp_path / "c.txt").write_text("a\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"order is 5, but the longest text has 3 tokens"):
        mt.pretrain(recipe, out=tmp_path / "run")
    (tmp_path / "c.txt").write_text(" \n\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"c\.txt"):
        mt.pretrain(recipe, out=tmp_path / "run")
    recipe["data"]["sources"] = []
    with pytest.raises(InputError, match=r"data\.sources is missing"):
        mt.pretrain(recipe, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_held_out_text_is_that_of_every_model(tmp_path: Path) -> None:
    """The rows of `HeldOut`: dialogues with their marks as tokens; languages of several sources together."""
    turns = [{"role": "user", "text": "my card"}, {"role": "assistant", "text": "was declined"}]
    (tmp_path / "d.jsonl").write_text((json.dumps({"turns": turns}) + "\n") * 9, encoding="utf-8")
    recipe = make_recipe(tmp_path)
    dialogue = {"path": "d.jsonl", "held_out": "d.jsonl", "fields": ["turns.chat"], "name": "talk", "language": "en"}
    recipe["data"] |= {"sources": [*recipe["data"]["sources"], dialogue], "cache": str(tmp_path / "cache")}
    run = mt.pretrain(recipe, out=tmp_path / "run")
    assert list(run.scores) == ["tiny (en)", "talk (en)", "all en"]
    model = run.model
    assert isinstance(model, NGramModel)
    texts = HeldOut(build(recipe), LanguageModelling(), model.text).texts
    marks = [model.text.encode(CORE_TOKENS[role], special=False, parse=True) for role in ("user", "assistant")]
    assert {mark for (mark,) in marks} <= set(texts[1].ids[0])
    parts = [model.columns(part) for part in texts]
    bits = sum(part["loss"].sum() for part in parts) / math.log(2)
    assert run.scores["all en"]["bits_per_byte"] == pytest.approx(bits / sum(sum(part.bytes) for part in texts))
    assert set(run.scores["all en"]) == {"loss", "perplexity", "bits_per_byte"}
    assert len(list((tmp_path / "cache").iterdir())) == 3  # a tokenizer and the tokens of two sources
    report = (run.path / "report.html").read_text(encoding="utf-8")
    assert f"{run.scores['all en']['bits_per_byte']:.3f}"[:5] in report
    again = mt.pretrain(
        recipe | {"model": {"classic": {"name": "ngram", "unit": "characters"}, "tokenizer": {"vocab_size": 400}}},
        out=tmp_path / "letters",
    )
    assert again.model.text.digest != model.text.digest  # of the same cache


def test_what_has_no_plan_and_no_objective(tmp_path: Path) -> None:
    recipe = make_recipe(tmp_path)
    with pytest.raises(InputError, match=r"model\.classic ngram has no network"):
        plan(build(recipe))
    with pytest.raises(InputError, match=r"task\.objective does not belong to ngram"):
        mt.pretrain(recipe | {"task": {"name": "language-modelling", "objective": "masked"}}, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_damaged_run_is_named(tmp_path: Path) -> None:
    run = mt.pretrain(make_recipe(tmp_path, "ngram:2"), out=tmp_path / "run")
    path = run.path / "model" / "ngram.safetensors"
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(RunError, match=r"the saved model is damaged \(ngram\.safetensors has changed\)"):
        mt.load(run.path)
