"""Runs with added tokens: what is saved, that it comes back, goes on after an interruption, and can be exported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_exports import make as make_export_base
from tiny_runs import make_base, make_rows, picture, pretrain_recipe, run, tune_recipe
from torch.testing import assert_close

import microtune as mt
from microtune.adapt.added import attach
from microtune.adapt.base import make_method
from microtune.data.text import Tokenizer
from microtune.errors import InputError, RunError
from microtune.nn.added import New
from microtune.recipe import Choice, Recipe
from microtune.run.added import add_to_model
from microtune.run.disk import read_tensors, write_folder
from microtune.run.load import Model, load
from microtune.run.train import Step

pytestmark = pytest.mark.usefixtures("quick")

TOKENS = ["<call>", "</call>"]
V, D = 320, 16
ROWS = [{"prompt": f"ask {i}", "completion": f"<call>card {i % 7}</call>"} for i in range(40)]
SETTINGS = {"batch_size": 8, "precision": "float32", "lr": 0.01}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_base(tmp_path_factory.mktemp("inputs") / "base")


@pytest.fixture(scope="module")
def tuned(base: str, tmp_path_factory: pytest.TempPathFactory) -> mt.Run:
    """A LoRA that has seen both tokens."""
    return tune(base, tmp_path_factory.mktemp("tuned") / "run")


def tune(base: str, out: Path, method: Any = "lora", *, data: Any = ROWS, tokens: Any = TOKENS, **model: Any) -> mt.Run:
    return mt.tune(
        data,
        task="instruction",
        model={"source": base, "added_tokens": tokens, **model},
        method=method,
        epochs=2,
        train=SETTINGS,
        out=out,
    )


def trained(run_: mt.Run) -> dict[str, torch.Tensor]:
    return read_tensors(run_.path / "model" / "trained.safetensors")


def tables(model: Model) -> dict[str, torch.Tensor]:
    """The embedding and the vocabulary head."""
    return {"tokens": model.network.tokens.weight, "head": model.vocabulary_head().out.weight}


def test_an_adapter_stores_the_new_rows_and_no_other(base: str, tuned: mt.Run) -> None:
    found = {n: tuple(t.shape) for n, t in trained(tuned).items() if "lora" not in n}
    assert found == {"tokens.added": (2, D)}
    assert (tuned.path / "model" / "trained.safetensors").stat().st_size < 60_000
    record = json.loads((tuned.path / "model" / "model.json").read_text(encoding="utf-8"))
    assert (record["spec"]["vocab_size"], record["added"]) == (V + 2, {"first": V, "count": 2})
    assert tuned.notes == []
    assert tuned.checks["reload"] == tuned.checks["frozen"] == tuned.checks["moved"] == "passed"
    plain, model = load(base), load(tuned.path)
    assert model.spec.vocab_size == V + 2
    old, new = plain.network.tokens.weight, model.network.tokens.weight
    assert torch.equal(new[:V], old)
    assert torch.equal(new[V:], trained(tuned)["tokens.added"])
    moved = (new[V:] - old.mean(0)).abs().max(1).values
    assert (moved > 1e-3).all()
    assert tables(model)["head"] is tables(model)["tokens"]


def test_the_tokenizer_grows_with_it(base: str, tuned: mt.Run) -> None:
    plain, model = load(base), load(tuned.path)
    assert (len(plain.text), len(model.text)) == (V, V + 2)
    assert model.text.encode("a<call>b</call>", special=False) == [
        *plain.text.encode("a", special=False),
        V,
        *plain.text.encode("b", special=False),
        V + 1,
    ]
    (logits,) = model.logits([[1, V, V + 1]])
    assert logits.shape == (3, V + 2)
    assert isinstance(model.generate("ask 3\n", max_new_tokens=4), str)
    assert tuned.predict(["ask 3"])[0].answer is not None
    assert tuned.evaluate(ROWS[:4]).values["loss"] > 0


def test_detaching_gives_the_base_back(base: str, tuned: mt.Run) -> None:
    model, plain = load(base), load(base)
    assert add_to_model(model, TOKENS) == []
    assert model.added == New(V, 2)
    grown = {n: t.clone() for n, t in model.network.state_dict().items()}
    attachment = attach(make_method(Choice(name="lora")), model.network, model.added)
    attachment.load_state(trained(tuned))
    assert not torch.equal(tables(model)["tokens"], grown["tokens.weight"])
    attachment.detach()
    found = model.network.state_dict()
    assert found.keys() == grown.keys()
    assert all(torch.equal(found[n], t) for n, t in grown.items())
    old = plain.network.state_dict()
    assert all(torch.equal(found[n][: len(t)], t) for n, t in old.items())


@pytest.mark.parametrize(
    ("method", "tied", "weights"),
    [
        ("top:1", True, "pretrained"),
        ("top:1", False, "random"),
        ("full", False, "pretrained"),
        ("full", True, "random"),
        ("head", True, "pretrained"),
        ("head", False, "random"),
        ("lora:2", True, "random"),
        ("lora:2", False, "pretrained"),
    ],
)
def test_every_method_saves_what_it_trained(method: str, tied: bool, weights: str, tmp_path: Path) -> None:
    base = str(make_export_base(tmp_path / "base", "llama tied" if tied else "llama"))
    done = tune(base, tmp_path / "run", method, weights=weights)  # the check `reload` compares the outputs
    assert done.checks["reload"] == "passed"
    names = {n for n in trained(done) if n.startswith(("tokens", "head"))}
    alone = {"tokens.added"} if tied else {"tokens.added", "head.out.rows.added"}
    whole = {"tokens.weight"} if tied else {"tokens.weight", "head.out.weight"}
    assert names == {"full": whole, "head": {"head.out.weight"}}.get(method, alone)
    rests = "this method trains the head alone; the 2 new rows of the embedding stay the mean of the others"
    assert [rests in note for note in done.notes if "added_tokens" in note] == [True] * (method == "head")
    size, model = len(Tokenizer.load(base) or ""), load(done.path)
    assert size == 320
    assert model.spec.vocab_size == 330  # the base had ten rows that no token has
    assert model.text.encode("<call>", special=False) == [size]


def test_rows_that_no_token_has_are_used_first(tmp_path: Path) -> None:
    base = str(make_export_base(tmp_path / "base", "llama"))
    plain = load(base)
    tokens = [f"<{i}>" for i in range(12)]
    done = tune(base, tmp_path / "run", tokens=[*TOKENS, *tokens])
    model = load(done.path)
    assert (plain.spec.vocab_size, model.spec.vocab_size) == (330, 334)
    for name, before in tables(plain).items():
        after = tables(model)[name]
        assert torch.equal(after[:320], before[:320])
    unseen = tables(model)["tokens"][322:]
    assert_close(unseen, tables(plain)["tokens"][:320].mean(0).expand(12, -1), rtol=0.1, atol=0.1)
    assert done.notes == [
        'model.added_tokens: 12 of 14 stand in no training row and learn nothing from one: "<0>", "<1>", "<2>".'
    ]


@pytest.mark.parametrize(
    ("kind", "method", "precision"),
    [
        ("bert", "lora", "bfloat16"),
        ("bert", "head", "float32"),
        ("llama", "lora", "int8"),
        ("llama", "head", "bfloat16"),
    ],
)
def test_a_classifier_reads_added_tokens(kind: str, method: str, precision: str, tmp_path: Path) -> None:
    base = str(make_export_base(tmp_path / "base", kind))
    data = make_rows(tmp_path / "rows.csv")
    text = Path(data).read_text(encoding="utf-8").replace("card was", "<call> was")
    Path(data).write_text(text, encoding="utf-8")
    done = mt.tune(
        data,
        task="classification",
        model={"source": base, "added_tokens": ["<call>"]},
        method=method,
        train={**SETTINGS, "precision": precision},
        out=tmp_path / "run",
    )
    assert done.checks["reload"] == "passed"
    assert ("tokens.added" in trained(done)) == (method == "lora")
    plain, model = load(base).network.tokens.weight, load(done.path).network.tokens.weight
    assert torch.equal(model[:320], plain[:320])
    still = torch.equal(model[320], plain[:320].double().mean(0).float())
    assert still == (method == "head")


def interrupted(recipe: Recipe, path: Path, step: int) -> None:
    def leave(event: Any) -> None:
        if isinstance(event, Step) and event.step == step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(recipe, path, event=leave)


@pytest.mark.parametrize("method", ["top", "lora"])
def test_an_interrupted_run_goes_on_bit_for_bit(method: str, base: str, tmp_path: Path) -> None:
    data = make_rows(tmp_path / "rows.csv")
    recipe = tune_recipe(base, data, method)
    recipe = recipe.model_copy(update={"model": recipe.model.model_copy(update={"added_tokens": ["card", "<x>"]})})
    run(recipe, tmp_path / "whole")
    interrupted(recipe, tmp_path / "parts", 5)
    run(recipe, tmp_path / "parts")
    whole, parts = picture(tmp_path / "whole"), picture(tmp_path / "parts")
    for found in (whole, parts):
        found["scores"] = {name: score["values"] for name, score in found["scores"].items()}
    assert parts == whole


def test_what_has_an_id_is_noted_and_nothing_grows(base: str, tmp_path: Path) -> None:
    done = tune(base, tmp_path / "run", tokens=["<|eos|>", "a"])
    model = load(done.path)
    assert done.notes[0].startswith('model.added_tokens: 2 have an id already and stay as they are: "<|eos|>" (1), "a"')
    assert (model.added, model.spec.vocab_size) == (None, V)
    assert not any("added" in name for name in trained(done))


def test_a_model_without_a_tokenizer_is_refused(base: str, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("config.json", "model.safetensors"):
        (bare / name).write_bytes((Path(base) / name).read_bytes())
    with pytest.raises(InputError, match=r"model\.added_tokens: this model has no tokenizer"):
        tune(str(bare), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_pretraining_takes_no_added_tokens(tmp_path: Path) -> None:
    recipe = pretrain_recipe(tmp_path)
    recipe = recipe.model_copy(update={"model": recipe.model.model_copy(update={"added_tokens": ["<a>"]})})
    with pytest.raises(InputError, match=r"model\.added_tokens belongs to tuning"):
        run(recipe, tmp_path / "run")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"first": V + 1, "count": 2}, "added.first is 321, but the embedding of the base ends at 319"),
        ({"first": V, "count": 3}, "tokens.added"),
        ({"first": V, "count": 10**9}, "added.count"),
        ({"first": 0, "count": 2}, "added.first"),
        (None, "tokens.added"),
    ],
)
def test_a_record_that_does_not_fit_is_refused(change: Any, sentence: str, tuned: mt.Run, tmp_path: Path) -> None:
    def fill(work: Path) -> None:
        for path in (tuned.path / "model").iterdir():
            if path.is_file() and path.name != "manifest.json":
                (work / path.name).write_bytes(path.read_bytes())
        record = json.loads((work / "model.json").read_text(encoding="utf-8"))
        (work / "model.json").write_text(json.dumps({**record, "added": change}), encoding="utf-8")

    write_folder(tmp_path / "run" / "model", fill)
    for name in ("recipe.yaml", "scores.json"):
        (tmp_path / "run" / name).write_bytes((tuned.path / name).read_bytes())
    with pytest.raises((RunError, InputError), match=sentence):
        load(tmp_path / "run")


@pytest.mark.parity
@pytest.mark.parametrize(
    ("kind", "method"), [("llama", "lora"), ("llama tied", "head"), ("gpt2", "lora"), ("gpt2", "full")]
)
def test_transformers_opens_the_grown_model(kind: str, method: str, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    done = tune(
        str(make_export_base(tmp_path / "base", kind)),
        tmp_path / "run",
        method,
        tokens=[f"<{i}>" for i in range(13)] + TOKENS,
    )
    assert mt.export(done.path, format="hf", out=tmp_path / "out").parity.gap < 1e-5
    ours, tokenizer = load(done.path), transformers.AutoTokenizer.from_pretrained(str(tmp_path / "out"))
    theirs = transformers.AutoModelForCausalLM.from_pretrained(str(tmp_path / "out"))
    assert theirs.get_input_embeddings().weight.shape[0] == ours.spec.vocab_size == 335
    ids = ours.text.encode("ask <call>card</call> <3>")
    assert len({i for i in ids if i >= 320}) == 3
    assert tokenizer("ask <call>card</call> <3>")["input_ids"] == ids
    with torch.no_grad():
        found = theirs(torch.tensor([ids])).logits[0]
    assert_close(found, ours.logits([ids])[0], rtol=1e-5, atol=1e-5)
    again = load(tmp_path / "out")
    assert_close(again.logits([ids])[0], ours.logits([ids])[0], rtol=1e-5, atol=1e-5)


def test_peft_has_no_form_for_it(tuned: mt.Run, tmp_path: Path) -> None:
    assert not (tuned.path / "model" / "adapter").exists()
    with pytest.raises(
        InputError, match="has 2 added tokens: peft puts an adapter only on an embedding that has grown"
    ):
        mt.export(tuned.path, format="peft", out=tmp_path / "out")


def test_an_update_is_merged_and_the_rows_stay(tuned: mt.Run, tmp_path: Path) -> None:
    mt.merge(tuned.path, out=tmp_path / "out")
    ours, merged = load(tuned.path), load(tmp_path / "out")
    assert torch.equal(merged.network.tokens.weight, ours.network.tokens.weight)
    rows = [[1, V, 5, V + 1]]
    assert_close(merged.logits(rows)[0], ours.logits(rows)[0], rtol=1e-5, atol=1e-5)
