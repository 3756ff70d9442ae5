"""Word vectors in runs: trained (where gensim is), asked on the command line, the start of a model's embeddings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_ngram_runs import CORPUS, make_recipe

import microtune as mt
from microtune.cli.app import main
from microtune.data.vectors import read_vectors, write_vectors
from microtune.errors import InputError
from microtune.run.classic.vectors import WordVectors
from microtune.run.vectors import matching, start_from
from tiny_model import SPEC, make_model

pytestmark = pytest.mark.usefixtures("quick")


def command(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        main([str(a) for a in arguments])
    printed = capsys.readouterr()
    assert isinstance(caught.value.code, int)
    return caught.value.code, printed.out, printed.err


def test_embeddings_start_from_vectors(tmp_path: Path) -> None:
    """Rows of tokens with a vector are the vectors moved and scaled as one; the others stay; the tied head agrees."""
    model = mt.load(make_model(tmp_path / "model"))
    network, tokenizer = model.network, model.text
    weight = network.tokens.weight
    before, spread = weight.detach().clone(), float(weight.detach().std())
    backend = tokenizer.backend
    names = [backend.id_to_token(330), "nothing of it", tokenizer.decode([335]).strip(), backend.id_to_token(338)]
    matrix = np.random.default_rng(0).normal(3.0, 7.0, size=(4, 16)).astype(np.float32)
    write_vectors(tmp_path / "v.txt", names, matrix)
    rows = matching(tokenizer, names)
    assert {330: 0, 335: 2, 338: 3}.items() <= rows.items()
    assert set(rows.values()) == {0, 2, 3}
    note = start_from(network, tokenizer, tmp_path / "v.txt")
    assert note.startswith(f"{len(rows)} of {SPEC.vocab_size} token embeddings start from")
    others = [i for i in range(SPEC.vocab_size) if i not in rows]
    assert torch.equal(weight[others], before[others])
    moved = weight[list(rows)].detach().double().numpy()
    assert moved.mean() == pytest.approx(0, abs=1e-6)
    assert moved.std() == pytest.approx(spread, rel=1e-5)
    given = matrix[list(rows.values())].astype(np.float64)
    slope = moved.std() / given.std()
    assert moved == pytest.approx((given - given.mean()) * slope, abs=1e-5)


def test_pretraining_says_how_many_rows_started_from_vectors(tmp_path: Path) -> None:
    recipe = make_recipe(tmp_path)
    spec = SPEC.to_dict()
    spec.pop("vocab_size")
    write_vectors(tmp_path / "v.txt", ["card", "shop"], np.ones((2, 16), dtype=np.float32) * [[1], [2]])
    recipe["model"] = {"spec": spec, "tokenizer": {"vocab_size": 400}, "vectors": str(tmp_path / "v.txt")}
    recipe |= {"method": "full", "train": {"epochs": 1, "max_steps": 1, "lr": 0.01, "precision": "float32"}}
    recipe["data"]["block_size"] = 16
    run = mt.pretrain(recipe, out=tmp_path / "run")
    assert any("token embeddings start from" in note for note in run.notes)
    stored = json.loads((run.path / "environment.json").read_text(encoding="utf-8"))
    assert len(stored["data"]["word vectors"]) == 64


def test_vectors_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    model = mt.load(make_model(tmp_path / "model"))
    write_vectors(tmp_path / "wide.txt", ["card"], np.ones((1, 17), dtype=np.float32))
    with pytest.raises(InputError, match=r"wide\.txt, line 1: vectors of width 17, but .* has width 16"):
        start_from(model.network, model.text, tmp_path / "wide.txt")
    write_vectors(tmp_path / "other.txt", ["xylophone"], np.ones((1, 16), dtype=np.float32))
    with pytest.raises(InputError, match=r"other\.txt: no token of the tokenizer has a vector"):
        start_from(model.network, model.text, tmp_path / "other.txt")
    with pytest.raises(InputError, match="no file of word vectors, and no run of word2vec"):
        start_from(model.network, model.text, tmp_path)
    rows = [{"text": f"a {i}", "label": "bc"[i % 2]} for i in range(20)]
    with pytest.raises(InputError, match=r"model\.vectors belongs to `microtune pretrain`"):
        mt.tune(rows, task="classification", model={"vectors": "v.txt"}, out=tmp_path / "tuned")


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "v.txt"
    write_vectors(path, ["king", "queen", "man"], np.array([[1, 1], [1, 0], [0, 1]], dtype=np.float32))
    code, out, _ = command(capsys, "vectors", path, "king", "--json")
    assert code == 0
    assert json.loads(out) == [{"word": "queen", "cosine": 0.707107}, {"word": "man", "cosine": 0.707107}]
    code, out, _ = command(capsys, "vectors", path, "king", "--count", "1")
    assert (code, out.split()) == (0, ["0.707", "queen"])
    code, _, error = command(capsys, "vectors", path, "king", "queen")
    assert code == 2
    assert error.startswith("error: 2 words; give one for its neighbours")
    code, _, error = command(capsys, "vectors", tmp_path / "none", "king")
    assert code == 2
    assert "no such file of word vectors" in error


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> mt.Run:
    """A run of word2vec on the tiny corpus."""
    pytest.importorskip("gensim")
    folder = tmp_path_factory.mktemp("word2vec")
    recipe = make_recipe(folder, {"name": "word2vec", "width": 8, "min_count": 2})
    recipe["model"].pop("tokenizer")
    return mt.pretrain(recipe | {"train": {"epochs": 2}}, out=folder / "run")


def test_a_run_of_word2vec(trained: mt.Run) -> None:
    model = trained.model
    assert isinstance(model, WordVectors)
    names, matrix = read_vectors(trained.path / "model" / "vectors.txt")
    assert {"card", "shop", "你"} <= set(names)
    assert matrix.shape == (len(names), 8)
    assert model.parameters == matrix.size
    assert len(model.neighbours("card", 3)) == len(model.analogy("my", "card", "the", 3)) == 3
    assert model.embed([CORPUS[0], "?"]).shape == (2, 8)
    assert trained.checks == {"reload": "passed"}
    assert "skip-gram" in (trained.path / "README.md").read_text(encoding="utf-8")
    with pytest.raises(InputError, match="a model of word vectors has no text to generate"):
        model.generate("my")
    with pytest.raises(InputError, match="nothing to score on rows"):
        trained.evaluate([{"text": "a"}])


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"classic": {"name": "word2vec", "window": 0}}, r"model\.classic: window"),
        ({"classic": "word2vec:3"}, r"word2vec takes no number; write model\.classic=word2vec"),
        ({"classic": "word2vec", "tokenizer": {"vocab_size": 300}}, r"model\.tokenizer is for unit: tokens"),
    ],
)
def test_wrong_recipes(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    recipe = make_recipe(tmp_path)
    recipe["model"].pop("tokenizer")
    recipe["model"] |= changes
    with pytest.raises(InputError, match=sentence):
        mt.pretrain(recipe, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
